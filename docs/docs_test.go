// Package docs_test keeps the documents and the code alike.
package docs_test

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/configs"
	"github.com/gatebus/gatebus/internal/chaos"
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

// The listeners that are shown can be had, once there are certificates.
func TestListeners(t *testing.T) {
	doc, err := os.ReadFile("listeners.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(doc), "```yaml\n")
	sample, _, _ := strings.Cut(rest, "```")
	without := regexp.MustCompile(`(?m)^  tls: .*$|, tls: \{.*?\}`).ReplaceAllString(sample, "")
	c, err := configs.Load(configs.Source{Name: "listeners.md", Data: []byte(without)})
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Gateway.Listeners) != 3 || len(c.Gateway.Paths) != 2 {
		t.Errorf("%+v", c.Gateway.Config)
	}
	if _, err := configs.Load(configs.Source{Name: "listeners.md", Data: []byte(sample)}); err == nil || strings.Count(err.Error(), "site.crt cannot be read") != 2 {
		t.Errorf("with certificates that are not there: %v", err)
	}
}

// The table of faults names every one that the harness has.
func TestFaults(t *testing.T) {
	doc, err := os.ReadFile("reliability.md")
	if err != nil {
		t.Fatal(err)
	}
	shape := chaos.Shape{Registers: 2, Gateways: 2, Workers: 4, Network: true, Disk: true, Clock: true}
	kinds := map[chaos.Kind]bool{}
	for _, f := range chaos.Plan(1, shape, 10*time.Minute) {
		kinds[f.Kind] = true
	}
	if len(kinds) < 20 {
		t.Errorf("ten minutes have only %d kinds of faults", len(kinds))
	}
	for k := range kinds {
		if !strings.Contains(string(doc), "`"+string(k)+"`") {
			t.Errorf("reliability.md does not tell of the fault %s", k)
		}
	}
}
