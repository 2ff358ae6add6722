package gateway

import (
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"github.com/gatebus/gatebus/bus"
)

// A peer may close with any code, 1009 too if a push was too big for it: what it
// sent before is handled all the same.
func TestPeerClosesWithOurCodes(t *testing.T) {
	for _, code := range []int{1000, 1002, 1007, 1009} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			inBubble(t, nil, func(t *testing.T, f *fixture) {
				var rec recorder
				f.worker(func(ev bus.Event) *bus.Reply {
					time.Sleep(100 * time.Millisecond)
					rec.add(ev)
					return &bus.Reply{}
				})
				p := f.dial("/")
				p.send("a", "b", "c")
				if err := p.conn.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(code, "")); err != nil {
					t.Fatal(err)
				}
				time.Sleep(10 * time.Second)
				synctest.Wait()
				equal(t, "events", rec.took(), fmt.Sprintf("open text:a text:b text:c close:%d", code))
			})
		})
	}
}

// A client that is in the middle of a large frame is alive: no pong fits there.
func TestSlowUploadIsNotSilence(t *testing.T) {
	inBubble(t, func(c *Config) { c.MaxFrame = 4 << 20 }, func(t *testing.T, f *fixture) {
		f.worker(echo)
		p, _, err := f.tryDial("/", nil)
		if err != nil {
			t.Fatal(err)
		}
		p.conn.SetPingHandler(func(string) error { return nil })
		go p.read()
		raw := p.conn.NetConn()
		if _, err := raw.Write([]byte{0x82, 0xff, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0}); err != nil { // 1 MiB, masked with 0
			t.Fatal(err)
		}
		for range 128 {
			if _, err := raw.Write(make([]byte, 8192)); err != nil {
				t.Fatalf("cut off: %v", err)
			}
			time.Sleep(time.Second)
		}
		synctest.Wait()
		equal(t, "echoed", len(p.got()), 1<<20+2)
	})
}

// A client that left and whose frames nobody answers is forgotten after one
// hold, or one round of tries, and not one for each frame.
func TestLeftWithQueue(t *testing.T) {
	for _, c := range []struct {
		name  string
		leave bool
		most  func(Config) time.Duration
	}{
		{"no worker", true, func(c Config) time.Duration { return 2*c.Hold + time.Second }},
		{"a hung worker", false, func(c Config) time.Duration { return 2*c.AckWait*time.Duration(c.MaxDeliver) + time.Second }},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, nil, func(t *testing.T, f *fixture) {
				var mu sync.Mutex
				hung := false
				leave := f.worker(func(bus.Event) *bus.Reply {
					mu.Lock()
					defer mu.Unlock()
					if hung {
						return nil
					}
					return &bus.Reply{}
				})
				p := f.dial("/")
				synctest.Wait()
				if c.leave {
					leave()
				}
				mu.Lock()
				hung = true
				mu.Unlock()
				for range 60 {
					p.send("x")
				}
				_ = p.conn.Close()
				time.Sleep(c.most(*f.gw.config()))
				synctest.Wait()
				equal(t, "clients left", f.gw.Stats().Clients, 0)
			})
		})
	}
}

// An event that a worker had taken gets the whole hold when it comes back.
func TestHoldAfterWork(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, f *fixture) {
		first := f.worker(echo)
		p := f.dial("/")
		synctest.Wait()
		first()
		p.send("x")
		time.Sleep(5 * time.Second) // of its hold
		conn := f.bus.Connect()
		dead := make(chan struct{})
		var work sync.WaitGroup
		_, err := conn.QueueSubscribe(bus.EventSubjects("g1", "default"), "default", func(m *bus.Msg) {
			work.Go(func() {
				for {
					select {
					case <-dead:
						return
					case <-time.After(time.Second):
						if err := conn.Publish((&bus.Reply{Status: bus.Working}).Msg(bus.Text, m.Reply)); err != nil {
							t.Error(err)
						}
					}
				}
			})
		})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(40*time.Second + time.Second/2) // longer than hold
		close(dead)
		synctest.Wait()
		work.Wait()
		conn.Close()
		time.Sleep(f.gw.config().Hold - time.Second)
		f.worker(echo)
		time.Sleep(time.Second)
		synctest.Wait()
		equal(t, "answer", p.got(), "x")
	})
}

