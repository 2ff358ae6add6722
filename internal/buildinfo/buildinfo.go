// Package buildinfo says which build of gatebus this is.
package buildinfo

import (
	"runtime/debug"
	"sync"
)

const module = "github.com/gatebus/gatebus"

// Info describes a build.
type Info struct {
	Version  string // of the module: v1.2.3, or "devel"
	Revision string // of the source, "" if unknown
	Modified bool   // the source differed from the revision
	Go       string // the compiler
}

// Get reads what the compiler put into the program. In a program that uses
// gatebus as a library it is the version of that library.
var Get = sync.OnceValue(func() Info {
	info := Info{Version: "devel"}
	b, ok := debug.ReadBuildInfo()
	if !ok {
		return info
	}
	info.Go = b.GoVersion
	m := &b.Main
	for _, d := range b.Deps {
		if d.Path == module {
			m = d
		}
	}
	if m.Version != "" && m.Version != "(devel)" {
		info.Version = m.Version
	}
	if m != &b.Main {
		return info
	}
	for _, s := range b.Settings {
		switch s.Key {
		case "vcs.revision":
			info.Revision = s.Value
		case "vcs.modified":
			info.Modified = s.Value == "true"
		}
	}
	return info
})

// Version is the version of this build of gatebus.
func Version() string { return Get().Version }
