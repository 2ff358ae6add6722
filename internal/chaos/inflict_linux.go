package chaos

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/gatebus/gatebus/internal/chaos/ledger"
	"github.com/gatebus/gatebus/internal/testbed"
)

// inflictor carries out a schedule.
type inflictor struct {
	cluster *cluster
	history *history
	disk    *disk
	dir     string
	logf    func(string, ...any)
}

// run carries out all faults at their times. When ctx ends, those that go on are
// healed and the others left out. An error is one of the harness.
func (i *inflictor) run(ctx context.Context, plan []Fault) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		errs []error
	)
	start := time.Now()
	for _, f := range plan {
		if !wait(ctx, time.Until(start.Add(f.At))) {
			break
		}
		wg.Go(func() {
			if err := i.one(ctx, f); err != nil {
				mu.Lock()
				errs = append(errs, fmt.Errorf("%v: %w", f, err))
				mu.Unlock()
				fail(err)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// wait waits; false if ctx has ended.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// one carries out one fault from its beginning to its end.
func (i *inflictor) one(ctx context.Context, f Fault) error {
	e := i.history.faultBegins(f)
	i.logf("%8.3fs begins: %v", i.history.since(e.began).Seconds(), f)
	heal, err := i.begin(ctx, f)
	if err != nil {
		return err
	}
	if f.Kind != RollingRestart {
		wait(ctx, f.For-(ledger.Clock()-e.began))
	}
	err = heal()
	i.history.faultEnds(e)
	i.logf("%8.3fs    ends: %v", i.history.since(ledger.Clock()).Seconds(), f)
	return err
}

// begin does what the fault does, and returns what undoes it.
func (i *inflictor) begin(ctx context.Context, f Fault) (heal func() error, err error) {
	c := i.cluster
	switch f.Kind {
	case KillWorker, KillGateway, KillRegister, KillAllWorkers, KillRegisters:
		return i.end(f, (*node).kill)
	case StopWorker, StopGateway, StopRegister:
		return i.end(f, (*node).stop)
	case FreezeWorker, FreezeGateway, FreezeRegister:
		n := c.node(f.Targets[0])
		n.busy.Lock()
		return func() error { defer n.busy.Unlock(); return n.signal(syscall.SIGCONT) }, n.signal(syscall.SIGSTOP)
	case RollingRestart:
		return func() error { return nil }, i.rollingRestart(ctx)
	case CutHosts, LosePackets, IsolateWorker:
		return c.net.lose(i.cut(f))
	case DelayClients, DelayBus:
		p := c.proxy(f)
		p.delay(time.Duration(f.Amount) * time.Millisecond)
		return func() error { p.delay(0); return nil }, nil
	case ThrottleClients, ThrottleBus:
		p := c.proxy(f)
		p.throttle(f.Amount << 10)
		return func() error { p.throttle(0); return nil }, nil
	case HalfOpen:
		p := c.door(f.Targets[0]).fragile
		p.die()
		return func() error { p.revive(); return nil }, nil
	case FillDisk:
		return i.disk.clear, i.disk.fill()
	case StepClock:
		file := clockFile(i.dir, f.Targets[0])
		return func() error { return setClock(file, 0) }, setClock(file, f.Amount)
	}
	return nil, fmt.Errorf("chaos: %s is no kind of fault", f.Kind)
}

// end ends processes; they are started again at the end of the fault.
func (i *inflictor) end(f Fault, end func(*node)) (heal func() error, _ error) {
	var wg sync.WaitGroup
	for _, t := range f.Targets {
		n := i.cluster.node(t)
		n.busy.Lock()
		wg.Go(func() { end(n) })
	}
	wg.Wait()
	return func() error {
		var errs []error
		for _, t := range f.Targets {
			n := i.cluster.node(t)
			errs = append(errs, n.start())
			n.busy.Unlock()
		}
		return errors.Join(errs...)
	}, nil
}

// rollingRestart restarts all processes, one after the other, each when the one
// before does its work again.
func (i *inflictor) rollingRestart(ctx context.Context) error {
	for _, n := range i.cluster.nodes {
		if ctx.Err() != nil {
			return nil
		}
		if err := i.restart(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

func (i *inflictor) restart(ctx context.Context, n *node) error {
	n.busy.Lock()
	defer n.busy.Unlock()
	n.stop()
	if err := n.start(); err != nil {
		return err
	}
	soon, cancel := context.WithTimeoutCause(ctx, readyPatience, fmt.Errorf("not within %v", readyPatience))
	defer cancel()
	if err := testbed.Poll(soon, func() error { return i.cluster.works(soon, n) }); err != nil && ctx.Err() == nil {
		i.history.violated(ledger.Ended, n.name, "restarted, it does not work: %v", err)
	}
	return nil
}

// cut is what the fault does to the network. The way from workers to a bus behind
// a proxy is that to the proxy.
func (i *inflictor) cut(f Fault) cut {
	c := cut{a: f.Targets[0], percent: 100}
	if f.Kind == LosePackets {
		c.percent = f.Amount
	}
	if len(f.Targets) > 1 {
		c.b = f.Targets[1]
		last := i.cluster.doors[len(i.cluster.doors)-1].name
		if c.a[0] == 'w' && c.b == last {
			c.b = Clients
		}
	}
	return c
}

// clockFile is the file that a process takes its clock's error from.
func clockFile(dir, name string) string { return filepath.Join(dir, "clocks", name) }

// setClock has the process's clock be wrong by so many seconds.
func setClock(file string, seconds int) error {
	next := file + ".next"
	if err := os.WriteFile(next, []byte(strconv.Itoa(seconds)), 0o600); err != nil {
		return fmt.Errorf("chaos: set a clock: %w", err)
	}
	return os.Rename(next, file)
}
