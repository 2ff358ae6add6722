package gateway

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"github.com/gatebus/gatebus/bus"
)

func TestEcho(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, f *fixture) {
		var rec recorder
		f.worker(func(ev bus.Event) *bus.Reply { rec.add(ev); return echo(ev) })
		p := f.dial("/any/path")
		p.send("a", "", "b")
		if err := p.conn.WriteMessage(websocket.BinaryMessage, []byte{'x'}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		// The empty frame comes back too: echo says its kind.
		equal(t, "answers", p.got(), "a  b <x>")
		if err := p.conn.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(4321, "bye")); err != nil {
			t.Fatal(err)
		}
		equal(t, "close", p.closed(), 4321)
		synctest.Wait()
		equal(t, "events", rec.took(), "open text:a text: text:b binary:x close:4321")
		equal(t, "clients left", f.gw.Stats().Clients, 0)
	})
}

// The events of a client are handed out one at a time and in order, however
// long each worker takes and however many there are; those of several clients
// at the same time.
func TestOneAtATimeInOrder(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, f *fixture) {
		const clients, frames, workers = 5, 40, 3
		var mu sync.Mutex
		working := map[bus.ClientID]int{}
		most := 0
		var replies sync.WaitGroup
		for range workers {
			conn := f.bus.Connect()
			defer conn.Close()
			_, err := conn.QueueSubscribe(bus.EventSubjects("g1", "default"), "default", func(m *bus.Msg) {
				ev, err := bus.ParseEvent(m)
				if err != nil {
					t.Error(err)
					return
				}
				replies.Go(func() {
					mu.Lock()
					working[ev.Client]++
					if working[ev.Client] > 1 {
						t.Errorf("%s: two events at a time", ev.Client)
					}
					busy := 0
					for _, n := range working {
						busy += n
					}
					most = max(most, busy)
					mu.Unlock()
					time.Sleep(rand.N(50 * time.Millisecond))
					mu.Lock()
					working[ev.Client]--
					mu.Unlock()
					if err := conn.Publish(echo(ev).Msg(ev.Kind, m.Reply)); err != nil {
						t.Error(err)
					}
				})
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		var want []string
		for i := range frames {
			want = append(want, strconv.Itoa(i))
		}
		peers := make([]*peer, clients)
		for i := range peers {
			peers[i] = f.dial("/")
		}
		for _, p := range peers {
			go p.send(want...)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		for _, p := range peers {
			equal(t, "answers", p.got(), strings.Join(want, " "))
		}
		if most < 2 {
			t.Fatal("clients did not run side by side")
		}
		f.stop()
		replies.Wait()
	})
}

func TestRedelivery(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, f *fixture) {
		var rec recorder
		var replies []string
		f.worker(func(ev bus.Event) *bus.Reply {
			rec.add(ev)
			replies = append(replies, bus.ReplySubject(ev.Gateway, ev.Client, ev.Seq))
			if ev.Kind == bus.Text && ev.Delivery < 3 {
				return nil
			}
			return echo(ev)
		})
		p := f.dial("/")
		p.send("a", "b")
		time.Sleep(2*f.gw.config().AckWait - time.Millisecond)
		synctest.Wait()
		equal(t, "not before its time", rec.took(), "open text:a text:a*")
		equal(t, "no answer yet", p.got(), "")
		time.Sleep(10 * f.gw.config().AckWait)
		synctest.Wait()
		equal(t, "then", rec.took(), "text:a* text:b text:b* text:b*")
		equal(t, "answers", p.got(), "a b")
		if replies[1] != replies[2] || replies[2] != replies[3] {
			t.Fatalf("redeliveries are answered elsewhere: %q", replies)
		}
		equal(t, "redeliveries counted", f.gw.Stats().Redelivery, 4)
	})
}

