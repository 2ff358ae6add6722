package e2e_test

import (
	"encoding/json"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/gatebus/gatebus/internal/testbed"
)

// tap starts gatebus tap, and waits until each of those gateways mirrors.
func tap(t *testing.T, c *commandCluster, gateways []*testbed.Process, args ...string) *testbed.Process {
	t.Helper()
	p := testbed.Start(t, testbed.Spec{
		Name: "tap", Args: append([]string{"tap"}, args...),
		Env: []string{"GATEBUS_SECRET=" + clusterSecret, "GATEBUS_REGISTERS=" + c.URLs()},
	})
	for _, g := range gateways {
		_, err := g.WaitLog(soon(t), "this gateway is tapped")
		must(t, err)
	}
	return p
}

func sees(t *testing.T, p *testbed.Process, lines ...string) {
	t.Helper()
	for _, line := range lines {
		_, err := p.WaitOutput(soon(t), line)
		must(t, err)
	}
}

// gatebus tap shows what clients send and are sent, and the pushes, and harms no terminal.
func TestTapCommand(t *testing.T) {
	t.Parallel()
	c := startCommandCluster(t)
	p := tap(t, c, c.gateways[:])
	echoes(t, c.clients[0], "hello \x1b[31mred")
	must(t, c.clients[1].WriteMessage(websocket.BinaryMessage, []byte{0, 0x9b}))
	readsFrame(t, c.clients[1], websocket.BinaryMessage, "\x00\x9b")
	command(t, c.Cluster, "", "push", "all", "news").is(0, "*")
	sees(t, p,
		`^\d\d:\d\d:\d\d\.\d{3}  g1 +in +`+c.ids[0]+` +text +14  "hello \\x1b\[31mred"$`,
		`g1 +out +`+c.ids[0]+` +frame +14  "hello`,
		`g2 +in +`+c.ids[1]+` +binary +2  "\\x00\\x9b"$`,
		`g1 +push +all +text +4  news$`, `g2 +push +all +text +4  news$`,
	)
	if strings.ContainsAny(p.Stdout(), "\x1b\x00") {
		t.Errorf("control characters reach the terminal: %q", p.Stdout())
	}
	must(t, p.Signal(os.Interrupt))
	exits(t, p, 0)
	if p.Log() != "" {
		t.Errorf("it says %q", p.Log())
	}
	_, err := c.gateways[0].WaitLog(soon(t), "nobody taps this gateway any more")
	must(t, err)
}

// Filters show what they say and nothing else, as JSON too.
func TestTapCommandFilters(t *testing.T) {
	t.Parallel()
	c := startCommandCluster(t)
	c.give(t, 0, "ann", "cellar")
	c.give(t, 1, "bob", "room")
	g1, g2 := c.gateways[:1], c.gateways[1:]
	client := tap(t, c, g1, "--client", c.ids[0], "--json", "--count", "3")
	uid := tap(t, c, g1, "--uid", "ann", "--kind", "in")
	group := tap(t, c, g2, "--group", "room", "--gateway", "g2")
	workers := tap(t, c, g2, "--worker-group", "default", "--gateway", "g2")
	// Each is asked until what it follows is mirrored, which begins within a second.
	must(t, testbed.Poll(soon(t), func() error {
		echoes(t, c.clients[0], "from ann")
		echoes(t, c.clients[1], "from room")
		if !strings.Contains(client.Stdout(), "from ann") || !strings.Contains(uid.Stdout(), "from ann") ||
			!strings.Contains(group.Stdout(), "from room") || !strings.Contains(workers.Stdout(), "from room") {
			return errNotYet
		}
		return nil
	}))
	command(t, c.Cluster, "", "push", "group", "room", "to the room").is(0, "pushed to 1 client\n")
	reads(t, c.clients[1], "to the room")
	sees(t, group, `g2 +push +group room +text +11  to the room$`, `g2 +out +`+c.ids[1]+` +text +11  to the room$`)
	exits(t, client, 0) // by its count
	for _, tapped := range []struct {
		p     *testbed.Process
		lacks []string
	}{
		{client, []string{"room"}},
		{uid, []string{"room", " out "}},
		{group, []string{"ann"}},
		{workers, []string{"ann", " out ", " push "}},
	} {
		for _, text := range tapped.lacks {
			if out := tapped.p.Stdout(); strings.Contains(out, text) {
				t.Errorf("%v shows %q:\n%s", tapped.p.Spec.Args, text, out)
			}
		}
	}
	lines := strings.Split(strings.TrimSpace(client.Stdout()), "\n")
	if len(lines) != 3 {
		t.Errorf("after --count 3 there are %d lines", len(lines))
	}
	for _, line := range lines {
		var l struct{ Time, Gateway, Way, Kind, Client, Text string }
		must(t, json.Unmarshal([]byte(line), &l))
		if l.Gateway != "g1" || l.Client != c.ids[0] || l.Text != "from ann" || l.Kind != "text" || l.Way != "in" && l.Way != "out" || l.Time == "" {
			t.Errorf("%s", line)
		}
	}
	for _, p := range []*testbed.Process{uid, group, workers} {
		must(t, p.Signal(syscall.SIGTERM))
		exits(t, p, 0)
	}
}

// What gateways do not mirror is said, and so is why nothing can be seen.
func TestTapCommandSays(t *testing.T) {
	t.Parallel()
	cluster := testbed.NewCluster(t, 1, "secret="+clusterSecret)
	r, w := cluster.Register(0), cluster.Worker("w1")
	g := cluster.Gateway("g1", "gateway.tap.rate=1", "gateway.tap.payloads=false")
	must(t, testbed.WaitReady(soon(t), r, w, g))
	c := &commandCluster{Cluster: cluster}
	p := tap(t, c, []*testbed.Process{g}, "--kind", "in")
	ws := dial(t, ws(t, g))
	for range 5 {
		echoes(t, ws, "secret words")
	}
	sees(t, p, `g1 +in .* \(hidden\)$`, `--- g1 has mirrored \d+ messages fewer`)
	if strings.Contains(p.Stdout(), "words") {
		t.Errorf("payloads are hidden, and it shows\n%s", p.Stdout())
	}
	command(t, cluster, "", "tap", "--for", "10ms", "--kind", "push").is(0, "")
	command(t, cluster, "", "tap", "--client", "x").is(2, "").says("--client")
	wrong := testbed.Start(t, testbed.Spec{
		Args: []string{"tap", "--timeout", "300ms"},
		Env:  []string{"GATEBUS_SECRET=another-secret-than-that", "GATEBUS_REGISTERS=" + cluster.URLs()},
	})
	exits(t, wrong, 1)
	says(t, wrong, "Authorization")
	r.Kill()
	_, err := p.WaitLog(soon(t), "tap: no register: .*; trying on")
	must(t, err)
	r.Again()
	_, err = p.WaitLog(soon(t), "tap: a register is there again")
	must(t, err)
}