// countingConn counts what is published.
type countingConn struct {
	bus.Conn
	mu sync.Mutex
	n  int
}

func (c *countingConn) Publish(m *bus.Msg) error {
	c.mu.Lock()
	c.n++
	c.mu.Unlock()
	return c.Conn.Publish(m)
}

// While no worker is there, those who give up waiting are forgotten at once and
// do not make the gateway try all the others.
func TestWaitingClientsLeave(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, f *fixture) {
		counting := &countingConn{Conn: f.gw.conn}
		f.gw.dispatch.conn = counting
		var conns []net.Conn
		for range 300 {
			conns = append(conns, f.rawClient(handshake))
		}
		synctest.Wait()
		time.Sleep(time.Second)
		counting.mu.Lock()
		counting.n = 0
		counting.mu.Unlock()
		for range 100 {
			time.Sleep(100 * time.Millisecond)
			_ = conns[0].Close()
			conns = conns[1:]
		}
		synctest.Wait()
		counting.mu.Lock()
		trials := counting.n
		counting.mu.Unlock()
		// One trial each probeInterval, and one more for each who left.
		if most := int(10*time.Second/probeInterval) + 110; trials > most {
			t.Fatalf("%d trials in 10 s, at most %d were expected", trials, most)
		}
		equal(t, "clients left", f.gw.Stats().Clients, 200)
		var rec recorder
		f.worker(func(ev bus.Event) *bus.Reply { rec.add(ev); return echo(ev) })
		for _, conn := range conns {
			go func() { _, _ = io.Copy(io.Discard, conn) }()
		}
		time.Sleep(time.Second)
		synctest.Wait()
		equal(t, "opened", strings.Count(rec.took(), "open"), 200)
	})
}

// A request that has a body to send, or does not read its answer, is cut off.
func TestRequestsAreBounded(t *testing.T) {
	for _, request := range []string{
		"POST / HTTP/1.1\r\nHost: g\r\nContent-Length: 10\r\n\r\n",
		strings.Replace(handshake, "\r\n\r\n", "\r\nContent-Length: 10\r\n\r\n", 1),
		strings.Replace(handshake, "GET", "POST", 1),
		strings.Replace(handshake, "AAAAAAAAAAAAAAAAAAAAAA==", "AAAA", 1),
	} {
		t.Run(strings.ReplaceAll(request, "\r\n", " "), func(t *testing.T) {
			inBubble(t, nil, func(t *testing.T, f *fixture) {
				var rec recorder
				f.worker(func(ev bus.Event) *bus.Reply { rec.add(ev); return echo(ev) })
				conn := f.rawClient(request)
				done := make(chan struct{})
				go func() {
					_, _ = io.Copy(io.Discard, conn)
					close(done)
				}()
				select {
				case <-done:
				case <-time.After(3 * f.gw.config().HandshakeTimeout):
					t.Error("still connected")
				}
				_ = conn.Close()
				synctest.Wait()
				equal(t, "workers were not asked", rec.took(), "")
			})
		})
	}
}

// A pong is written like every frame: in its turn, with write_timeout.
func TestPongWaitsItsTurn(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, f *fixture) {
		f.worker(echo)
		p, _, err := f.tryDial("/", nil) // reads nothing yet
		if err != nil {
			t.Fatal(err)
		}
		pong := ""
		p.conn.SetPongHandler(func(s string) error { pong = s; return nil })
		if err := p.conn.WriteMessage(websocket.PingMessage, []byte("hi")); err != nil {
			t.Fatal(err)
		}
		p.send("a")
		time.Sleep(f.gw.config().WriteTimeout / 2)
		go p.read()
		synctest.Wait()
		equal(t, "still there", p.got(), "a")
		equal(t, "pong", pong, "hi")
	})
}

