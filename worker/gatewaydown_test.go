package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/bus/membus"
	"github.com/gatebus/gatebus/register"
)

// registerSelf is what the fixture's register says about itself.
var registerSelf = register.Member{Role: register.RoleRegister, Name: "r1", Epoch: 1, Address: "r1:4222"}

// downTime is longer than a dead gateway goes untold.
const downTime = register.Lease + 3*register.Heartbeat

// cleaner is a handler that is told of dead gateways.
type cleaner struct {
	HandlerFunc
	down func(ctx context.Context, d GatewayDown) error // nil: fine

	mu   sync.Mutex
	told []string
}

func (c *cleaner) GatewayDown(ctx context.Context, d GatewayDown) error {
	c.mu.Lock()
	c.told = append(c.told, fmt.Sprintf("%s-%d", d.Gateway, d.Epoch))
	c.mu.Unlock()
	if c.down == nil {
		return nil
	}
	return c.down(ctx, d)
}

func (c *cleaner) got() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := strings.Join(c.told, " ")
	c.told = nil
	return s
}

// downWorker is one more worker in a fixture.
type downWorker struct {
	*cleaner
	w     *Worker
	conn  *membus.Conn
	log   *strings.Builder
	leave func()
	err   error // of Run, after leave
}

// worker starts a worker of a group whose handler is told of dead gateways. It
// is linked to no gateway.
func (f *fixture) worker(name, group string, down func(context.Context, GatewayDown) error) *downWorker {
	f.t.Helper()
	d := &downWorker{cleaner: &cleaner{HandlerFunc: echoSlowly, down: down}, log: &strings.Builder{}, conn: f.registers.Connect()}
	w, err := New(Config{Name: name, Group: group, Drain: time.Minute, Log: slog.New(slog.NewTextHandler(d.log, nil))}, d.cleaner)
	if err != nil {
		f.t.Fatal(err)
	}
	w.dial = func(*link) (bus.Conn, error) { return nil, errors.New("not to be") }
	d.w = w
	stop := f.start(func(ctx context.Context) error { d.err = w.run(ctx, d.conn); return nil })
	d.leave = func() { stop(); d.conn.Close() }
	f.t.Cleanup(d.leave)
	synctest.Wait()
	return d
}

// inDownBubble has a register that is a member, and so acts.
func inDownBubble(t *testing.T, fn func(t *testing.T, f *fixture)) {
	inBubble(t, Config{Group: "linked"}, echoSlowly, func(t *testing.T, f *fixture) {
		conn := f.registers.Connect()
		client, err := register.NewClient(register.ClientConfig{Self: registerSelf})
		if err != nil {
			t.Fatal(err)
		}
		stop := f.start(func(ctx context.Context) error { return client.Run(ctx, conn) })
		defer func() { stop(); conn.Close() }()
		synctest.Wait()
		fn(t, f)
	})
}

func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestGatewayDown(t *testing.T) {
	inDownBubble(t, func(t *testing.T, f *fixture) {
		a1, a2, b := f.worker("a1", "a", nil), f.worker("a2", "a", nil), f.worker("b1", "b", nil)
		f.gateway("g1", 7).vanish()
		pass(5 * time.Minute)
		equal(t, "one of group a", a1.got()+a2.got(), "g1-7")
		equal(t, "one of group b", b.got(), "g1-7")
		equal(t, "counted", b.w.Stats().GatewaysDown, 1)

		f.gateway("g2", 8).leave()
		pass(5 * time.Minute)
		equal(t, "none of a goodbye", a1.got()+a2.got()+b.got(), "")
	})
}

// A handler may take long, and is asked once.
func TestGatewayDownSlow(t *testing.T) {
	inDownBubble(t, func(t *testing.T, f *fixture) {
		slow := func(context.Context, GatewayDown) error { time.Sleep(3 * time.Minute); return nil }
		a1, a2 := f.worker("a1", "a", slow), f.worker("a2", "a", slow)
		f.gateway("g1", 7).vanish()
		pass(time.Minute)
		equal(t, "at work", a1.w.Stats().Working+a2.w.Stats().Working, 1)
		pass(5 * time.Minute)
		equal(t, "told once", a1.got()+a2.got(), "g1-7")
		equal(t, "handled once", a1.w.Stats().GatewaysDown+a2.w.Stats().GatewaysDown, 1)
	})
}

