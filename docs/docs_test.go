// Package docs_test keeps the documents and the code alike.
package docs_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/gatebus/gatebus/bus"
)

func TestCloseCodes(t *testing.T) {
	doc, err := os.ReadFile("close-codes.md")
	if err != nil {
		t.Fatal(err)
	}
	var want, got []string
	for _, c := range bus.CloseCodes {
		want = append(want, fmt.Sprintf("| %d | %s | %s |", c.Code, c.Meaning, c.Reconnect))
	}
	for line := range strings.SplitSeq(string(doc), "\n") {
		if strings.HasPrefix(line, "| 1") || strings.HasPrefix(line, "| 4") {
			got = append(got, line)
		}
	}
	if g, w := strings.Join(got, "\n"), strings.Join(want, "\n"); g != w {
		t.Errorf("close-codes.md has\n%s\nbut bus.CloseCodes is\n%s", g, w)
	}
}
