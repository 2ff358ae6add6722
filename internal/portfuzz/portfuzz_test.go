package portfuzz

import (
	"bytes"
	"context"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/internal/keys"
	"github.com/gatebus/gatebus/internal/testbed"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(testbed.Main(m)) }

// TestPorts is a run of a few seconds over all ports. "just fuzz-ports" is the long one.
func TestPorts(t *testing.T) {
	t.Parallel()
	cfg := DefaultConfig()
	cfg.Seed, cfg.Length, cfg.Patience, cfg.Logf = 6, 2*time.Second, testbed.Patience, t.Logf
	report, err := Run(t.Context(), t, cfg)
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	report.Write(&text)
	t.Log(&text)
	if !report.OK() {
		t.Error("somebody was harmed")
	}
	if report.Attempts < 100 || report.Frames < 100 || report.Asked < 10 || len(report.Unheard) > 0 || len(report.Rests) != 3 {
		t.Errorf("too little has happened: %+v", report)
	}
}

// fake is a stage that is not there.
func fake(t *testing.T) *stage {
	t.Helper()
	k, err := keys.Derive("of the tests of the harness")
	if err != nil {
		t.Fatal(err)
	}
	s := &stage{token: "token", keys: k, admins: map[string]string{"api": ""}}
	for _, protocol := range []string{"websocket", "text", "frame", "raw"} {
		s.doors = append(s.doors, door{name: "front/" + protocol, protocol: protocol, proxied: true, tls: true, paths: []string{"/"}})
	}
	s.nats = []natsPort{{name: "r1", roles: keys.Roles()}, {name: "front-bus", gateway: front, roles: keys.Roles()}, {name: "wild-bus", gateway: wild, roles: keys.Roles()}}
	s.routes = []natsPort{{name: "r1-routes"}}
	return s
}

// What is said follows from the seed, the actor and the number, and from nothing else; and
// it is not always the same, not always nothing, and never too much.
func TestAttemptsReplay(t *testing.T) {
	const attempts = 100
	all, again := fake(t).actors(nil), fake(t).actors(nil)
	if len(all) < 30 {
		t.Fatalf("%d actors", len(all))
	}
	for i, a := range all {
		j := slices.IndexFunc(again, func(b *actor) bool { return b.name == a.name })
		different, said := map[string]bool{}, 0
		for n := range uint64(attempts) {
			b := a.say(newDice(1, a.name, n), &talk{})
			if !bytes.Equal(b, again[j].say(newDice(1, a.name, n), &talk{})) {
				t.Fatalf("%s#%d says something else the second time", a.name, n)
			}
			if len(b) > maxSaid+32<<10 {
				t.Errorf("%s#%d says %d bytes", a.name, n, len(b))
			}
			different[string(b)] = true
			said += len(b)
		}
		if len(different) < attempts/2 || said < 10*attempts {
			t.Errorf("%s has %d different things to say, in all %d bytes", a.name, len(different), said)
		}
		other := a.say(newDice(2, a.name, 0), &talk{})
		if i == 0 && different[string(other)] {
			t.Errorf("%s says the same with another seed", a.name)
		}
	}
	if chosen := fake(t).actors([]string{"r1/", "front-bus/worker"}); len(chosen) != len(keys.Roles())+2 {
		t.Errorf("%d actors were chosen", len(chosen))
	}
}

// On front, nothing is about all clients, and nobody takes events that are not for the
// actors' own group.
func TestFrontIsSpared(t *testing.T) {
	about := 0
	for n := range uint64(20_000) {
		d := newDice(3, "spare", n)
		m := toGateway(d, of(d, front, bus.AllGateways, wild), natsLogin{id: 7})
		if harm.MatchString(m.subject) && !m.spares() {
			about++
		}
		for line := range strings.Lines(string(subscriptions(d, natsPort{gateway: front}, keys.RoleWorker))) {
			if f := strings.Fields(line); strings.HasPrefix(f[1], "gw.front.in.") && f[1] != "gw.front.in."+group+".*" {
				t.Fatalf("it subscribes to %s", f[1])
			}
		}
	}
	if about > 20 {
		t.Errorf("%d of 20,000 messages to front would be about all of its clients", about)
	}
}

// What a server says is taken apart into messages, wherever it is cut.
func TestTakeMessage(t *testing.T) {
	const said = "+OK\r\nPING\r\nMSG gw.front.in.fuzz.open 1 gw.front.out.front-1-1.1 2\r\n{}\r\n" +
		"HMSG gw.front.in.fuzz.text 1 reply 15 17\r\nNATS/1.0\r\na:b\r\nhi\r\nMSG x 1 0\r\n\r\n"
	for cut := range len(said) {
		var b []byte
		var got []string
		pings := 0
		for _, part := range []string{said[:cut], said[cut:]} {
			b = append(b, part...)
			for {
				m, p, rest, ok := takeMessage(b)
				pings, b = pings+p, rest
				if !ok {
					break
				}
				got = append(got, m.subject+" "+m.reply+" "+string(m.data))
			}
		}
		if want := "gw.front.in.fuzz.open gw.front.out.front-1-1.1 {}|gw.front.in.fuzz.text reply hi|x  "; strings.Join(got, "|") != want || pings != 1 {
			t.Fatalf("cut at %d: %q, %d pings", cut, got, pings)
		}
	}
}

// An actor is not held up by who reads nothing, or says nothing.
func TestAttemptIsBounded(t *testing.T) {
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a := &actor{name: "a", dial: tcp(l.Addr().String()), begin: upgraded("/"), say: func(dice, *talk) []byte { return make([]byte, maxSaid) }}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	began := time.Now()
	a.attempt(ctx, 1, 1)
	if took := time.Since(began); took > maxAttempt {
		t.Errorf("it took %v", took)
	}
}

// Whoever is harmed is told of, with what went on before.
func TestHarmIsTold(t *testing.T) {
	var said []string
	h := &hosting{
		stage: &stage{}, patience: 100 * time.Millisecond, recent: func() []string { return []string{"a#1"} },
		logf: func(format string, args ...any) { said = append(said, format) },
	}
	at := door{name: "gone", network: "unix", addr: "/nothing/here", protocol: "raw"}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	h.round(ctx, at, 1)
	if len(h.broken) != 1 || !strings.Contains(h.broken[0], "gone: a guest cannot connect") || len(said) != 2 {
		t.Errorf("%q, %q", h.broken, said)
	}
	was := Usage{Files: 10, Goroutines: 20, Live: 5 << 20, Resident: 40 << 20, Clients: 9}
	if what := grown(was, was); what != "" {
		t.Error(what)
	}
	for _, u := range []Usage{
		{Files: 10 + moreFiles + 1}, {Goroutines: 20 + moreGoroutines + 1}, {Clients: 9 + moreFiles + 1},
		{Live: was.Live + raceTimes*moreLive + 1}, {Resident: was.Resident + raceTimes*moreResident + 1},
	} {
		if grown(was, u) == "" {
			t.Errorf("%+v is no growth over %+v", u, was)
		}
	}
}

// The directory of the logs has them after the first fault.
func TestLogsAreKept(t *testing.T) {
	t.Parallel()
	p := testbed.Start(t, testbed.Spec{Name: "version", Args: []string{"version"}})
	<-p.Done()
	dir := t.TempDir()
	h := &hosting{stage: &stage{processes: []*testbed.Process{p}}, logs: dir, recent: func() []string { return nil }, logf: t.Logf}
	h.harmed("x", "on purpose")
	if _, err := os.Stat(dir + "/version.log"); err != nil {
		t.Error(err)
	}
}
