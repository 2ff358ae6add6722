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
	"github.com/gatebus/gatebus/internal/wsframe"
)

func TestSlowClient(t *testing.T) {
	inBubble(t, func(c *Config) { c.SendFrames = 10 }, func(t *testing.T, f *fixture) {
		var rec recorder
		f.worker(func(ev bus.Event) *bus.Reply { rec.add(ev); return echo(ev) })
		slow, _, err := f.tryDial("/", nil) // never reads
		if err != nil {
			t.Fatal(err)
		}
		neighbour := f.dial("/")
		var want []string
		for i := range 30 {
			want = append(want, fmt.Sprint(i))
			f.push(bus.ToAll, "", fmt.Sprint(i))
			synctest.Wait()
		}
		equal(t, "the neighbour gets all", neighbour.got(), strings.Join(want, " "))
		equal(t, "counted", f.gw.Stats().ClosedSlow, 1)
		equal(t, "events", rec.took(), "open open close:4000")
		time.Sleep(f.gw.config().CloseTimeout + time.Millisecond)
		synctest.Wait()
		// The write under way had its last chance; the rest was dropped with it.
		if _, _, err := slow.conn.ReadMessage(); err == nil {
			t.Fatal("still connected")
		}
		equal(t, "clients left", f.gw.Stats().Clients, 1)
	})
}

// A client that sends faster than it reads is slowed down by what waits for it, and
// gets every answer; one that sends and never reads is closed by the write timeout.
func TestFloodOfAnswers(t *testing.T) {
	inBubble(t, func(c *Config) { c.QueueFrames, c.SendFrames, c.WriteTimeout = 5, 40, time.Second }, func(t *testing.T, f *fixture) {
		f.worker(echo)
		p, _, err := f.tryDial("/", nil)
		if err != nil {
			t.Fatal(err)
		}
		deaf, _, err := f.tryDial("/", nil)
		if err != nil {
			t.Fatal(err)
		}
		const n = 200 // frames
		var want []string
		sent := make(chan struct{})
		for i := range n {
			want = append(want, fmt.Sprint(i))
		}
		go func() { p.send(want...); close(sent) }()
		go func() {
			for deaf.conn.WriteMessage(websocket.TextMessage, []byte("x")) == nil {
			}
		}()
		synctest.Wait()
		select {
		case <-sent:
			t.Fatal("all was taken of a client that reads nothing")
		default:
		}
		var got []string
		for range n {
			time.Sleep(20 * time.Millisecond) // slow, but a whole write takes less than write_timeout
			_, data, err := p.conn.ReadMessage()
			if err != nil {
				t.Fatalf("after %d answers: %v", len(got), err)
			}
			got = append(got, string(data))
		}
		equal(t, "answers", strings.Join(got, " "), strings.Join(want, " "))
		equal(t, "closed: the deaf one", f.gw.Stats().ClosedSlow, 1)
		equal(t, "clients left", f.gw.Stats().Clients, 1)
	})
}

// A client that reads nothing while little is sent is found out by the write
// timeout; one that starts to read in time loses nothing.
func TestWriteTimeout(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, f *fixture) {
		f.worker(echo)
		stuck, _, err := f.tryDial("/", nil)
		if err != nil {
			t.Fatal(err)
		}
		late, _, err := f.tryDial("/", nil)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "pushed", f.push(bus.ToAll, "", "a").Clients, 2)
		time.Sleep(f.gw.config().WriteTimeout - time.Millisecond)
		go late.read()
		time.Sleep(2 * time.Millisecond)
		synctest.Wait()
		equal(t, "in time", late.got(), "a")
		if _, _, err := stuck.conn.ReadMessage(); err == nil {
			t.Fatal("still connected")
		}
		equal(t, "counted", f.gw.Stats().ClosedSlow, 1)
		equal(t, "clients left", f.gw.Stats().Clients, 1)
	})
}

func TestSilence(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, f *fixture) {
		var rec recorder
		f.worker(func(ev bus.Event) *bus.Reply { rec.add(ev); return echo(ev) })
		alive := f.dial("/") // gorilla answers pings
		talks := f.dial("/")
		talks.conn.SetPingHandler(func(string) error { return nil })
		mute := f.dial("/")
		pings := 0
		mute.conn.SetPingHandler(func(string) error { pings++; return nil })
		start := time.Now()
		go func() {
			for range 60 {
				time.Sleep(f.gw.config().PingInterval / 2)
				talks.send("x")
			}
		}()
		equal(t, "code", mute.closed(), bus.CloseSilent)
		least := f.gw.config().PingInterval + f.gw.config().PongTimeout
		if d := time.Since(start); d < least || d > least+f.gw.config().PongTimeout {
			t.Fatalf("closed after %v", d)
		}
		equal(t, "pinged once", pings, 1)
		time.Sleep(10 * least)
		synctest.Wait()
		equal(t, "who pongs stays", alive.open(), true)
		equal(t, "who talks stays", talks.open(), true)
		equal(t, "counted", f.gw.Stats().ClosedSilent, 1)
		time.Sleep(f.gw.config().PingInterval * 30)
	})
}

// A client that has more waiting than one write takes is pinged all the same, and
// its pings are answered: it reads, and is alive.
func TestControlFramesDoNotWait(t *testing.T) {
	gw, err := New(DefaultConfig(), 1, discard{}, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	c := gw.newClient(gw.listeners[0], "default")
	ws := &wsConn{client: c, conn: benchStream{}}
	c.conn = ws
	big := frame{kind: bus.Binary, data: make([]byte, 40<<10)}
	c.pushLocked(big)
	for range 10 {
		c.pushLocked(big)
		c.ping()
		c.pong("x")
		out, _ := ws.Output(nil)
		want := wsframe.Append(wsframe.Append(nil, wsframe.Ping, nil), wsframe.Pong, []byte("x"))
		if !bytes.HasPrefix(out, want) || c.out.ping || c.out.pong != nil {
			t.Fatalf("%d bytes begin with %x", len(out), out[:8])
		}
	}
	out, _ := ws.Output(nil)
	if f, _, err := wsframe.Parse(out, wsframe.Server, 1<<20); err != nil || len(f.Payload) != len(big.data) {
		t.Errorf("%+v, %v", f.Op, err)
	}
}

// The limit for frames is none for control frames.
func TestControlFramesBeyondMaxFrame(t *testing.T) {
	inBubble(t, func(c *Config) { c.MaxFrame = 10 }, func(t *testing.T, f *fixture) {
		var rec recorder
		f.worker(func(ev bus.Event) *bus.Reply { rec.add(ev); return echo(ev) })
		p := f.dial("/")
		if err := p.conn.WriteControl(websocket.PingMessage, make([]byte, 100), time.Now().Add(time.Second)); err != nil {
			t.Fatal(err)
		}
		p.send("0123456789")
		synctest.Wait()
		equal(t, "frames", p.got(), "0123456789")
		bye := websocket.FormatCloseMessage(1000, "a long goodbye")
		if err := p.conn.WriteControl(websocket.CloseMessage, bye, time.Now().Add(time.Second)); err != nil {
			t.Fatal(err)
		}
		equal(t, "answered", p.closed(), 1000)
		synctest.Wait()
		equal(t, "events", rec.took(), "open text:0123456789 close:1000")
	})
}