func TestGatewayDownFails(t *testing.T) {
	for _, c := range []struct {
		name string
		fail func() error
	}{
		{"error", func() error { return errors.New("oops") }},
		{"panic", func() error { panic("oops") }},
		{"exit", func() error { runtime.Goexit(); return nil }},
	} {
		t.Run(c.name, func(t *testing.T) {
			inDownBubble(t, func(t *testing.T, f *fixture) {
				tries := 0
				d := f.worker("a1", "a", func(context.Context, GatewayDown) error {
					if tries++; tries <= 2 {
						return c.fail()
					}
					return nil
				})
				f.gateway("g1", 7).vanish()
				pass(5 * time.Minute)
				equal(t, "told", d.got(), "g1-7 g1-7 g1-7")
				equal(t, "failed", d.w.Stats().GatewaysDownFailed, 2)
				if !strings.Contains(d.log.String(), "handler failed over a dead gateway") {
					t.Error(d.log)
				}
			})
		})
	}
}

func TestGatewayDownFailsForEver(t *testing.T) {
	inDownBubble(t, func(t *testing.T, f *fixture) {
		d := f.worker("a1", "a", func(context.Context, GatewayDown) error { return errors.New("oops") })
		f.gateway("g1", 7).vanish()
		pass(40 * time.Minute)
		if n := d.w.Stats().GatewaysDown; n < 10 || n > 30 {
			t.Errorf("told %d times", n)
		}
	})
}

// A worker that dies while it is at it is followed by another one.
func TestGatewayDownWorkerDies(t *testing.T) {
	inDownBubble(t, func(t *testing.T, f *fixture) {
		release := make(chan struct{})
		defer close(release)
		hang := func(context.Context, GatewayDown) error { <-release; return nil }
		dies := f.worker("a1", "a", hang)
		f.gateway("g1", 7).vanish()
		pass(downTime)
		equal(t, "told", dies.got(), "g1-7")
		next := f.worker("a2", "a", nil)
		pass(time.Minute)
		equal(t, "while the first is at it", next.got(), "")
		dies.conn.Close()
		pass(time.Minute)
		equal(t, "then", next.got(), "g1-7")
	})
}

// A worker that still reaches the gateway says so: it is not down.
func TestGatewayDownVeto(t *testing.T) {
	inDownBubble(t, func(t *testing.T, f *fixture) {
		d := f.worker("a1", "a", nil)
		var gatewayBus membus.Bus
		d.w.dial = func(l *link) (bus.Conn, error) { l.status(true, nil); return gatewayBus.Connect(), nil }
		g := f.gateway("g1", 7)
		g.vanish()
		pass(65 * time.Minute)
		equal(t, "while the link is up", d.got(), "")
		d.w.link("g1", 7).status(false, errors.New("cut"))
		pass(downTime)
		equal(t, "when it is down", d.got(), "g1-7")

		g = f.gateway("g2", 8)
		g.vanish()
		pass(time.Minute)
		f.gateway("g2", 8) // is back
		pass(downTime)
		d.w.link("g2", 8).status(false, errors.New("cut"))
		pass(time.Minute)
		equal(t, "of one that is back", d.got(), "")
	})
}

// At its concurrency limit a worker hands the news back.
func TestGatewayDownBusy(t *testing.T) {
	inDownBubble(t, func(t *testing.T, f *fixture) {
		d := f.worker("a1", "a", nil)
		for range d.w.cfg.Concurrency {
			d.w.jobs.begin()
		}
		f.gateway("g1", 7).vanish()
		pass(time.Minute)
		equal(t, "at the limit", d.got(), "")
		for range d.w.cfg.Concurrency {
			d.w.jobs.done()
		}
		pass(register.Lease + register.Heartbeat)
		equal(t, "later", d.got(), "g1-7")
	})
}

