package e2e_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/gatebus/gatebus/configs"
	"github.com/gatebus/gatebus/internal/testbed"
)

// todpoleFile writes the file of one of the four hosts of the Todpole example.
func todpoleFile(t *testing.T, host int) string {
	t.Helper()
	name := fmt.Sprintf("host%d.yaml", host)
	data, ok := configs.Sample("todpole/" + name)
	if !ok {
		t.Fatalf("there is no sample todpole/%s", name)
	}
	path := filepath.Join(t.TempDir(), name)
	must(t, os.WriteFile(path, data, 0o600))
	return path
}

func TestTodpoleFilesAreRightAsTheyAre(t *testing.T) {
	t.Parallel()
	for host := 1; host <= 4; host++ {
		p := testbed.Start(t, testbed.Spec{Args: []string{"config", "check", "-c", todpoleFile(t, host)}})
		exits(t, p, 0)
	}
}

// todpole is the four hosts, each a process from its own file. Only the
// addresses are others, so that the default ones may be in use, and the
// handler.
type todpole struct {
	t                      *testing.T
	registers, routes      []string
	host1, host2           *testbed.Process // register and gateway
	host3, host4           *testbed.Process // worker
	gateways, workers, all []*testbed.Process
}

func startTodpole(t *testing.T) *todpole {
	t.Helper()
	d := &todpole{t: t}
	for n := 1; n <= 2; n++ {
		d.registers = append(d.registers, testbed.MustFreeAddr(t, testbed.Host(n)))
		d.routes = append(d.routes, testbed.MustFreeAddr(t, testbed.Host(n)))
	}
	d.host1, d.host2 = d.front(1), d.front(2)
	d.host3, d.host4 = d.worker(3), d.worker(4)
	d.gateways = []*testbed.Process{d.host1, d.host2}
	d.workers = []*testbed.Process{d.host3, d.host4}
	d.all = append(append(d.all, d.gateways...), d.workers...)
	must(t, testbed.WaitReady(soon(t), d.all...))
	d.linked()
	return d
}

// linked waits until each worker has a link to each gateway.
func (d *todpole) linked() {
	d.t.Helper()
	for _, w := range d.workers {
		must(d.t, awaitLinks(d.t, w, len(d.gateways)))
	}
}

func awaitLinks(t *testing.T, w *testbed.Process, n int) error {
	t.Helper()
	ctx := soon(t)
	return testbed.Poll(ctx, func() error {
		s, err := w.Stats(ctx)
		if err == nil && s.Worker.Links != n {
			err = fmt.Errorf("%s has %d links, want %d", w.Name, s.Worker.Links, n)
		}
		return err
	})
}

func (d *todpole) run(host int, set ...string) *testbed.Process {
	d.t.Helper()
	args := []string{"run", "-c", todpoleFile(d.t, host)}
	set = append(set,
		"registers="+strings.Join(d.registers, ","), "secret="+testbed.Secret,
		"admin.listen="+testbed.MustFreeAddr(d.t, testbed.Host(host)))
	for _, kv := range set {
		args = append(args, "--set", kv)
	}
	return testbed.Start(d.t, testbed.Spec{Name: fmt.Sprintf("host%d", host), Args: args})
}

func (d *todpole) front(host int) *testbed.Process {
	d.t.Helper()
	return d.run(host,
		"register.listen="+d.registers[host-1],
		"register.cluster.listen="+d.routes[host-1],
		"register.cluster.routes="+strings.Join(d.routes, ","),
		"gateway.listen="+testbed.MustFreeAddr(d.t, testbed.Host(host)),
		"gateway.bus.listen="+testbed.MustFreeAddr(d.t, testbed.Host(host)),
		"gateway.drain=500ms",
		"gateway.close_timeout=500ms") // when all stop at once, close events wait in vain for a worker
}

func (d *todpole) worker(host int, set ...string) *testbed.Process {
	d.t.Helper()
	return d.run(host, append([]string{"worker.handler.type=echo"}, set...)...)
}

func (d *todpole) urls() []string { return []string{ws(d.t, d.host1), ws(d.t, d.host2)} }

