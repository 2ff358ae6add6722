package gateway

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatebus/gatebus/bus"
)

// What a worker held that is gone goes to another one at once, marked, and what
// a living one works on stays with it.
func TestCensusOnDisconnect(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, f *fixture) {
		gone := f.sdk("a")
		c := f.join(gone, 3)
		c[0].send("x")
		synctest.Wait() // clients are not in order among each other
		c[1].send("y")
		equal(t, "first worker", gone.has(), "x y")
		lives := f.sdk("b")
		gone.leave() // so that the next one goes to b
		c[2].send("z")
		equal(t, "second worker", lives.has(), "z")
		start := time.Now()
		gone.conn.Close()
		equal(t, "given out again", lives.has(), "x* y*")
		equal(t, "after", time.Since(start), 0)
		lives.answer()
		equal(t, "answers", c[0].got()+c[1].got()+c[2].got(), "xyz")
		s := f.gw.Stats()
		equal(t, "redelivered", s.Redelivery, 2)
		equal(t, "late", s.LateReply, 0)
		equal(t, "disconnected by the gateway", s.Disconnected, 0)
	})
}

// A worker that has left its group and still works is asked too.
func TestCensusAsksWhoDrains(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, f *fixture) {
		drains := f.sdk("a")
		c := f.join(drains, 1)
		c[0].send("x")
		equal(t, "drains", drains.has(), "x")
		drains.leave()
		other, gone := f.sdk("b"), f.sdk("c")
		gone.conn.Close()
		synctest.Wait()
		equal(t, "other", other.has(), "")
		drains.answer()
		equal(t, "answer", c[0].got(), "x")
		equal(t, "asked", f.gw.Stats().Asked, 1)
	})
}

// A worker that is frozen costs its clients ack_wait and the census's patience,
// and others get nothing more from it.
func TestCensusFrozen(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, f *fixture) {
		frozen := f.sdk("a")
		c := f.join(frozen, 2)
		frozen.set(func(w *testWorker) { w.frozen = true })
		start := time.Now()
		c[0].send("x")
		time.Sleep(time.Second)
		c[1].send("y")
		synctest.Wait()
		other := f.sdk("b")
		time.Sleep(time.Second + censusPatience - time.Millisecond)
		equal(t, "too early", other.has(), "")
		time.Sleep(time.Millisecond)
		equal(t, "given out again", other.has(), "x* y*")
		equal(t, "after", time.Since(start), f.gw.config().AckWait+censusPatience)
		other.answer()
		for range 20 {
			c[0].send("n")
			synctest.Wait()
			other.answer()
		}
		frozen.thaw()
		frozen.answer() // into a connection that is no more
		equal(t, "answers", c[0].got()+" "+c[1].got(), "x n n n n n n n n n n n n n n n n n n n n y")
		s := f.gw.Stats()
		equal(t, "disconnected", s.Disconnected, 1)
		equal(t, "redelivered", s.Redelivery, 2)
		equal(t, "late", s.LateReply, 0)
	})
}

// A worker that says that it holds an event keeps it, for as long as it says so.
func TestCensusInWork(t *testing.T) {
	inBubble(t, func(c *Config) { c.MaxDeliver = 100 }, func(t *testing.T, f *fixture) {
		w := f.sdk("a")
		c := f.join(w, 1)
		other := f.sdk("b")
		w.set(func(w *testWorker) { w.deaf = true }) // whatever it gets from now on
		for other.has() == "" {
			c[0].send("x")
			time.Sleep(f.gw.config().AckWait) // if the deaf one got it, it is found lost
		}
		before := f.gw.Stats()
		time.Sleep(time.Minute)
		equal(t, "given out again", other.has(), "")
		s := f.gw.Stats()
		equal(t, "redelivered", s.Redelivery, before.Redelivery)
		if n := s.Asked - before.Asked; n < 25 || n > 31 {
			t.Errorf("asked %d times in a minute, want once in ack_wait", n)
		}
		w.conn.Close()
		other.answer()
		if c[0].got() == "" {
			t.Error("no answer")
		}
	})
}