func TestPoison(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, f *fixture) {
		var rec recorder
		f.worker(func(ev bus.Event) *bus.Reply {
			if ev.Kind == bus.Text && string(ev.Data) == "poison" {
				rec.add(ev)
				return nil
			}
			return echo(ev)
		})
		p, neighbour := f.dial("/"), f.dial("/")
		p.send("a", "poison", "lost", "lost")
		start := time.Now()
		neighbour.send("n")
		equal(t, "close code", p.closed(), bus.CloseHandlerFailed)
		equal(t, "after all tries", time.Since(start), time.Duration(f.gw.config().MaxDeliver)*f.gw.config().AckWait)
		synctest.Wait()
		equal(t, "tries", rec.took(), "text:poison text:poison* text:poison* text:poison* text:poison*")
		equal(t, "answers before", p.got(), "a")
		equal(t, "the neighbour", neighbour.got(), "n")
		s := f.gw.Stats()
		equal(t, "poison counted", s.DroppedPoison, 1)
		equal(t, "the others counted", s.DroppedClosing, 2)
		equal(t, "clients left", s.Clients, 1)
	})
}

// The first reply counts, whoever gives it; every later one is discarded.
func TestFirstReplyWins(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, f *fixture) {
		conn := f.bus.Connect()
		defer conn.Close()
		var late []string // reply subjects of first deliveries of frames
		f.worker(func(ev bus.Event) *bus.Reply {
			if ev.Kind == bus.Text {
				subject := bus.ReplySubject(ev.Gateway, ev.Client, ev.Seq)
				if ev.Delivery == 1 {
					late = append(late, subject)
					return nil
				}
				// Answer twice at once.
				if err := conn.Publish(echo(ev).Msg(ev.Kind, subject)); err != nil {
					t.Error(err)
				}
			}
			return echo(ev)
		})
		p := f.dial("/")
		p.send("a", "b")
		time.Sleep(3 * f.gw.config().AckWait)
		synctest.Wait()
		for _, subject := range late { // the slow first worker answers after all
			if err := conn.Publish(&bus.Msg{Subject: subject, Data: []byte("late")}); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		equal(t, "answers", p.got(), "a b")
		equal(t, "late replies counted", f.gw.Stats().LateReply, 4)
	})
}

// A first worker that was only slow answers while a second one is at it.
func TestSlowFirstReplyWins(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, f *fixture) {
		conn := f.bus.Connect()
		defer conn.Close()
		var subject string
		f.worker(func(ev bus.Event) *bus.Reply {
			if ev.Kind != bus.Text {
				return echo(ev)
			}
			subject = bus.ReplySubject(ev.Gateway, ev.Client, ev.Seq)
			return nil
		})
		p := f.dial("/")
		p.send("a")
		time.Sleep(f.gw.config().AckWait + time.Second) // given out again
		synctest.Wait()
		if err := conn.Publish(&bus.Msg{Subject: subject, Data: []byte("first")}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		equal(t, "answer", p.got(), "first")
		time.Sleep(time.Minute)
		equal(t, "redelivered once", f.gw.Stats().Redelivery, 1)
	})
}

func TestWorkingExtends(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, f *fixture) {
		conn := f.bus.Connect()
		defer conn.Close()
		var rec recorder
		var slow sync.WaitGroup
		f.worker(func(ev bus.Event) *bus.Reply {
			rec.add(ev)
			if ev.Kind != bus.Text {
				return echo(ev)
			}
			slow.Go(func() {
				subject := bus.ReplySubject(ev.Gateway, ev.Client, ev.Seq)
				for range 10 {
					time.Sleep(f.gw.config().AckWait - time.Millisecond)
					if err := conn.Publish((&bus.Reply{Status: bus.Working}).Msg(ev.Kind, subject)); err != nil {
						t.Error(err)
					}
				}
				if err := conn.Publish(echo(ev).Msg(ev.Kind, subject)); err != nil {
					t.Error(err)
				}
			})
			return nil
		})
		p := f.dial("/")
		p.send("a")
		synctest.Wait()
		slow.Wait()
		synctest.Wait()
		equal(t, "answer", p.got(), "a")
		equal(t, "given out once", rec.took(), "open text:a")
	})
}