// steady is a load that leaves the machine room to breathe.
var steady = testbed.Numbered{Window: 2, Every: 10 * time.Millisecond, Size: 128}

const steadyClients = 40

func TestFourHostsFromTheirFiles(t *testing.T) {
	d := startTodpole(t)

	t.Run("clients on both gateways", func(t *testing.T) {
		for _, url := range d.urls() {
			echoes(t, dial(t, url), "hello")
		}
	})

	t.Run("a third worker takes its share", func(t *testing.T) {
		load := testbed.StartLoad(t, steadyClients, steady, d.urls()...)
		must(t, load.WaitMore(soon(t), 10*steadyClients))

		// It has a second from when it is up, which its readiness is part of:
		// then each gateway has it in the queue group.
		for _, r := range d.registers {
			knowsAll(t, "nats://"+r, "gateway g1", "gateway g2", "register r1", "register r2", "worker w3", "worker w4")
		}
		w := d.worker(4, "worker.name=w5")
		addr(t, w, "admin")
		up := time.Now()
		must(t, w.WaitReady(soon(t)))
		ready := time.Since(up)
		must(t, awaitLinks(t, w, 2))
		linked := time.Since(up)
		t.Logf("third worker: ready after %v, serves both gateways after %v", ready.Round(time.Millisecond), linked.Round(time.Millisecond))
		if linked > time.Second {
			t.Errorf("the third worker served both gateways only after %v", linked)
		}
		// Its share is a third, in the mean.
		const frames = 1000
		before, answered := workerStats(t, w).Handled, load.Answered()
		must(t, load.WaitMore(soon(t), frames))
		handled, all := workerStats(t, w).Handled-before, load.Answered()-answered
		t.Logf("third worker: %d of %d events", handled, all)
		if share := float64(handled) / float64(all); share < 0.2 {
			t.Errorf("the third worker handled %d events of %d, want about a third", handled, all)
		}

		must(t, w.Signal(sigterm))
		exits(t, w, 0)
		_, err := load.Finish(soon(t))
		must(t, err)
	})

	t.Run("stopped workers lose nothing", func(t *testing.T) {
		before := d.stats()
		load := testbed.StartLoad(t, steadyClients, testbed.Numbered{Window: 4, Size: 128}, d.urls()...)
		must(t, load.WaitMore(soon(t), 20*steadyClients))
		for range 3 { // as in a rolling restart
			if s := workerStats(t, d.host4); s.Handled == 0 {
				t.Error("the worker to be stopped had nothing to do")
			}
			must(t, d.host4.Signal(sigterm))
			exits(t, d.host4, 0)
			must(t, load.WaitMore(soon(t), 10*steadyClients))
			d.host4 = d.host4.Again()
			must(t, awaitLinks(t, d.host4, 2))
			must(t, load.WaitMore(soon(t), 10*steadyClients))
		}
		total, err := load.Finish(soon(t))
		must(t, err)
		if total.Connects != steadyClients || total.Sent != total.Answered {
			t.Errorf("%+v", total)
		}
		after := d.stats()
		if n := after.redelivered - before.redelivered; n != 0 {
			t.Errorf("%d events were given out again for workers that left orderly", n)
		}
		if n := after.late - before.late; n != 0 {
			t.Errorf("%d answers came late", n)
		}
		t.Logf("%d frames, slowest answer %v", total.Answered, total.Slowest.Round(time.Millisecond))
	})

	t.Run("all stop orderly at once", func(t *testing.T) {
		clients := testbed.StartLoad(t, 10, testbed.Numbered{Every: 10 * time.Millisecond, Closes: []int{1012}}, d.urls()...)
		must(t, clients.WaitAnswered(soon(t), 50))
		hosts := []*testbed.Process{d.host1, d.host2, d.host3, d.host4}
		for _, p := range hosts {
			must(t, p.Signal(sigterm))
		}
		for _, p := range hosts {
			exits(t, p, 0)
		}
		total, err := clients.Wait(soon(t))
		must(t, err)
		if total.Closes[1012] != 10 {
			t.Errorf("clients were closed with %v, want all with 1012", total.Closes)
		}
	})
}

