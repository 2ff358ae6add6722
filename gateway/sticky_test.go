package gateway

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatebus/gatebus/bus"
)

func sticky(c *Config) { c.Routing = RouteSticky }

func send(c *peer, frames string) { c.send(strings.Fields(frames)...) }

// equals is frames as they come to the worker alone.
func equals(first, last int) string {
	return "=" + strings.ReplaceAll(frames(first, last), " ", " =")
}

// The worker that took the open event gets all that follows, without waiting
// for answers, and in order.
func TestSticky(t *testing.T) {
	inBubble(t, sticky, func(t *testing.T, f *fixture) {
		a := f.sdk("a")
		c := f.join(a, 1)
		b := f.sdk("b")
		send(c[0], frames(1, 20))
		equal(t, "a", a.has(), equals(1, 20))
		a.answer()
		equal(t, "answers", c[0].got(), frames(1, 20))
		_ = c[0].conn.Close()
		equal(t, "the end", a.has(), "=close")
		a.answer()
		equal(t, "b", b.has(), "")
		equal(t, "clients", f.gw.index.len(), 0)
	})
}

// Each client has its own worker.
func TestStickySpreads(t *testing.T) {
	inBubble(t, sticky, func(t *testing.T, f *fixture) {
		a, b := f.sdk("a"), f.sdk("b")
		var peers []*peer
		for range 40 {
			done := make(chan *peer)
			go func() { done <- f.dial("/") }()
			synctest.Wait()
			a.answer()
			b.answer()
			peers = append(peers, <-done)
		}
		first, second := len(strings.Fields(a.has())), len(strings.Fields(b.has()))
		if first+second != 40 || first < 8 || second < 8 { // 1 in 100,000
			t.Errorf("a took %d, b %d", first, second)
		}
		for _, p := range peers {
			p.send("x")
		}
		equal(t, "a", len(strings.Fields(a.has())), first)
		equal(t, "b", len(strings.Fields(b.has())), second)
		a.answer()
		b.answer()
	})
}

// Clients that come together are spread too, however quick a worker is: they stay.
func TestStickySpreadsCrowds(t *testing.T) {
	inBubble(t, sticky, func(t *testing.T, f *fixture) {
		a, b := f.dense("a"), f.dense("b")
		for _, w := range []*testWorker{a, b} {
			f.gw.roster.link(w.address()).took.Store(1)
		}
		const crowd = 200
		let := make(chan *peer)
		for range crowd {
			go func() { let <- f.dial("/") }()
		}
		first, second := len(strings.Fields(a.has())), len(strings.Fields(b.has()))
		if first+second != crowd || max(first, second)-min(first, second) > 10 {
			t.Errorf("a took %d, b %d", first, second)
		}
		a.answer()
		b.answer()
		for range crowd {
			<-let
		}
	})
}

// Answers reach the client in the order of its frames, in whatever order a
// worker gives them.
func TestStickyAnswersInOrder(t *testing.T) {
	inBubble(t, sticky, func(t *testing.T, f *fixture) {
		a := f.sdk("a")
		c := f.join(a, 1)
		send(c[0], frames(1, 5))
		a.answer(3, 1)
		equal(t, "not yet", c[0].got(), "")
		a.answer(0)
		equal(t, "the first two", c[0].got(), "1 2")
		a.answer()
		equal(t, "the rest", c[0].got(), "3 4 5")
	})
}

// At most so many are with the worker; then the queue fills, and then the
// client's socket.
func TestStickyPipelineIsBounded(t *testing.T) {
	inBubble(t, func(c *Config) { sticky(c); c.QueueFrames = 10 }, func(t *testing.T, f *fixture) {
		a := f.sdk("a")
		c := f.join(a, 1)
		go send(c[0], frames(1, 100))
		equal(t, "with the worker", a.has(), equals(1, pipeline))
		c[0].gwClient(f).mu.Lock()
		equal(t, "waiting", c[0].gwClient(f).lane.waiting, 10)
		c[0].gwClient(f).mu.Unlock()
		a.answer(0)
		equal(t, "one more", a.has(), equals(pipeline+1, pipeline+1))
		for range 100 {
			a.answer()
		}
		equal(t, "answers", c[0].got(), frames(1, 100))
	})
}

