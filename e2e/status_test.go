package e2e_test

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/nats-io/nats.go"

	"github.com/gatebus/gatebus/internal/status"
	"github.com/gatebus/gatebus/internal/testbed"
	"github.com/gatebus/gatebus/register"
)

// statusOf runs gatebus status on a cluster until it ends.
func statusOf(t *testing.T, c *testbed.Cluster, code int, args ...string) *testbed.Process {
	t.Helper()
	args = append([]string{"status", "--registers", c.URLs(), "--interval", "200ms"}, args...)
	for _, kv := range c.Set {
		args = append(args, "--set", kv)
	}
	p := testbed.Start(t, testbed.Spec{Name: "status", Args: args})
	exits(t, p, code)
	return p
}

func report(t *testing.T, line string) (r status.Report) {
	t.Helper()
	if err := json.Unmarshal([]byte(line), &r); err != nil {
		t.Fatalf("%v: %s", err, line)
	}
	return r
}

// statusCluster is two registers, two gateways and two workers, all joined and linked.
func statusCluster(t *testing.T, set ...string) (c *testbed.Cluster, registers, gateways, workers []*testbed.Process) {
	t.Helper()
	c = testbed.NewCluster(t, 2, set...)
	registers = []*testbed.Process{c.Register(0), c.Register(1)}
	gateways = []*testbed.Process{c.Gateway("g1"), c.Gateway("g2")}
	workers = []*testbed.Process{c.Worker("w1"), c.Worker("w2")}
	must(t, testbed.WaitReady(soon(t), slices.Concat(registers, gateways, workers)...))
	for _, w := range workers {
		must(t, testbed.Poll(soon(t), func() error {
			s, err := w.Stats(t.Context())
			if err == nil && s.Worker.Links != 2 {
				err = errNotYet
			}
			return err
		}))
	}
	return c, registers, gateways, workers
}

func TestStatusShowsTheCluster(t *testing.T) {
	t.Parallel()
	c, _, gateways, _ := statusCluster(t, "secret=a secret of this test alone")
	load := testbed.StartLoad(t, 20, testbed.Numbered{Every: 2 * time.Millisecond}, ws(t, gateways[0]), ws(t, gateways[1]))
	must(t, load.WaitAnswered(soon(t), 2000))

	// Between the two looks everybody has done something, on a machine that lets it.
	var r status.Report
	must(t, testbed.Poll(soon(t), func() error {
		r = report(t, statusOf(t, c, 0, "--json").Stdout())
		for _, g := range r.Gateways {
			if *g.CPU <= 0 || *g.FramesIn <= 0 || *g.FramesOut <= 0 || g.Latency == nil {
				return errNotYet
			}
		}
		for _, w := range r.Workers {
			if *w.Events <= 0 || w.Latency == nil {
				return errNotYet
			}
		}
		return nil
	}))
	if len(r.Registers) != 2 || len(r.Gateways) != 2 || len(r.Workers) != 2 || len(r.Links) != 4 {
		t.Fatalf("%d registers, %d gateways, %d workers, %d links", len(r.Registers), len(r.Gateways), len(r.Workers), len(r.Links))
	}
	if r.Total.Connections != 20 || r.Total.Silent != 0 || *r.Total.FramesIn < 100 || r.Total.Latency == nil {
		t.Errorf("in all: %+v", r.Total)
	}
	for _, m := range r.Registers {
		if *m.Members != 6 || *m.Routes == 0 || *m.Connections < 1 || *m.Uptime <= 0 {
			t.Errorf("%s: %d members, %d routes, %d connections, up %v s", m.Name, *m.Members, *m.Routes, *m.Connections, *m.Uptime)
		}
	}
	if *r.Registers[0].Leads == *r.Registers[1].Leads {
		t.Error("not one register leads")
	}
	for _, g := range r.Gateways {
		if *g.Connections != 10 || g.Workers["default"] != 2 || *g.Memory < 1<<20 || g.Version == "" || *g.Redelivered != 0 {
			t.Errorf("gateway %+v", g)
		}
	}
	for _, w := range r.Workers {
		if *w.Up != 2 || w.Group != "default" || *w.Failed != 0 {
			t.Errorf("worker %+v", w)
		}
	}
	for _, l := range r.Links {
		if l.State != status.LinkUp {
			t.Errorf("%+v", l)
		}
	}

	text := statusOf(t, c, 0).Stdout()
	for _, want := range []string{"2 registers, 2 gateways, 2 workers; 20 clients;", "\nREGISTER ", "\nGATEWAY ", "\nWORKER ", "4 of 4 links up", "leads"} {
		if !strings.Contains(text, want) {
			t.Errorf("it lacks %q:\n%s", want, text)
		}
	}
	for line := range strings.Lines(text) {
		if n := utf8.RuneCountInString(line); n > 101 || strings.Contains(line, "\x1b") {
			t.Errorf("%d columns: %q", n, line)
		}
	}
	_, err := load.Finish(soon(t))
	must(t, err)
}