// figures are those of both gateways together.
type figures struct{ redelivered, late int64 }

func (d *todpole) stats() (f figures) {
	d.t.Helper()
	for _, g := range d.gateways {
		s := gatewayStats(d.t, g)
		f.redelivered += s.Redelivery
		f.late += s.LateReply
	}
	return f
}

func TestRegistersLostAndBack(t *testing.T) {
	t.Parallel()
	cluster := testbed.NewCluster(t, 2)
	r1, r2 := cluster.Register(0), cluster.Register(1)
	g1, g2 := cluster.Gateway("g1"), cluster.Gateway("g2")
	w1, w2 := cluster.Worker("w1"), cluster.Worker("w2")
	must(t, testbed.WaitReady(soon(t), r1, r2, g1, g2, w1, w2))
	must(t, awaitLinks(t, w1, 2))
	must(t, awaitLinks(t, w2, 2))
	urls := []string{ws(t, g1), ws(t, g2)}

	load := testbed.StartLoad(t, steadyClients, testbed.Numbered{Every: 20 * time.Millisecond}, urls...)
	must(t, load.WaitMore(soon(t), 5*steadyClients))
	r1.Kill()
	r2.Kill()
	must(t, load.WaitMore(soon(t), 5*steadyClients))

	// Longer than any lease: nobody is forgotten because nobody can ask.
	why, err := g1.WaitUnready(soon(t))
	must(t, err)
	if !strings.Contains(why, "register") {
		t.Errorf("readyz says %s, and nothing of a register", why)
	}
	_, err = g1.WaitLog(soon(t), `level=WARN .*no register can be reached.*`+cluster.Registers[0])
	must(t, err)
	must(t, load.WaitMore(soon(t), 5*steadyClients))
	for _, url := range urls { // new clients come in as well
		echoes(t, dial(t, url), "anybody there?")
	}
	must(t, awaitLinks(t, w1, 2))
	must(t, awaitLinks(t, w2, 2))

	r1, r2 = r1.Again(), r2.Again()
	must(t, testbed.WaitReady(soon(t), r1, r2, g1, g2, w1, w2))
	for _, r := range cluster.Registers {
		knowsAll(t, "nats://"+r, "gateway g1", "gateway g2", "register r1", "register r2", "worker w1", "worker w2")
	}
	must(t, load.WaitMore(soon(t), 5*steadyClients))
	total, err := load.Finish(soon(t))
	must(t, err)
	if total.Connects != steadyClients || total.Sent != total.Answered {
		t.Errorf("%+v", total)
	}
	for _, g := range []*testbed.Process{g1, g2} {
		if s := gatewayStats(t, g); s.Redelivery != 0 || s.LateReply != 0 {
			t.Errorf("gateway %s: %d redeliveries, %d late replies; want none", g.Name, s.Redelivery, s.LateReply)
		}
	}

	// And what the registers are for works again: a new worker finds its way.
	w3 := cluster.Worker("w3")
	must(t, w3.WaitReady(soon(t)))
	must(t, awaitLinks(t, w3, 2))
}

// knowsAll waits until a register names exactly these members, in order of role
// and name.
func knowsAll(t *testing.T, url string, want ...string) {
	t.Helper()
	nc := connect(t, url)
	must(t, testbed.Poll(soon(t), func() error {
		m, err := nc.Request("reg.members", nil, time.Second)
		if err != nil {
			return fmt.Errorf("reg.members on %s: %w", url, noResponders(err))
		}
		var list struct {
			Register string
			Members  []struct{ Role, Name string }
		}
		if err := json.Unmarshal(m.Data, &list); err != nil {
			return err
		}
		var have []string
		for _, m := range list.Members {
			have = append(have, m.Role+" "+m.Name)
		}
		if strings.Join(have, ", ") != strings.Join(want, ", ") {
			return fmt.Errorf("register %s knows %v, want %v", list.Register, have, want)
		}
		return nil
	}))
}

// noResponders gives the commonest error its meaning here.
func noResponders(err error) error {
	if err == nats.ErrNoResponders {
		return fmt.Errorf("%w: no register knows enough yet", err)
	}
	return err
}