// A busy worker hands an event back; that is no delivery, so it may happen any
// number of times, and it does not spin.
func TestBusy(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, f *fixture) {
		busyUntil := time.Now().Add(time.Minute)
		tries := 0
		f.worker(func(ev bus.Event) *bus.Reply {
			if ev.Kind == bus.Text && time.Now().Before(busyUntil) {
				tries++
				return &bus.Reply{Status: bus.Busy}
			}
			if ev.Delivery != 1 {
				t.Errorf("handed back counts as a delivery: %d", ev.Delivery)
			}
			return echo(ev)
		})
		p := f.dial("/")
		p.send("a", "b")
		time.Sleep(time.Minute + busyPauseMax)
		synctest.Wait()
		equal(t, "answers", p.got(), "a b")
		if most := int(time.Minute / (busyPauseMax / 2)); tries < 100 || tries > most+20 {
			t.Fatalf("%d tries in a minute", tries)
		}
		equal(t, "counted", f.gw.Stats().Busy, int64(tries))
	})
}

func TestHoldAtOpen(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, f *fixture) {
		start := time.Now()
		_, resp, err := f.tryDial("/", nil)
		if err == nil || resp == nil || resp.StatusCode != http.StatusServiceUnavailable {
			t.Fatalf("without a worker: %v, %v", resp, err)
		}
		if d := time.Since(start); d < f.gw.config().Hold || d > f.gw.config().Hold+2*probeInterval {
			t.Fatalf("refused after %v", d)
		}
		synctest.Wait()
		equal(t, "Retry-After", resp.Header.Get("Retry-After"), "5")
		equal(t, "counted", f.gw.Stats().DroppedHold, 1)
		equal(t, "clients left", f.gw.Stats().Clients, 0)

		var rec recorder
		time.AfterFunc(10*time.Second, func() {
			f.worker(func(ev bus.Event) *bus.Reply { rec.add(ev); return echo(ev) })
		})
		start = time.Now()
		p := f.dial("/")
		if d := time.Since(start); d < 10*time.Second || d > 10*time.Second+2*probeInterval {
			t.Fatalf("let in after %v", d)
		}
		p.send("a")
		synctest.Wait()
		equal(t, "answer", p.got(), "a")
		equal(t, "events", rec.took(), "open text:a")
	})
}

func TestHoldAndResume(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, f *fixture) {
		leave := f.worker(echo)
		var peers []*peer
		for range 20 {
			peers = append(peers, f.dial("/"))
		}
		leave()
		for i, p := range peers {
			p.send(fmt.Sprint(i, "a"), fmt.Sprint(i, "b"))
		}
		time.Sleep(f.gw.config().Hold - time.Second)
		synctest.Wait()
		equal(t, "waiting", f.gw.Stats().Waiting >= 19, true) // one may be out as a trial

		var rec recorder
		back := time.Now()
		f.worker(func(ev bus.Event) *bus.Reply { rec.add(ev); return echo(ev) })
		time.Sleep(time.Second / 2)
		synctest.Wait()
		for i, p := range peers {
			if d := p.times[0].Sub(back); d > 2*probeInterval {
				t.Fatalf("resumed after %v", d)
			}
			equal(t, "answers", p.got(), fmt.Sprintf("%da %db", i, i))
		}
		if s := rec.took(); strings.Contains(s, "*") {
			t.Fatalf("a frame that nobody got is marked as given out again: %s", s)
		}
		time.Sleep(2 * f.gw.config().Hold)
		for _, p := range peers {
			equal(t, "still open", p.open(), true)
		}
		equal(t, "nothing waits", f.gw.Stats().Waiting, 0)
	})
}