// pretend keeps a member on the registers that does not live, until stop is called.
func pretend(t *testing.T, nc *nats.Conn, m register.Member) (stop func()) {
	t.Helper()
	data, err := json.Marshal(m)
	must(t, err)
	announce := func() { nc.Publish("reg.announce."+string(m.Role), data) }
	announce()
	tick, end, done := time.NewTicker(register.Heartbeat/2), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-tick.C:
				announce()
			case <-end:
				return
			}
		}
	}()
	var once sync.Once
	stop = func() { once.Do(func() { tick.Stop(); close(end); <-done }) }
	t.Cleanup(stop)
	return stop
}

// Who does not answer is shown as such, beside the others.
func TestStatusShowsWhoIsSilent(t *testing.T) {
	t.Parallel()
	c, registers, _, _ := statusCluster(t)
	nc := connect(t, "nats://"+c.Registers[1])
	frozen, err := nc.SubscribeSync("reg.stats.worker.frozen") // takes the question, and says nothing
	must(t, err)
	defer frozen.Unsubscribe()
	thaw := pretend(t, nc, register.Member{Role: register.RoleWorker, Name: "frozen", Epoch: 1, Address: "nowhere"})
	bury := pretend(t, nc, register.Member{Role: register.RoleGateway, Name: "dead", Epoch: 1, Address: testbed.MustFreeAddr(t, testbed.Host(9))})
	var r status.Report
	must(t, testbed.Poll(soon(t), func() error { // until the register knows of them, and the workers
		p := testbed.Start(t, testbed.Spec{Name: "status", Args: []string{"status", "--json", "--registers", c.URLs(), "--interval", "100ms"}})
		if code := exitCode(t, p); code != 1 {
			return fmt.Errorf("%w: exit code %d", errNotYet, code)
		}
		if r = report(t, p.Stdout()); r.Total.Silent != 2 || len(r.Links) != 6 {
			return errNotYet
		}
		return nil
	}))
	for _, g := range r.Gateways {
		if (g.Name == "dead") != (g.Error == "nobody answers for it") || (g.Error == "") != (g.Connections != nil) {
			t.Errorf("%+v", g)
		}
	}
	for _, l := range r.Links {
		if (l.State == status.LinkUp) == (l.Gateway == "dead") {
			t.Errorf("%+v", l)
		}
	}
	p := statusOf(t, c, 1)
	for _, want := range []string{
		"; 2 members do not answer", "\ndead ", "does not answer: nobody answers for it", "\nfrozen ", "does not answer: no answer in 1s",
		"4 of 6 links up", "\nw1    dead  ",
	} {
		if !strings.Contains(p.Stdout(), want) {
			t.Errorf("it lacks %q:\n%s", want, p.Stdout())
		}
	}
	says(t, p, "members that do not answer: 2")

	// One register is enough.
	registers[0].Kill()
	r = report(t, statusOf(t, c, 1, "--json").Stdout())
	if r.Register != "r2" || len(r.Workers) != 3 || r.Total.Connections != 0 {
		t.Errorf("with one register: %+v", r)
	}
	// In time they are off the list, and all is well.
	thaw()
	bury()
	must(t, testbed.Poll(soon(t), func() error {
		p := testbed.Start(t, testbed.Spec{Name: "status", Args: []string{"status", "--registers", c.URLs(), "--interval", "100ms"}})
		if exitCode(t, p) != 0 {
			return fmt.Errorf("%w: %s", errNotYet, p.Stdout())
		}
		return nil
	}))
}