// gwClient is the gateway's side of the only client.
func (p *peer) gwClient(f *fixture) *client { return f.gw.index.all()[0] }

// A worker that leaves finishes what it has; the group picks a new one for the
// rest, and nothing is given out twice.
func TestStickyWorkerLeaves(t *testing.T) {
	inBubble(t, sticky, func(t *testing.T, f *fixture) {
		a := f.sdk("a")
		c := f.join(a, 1)
		send(c[0], frames(1, 3))
		equal(t, "a", a.has(), equals(1, 3))
		b := f.sdk("b")
		a.leave()
		send(c[0], frames(4, 6))
		equal(t, "b while a works", b.has(), "")
		a.answer(0)
		equal(t, "b while a works on", b.has(), "")
		a.answer()
		equal(t, "b", b.has(), "4")
		b.answer()
		equal(t, "b is bound", b.has(), equals(5, 6))
		b.answer()
		equal(t, "answers", c[0].got(), frames(1, 6))
		s := f.gw.Stats()
		equal(t, "redelivered", s.Redelivery+s.LateReply+s.Busy, 0)
	})
}

// What a worker had that died goes to another one, in order.
func TestStickyWorkerDies(t *testing.T) {
	inBubble(t, sticky, func(t *testing.T, f *fixture) {
		a := f.sdk("a")
		c := f.join(a, 1)
		send(c[0], frames(1, 4))
		a.answer(0, 2) // 1, and 3 before its turn
		b := f.sdk("b")
		a.conn.Close()
		synctest.Wait()
		send(c[0], "5")
		equal(t, "b", b.has(), "2*")
		b.answer()
		equal(t, "b is bound", b.has(), "=4* =5")
		b.answer()
		equal(t, "answers", c[0].got(), frames(1, 5))
		equal(t, "redelivered", f.gw.Stats().Redelivery, 2)
	})
}

// A connection that was cut and is made anew is another one: what was lost on
// the old one is not overtaken by what follows.
func TestStickyHandedBack(t *testing.T) {
	inBubble(t, sticky, func(t *testing.T, f *fixture) {
		a := f.sdk("a")
		c := f.join(a, 1)
		send(c[0], frames(1, 2))
		equal(t, "a", a.has(), equals(1, 2))
		b := f.sdk("b")
		a.set(func(w *testWorker) { w.busy = true })
		send(c[0], frames(3, 5))
		equal(t, "b has to wait for a", b.has(), "")
		a.leave()
		a.answer()
		equal(t, "b", b.has(), "3")
		b.answer()
		equal(t, "b is bound", b.has(), equals(4, 5))
		b.answer()
		equal(t, "answers", c[0].got(), frames(1, 5))
		s := f.gw.Stats()
		equal(t, "redelivered", s.Redelivery, 0)
		if s.Busy == 0 {
			t.Error("nothing was handed back")
		}
	})
}

// A worker that is frozen: all it had is with another one after ack_wait and
// the census's patience, in order.
func TestStickyWorkerFrozen(t *testing.T) {
	inBubble(t, sticky, func(t *testing.T, f *fixture) {
		a := f.sdk("a")
		c := f.join(a, 1)
		a.set(func(w *testWorker) { w.frozen = true })
		send(c[0], frames(1, 3))
		b := f.sdk("b")
		time.Sleep(f.gw.config().AckWait + censusPatience)
		equal(t, "b", b.has(), "1*")
		a.thaw()
		a.answer()
		b.answer()
		equal(t, "b is bound", b.has(), "=2* =3*")
		b.answer()
		equal(t, "answers", c[0].got(), frames(1, 3))
	})
}

