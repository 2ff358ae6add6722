package worker

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/register"
)

// echoSlowly takes five seconds for a "slow" frame.
func echoSlowly(_ context.Context, ev *Event) error {
	if string(ev.Data) == "slow" {
		time.Sleep(5 * time.Second)
	}
	ev.Reply(ev.Data)
	return nil
}

// A gateway that is killed and starts again at once has one link: the former
// life's connection may have come back to the new one before the registers
// tell of it, or come back later.
func TestRestartAtOneAddress(t *testing.T) {
	for _, c := range []struct {
		name          string
		before, after func(g *fakeGateway)
	}{
		{"nothing seen yet", nil, nil},
		{"down", (*fakeGateway).cut, nil},
		{"back already", func(g *fakeGateway) { g.cut(); g.mend() }, nil},
		{"back later", (*fakeGateway).cut, (*fakeGateway).mend},
		{"down and back later", nil, func(g *fakeGateway) { g.cut(); g.mend() }},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, Config{}, echoSlowly, func(t *testing.T, f *fixture) {
				old := f.gateway("g1", 1)
				old.send(Text, "slow")
				old.vanish()
				if c.before != nil {
					c.before(old)
				}
				g := f.gateway("g1", 2)
				if c.after != nil {
					c.after(old)
				}
				synctest.Wait()
				equal(t, "links", len(f.w.allLinks()), 1)
				if err := f.w.Cluster().SendAll(Text, []byte("hi")); err != nil {
					t.Fatal(err)
				}
				old.send(Text, "late") // to whoever is in the old link's group
				synctest.Wait()
				equal(t, "to the new life, once", g.pushed(), "push.all=hi")
				equal(t, "to the old life", old.pushed(), "")
				equal(t, "the old link has left", old.got(), "no responders")
				time.Sleep(6 * time.Second)
				synctest.Wait()
				equal(t, "it answers what it has", lastOf(old.got()), "slow")
				equal(t, "and is closed", goroutines("(*link).run("), 1)
			})
		})
	}
}

// lastOf is the last of the replies.
func lastOf(got string) string { return got[strings.LastIndex(got, " ")+1:] }

// goroutines counts those that run a function.
func goroutines(of string) int {
	buf := make([]byte, 1<<20)
	return strings.Count(string(buf[:runtime.Stack(buf, true)]), of)
}

func TestLinksLeaveNothing(t *testing.T) {
	inBubble(t, Config{}, echoSlowly, func(t *testing.T, f *fixture) {
		for i := range 10 {
			g := f.gateway("g1", bus.Epoch(i+1))
			g.leave()
			g.cut()
		}
		equal(t, "links", len(f.w.allLinks()), 0)
		equal(t, "goroutines of links", goroutines("(*link)."), 0)
	})
}

// A draining worker takes nothing new, neither from a link that comes back
// meanwhile.
func TestDrainWhileLinkIsDown(t *testing.T) {
	inBubble(t, Config{}, echoSlowly, func(t *testing.T, f *fixture) {
		g1, g2 := f.gateway("g1", 1), f.gateway("g2", 2)
		g1.send(Text, "slow")
		g2.cut()
		stopped := make(chan struct{})
		go func() { f.stop(); close(stopped) }()
		time.Sleep(time.Second)
		g2.mend()
		g2.send(Text, "new")
		synctest.Wait()
		equal(t, "from the link that is back", g2.got(), "no responders")
		<-stopped
		synctest.Wait()
		equal(t, "what it had", lastOf(g1.got()), "slow")
	})
}

// A tally that is closed takes no more, and tells when the last one is done.
func TestTallyClosed(t *testing.T) {
	c := newTally(2)
	equal(t, "one", c.begin(), true)
	equal(t, "two", c.begin(), true)
	equal(t, "three", c.begin(), false)
	c.done()
	idle := c.close()
	equal(t, "after the end", c.begin(), false)
	equal(t, "in work", c.count(), 1)
	select {
	case <-idle:
		t.Fatal("idle with one in work")
	default:
	}
	c.done()
	<-idle
	<-c.close()
	<-newTally(0).close()
}

