package gateway

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/bus/membus"
)

// counted are the figures that are not 0, in order.
func counted(m map[string]int64, names ...string) string {
	var words []string
	for _, name := range names {
		words = append(words, fmt.Sprint(name, "=", m[name]))
		delete(m, name)
	}
	for name, n := range m {
		if n != 0 {
			words = append(words, fmt.Sprint("unexpected ", name, "=", n))
		}
	}
	return strings.Join(words, " ")
}

func TestStatsOfFrames(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, f *fixture) {
		f.worker(func(ev bus.Event) *bus.Reply {
			if ev.Kind == bus.Open {
				return &bus.Reply{Data: []byte(`{"uid":"ann","groups":["a","b"]}`)}
			}
			return echo(ev)
		})
		p := f.dial("/")
		synctest.Wait()
		p.send("12345", "678")
		synctest.Wait()
		f.push(bus.ToGroup, "a", "1234567")
		f.push(bus.ToGroup, "nobody", "1234567")
		f.push(bus.ToAll, "", "12")
		synctest.Wait()
		s := f.gw.Stats()
		for _, c := range []struct {
			what      string
			got, want int64
		}{
			{"events in", s.EventsIn, 3}, {"frames in", s.FramesIn, 2}, {"bytes in", s.BytesIn, 8},
			{"frames out", s.FramesOut, 4}, {"bytes out", s.BytesOut, 17},
			{"uids", s.UIDs, 1}, {"groups", s.Groups, 2}, {"in flight", s.InFlight, 0},
		} {
			equal(t, c.what, c.got, c.want)
		}
		equal(t, "pushes", counted(s.Pushes, "group", "all"), "group=2 all=1")
		close, err := bus.RequestMsg("g1", bus.CloseRequest{Selector: bus.Selector{UID: "ann"}, Text: new("bye")})
		if err != nil {
			t.Fatal(err)
		}
		f.ask(close)
		f.ask(&bus.Msg{Subject: bus.CommandSubject("g1", "nonsense")})
		equal(t, "closed", p.closed(), bus.CloseKicked)
		synctest.Wait()
		s = f.gw.Stats()
		equal(t, "commands", counted(s.Commands, "close", "unknown"), "close=1 unknown=1")
		equal(t, "events in", s.EventsIn, 4)
		equal(t, "frames out, with the last one", s.FramesOut, 5)
		equal(t, "bytes out", s.BytesOut, 20)
		equal(t, "uids left", s.UIDs, 0)
	})
}

