package gateway

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatebus/gatebus/bus"
)

// A worker that hands back its old copy of an event, after another one has got
// it for itself alone: the new one keeps it, and what follows.
func TestStaleBusyDirect(t *testing.T) {
	inBubble(t, sticky, func(t *testing.T, f *fixture) {
		a := f.sdk("a")
		c := f.join(a, 1)
		send(c[0], frames(1, 3))
		equal(t, "a", a.has(), equals(1, 3))
		old := a.held[1] // 2, in a's lane behind 1
		b := f.sdk("b")
		a.conn.Close() // and is made anew
		equal(t, "b", b.has(), "1*")
		b.answer()
		equal(t, "b is bound", b.has(), "=2* =3*")
		anew := f.sdk("a")
		// The SDK: link.runDirect finds that the event was for the old connection.
		busy := (&bus.Reply{Status: bus.Busy}).Msg(old.Kind, bus.ReplySubject("g1", old.Client, old.Seq))
		bus.NameWorker(busy, old.At) // as proposed; without it the gateway cannot tell
		anew.publish(busy)
		synctest.Wait()
		time.Sleep(time.Second)
		got := anew.has() + b.has()
		equal(t, "given out again, while b holds it", got, "")
		b.answer()
		equal(t, "answers", c[0].got(), frames(1, 3))
	})
}

// The same, and the new holder has it as one of the group.
func TestStaleBusyGroup(t *testing.T) {
	inBubble(t, sticky, func(t *testing.T, f *fixture) {
		a := f.sdk("a")
		c := f.join(a, 1)
		send(c[0], frames(1, 3))
		equal(t, "a", a.has(), equals(1, 3))
		old := a.held[0] // waits in a for a free place
		b := f.sdk("b")
		a.conn.Close()
		equal(t, "b", b.has(), "1*")
		anew := f.sdk("a")
		busy := (&bus.Reply{Status: bus.Busy}).Msg(old.Kind, bus.ReplySubject("g1", old.Client, old.Seq))
		bus.NameWorker(busy, old.At) // as proposed; without it the gateway cannot tell
		anew.publish(busy)
		synctest.Wait()
		for range 20 {
			time.Sleep(100 * time.Millisecond)
		}
		got := anew.has() + b.has()
		equal(t, "given out again, while b holds it", got, "")
		b.answer()
	})
}

// flaky is a connection that can be told to fail.
type flaky struct {
	bus.Conn
	fail atomic.Bool
}

func (c *flaky) Publish(m *bus.Msg) error {
	if c.fail.Load() {
		return errors.New("not connected")
	}
	return c.Conn.Publish(m)
}

// An event that could not be published does not overtake those before it.
func TestPublishFailsBehind(t *testing.T) {
	inBubble(t, sticky, func(t *testing.T, f *fixture) {
		conn := &flaky{Conn: f.gw.conn}
		f.gw.conn, f.gw.dispatch.conn = conn, conn
		a := f.sdk("a")
		c := f.join(a, 1)
		send(c[0], "1")
		equal(t, "a", a.has(), "=1")
		conn.fail.Store(true)
		send(c[0], "2")
		synctest.Wait()
		conn.fail.Store(false)
		b := f.sdk("b")
		a.leave()
		time.Sleep(time.Second)
		equal(t, "b, while a works on 1", b.has(), "")
		a.answer()
		time.Sleep(time.Second)
		equal(t, "b", b.has(), "2")
		b.answer()
		equal(t, "answers", c[0].got(), "1 2")
	})
}

// An event behind others that waits too long takes none of them down.
func TestHoldOverBehind(t *testing.T) {
	inBubble(t, func(c *Config) { sticky(c); c.Hold = time.Second }, func(t *testing.T, f *fixture) {
		conn := &flaky{Conn: f.gw.conn}
		f.gw.conn, f.gw.dispatch.conn = conn, conn
		a := f.sdk("a")
		c := f.join(a, 1)
		send(c[0], "1")
		equal(t, "a", a.has(), "=1")
		conn.fail.Store(true)
		send(c[0], "2")
		time.Sleep(1500 * time.Millisecond)
		a.answer()
		equal(t, "the answer to 1", c[0].got(), "1")
	})
}

// When the question cannot be sent, no worker is to blame for not answering.
func TestQuestionNotSent(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, f *fixture) {
		conn := &flaky{Conn: f.gw.conn}
		f.gw.conn, f.gw.dispatch.conn = conn, conn
		a := f.sdk("a")
		c := f.join(a, 1)
		c[0].send("x")
		equal(t, "a", a.has(), "x")
		time.Sleep(f.gw.config().AckWait - 50*time.Millisecond)
		conn.fail.Store(true) // the gateway's own connection breaks for a moment
		time.Sleep(400 * time.Millisecond)
		conn.fail.Store(false)
		time.Sleep(time.Second)
		equal(t, "disconnected", f.gw.Stats().Disconnected, 0)
		equal(t, "a again", a.has(), "")
		a.answer()
		equal(t, "answer", c[0].got(), "x")
	})
}