// An event that got lost on its way, without anybody having gone, is found to be
// so after ack_wait; nobody is disconnected for it.
func TestCensusLost(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, f *fixture) {
		w := f.sdk("a")
		c := f.join(w, 1)
		w.set(func(w *testWorker) { w.deaf = true })
		start := time.Now()
		c[0].send("x")
		synctest.Wait()
		w.set(func(w *testWorker) { w.deaf = false })
		for w.has() == "" {
			time.Sleep(time.Millisecond)
		}
		equal(t, "after", time.Since(start), f.gw.config().AckWait)
		w.answer()
		equal(t, "answer", c[0].got(), "x")
		equal(t, "disconnected", f.gw.Stats().Disconnected, 0)
	})
}

// With a worker in the group that cannot be asked, an event may be its, and
// ack_wait decides.
func TestCensusWithPlainWorker(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, f *fixture) {
		gone := f.sdk("a")
		c := f.join(gone, 1)
		c[0].send("x")
		equal(t, "takes", gone.has(), "x")
		var rec recorder
		f.worker(func(ev bus.Event) *bus.Reply { rec.add(ev); return echo(ev) })
		start := time.Now()
		gone.conn.Close()
		time.Sleep(f.gw.config().AckWait - time.Millisecond)
		synctest.Wait()
		equal(t, "before ack_wait", rec.took(), "")
		for c[0].got() == "" {
			time.Sleep(time.Millisecond)
			synctest.Wait()
		}
		equal(t, "after", time.Since(start) <= f.gw.config().AckWait, true)
		equal(t, "plain worker", rec.took(), "text:x*")
	})
}

// Somebody who listens to everything is not a worker that does not answer.
func TestCensusObserver(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, f *fixture) {
		observer := f.bus.Connect()
		defer observer.Close()
		if _, err := observer.Subscribe(func(*bus.Msg) {}, "gw.g1.ask.>"); err != nil {
			t.Fatal(err)
		}
		gone := f.sdk("a")
		c := f.join(gone, 1)
		c[0].send("x")
		equal(t, "takes", gone.has(), "x")
		other := f.sdk("b")
		gone.conn.Close()
		equal(t, "at once", other.has(), "x*")
		equal(t, "disconnected", f.gw.Stats().Disconnected, 0)
	})
}

// When the last worker goes, what it held waits for the next one.
func TestCensusNobodyLeft(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, f *fixture) {
		gone := f.sdk("a")
		c := f.join(gone, 1)
		c[0].send("x", "y")
		equal(t, "takes", gone.has(), "x")
		gone.conn.Close()
		time.Sleep(10*time.Second + time.Millisecond) // between two trials
		synctest.Wait()
		equal(t, "waiting", f.gw.Stats().Waiting, 1)
		next := f.sdk("b")
		time.Sleep(100 * time.Millisecond)
		equal(t, "next", next.has(), "x*")
		next.answer()
		next.answer()
		equal(t, "answers", c[0].got(), "x y")
	})
}

// A poison frame, which kills every worker that gets it, does not loop.
func TestCensusPoison(t *testing.T) {
	inBubble(t, func(c *Config) { c.MaxDeliver = 3 }, func(t *testing.T, f *fixture) {
		w := f.sdk("a")
		c := f.join(w, 1)
		c[0].send("x")
		for _, want := range []string{"x", "x*", "x**"} {
			equal(t, "delivery", w.has(), want)
			next := f.sdk("next")
			w.conn.Close()
			w = next
		}
		synctest.Wait()
		equal(t, "closed", c[0].closed(), bus.CloseHandlerFailed)
		equal(t, "dropped", f.gw.Stats().DroppedPoison, 1)
		w.answer()
	})
}