func TestStatsOfEnds(t *testing.T) {
	inBubble(t, func(c *Config) { c.Hold = time.Second }, func(t *testing.T, f *fixture) {
		refused := func(path string) {
			t.Helper()
			if _, _, err := f.tryDial(path, nil); err == nil {
				t.Fatalf("%s is let in", path)
			}
			synctest.Wait()
		}
		refused("/nobody-there")
		leave := f.worker(func(ev bus.Event) *bus.Reply {
			switch data := string(ev.Data); {
			case ev.Kind == bus.Open && strings.Contains(data, "/forbidden"):
				return &bus.Reply{Status: bus.Rejected, Code: 403}
			case ev.Kind == bus.Open && strings.Contains(data, "/nonsense"):
				return &bus.Reply{Data: []byte(`{"uid":1}`)}
			case ev.Kind == bus.Open && strings.Contains(data, "/silent"):
				return nil
			case ev.Kind == bus.Open && strings.Contains(data, "/ann"):
				return &bus.Reply{Data: []byte(`{"uid":"ann","others":"refuse"}`)}
			case ev.Kind == bus.Text && data == "4100":
				return &bus.Reply{Status: bus.Closed, Code: 4100}
			}
			return echo(ev)
		})
		refused("/forbidden")
		refused("/nonsense")
		refused("/silent")
		ann := f.dial("/ann")
		refused("/ann")
		conn, err := f.listener.dial(t.Context(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		go fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: g\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n") // lacks a key
		if _, err := conn.Read(make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
		conn.Close()

		bye := func(p *peer, code int) {
			t.Helper()
			synctest.Wait()
			if err := p.conn.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(code, "")); err != nil {
				t.Fatal(err)
			}
			p.closed()
		}
		bye(ann, 1000)
		bye(f.dial("/"), 3333)
		bye(f.dial("/"), 3334)
		bye(f.dial("/"), websocket.CloseNoStatusReceived)
		kicked := f.dial("/")
		kicked.send("4100")
		kicked.closed()
		cut := f.dial("/")
		synctest.Wait()
		cut.conn.NetConn().Close()
		synctest.Wait()
		leave()
		s := f.gw.Stats()
		equal(t, "refused", counted(s.RefusedFor, "no_worker", "worker", "bad_reply", "unanswered", "uid_taken", "bad_handshake"),
			"no_worker=1 worker=1 bad_reply=1 unanswered=1 uid_taken=1 bad_handshake=1")
		equal(t, "closed", counted(s.Closed, "1000", "3xxx", "4xxx", "1005", "1006"), "1000=1 3xxx=2 4xxx=1 1005=1 1006=1")
	})
}

// The latency is that of what a client waits for: with everything that an event goes
// through until it is answered.
func TestStatsOfLatency(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, f *fixture) {
		silent := map[bus.ClientID]bool{}
		f.worker(func(ev bus.Event) *bus.Reply {
			if ev.Kind == bus.Text && !silent[ev.Client] {
				silent[ev.Client] = true
				return nil // it comes again after ack_wait
			}
			return echo(ev)
		})
		var peers []*peer
		for range 16 {
			peers = append(peers, f.dial("/"))
		}
		for _, p := range peers {
			p.send("x")
		}
		synctest.Wait()
		if s := f.gw.Stats(); s.InFlight != 16 || f.gw.Queues().Oldest != 0 {
			t.Errorf("%d are in flight, the oldest for %v s", s.InFlight, f.gw.Queues().Oldest)
		}
		time.Sleep(time.Second)
		equal(t, "the oldest", f.gw.Queues().Oldest, 1)
		time.Sleep(f.gw.config().AckWait)
		synctest.Wait()
		l := f.gw.Stats().Latency
		equal(t, "observed, of 16 opens and 16 frames", l.Count(), 2)
		equal(t, "at once", l.Counts[0], 1)
		if l.Sum < 1.9 || l.Sum > 2.1 {
			t.Errorf("together: %v s, want what ack_wait is", l.Sum)
		}
	})
}

func TestQueues(t *testing.T) {
	inBubble(t, func(c *Config) { c.QueueFrames = 5 }, func(t *testing.T, f *fixture) {
		f.worker(func(ev bus.Event) *bus.Reply {
			if ev.Kind == bus.Text {
				return &bus.Reply{Status: bus.Working}
			}
			return echo(ev)
		})
		p := f.dial("/")
		synctest.Wait()
		go func() {
			for n := 1; p.conn.WriteMessage(websocket.TextMessage, bytes.Repeat([]byte("x"), n)) == nil; n++ {
			}
		}()
		deaf, _, err := f.tryDial("/", nil)
		if err != nil {
			t.Fatal(err)
		}
		f.push(bus.ToAll, "", "abc")
		synctest.Wait() // it is being written
		for range 3 {
			f.push(bus.ToAll, "", "abc")
		}
		synctest.Wait()
		q := f.gw.Queues()
		// One is with the worker, five wait; of the pushes one is being written.
		equal(t, "events", q.LaneEvents, 5)
		equal(t, "bytes of events", q.LaneBytes, 2+3+4+5+6)
		equal(t, "stalled", q.Stalled, 1)
		equal(t, "frames", q.OutboxFrames, 3)
		equal(t, "bytes of frames", q.OutboxBytes, 9)
		deaf.conn.Close()
		p.conn.Close()
	})
}

// Workers are counted by group, whatever they are, once each.
func TestWorkersOfGroups(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, f *fixture) {
		has := func(want int) {
			t.Helper()
			time.Sleep(2 * rosterInterval)
			synctest.Wait()
			equal(t, "groups", len(f.gw.Workers()), 1)
			equal(t, "workers", f.gw.Workers()["default"], want)
		}
		has(0)
		first := f.worker(echo)
		has(1)
		second := f.worker(echo)
		has(2)
		tap := f.bus.Connect() // looks on: it is no worker
		defer tap.Close()
		if _, err := tap.Subscribe(func(*bus.Msg) {}, "gw.>"); err != nil {
			t.Fatal(err)
		}
		has(2)
		first()
		second()
		has(0)
	})
	// A gateway that does not run its bus itself cannot know.
	var elsewhere membus.Bus
	gw, err := New(DefaultConfig(), 1, elsewhere.Connect(), nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if w := gw.Workers(); w != nil {
		t.Errorf("%v", w)
	}
}
