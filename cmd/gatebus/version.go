package main

import (
	"runtime"
	"strings"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/internal/buildinfo"
)

func versionLine() string {
	b := buildinfo.Get()
	parts := []string{"gatebus " + b.Version}
	if b.Revision != "" {
		rev := b.Revision[:min(12, len(b.Revision))]
		if b.Modified {
			rev += " (modified)"
		}
		parts = append(parts, "revision "+rev)
	}
	return strings.Join(append(parts, "protocol "+bus.CurrentProtocol().String(), runtime.Version(), runtime.GOOS+"/"+runtime.GOARCH), ", ")
}
