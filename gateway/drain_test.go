package gateway

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"github.com/gatebus/gatebus/bus"
)

func TestDrain(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, f *fixture) {
		var rec recorder
		conn := f.bus.Connect()
		defer conn.Close()
		f.worker(func(ev bus.Event) *bus.Reply {
			rec.add(ev)
			if ev.Kind != bus.Text {
				return echo(ev)
			}
			time.AfterFunc(100*time.Millisecond, func() { // an unhurried worker
				if err := conn.Publish(echo(ev).Msg(ev.Kind, bus.ReplySubject(ev.Gateway, ev.Client, ev.Seq))); err != nil {
					t.Error(err)
				}
			})
			return nil
		})
		const clients = 50
		var peers []*peer
		for range clients {
			p := f.dial("/")
			p.send("1", "2", "3")
			peers = append(peers, p)
		}
		synctest.Wait()
		rec.took()
		start := time.Now()
		ended := make(chan time.Duration, clients)
		for _, p := range peers {
			go func() { <-p.done; ended <- time.Since(start) }()
		}
		f.stop()
		var first, last time.Duration = time.Hour, 0
		for range peers {
			d := <-ended
			first, last = min(first, d), max(last, d)
		}
		for _, p := range peers {
			equal(t, "code", p.closed(), bus.CloseRestart)
			equal(t, "what was taken is answered", p.got(), "1 2 3")
		}
		if first > time.Second || last < 4*time.Second || last > f.gw.config().Drain+time.Second {
			t.Fatalf("closed from %v to %v", first, last)
		}
		equal(t, "close events", strings.Count(rec.took(), "close:1012"), clients)
		equal(t, "clients left", f.gw.Stats().Clients, 0)
	})
}

// Whatever clients and workers do, a stop ends in bounded time.
func TestDrainIsBounded(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, f *fixture) {
		f.worker(func(ev bus.Event) *bus.Reply {
			if ev.Kind == bus.Open {
				return &bus.Reply{}
			}
			return &bus.Reply{Status: bus.Busy} // for ever
		})
		stuck, _, err := f.tryDial("/", nil) // reads nothing
		if err != nil {
			t.Fatal(err)
		}
		stuck.send("a")
		f.push(bus.ToAll, "", "x") // a write under way
		f.dial("/").send("a")
		go func() {
			for range 100 { // more than the queue takes: its reader waits
				if stuck.conn.WriteMessage(websocket.TextMessage, []byte("b")) != nil {
					return
				}
			}
		}()
		synctest.Wait()
		f.rawClient("GET / HTT")
		f.stop()
		cfg := f.gw.config()
		if most := cfg.Drain + cfg.CloseTimeout + cfg.AckWait + cfg.CloseTimeout + time.Second; f.took > most {
			t.Fatalf("took %v", f.took)
		}
		equal(t, "clients left", f.gw.Stats().Clients, 0)
		if _, _, err := f.tryDial("/", nil); err == nil {
			t.Fatal("still accepts")
		}
	})
}

func TestStopsWhileOpening(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, f *fixture) {
		refused := make(chan int, 1)
		go func() {
			_, resp, err := f.tryDial("/", nil) // held: there is no worker
			if err == nil || resp == nil {
				refused <- 0
				return
			}
			refused <- resp.StatusCode
		}()
		synctest.Wait()
		f.stop()
		equal(t, "refused with", <-refused, http.StatusServiceUnavailable)
	})
}

func TestIDsAreNeverReused(t *testing.T) {
	seen := map[bus.ClientID]bool{}
	for range 3 { // three lives that start at the same virtual instant
		inBubble(t, nil, func(t *testing.T, f *fixture) {
			f.worker(func(ev bus.Event) *bus.Reply {
				if ev.Kind == bus.Open {
					if seen[ev.Client] {
						t.Errorf("%s again", ev.Client)
					}
					seen[ev.Client] = true
				}
				return echo(ev)
			})
			for range 5 {
				f.dial("/")
			}
			synctest.Wait()
		})
	}
	equal(t, "clients", len(seen), 15)
}

// When the workers have stopped as well, nobody takes the close events: that is
// not waited for longer than for a silent worker.
func TestStopWithoutWorkers(t *testing.T) {
	inBubble(t, func(c *Config) { c.Drain = 0 }, func(t *testing.T, f *fixture) {
		leave := f.worker(echo)
		var peers []*peer
		for range 20 {
			peers = append(peers, f.dial("/"))
		}
		synctest.Wait()
		leave()
		for _, p := range peers[:10] {
			p.send("unanswered") // no reason to call it 1013
		}
		synctest.Wait()
		f.stop()
		for _, p := range peers {
			equal(t, "code", p.closed(), bus.CloseRestart)
		}
		if most := 2*f.gw.config().AckWait + 4*probeInterval; f.took > most {
			t.Fatalf("took %v", f.took)
		}
		equal(t, "clients left", f.gw.Stats().Clients, 0)
	})
}
