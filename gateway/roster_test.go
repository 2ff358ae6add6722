package gateway

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/internal/batch"
)

// A worker that takes batches gets the frames of one client without waiting for
// answers, in order; the answers go out in order.
func TestBatches(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, f *fixture) {
		a := f.dense("a")
		c := f.join(a, 1)
		send(c[0], frames(1, 5))
		equal(t, "a", a.has(), "1 "+equals(2, 5))
		a.answer(2)
		equal(t, "not yet", c[0].got(), "")
		a.answer()
		equal(t, "answers", c[0].got(), frames(1, 5))
		if a.batches == 0 {
			t.Error("nothing came in a batch")
		}
		send(c[0], "6")
		equal(t, "the next has nothing to follow", a.has(), "6")
		_ = c[0].conn.Close()
		equal(t, "the end", a.has(), "=close")
		a.answer()
		equal(t, "clients", f.gw.index.len(), 0)
	})
}

// What a client was given at open comes with its events in a batch too.
func TestBatchCarriesWhatWasGiven(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, f *fixture) {
		a := f.dense("a")
		done := make(chan *peer)
		go func() { done <- f.dial("/") }()
		synctest.Wait()
		a.mu.Lock()
		open := a.held[0]
		a.held = nil
		a.mu.Unlock()
		a.reply(open, &bus.Reply{Data: []byte(`{"uid":"a b","session":{"n":1}}`)})
		c := <-done
		c.send("x")
		synctest.Wait()
		a.mu.Lock()
		ev := a.held[0]
		a.mu.Unlock()
		equal(t, "uid", ev.UID, "a b")
		equal(t, "session", ev.Session, `{"n":1}`)
		a.answer()
	})
}

// Of workers that take batches the one with the least to do gets the next event;
// one that has handed something back is left alone for a while.
func TestLeastLoaded(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, f *fixture) {
		a := f.dense("a")
		c := f.join(a, 60)
		b := f.dense("b")
		b.set(func(w *testWorker) { w.limit = 5 })
		for i, p := range c {
			p.send(fmt.Sprint(i))
			synctest.Wait()
		}
		time.Sleep(50 * time.Millisecond)
		atA, atB := len(strings.Fields(a.has())), len(strings.Fields(b.has()))
		if atA != 55 || atB != 5 {
			t.Errorf("a has %d, b %d", atA, atB)
		}
		if n := f.gw.Stats().Busy; n == 0 || n > 5 {
			t.Errorf("%d were handed back", n)
		}
		// As it answers it is given more, little by little.
		b.set(func(w *testWorker) { w.limit = 0 })
		for range 20 {
			time.Sleep(limitInterval)
			b.answer()
			for _, p := range c {
				if p.got() != "" {
					p.send("x")
				}
			}
			synctest.Wait()
		}
		if limit := f.gw.roster.link(b.address()).limit.Load(); limit <= 5 {
			t.Errorf("it is given %d at most, as if it had not got better", limit)
		}
		a.answer()
		b.answer()
	})
}

// A worker that leaves without a word loses nothing: the server says that it is
// gone, and what it did not get is not marked.
func TestBatchNobodyThere(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, f *fixture) {
		a := f.dense("a")
		c := f.join(a, 1)
		send(c[0], frames(1, 2))
		equal(t, "a", a.has(), "1 =2")
		b := f.sdk("b")
		a.leave()
		send(c[0], frames(3, 5))
		equal(t, "b has to wait", b.has(), "")
		a.answer()
		equal(t, "b", b.has(), "3")
		b.answer()
		b.answer()
		b.answer()
		equal(t, "answers", c[0].got(), frames(1, 5))
		s := f.gw.Stats()
		equal(t, "redelivered", s.Redelivery+s.LateReply+s.Busy, 0)
	})
}

// A batch that waits to be sent when its worker leaves is not lost: what is in it goes to
// others as it would have if it had been sent at once.
func TestBatchUnsentAsWorkerLeaves(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, f *fixture) {
		a := f.dense("a")
		c := f.join(a, 1)
		l := f.gw.roster.link(a.address())
		l.batches = batch.New(l.send, func(func()) bool { return false }, nil) // the sender does not get to run
		send(c[0], frames(1, 3))
		equal(t, "a", a.has(), "")
		b := f.dense("b")
		a.leave()
		b.publish(&bus.Msg{Subject: bus.CommandSubject("g1", bus.OpHello)}) // a look
		synctest.Wait()
		a.conn.Close()
		equal(t, "b", b.has(), "1 =2 =3")
		b.answer()
		equal(t, "answers", c[0].got(), frames(1, 3))
		s := f.gw.Stats()
		equal(t, "redelivered", s.Redelivery+s.LateReply+s.Busy, 0)
	})
}

// A plain worker beside those that take batches gets its share, as soon as it is
// seen; and they have all of it again when it is gone.
func TestPlainBesideBatches(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, f *fixture) {
		a := f.dense("a")
		c := f.join(a, 1)
		var rec recorder
		leave := f.worker(func(ev bus.Event) *bus.Reply { rec.add(ev); return echo(ev) })
		time.Sleep(2 * rosterNewcomer)
		for range 40 {
			c[0].send("x")
			synctest.Wait()
			a.answer()
		}
		if n := len(strings.Fields(rec.took())); n < 8 || n > 32 { // 1 in 10,000
			t.Errorf("it took %d of 40", n)
		}
		leave()
		synctest.Wait()
		a.has()
		send(c[0], frames(1, 3))
		equal(t, "in batches again", a.has(), "1 =2 =3")
		a.answer()
	})
}

// A client that always has something under way comes to a new worker too.
func TestFollowersAreBounded(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, f *fixture) {
		a := f.dense("a")
		c := f.join(a, 1)
		c[0].send("1")
		equal(t, "a", a.has(), "1")
		n := 1
		for n <= 10*followers {
			n++
			c[0].send(fmt.Sprint(n)) // before the one before it is answered
			if a.has() == "" {
				break
			}
			a.answer(0)
		}
		if n < followers || n > followers+2 {
			t.Errorf("it followed for %d frames", n)
		}
		a.answer()
		equal(t, "the next may go to any", a.has(), fmt.Sprint(n))
		a.answer()
	})
}