func exitCode(t *testing.T, p *testbed.Process) int {
	t.Helper()
	exit, err := p.Wait(soon(t))
	must(t, err)
	return exit.Code
}

func TestStatusWatches(t *testing.T) {
	t.Parallel()
	c := testbed.NewCluster(t, 1)
	r := c.Register(0)
	must(t, r.WaitReady(soon(t)))
	for _, args := range [][]string{nil, {"--json"}} {
		p := testbed.Start(t, testbed.Spec{
			Name: "status", Args: append([]string{"status", "--watch", "--interval", "100ms", "--registers", c.URLs()}, args...),
		})
		pictures := func() int {
			if args != nil {
				return strings.Count(p.Stdout(), "\n")
			}
			return strings.Count(p.Stdout(), "1 register, 0 gateways")
		}
		must(t, testbed.Poll(soon(t), func() error {
			if pictures() < 3 {
				return errNotYet
			}
			return nil
		}))
		must(t, p.Signal(os.Interrupt))
		exits(t, p, 0)
		if strings.Contains(p.Stdout(), "\x1b") {
			t.Errorf("to a pipe it writes for a terminal: %q", p.Stdout())
		}
		if args != nil {
			for line := range strings.Lines(p.Stdout()) {
				report(t, line)
			}
		}
	}
	// A register that goes is waited for.
	p := testbed.Start(t, testbed.Spec{
		Name: "status", Args: []string{"status", "--watch", "--interval", "100ms", "--timeout", "300ms", "--registers", c.URLs()},
	})
	await := func(text string) {
		t.Helper()
		n := strings.Count(p.Stdout(), text)
		must(t, testbed.Poll(soon(t), func() error {
			if strings.Count(p.Stdout(), text) <= n {
				return errNotYet
			}
			return nil
		}))
	}
	await("1 register,")
	r.Kill()
	await("no register has answered in 300ms")
	r.Again()
	await("1 register,")
	must(t, p.Signal(syscall.SIGTERM))
	exits(t, p, 0)
}

func TestStatusFailures(t *testing.T) {
	t.Parallel()
	c := testbed.NewCluster(t, 0, "secret=a secret of this test alone") // nobody is there
	says(t, statusOf(t, c, 1, "--timeout", "300ms"), "no register has answered in 300ms: "+c.URLs())
	register := c.Register(0)
	must(t, register.WaitReady(soon(t)))
	other := *c
	other.Set = []string{"secret=another secret than the one"}
	says(t, statusOf(t, &other, 1, "--timeout", "1s"), "Authorization Violation")
	says(t, statusOf(t, c, 2, "--interval", "1ms"), "--interval 1ms is too short")
	says(t, statusOf(t, c, 2, "--registers", "http://x"), "registers")
	says(t, statusOf(t, c, 2, "--nonsense"), "nonsense")
}

// The official command shows the members too.
func TestNatsMicro(t *testing.T) {
	t.Parallel()
	c, _, _, _ := statusCluster(t)
	server := "nats://" + c.Registers[0]
	ls := natsCommand(t, "micro", "ls", "-s", server)
	exits(t, ls, 0)
	for _, m := range []string{"register r1", "register r2", "gateway g1", "gateway g2", "worker w1", "worker w2"} {
		if !strings.Contains(ls.Stdout(), "gatebus "+m) {
			t.Errorf("nats micro ls does not show the %s:\n%s", m, ls.Stdout())
		}
	}
	info := natsCommand(t, "micro", "info", "gatebus-gateway", "-s", server)
	exits(t, info, 0)
	if !strings.Contains(info.Stdout(), "reg.stats.gateway.") {
		t.Errorf("nats micro info:\n%s", info.Stdout())
	}
	stats := natsCommand(t, "micro", "stats", "gatebus-worker", "-s", server, "--json")
	exits(t, stats, 0)
	if !strings.Contains(stats.Stdout(), "handler_latency") {
		t.Errorf("nats micro stats:\n%s", stats.Stdout())
	}
}
