package worker

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatebus/gatebus/bus"
)

// full is a gateway whose worker, that of one event at a time, has one: x. got is what
// is answered to it in batches, at the address of the worker.
func (f *fixture) full(h *gates) (g *fakeGateway, got func() string, at bus.WorkerAddress) {
	f.t.Helper()
	g = f.gateway("g1", 1)
	got, at = g.batched(), g.link().address()
	g.batch(at, bus.BatchEvent{Client: 9, Seq: 1, Data: []byte("x")})
	equal(f.t, "in work", h.has(), "x")
	return g, got, at
}

// An event for which there is no room is handled when there soon is, in its client's
// order, and is held meanwhile for who asks.
func TestRoomInTime(t *testing.T) {
	var h gates
	inBubble(t, Config{Concurrency: 1}, h.handle, func(t *testing.T, f *fixture) {
		g, got, at := f.full(&h)
		g.batch(at,
			bus.BatchEvent{Client: 1, Seq: 1, Data: []byte("a1")}, bus.BatchEvent{Client: 1, Seq: 2, Follow: true, Data: []byte("a2")},
			bus.BatchEvent{Client: 2, Seq: 1, Data: []byte("b1")})
		synctest.Wait()
		equal(t, "held", g.asks(), "[g1-1-9.1 g1-1-1.1 g1-1-1.2 g1-1-2.1]")
		time.Sleep(5*time.Millisecond - 1) // as the documentation says
		equal(t, "in time", h.has()+got(), "")
		// It comes again while it waits: it keeps its place.
		g.batch(at, bus.BatchEvent{Client: 1, Seq: 1, Delivery: 2, Data: []byte("a1")})
		equal(t, "again", got(), "1.1:2")
		h.let("x")
		equal(t, "room", h.has(), "a1")
		h.let("a1")
		equal(t, "then", h.has(), "b1")
		h.let("b1")
		equal(t, "then", h.has(), "a2")
		h.let("a2")
		equal(t, "answers", got(), "9.1=x 1.1=a1 2.1=b1 1.2=a2")
		time.Sleep(time.Second)
		synctest.Wait()
		equal(t, "nothing after that", h.has()+got(), "")
		s := f.w.Stats()
		equal(t, "handed back", s.Busy, 0)
		equal(t, "held", s.Working, 0)
	})
}

// What has waited for too long goes back with all that follows it, and what comes for
// those too, until the gateway begins anew; nothing is left behind.
func TestNoRoomInTime(t *testing.T) {
	var h gates
	inBubble(t, Config{Concurrency: 1}, h.handle, func(t *testing.T, f *fixture) {
		g, got, at := f.full(&h)
		g.batch(at, bus.BatchEvent{Client: 1, Seq: 1, Data: []byte("a1")}, bus.BatchEvent{Client: 1, Seq: 2, Follow: true, Data: []byte("a2")})
		time.Sleep(3 * time.Millisecond)
		g.batch(at, bus.BatchEvent{Client: 2, Seq: 1, Data: []byte("b1")})
		time.Sleep(2 * time.Millisecond)
		equal(t, "the first ones", got(), "1.1:1 1.2:1")
		g.batch(at, bus.BatchEvent{Client: 1, Seq: 3, Follow: true, Data: []byte("a3")})
		equal(t, "what follows", got(), "1.3:1")
		equal(t, "held", g.asks(), "[g1-1-9.1 g1-1-2.1]")
		time.Sleep(patience)
		equal(t, "the last one", got(), "2.1:1")
		h.let("x")
		equal(t, "begun", h.has(), "")
		s := f.w.Stats()
		equal(t, "handed back", s.Busy, 4)
		equal(t, "held", s.Working, 0)
	})
}

// Only so many wait; the rest goes back at once.
func TestTooManyWaitForRoom(t *testing.T) {
	var h gates
	inBubble(t, Config{Concurrency: 1}, h.handle, func(t *testing.T, f *fixture) {
		g := f.gateway("g1", 1)
		got := g.batched()
		at := g.link().address()
		var events []bus.BatchEvent
		for i := range maxPatient + 3 {
			events = append(events, bus.BatchEvent{Client: uint64(i) + 1, Seq: 1, Data: fmt.Append(nil, i)})
		}
		g.batch(at, events...)
		synctest.Wait()
		equal(t, "at once", got(), fmt.Sprintf("%d.1:1 %d.1:1", maxPatient+2, maxPatient+3))
		time.Sleep(2 * patience)
		synctest.Wait()
		equal(t, "later", len(strings.Fields(got())), maxPatient)
		h.let("0")
		equal(t, "held", f.w.Stats().Working, 0)
	})
}

// A worker that stops handles what waits for room, or hands it back, and is gone then.
func TestStopWhileWaitingForRoom(t *testing.T) {
	for _, inTime := range []bool{true, false} {
		t.Run(fmt.Sprint("inTime=", inTime), func(t *testing.T) {
			var h gates
			inBubble(t, Config{Concurrency: 1}, h.handle, func(t *testing.T, f *fixture) {
				g := f.gateway("g1", 1)
				got := g.batched()
				at := g.link().address()
				g.batch(at, bus.BatchEvent{Client: 9, Seq: 1, Data: []byte("x")}, bus.BatchEvent{Client: 1, Seq: 1, Data: []byte("a1")})
				equal(t, "in work", h.has(), "x")
				stopped := make(chan struct{})
				go func() { f.stop(); close(stopped) }()
				synctest.Wait()
				want := "9.1=x 1.1=a1"
				if !inTime {
					time.Sleep(2 * patience)
					want = "1.1:1 9.1=x"
				}
				h.let("x")
				if inTime {
					h.let("a1")
				}
				<-stopped
				equal(t, "answers", got(), want)
			})
		})
	}
}

// What waits for room and came over a connection that is no more is handed back: what
// was sent on it before may be lost.
func TestConnectionLostWhileWaitingForRoom(t *testing.T) {
	var h gates
	inBubble(t, Config{Concurrency: 1}, h.handle, func(t *testing.T, f *fixture) {
		g := f.gateway("g1", 1)
		got := g.batched()
		l := g.link()
		g.batch(l.address(), bus.BatchEvent{Client: 9, Seq: 1, Data: []byte("x")}, bus.BatchEvent{Client: 1, Seq: 1, Data: []byte("a1")})
		equal(t, "in work", h.has(), "x")
		l.mu.Lock()
		l.conn = anew{l.conn}
		l.mu.Unlock()
		equal(t, "held", g.asks(), "[g1-1-9.1]")
		h.let("x")
		equal(t, "begun", h.has(), "")
		equal(t, "answers", got(), "9.1=x")
		equal(t, "with its address", g.got(), "busy")
	})
}

// ended notes how waiting has ended.
type ended string

func (e *ended) start()  { *e = "started" }
func (e *ended) giveUp() { *e = "given up" }

// What has ended its waiting does not count for those who may wait, and nothing ticks
// when nobody waits.
func TestTallyForgetsWhoWaited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTally(1)
		equal(t, "room", c.begin(), true)
		for _, want := range []ended{"given up", "started"} {
			var got ended
			equal(t, "taken", c.takeBriefly(), true)
			c.startSoon(&got)
			if want == "started" {
				c.done()
			}
			time.Sleep(2 * patience)
			synctest.Wait()
			equal(t, "end", got, want)
			equal(t, "waiting", c.patient, 0)
			equal(t, "ticking", c.ticking, false)
		}
		equal(t, "held", c.count(), 1)
		c.done()
		<-c.close()
		equal(t, "after the end", c.takeBriefly(), false)
	})
}
