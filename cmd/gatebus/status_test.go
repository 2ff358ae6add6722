package main

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/gatebus/gatebus/internal/status"
)

// On a terminal each picture is written over the one before, whole lines only, and what
// goes wrong stands in its place until all is well again.
func TestStatusRedraws(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	looks := 0
	look := func(context.Context) (status.Look, error) {
		switch looks++; looks {
		case 2:
			return status.Look{}, errors.New("no register")
		case 4:
			cancel()
			return status.Look{}, context.Canceled
		}
		return status.Look{At: time.Now(), Register: "r1"}, nil
	}
	var out, warnings strings.Builder
	f := &statusFlags{watch: true, interval: time.Millisecond}
	if err := f.show(ctx, &out, &warnings, true, look); err != nil {
		t.Fatal(err)
	}
	pictures := strings.Split(out.String(), "\x1b[H")
	if len(pictures) != 4 || pictures[0] != "\x1b[2J" || warnings.Len() > 0 {
		t.Fatalf("%q, warnings %q", pictures, &warnings)
	}
	for i, want := range []string{"0 registers", "no register; trying on", "0 registers"} {
		p := pictures[i+1]
		if !strings.HasPrefix(p, want) || !strings.HasSuffix(p, "\x1b[K\n\x1b[J") || strings.Count(p, "\n") != strings.Count(p, "\x1b[K\n") {
			t.Errorf("picture %d: %q", i+1, p)
		}
	}
}

// For programs there is nothing but reports on standard output.
func TestStatusWatchesAsJSON(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	looks := 0
	look := func(context.Context) (status.Look, error) {
		switch looks++; looks {
		case 2:
			return status.Look{}, errors.New("no register")
		case 4:
			cancel()
		}
		return status.Look{At: time.Now(), Register: "r1"}, nil
	}
	var out, warnings strings.Builder
	f := &statusFlags{watch: true, json: true, interval: time.Millisecond}
	if err := f.show(ctx, &out, &warnings, true, look); err != nil {
		t.Fatal(err)
	}
	if lines := strings.Split(strings.TrimSpace(out.String()), "\n"); len(lines) != 1 || !strings.HasPrefix(lines[0], `{"at":`) {
		t.Errorf("%q", lines)
	}
	if warnings.String() != "gatebus: no register; trying on\n" {
		t.Errorf("%q", &warnings)
	}
}
