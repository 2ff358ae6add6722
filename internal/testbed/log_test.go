package testbed

import (
	"fmt"
	"strings"
	"testing"
)

// What says that a program is broken is not lost, however much is written after it.
func TestTroubleIsKept(t *testing.T) {
	for _, line := range []string{
		"panic: oh no", "fatal error: all goroutines are asleep", "WARNING: DATA RACE",
		`time=2026-01-01 level=ERROR msg="http: panic serving 127.0.0.1:1: oh no"`,
	} {
		o := newOutput()
		fmt.Fprintf(o, "all is well\nno panic: yet\n")
		if got := o.broken(); got != "" {
			t.Errorf("broken without trouble: %q", got)
		}
		fmt.Fprintf(o, "%s\nthe stack\n", line)
		for range maxLogLines + 10 {
			fmt.Fprintln(o, "on it goes")
		}
		got := strings.Split(o.broken(), "\n")
		if got[0] != line || got[1] != "the stack" || len(got) != troubleLines {
			t.Errorf("%s: %d lines, the first ones %q", line, len(got), got[:min(len(got), 2)])
		}
	}
}