// A worker that is late with an answer, in the eyes of the gateway, is heard.
func TestStickyRecalledIsAnswered(t *testing.T) {
	inBubble(t, sticky, func(t *testing.T, f *fixture) {
		f.gw.dispatch.census = nil // as on a bus elsewhere
		a := f.sdk("a")
		c := f.join(a, 1)
		send(c[0], frames(1, 3))
		equal(t, "a", a.has(), equals(1, 3))
		a.leave()
		b := f.sdk("b")
		time.Sleep(f.gw.config().AckWait)
		equal(t, "b", b.has(), "1*")
		a.answer(1, 2)
		equal(t, "not yet", c[0].got(), "")
		b.answer()
		equal(t, "all", c[0].got(), frames(1, 3))
		equal(t, "b gets no more", b.has(), "")
		a.answer()
		equal(t, "nothing twice", c[0].got(), "")
		equal(t, "late", f.gw.Stats().LateReply, 1)
	})
}

// A worker that does not name itself is one of the group, and no more.
func TestStickyPlainWorker(t *testing.T) {
	inBubble(t, sticky, func(t *testing.T, f *fixture) {
		a := f.sdk("a")
		a.set(func(w *testWorker) { w.nobody = true })
		c := f.join(a, 1)
		send(c[0], frames(1, 2))
		equal(t, "one at a time", a.has(), "1")
		a.answer()
		equal(t, "the next", a.has(), "2")
		a.set(func(w *testWorker) { w.nobody, w.name = false, "a.b.c" })
		a.answer()
		equal(t, "answers", c[0].got(), "1 2")
		equal(t, "bad name", f.gw.Stats().BadReply, 1)
		send(c[0], "3")
		equal(t, "still there", a.has(), "3")
		a.answer()
	})
}

// A frame that no worker survives takes its client down, and no other.
func TestStickyPoison(t *testing.T) {
	inBubble(t, func(c *Config) { sticky(c); c.MaxDeliver = 2 }, func(t *testing.T, f *fixture) {
		a := f.sdk("a")
		c := f.join(a, 2)
		send(c[0], frames(1, 3))
		b := f.sdk("b")
		a.conn.Close()
		equal(t, "b", b.has(), "1*")
		third := f.sdk("c")
		b.conn.Close()
		synctest.Wait()
		equal(t, "closed", c[0].closed(), bus.CloseHandlerFailed)
		equal(t, "dropped", f.gw.Stats().DroppedPoison, 1)
		equal(t, "the end", third.has(), "close")
		third.answer()
		send(c[1], "x")
		equal(t, "the other client", third.has(), "x")
		third.answer()
	})
}

// A client that leaves while frames of it are with its worker: the close event
// comes last.
func TestStickyLeaves(t *testing.T) {
	inBubble(t, sticky, func(t *testing.T, f *fixture) {
		a := f.sdk("a")
		c := f.join(a, 1)
		send(c[0], frames(1, 3))
		equal(t, "frames", a.has(), equals(1, 3))
		_ = c[0].conn.Close()
		equal(t, "then the end", a.has(), "=close")
		b := f.sdk("b")
		a.conn.Close()
		equal(t, "elsewhere", b.has(), "1*")
		b.answer()
		equal(t, "and the rest", b.has(), "=2* =3* =close*")
		b.answer()
		equal(t, "clients", f.gw.index.len(), 0)
	})
}

// A stop in the middle: what is taken is answered, then the client is closed.
func TestStickyStop(t *testing.T) {
	inBubble(t, sticky, func(t *testing.T, f *fixture) {
		a := f.sdk("a")
		c := f.join(a, 1)
		send(c[0], frames(1, 3))
		equal(t, "frames", a.has(), equals(1, 3))
		stopped := make(chan struct{})
		go func() { f.stop(); close(stopped) }()
		synctest.Wait()
		a.answer()
		a.answer() // the close event
		<-stopped
		equal(t, "answers", c[0].got(), frames(1, 3))
		equal(t, "closed", c[0].closed(), bus.CloseRestart)
	})
}