// A worker that stops finishes what it is at, and takes no more.
func TestGatewayDownDrain(t *testing.T) {
	inDownBubble(t, func(t *testing.T, f *fixture) {
		slow := func(context.Context, GatewayDown) error { time.Sleep(20 * time.Second); return nil }
		stops := f.worker("a1", "a", slow)
		f.gateway("g1", 7).vanish()
		pass(downTime)
		equal(t, "told", stops.got(), "g1-7")
		next := f.worker("a2", "a", nil)
		start := time.Now()
		f.gateway("g2", 8).vanish()
		stops.leave()
		if d := time.Since(start); d < 15*time.Second || d > 25*time.Second || stops.err != nil {
			t.Errorf("stopped after %v: %v", d, stops.err)
		}
		equal(t, "finished", stops.w.Stats().GatewaysDown, 1)
		equal(t, "took no more", stops.got(), "")
		equal(t, "was asked no more", stops.w.Stats().Busy, 0)
		pass(time.Minute)
		equal(t, "the other takes what comes", next.got(), "g2-8")
	})
}

// One that does not come to an end is cut short, and another one told.
func TestGatewayDownDrainIsBounded(t *testing.T) {
	inDownBubble(t, func(t *testing.T, f *fixture) {
		cause := make(chan error, 1)
		stops := f.worker("a1", "a", func(ctx context.Context, _ GatewayDown) error {
			<-ctx.Done()
			cause <- context.Cause(ctx)
			return ctx.Err()
		})
		f.gateway("g1", 7).vanish()
		pass(downTime)
		next := f.worker("a2", "a", nil)
		start := time.Now()
		stops.leave()
		equal(t, "stopped after", time.Since(start), time.Minute)
		equal(t, "cause", <-cause, ErrUnfinished)
		pass(time.Minute)
		equal(t, "the other one", next.got(), "g1-7")
	})
}

// The first sign of progress is sent at once, so that all registers know that
// the news is with somebody.
func TestGatewayDownProgress(t *testing.T) {
	inDownBubble(t, func(t *testing.T, f *fixture) {
		f.worker("a1", "a", func(context.Context, GatewayDown) error { time.Sleep(time.Second); return nil })
		conn := f.registers.Connect()
		defer conn.Close()
		start := time.Now()
		var said []string
		if _, err := conn.Subscribe(func(m *bus.Msg) {
			said = append(said, fmt.Sprintf("%v %s", time.Since(start).Round(100*time.Millisecond), m.Header.Get(bus.HeaderStatus)))
		}, "answer"); err != nil {
			t.Fatal(err)
		}
		if err := conn.Publish(&bus.Msg{Subject: "reg.down.a", Reply: "answer", Data: []byte(`{"gateway":"g1","epoch":"1"}`)}); err != nil {
			t.Fatal(err)
		}
		pass(time.Minute)
		equal(t, "said", strings.Join(said, " | "), "0s working | 700ms working | 1s ")
	})
}

func TestGatewayDownBadMessages(t *testing.T) {
	inDownBubble(t, func(t *testing.T, f *fixture) {
		d := f.worker("a1", "a", nil)
		conn := f.registers.Connect()
		defer conn.Close()
		for _, m := range []*bus.Msg{
			{Subject: "reg.down.a", Reply: "x", Data: []byte("{")},
			{Subject: "reg.down.a", Reply: "x", Data: []byte(`{"gateway":"a.b","epoch":"1"}`)},
			{Subject: "reg.down.a", Reply: "x", Data: []byte(`{"gateway":"g1"}`)},
			{Subject: "reg.down.a", Data: []byte(`{"gateway":"g1","epoch":"1"}`)},
		} {
			if err := conn.Publish(m); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		equal(t, "told", d.got(), "")
		equal(t, "said so", strings.Count(d.log.String(), "it is ignored"), 4)
	})
}

func TestGatewayDownHad(t *testing.T) {
	down := GatewayDown{"g-1", 7}
	for id, want := range map[bus.ClientID]bool{
		bus.NewClientID("g-1", 7, 1): true,
		bus.NewClientID("g-1", 8, 1): false,
		bus.NewClientID("g", 7, 1):   false,
		"nonsense":                   false,
	} {
		equal(t, string(id), down.Had(id), want)
	}
}