// A stream of newcomers does not keep those who wait from being refused in time.
func TestHoldUnderArrivals(t *testing.T) {
	inBubble(t, func(c *Config) { c.Hold = time.Second }, func(t *testing.T, f *fixture) {
		var dials sync.WaitGroup
		for range 300 {
			dials.Go(func() {
				start := time.Now()
				if _, _, err := f.tryDial("/", nil); err == nil {
					t.Error("let in without a worker")
				}
				if d := time.Since(start); d > f.gw.config().Hold+2*probeInterval {
					t.Errorf("refused after %v", d)
				}
			})
			time.Sleep(probeInterval / 3)
		}
		time.Sleep(2 * f.gw.config().Hold)
		synctest.Wait()
		dials.Wait()
	})
}

func TestHoldOver(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, f *fixture) {
		leave := f.worker(echo)
		p, quiet := f.dial("/"), f.dial("/")
		leave()
		start := time.Now()
		p.send("a", "b")
		equal(t, "close code", p.closed(), bus.CloseTryLater)
		if d := time.Since(start); d < f.gw.config().Hold || d > f.gw.config().Hold+2*probeInterval {
			t.Fatalf("closed after %v", d)
		}
		equal(t, "who sent nothing waits for nothing", quiet.open(), true)

		// The close event is owed still: a worker that comes now gets it.
		var rec recorder
		f.worker(func(ev bus.Event) *bus.Reply { rec.add(ev); return echo(ev) })
		time.Sleep(time.Second)
		synctest.Wait()
		equal(t, "events", rec.took(), "close:1013")
	})
}

// What a client sends beyond its queue stays in its socket. The connection is
// an unbuffered pipe, so it shows exactly.
func TestBackpressure(t *testing.T) {
	inBubble(t, func(c *Config) { c.QueueFrames = 8 }, func(t *testing.T, f *fixture) {
		const frames = 100
		var mu sync.Mutex
		open := false
		f.worker(func(ev bus.Event) *bus.Reply {
			mu.Lock()
			defer mu.Unlock()
			if ev.Kind == bus.Text && !open {
				return &bus.Reply{Status: bus.Busy}
			}
			return echo(ev)
		})
		p, neighbour := f.dial("/"), f.dial("/")
		var sent sync.WaitGroup
		written := 0
		var want []string
		for i := range frames {
			want = append(want, strconv.Itoa(i))
		}
		sent.Go(func() {
			for _, s := range want {
				p.send(s)
				mu.Lock()
				written++
				mu.Unlock()
			}
		})
		// Long enough for a client that cannot pong to be taken for dead.
		time.Sleep(10 * (f.gw.config().PingInterval + f.gw.config().PongTimeout))
		synctest.Wait()
		mu.Lock()
		taken := written
		open = true
		mu.Unlock()
		equal(t, "taken from the socket", taken, 9) // one is out, eight wait
		synctest.Wait()
		sent.Wait()
		time.Sleep(time.Second)
		synctest.Wait()
		equal(t, "all answered", p.got(), strings.Join(want, " "))
		equal(t, "the neighbour", neighbour.open(), true)
	})
}

func TestBackpressureByBytes(t *testing.T) {
	inBubble(t, func(c *Config) { c.QueueBytes = 1000; c.MaxFrame = 5000 }, func(t *testing.T, f *fixture) {
		f.worker(func(ev bus.Event) *bus.Reply {
			if ev.Kind == bus.Text {
				return &bus.Reply{Status: bus.Busy}
			}
			return echo(ev)
		})
		p := f.dial("/")
		var mu sync.Mutex
		written := 0
		go func() {
			for range 10 {
				if p.conn.WriteMessage(websocket.TextMessage, make([]byte, 5000)) != nil {
					return
				}
				mu.Lock()
				written++
				mu.Unlock()
			}
		}()
		time.Sleep(time.Second)
		synctest.Wait()
		mu.Lock()
		taken := written
		mu.Unlock()
		equal(t, "one out, one larger than the queue", taken, 2)
	})
}