// Workers that answer and go are taken at their word: what they answered is
// not given out again, though the gateway has not looked at it yet.
func TestAnsweredAndGone(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, f *fixture) {
		a := f.sdk("a")
		c := f.join(a, 2)
		c[0].send("x")
		equal(t, "a", a.has(), "x")
		// The gateway is busy with a push to another client.
		var other *client
		for _, cl := range f.gw.index.all() {
			cl.mu.Lock()
			if cl.lane.empty() {
				other = cl
			}
			cl.mu.Unlock()
		}
		other.mu.Lock()
		pusher := f.bus.Connect()
		defer pusher.Close()
		m, err := (&bus.Push{Target: bus.Target{Scope: bus.ToClient, Name: string(other.id)}, Kind: bus.Text, Data: []byte("p")}).Msg("g1")
		if err != nil {
			t.Fatal(err)
		}
		if err := pusher.Publish(m); err != nil {
			t.Fatal(err)
		}
		a.mu.Lock()
		ev := a.held[0]
		a.mu.Unlock()
		a.publish(echo(ev).Msg(ev.Kind, bus.ReplySubject("g1", ev.Client, ev.Seq)))
		go a.conn.Close()
		for i := 0; i < 1e6 && f.gw.Stats().Redelivery == 0; i++ {
			runtime.Gosched()
		}
		other.mu.Unlock()
		synctest.Wait()
		equal(t, "answer", c[0].got(), "x")
		equal(t, "redelivered", f.gw.Stats().Redelivery, 0)
	})
}

// A plain worker may take one kind of events only.
func TestPlainWorkerOfOneKind(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, f *fixture) {
		plain := f.bus.Connect()
		defer plain.Close()
		var got atomic.Int64
		var reply atomic.Value
		if _, err := plain.QueueSubscribe(bus.EventSubject("g1", "default", bus.Open), "default", func(m *bus.Msg) {
			got.Add(1)
			reply.Store(m.Reply)
		}); err != nil {
			t.Fatal(err)
		}
		done := make(chan *peer)
		go func() { done <- f.dial("/") }()
		synctest.Wait()
		equal(t, "plain worker", got.Load(), 1)
		f.bus.Connect().Close() // anybody
		synctest.Wait()
		equal(t, "given out again, while it works", got.Load(), 1)
		_ = plain.Publish(&bus.Msg{Subject: reply.Load().(string)})
		<-done
	})
}

// A plain worker that has left the group may still work.
func TestPlainWorkerDrains(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, f *fixture) {
		plain := f.bus.Connect()
		defer plain.Close()
		var rec recorder
		var reply atomic.Value
		sub, err := plain.QueueSubscribe(bus.EventSubjects("g1", "default"), "default", func(m *bus.Msg) {
			ev, _ := bus.ParseEvent(m)
			rec.add(ev)
			if ev.Kind == bus.Open {
				_ = plain.Publish(&bus.Msg{Subject: m.Reply})
				return
			}
			reply.Store(m.Reply)
		})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(rosterNewcomer) // it is seen
		c := f.dial("/")
		c.send("x")
		synctest.Wait()
		equal(t, "plain", rec.took(), "open text:x")
		b, gone := f.sdk("b"), f.sdk("c")
		if err := sub.Drain(context.Background()); err != nil {
			t.Fatal(err)
		}
		gone.conn.Close()
		equal(t, "b, while the plain worker works on", b.has(), "")
		_ = plain.Publish(&bus.Msg{Subject: reply.Load().(string), Data: []byte("x")})
		synctest.Wait()
		equal(t, "answer", c.got(), "x")
	})
}

// slowConn keeps what is published until it is flushed, or the census asks, as
// a NATS connection does for a moment.
type slowConn struct {
	bus.Conn
	mu   sync.Mutex
	slow bool
	msgs []*bus.Msg
}

func (c *slowConn) Publish(m *bus.Msg) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.slow {
		cp := *m
		c.msgs = append(c.msgs, &cp)
		if strings.Contains(m.Subject, ".in.") {
			return nil
		}
		return c.flushLocked()
	}
	return c.Conn.Publish(m)
}

func (c *slowConn) flushLocked() error {
	for _, m := range c.msgs {
		if err := c.Conn.Publish(m); err != nil {
			return err
		}
	}
	c.msgs, c.slow = nil, false
	return nil
}

func (c *slowConn) Flush(context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.flushLocked()
}

// lateServer has something happen after it has told who is there.
type lateServer struct {
	bus.Server
	then atomic.Pointer[func()]
}

func (s *lateServer) Subscriptions(subject string) ([]bus.ServerSubscription, error) {
	subs, err := s.Server.Subscriptions(subject)
	if fn := s.then.Load(); fn != nil && subject == bus.AskSubject("g1") {
		s.then.Store(nil)
		(*fn)()
	}
	return subs, err
}

// A worker that joins while a census begins, and gets an event that was given
// to the connection before and is on its way to the server still, keeps it.
func TestJoinsDuringCensus(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, f *fixture) {
		conn := &slowConn{Conn: f.gw.conn}
		server := &lateServer{Server: &f.bus}
		f.gw.conn, f.gw.dispatch.conn, f.gw.dispatch.census.server = conn, conn, server
		a := f.sdk("a")
		c := f.join(a, 1)
		joined := make(chan *testWorker, 1)
		fn := func() {
			w := f.sdk("late")
			w.set(func(w *testWorker) { w.frozen = true }) // its answer is the last
			joined <- w
		}
		if err := a.sub.Drain(context.Background(), bus.EventSubjects("g1", "default")); err != nil {
			t.Fatal(err)
		}
		conn.mu.Lock()
		conn.slow = true
		conn.mu.Unlock()
		server.then.Store(&fn)
		c[0].send("x")
		synctest.Wait()
		f.bus.Connect().Close() // starts a census: a is asked
		time.Sleep(100 * time.Millisecond)
		late := <-joined
		late.thaw()
		equal(t, "late", late.has(), "x")
		equal(t, "redelivered", f.gw.Stats().Redelivery, 0)
		late.answer()
	})
}