// A gateway that takes long to connect to holds up neither the others nor the
// end.
func TestSilentGateway(t *testing.T) {
	inBubble(t, Config{}, echoSlowly, func(t *testing.T, f *fixture) {
		dial := f.w.dial
		f.w.dial = func(l *link) (bus.Conn, error) {
			if l.gateway() == "silent" {
				time.Sleep(2 * time.Second)
			}
			return dial(l)
		}
		silent := f.gateway("silent", 1)
		g := f.gateway("g1", 2)
		g.send(Text, "x")
		synctest.Wait()
		equal(t, "the other is served at once", g.got(), "x")
		if err := f.w.Cluster().SendAll(Text, nil); err != nil {
			t.Fatal(err)
		}
		equal(t, "not reached", f.w.Stats().Unreached, 1)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		silent.send(Text, "x")
		synctest.Wait()
		equal(t, "the silent one when it answers", silent.got(), "x")

		f.gateway("silent", 3)
		start := time.Now()
		drained := make(chan struct{})
		go func() { f.stop(); close(drained) }()
		synctest.Wait()
		g.send(Text, "x")
		synctest.Wait()
		equal(t, "left at once", g.got(), "no responders")
		<-drained
		if d := time.Since(start); d > 2*time.Second || f.err != nil {
			t.Fatalf("took %v: %v", d, f.err)
		}
	})
}

// A gateway whose bus cannot be dialed at all is no link.
func TestLinkFails(t *testing.T) {
	inBubble(t, Config{}, echoSlowly, func(t *testing.T, f *fixture) {
		f.w.dial = func(*link) (bus.Conn, error) { return nil, errors.New("not to be") }
		f.gateway("g1", 1)
		equal(t, "links", len(f.w.allLinks()), 0)
		if !strings.Contains(f.log.String(), "cannot link to gateway") {
			t.Fatal(f.log)
		}
	})
}

// eager is a connection on which the first event arrives before the caller of
// QueueSubscribe is back, and before the connection says that it is up.
type eager struct {
	bus.Conn
	event func()
}

func (e eager) QueueSubscribe(subject, queue string, fn func(*bus.Msg), further ...string) (bus.Subscription, error) {
	s, err := e.Conn.QueueSubscribe(subject, queue, fn, further...)
	e.event()
	return s, err
}

func TestSendFromFirstEvent(t *testing.T) {
	sent := errors.New("no event")
	h := func(_ context.Context, ev *Event) error { sent = ev.Client.Send(Text, []byte("hi")); return nil }
	inBubble(t, Config{}, h, func(t *testing.T, f *fixture) {
		dial := f.w.dial
		f.w.dial = func(l *link) (bus.Conn, error) {
			conn, err := dial(l)
			l.status(false, nil) // not told yet
			return eager{conn, func() {
				f.mu.Lock()
				g := f.gateways["g1"]
				f.mu.Unlock()
				g.send(Text, "first")
				time.Sleep(time.Millisecond)
			}}, err
		}
		g := f.gateway("g1", 1)
		time.Sleep(time.Second)
		synctest.Wait()
		if sent != nil {
			t.Fatal(sent)
		}
		equal(t, "pushed", g.pushed(), "push.client.g1-1-1=hi")
	})
}

// A worker that is killed and started again on its host has its name at once; on
// another host the name is taken.
func TestWorkersOfOneName(t *testing.T) {
	w, err := New(Config{Name: "w1"}, HandlerFunc(echoSlowly))
	if err != nil {
		t.Fatal(err)
	}
	table := register.NewTable()
	former := w.self
	former.Epoch--
	if _, err := table.Announce(time.Now(), former); err != nil {
		t.Fatal(err)
	}
	change, err := table.Announce(time.Now(), w.self)
	if err != nil || change == nil || change.Type != register.Restarted {
		t.Errorf("it is not the former one come back: %v, %v", change, err)
	}
	other := w.self
	other.Epoch, other.Address = other.Epoch+1, "another.host"
	var conflict *register.ConflictError
	if _, err := table.Announce(time.Now(), other); !errors.As(err, &conflict) {
		t.Errorf("one elsewhere displaces it: %v", err)
	}
}