func TestSilenceIsCountedOnce(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, f *fixture) {
		leave := f.worker(echo)
		mute, _, err := f.tryDial("/", nil)
		if err != nil {
			t.Fatal(err)
		}
		mute.conn.SetPingHandler(func(string) error { return nil })
		go mute.read()
		closes := f.dial("/")
		synctest.Wait()
		leave()
		if err := closes.conn.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(1000, "")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		equal(t, "counted", f.gw.Stats().ClosedSilent, 1)
	})
}

// A reader that takes a frame now and then does not stretch the stop.
func TestTricklingReaderDoesNotDelayStop(t *testing.T) {
	inBubble(t, func(c *Config) { c.WriteTimeout = time.Hour; c.Drain = 0 }, func(t *testing.T, f *fixture) {
		f.worker(echo)
		p, _, err := f.tryDial("/", nil)
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		for i := range 200 {
			f.push(bus.ToAll, "", fmt.Sprint(i))
		}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for {
				time.Sleep(2500 * time.Millisecond) // less than close_timeout
				if _, _, err := p.conn.ReadMessage(); err != nil {
					_ = p.conn.Close()
					return
				}
			}
		}()
		time.Sleep(6 * time.Second)
		f.stop()
		<-ended
		if most := f.gw.config().AckWait + 3*f.gw.config().CloseTimeout; f.took > most {
			t.Fatalf("took %v, at most %v was promised", f.took, most)
		}
	})
}

// A worker that closes a client while it lets it in is heard with its code.
func TestCloseWhileOpening(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, f *fixture) {
		f.plainWorker(func(ev bus.Event, reply string) []*bus.Msg {
			out := []*bus.Msg{(&bus.Reply{}).Msg(ev.Kind, reply)}
			if ev.Kind != bus.Open {
				return out
			}
			cl, err := bus.CloseRequest{Selector: bus.Selector{Client: ev.Client}, Code: 4101, Reason: "account locked"}.Msg("g1")
			if err != nil {
				t.Error(err)
				return nil
			}
			return append([]*bus.Msg{cl}, out...)
		})
		p := f.dial("/")
		equal(t, "code", p.closed(), 4101)
		synctest.Wait()
	})
}

// A handshake that comes in while the gateway begins to stop is refused, and no
// worker hears of an end without a beginning.
func TestStopBeforeOpenIsOut(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, f *fixture) {
		var rec recorder
		f.worker(func(ev bus.Event) *bus.Reply { rec.add(ev); return echo(ev) })
		c := f.gw.newClient(f.gw.listeners[0], "default")
		c.lane.add(newEvent(c, bus.Open, []byte("{}")))
		f.gw.index.add(c)
		c.closeAnswered(closing{bus.CloseRestart, "the gateway restarts"})
		c.start()
		synctest.Wait()
		r := <-c.opened
		equal(t, "accepted first, as it was out", r.status, 0)
		equal(t, "events", rec.took(), "open close:1012")
		equal(t, "clients left", f.gw.Stats().Clients, 0)
	})
}

// A stop whose time is over while a client is being let in gives the client up,
// and nothing else.
func TestAbandonWhileOpening(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, f *fixture) {
		c := f.gw.newClient(f.gw.listeners[0], "default")
		c.lane.add(newEvent(c, bus.Open, []byte("{}")))
		f.gw.index.add(c)
		f.gw.index.mu.Lock() // whoever binds the client waits here
		c.mu.Lock()
		c.advanceLocked()
		c.mu.Unlock()
		answered := make(chan struct{})
		go func() {
			c.answer(1, &bus.Msg{Subject: bus.ReplySubject("g1", c.id, 1), Data: []byte(`{"uid":"u"}`)})
			close(answered)
		}()
		for accepted := false; !accepted; runtime.Gosched() {
			c.mu.Lock()
			accepted = c.accepted
			c.mu.Unlock()
		}
		abandoned := make(chan struct{})
		go func() {
			c.abandon(closing{bus.CloseRestart, "the gateway restarts"})
			close(abandoned)
		}()
		for popped := false; !popped; runtime.Gosched() {
			c.mu.Lock()
			popped = c.lane.empty()
			c.mu.Unlock()
		}
		f.gw.index.mu.Unlock()
		<-answered
		<-abandoned
		synctest.Wait()
		equal(t, "clients left", f.gw.Stats().Clients, 0)
	})
}
