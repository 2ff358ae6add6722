package e2e_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/gatebus/gatebus/internal/testbed"
)

// shell finds the command lines of a page.
var shell = regexp.MustCompile("(?ms)^```sh\n(.*?)^```$")

// TestProtocolPage runs the nats commands of docs/protocol.md, one after the other,
// with a client connected, and wants the answers that the page shows.
func TestProtocolPage(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../docs/protocol.md")
	must(t, err)
	cluster := testbed.NewCluster(t, 1)
	r, g := cluster.Register(0), cluster.Gateway("g1")
	must(t, testbed.WaitReady(soon(t), r, g))
	here := strings.NewReplacer("127.0.0.1:8300", addr(t, g, "bus"), "127.0.0.1:4222", addr(t, r, "register"))
	worked := false
	must(t, testbed.Poll(soon(t), func() error { // a register that has just started knows nobody yet
		_, err := connect(t, cluster.URLs()).Request("reg.members", nil, testbed.Patience)
		return err
	}))
	ran := 0
	for _, block := range shell.FindAllStringSubmatch(string(page), -1) {
		var last *testbed.Process
		for line := range strings.Lines(block[1]) {
			line = strings.TrimSpace(line)
			if want, ok := strings.CutPrefix(line, "# → "); ok {
				if !strings.Contains(last.Stdout(), want) {
					t.Errorf("%q: it says %s, the page %s", last.Spec.Args, last.Stdout(), want)
				}
				continue
			}
			last = natsCommand(t, words(here.Replace(line))[1:]...)
			if ran++; strings.HasPrefix(line, "nats reply") {
				if !worked { // the first one is a worker, which goes on to work
					worked = true
					echoes(t, dial(t, ws(t, g)), "hello")
				}
				continue
			}
			exits(t, last, 0)
		}
	}
	if ran < 10 {
		t.Errorf("only %d commands were found", ran)
	}
}

// words are the words of a command line, of which those in quotes are one.
func words(line string) (ws []string) {
	for i, part := range strings.Split(line, "'") {
		if i%2 == 1 {
			ws = append(ws, part)
			continue
		}
		ws = append(ws, strings.Fields(part)...)
	}
	return ws
}
