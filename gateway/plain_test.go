package gateway

import (
	"bufio"
	"crypto/tls"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatebus/gatebus/bus"
)

// plainPeer is a client of a protocol without a handshake. Its reader runs until
// the connection ends.
type plainPeer struct {
	t        *testing.T
	protocol Protocol
	conn     net.Conn
	done     chan struct{}

	mu  sync.Mutex
	got []string
	end error
}

func newPlainPeer(t *testing.T, p Protocol, conn net.Conn) *plainPeer {
	c := &plainPeer{t: t, protocol: p, conn: conn, done: make(chan struct{})}
	t.Cleanup(func() { _ = conn.Close() })
	return c
}

func (c *plainPeer) read() {
	defer close(c.done)
	for r := bufio.NewReader(c.conn); ; {
		s, err := readMessage(r, c.protocol)
		c.mu.Lock()
		if err != nil {
			c.end = err
			c.mu.Unlock()
			_ = c.conn.Close()
			return
		}
		c.got = append(c.got, s)
		c.mu.Unlock()
	}
}

func readMessage(r *bufio.Reader, p Protocol) (string, error) {
	switch p {
	case ProtocolText:
		s, err := r.ReadString('\n')
		if err == io.EOF && s != "" {
			err = io.ErrUnexpectedEOF
		}
		return strings.TrimSuffix(s, "\n"), err
	case ProtocolFrame:
		var n uint32
		if err := binary.Read(r, binary.BigEndian, &n); err != nil {
			return "", err
		}
		body := make([]byte, n-4)
		_, err := io.ReadFull(r, body)
		return string(body), err
	}
	b, err := r.ReadByte()
	return string(b), err
}

// encoded is a message as the client sends it.
func (c *plainPeer) encoded(s string) string {
	switch c.protocol {
	case ProtocolText:
		return s + "\r\n"
	case ProtocolFrame:
		return framed(s)
	}
	return s
}

func (c *plainPeer) send(messages ...string) {
	c.t.Helper()
	for _, s := range messages {
		if _, err := io.WriteString(c.conn, c.encoded(s)); err != nil {
			c.t.Errorf("send %q: %v", s, err)
			return
		}
	}
}

// has are the messages so far, and forgets them.
func (c *plainPeer) has() string {
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	s := strings.Join(c.got, " ")
	c.got = nil
	return s
}

// ended waits for the end of the connection, which has to be an orderly one.
func (c *plainPeer) ended() {
	c.t.Helper()
	select {
	case <-c.done:
	case <-time.After(24 * time.Hour): // virtual
		c.t.Fatal("the connection has not ended")
	}
	if c.end != io.EOF {
		c.t.Fatalf("ended with %v, want an orderly end", c.end)
	}
}

func (c *plainPeer) open() bool {
	select {
	case <-c.done:
		return false
	default:
		return true
	}
}

// plainFixture is a gateway with one listener beside the first.
type plainFixture struct {
	*fixture
	protocol Protocol
	tls      *tls.Config // of clients; nil without TLS
}

// inEveryProtocol runs a test with each protocol that has no handshake, with and
// without TLS.
func inEveryProtocol(t *testing.T, configure func(*Config), fn func(t *testing.T, f *plainFixture)) {
	files := certified(t)
	for _, p := range plainWires {
		for _, encrypted := range []bool{false, true} {
			name, config := string(p), (*tls.Config)(nil)
			if encrypted {
				name, config = name+"+tls", clientTLS(t, files)
			}
			t.Run(name, func(t *testing.T) {
				inBubble(t, func(c *Config) {
					l := Listener{Name: "other", Listen: "127.0.0.1:1", Protocol: p}
					if encrypted {
						l.TLS = files
					}
					c.Listeners = []Listener{l}
					if configure != nil {
						configure(c)
					}
				}, func(t *testing.T, f *fixture) { fn(t, &plainFixture{f, p, config}) })
			})
		}
	}
}

// connect dials a client that reads nothing yet.
func (f *plainFixture) connect() *plainPeer {
	f.t.Helper()
	conn, err := f.others[0].dial(f.t.Context(), "", "")
	if err != nil {
		f.t.Fatal(err)
	}
	if f.tls != nil {
		c := tls.Client(conn, f.tls)
		if err := c.Handshake(); err != nil {
			f.t.Fatal(err)
		}
		conn = c
	}
	return newPlainPeer(f.t, f.protocol, conn)
}

func (f *plainFixture) dialPlain() *plainPeer {
	f.t.Helper()
	c := f.connect()
	go c.read()
	synctest.Wait()
	return c
}

// word is an event as a recorder tells it.
func (f *plainFixture) word(data string) string {
	if f.protocol == ProtocolText {
		return "text:" + data
	}
	return "binary:" + data
}

func (f *plainFixture) words(data string) string {
	var words []string
	for s := range strings.FieldsSeq(data) {
		words = append(words, f.word(s))
	}
	return strings.Join(words, " ")
}

func TestPlainEcho(t *testing.T) {
	inEveryProtocol(t, nil, func(t *testing.T, f *plainFixture) {
		var rec recorder
		f.worker(func(ev bus.Event) *bus.Reply { rec.add(ev); return echo(ev) })
		c := f.dialPlain()
		rec.mu.Lock()
		var info bus.OpenInfo
		if err := json.Unmarshal(rec.events[0].Data, &info); err != nil {
			t.Fatal(err)
		}
		equal(t, "client", info.Client, rec.events[0].Client)
		rec.mu.Unlock()
		equal(t, "listener", info.Listener, "other")
		equal(t, "protocol", info.Protocol, string(f.protocol))
		equal(t, "remote", info.Remote, "pipe")
		c.send("1", "2", "3")
		equal(t, "answers", c.has(), "1 2 3")
		equal(t, "accepted", f.gw.Stats().Accepted, 1)
		_ = c.conn.Close()
		synctest.Wait()
		equal(t, "events", rec.took(), "open "+f.words("1 2 3")+" close:1000")
		equal(t, "clients", f.gw.index.len(), 0)
	})
}

// The main listener tells what it is too.
func TestListenerOfWebSocket(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, f *fixture) {
		var rec recorder
		f.worker(func(ev bus.Event) *bus.Reply { rec.add(ev); return echo(ev) })
		f.dial("/")
		var info bus.OpenInfo
		if err := json.Unmarshal(rec.events[0].Data, &info); err != nil {
			t.Fatal(err)
		}
		equal(t, "it", info.Listener+" "+info.Protocol, "default websocket")
	})
}

// What a client sends before it is let in is handled after that, and nothing of one
// that is not.
func TestPlainSendsBeforeOpen(t *testing.T) {
	for _, letIn := range []bool{true, false} {
		t.Run(fmt.Sprint(letIn), func(t *testing.T) {
			inEveryProtocol(t, nil, func(t *testing.T, f *plainFixture) {
				var rec recorder
				conn := f.bus.Connect()
				defer conn.Close()
				f.worker(func(ev bus.Event) *bus.Reply {
					rec.add(ev)
					if ev.Kind != bus.Open {
						return echo(ev)
					}
					r := &bus.Reply{}
					if !letIn {
						r = &bus.Reply{Status: bus.Rejected, Code: 403}
					}
					time.AfterFunc(time.Second, func() {
						if err := conn.Publish(r.Msg(ev.Kind, bus.ReplySubject(ev.Gateway, ev.Client, ev.Seq))); err != nil {
							t.Error(err)
						}
					})
					return nil
				})
				c := f.dialPlain()
				go func() { _, _ = io.WriteString(c.conn, c.encoded("abc")) }() // waits: pipes have no buffer
				synctest.Wait()
				equal(t, "not yet", rec.took(), "open")
				time.Sleep(2 * time.Second)
				if !letIn {
					<-c.done
					equal(t, "events", rec.took(), "")
					equal(t, "refused", f.gw.Stats().Refused, 1)
					equal(t, "clients", f.gw.index.len(), 0)
					return
				}
				equal(t, "answer", strings.ReplaceAll(c.has(), " ", ""), "abc")
				equal(t, "events", rec.took(), f.words("abc")) // one, also where a message is what comes at a time
			})
		})
	}
}

// A client that leaves while nobody is there to let it in is gone at once, and no
// worker hears of it.
func TestPlainLeavesBeforeOpen(t *testing.T) {
	inEveryProtocol(t, nil, func(t *testing.T, f *plainFixture) {
		c := f.dialPlain()
		equal(t, "clients", f.gw.index.len(), 1)
		_ = c.conn.Close()
		synctest.Wait()
		equal(t, "clients", f.gw.index.len(), 0)
		var rec recorder
		f.worker(func(ev bus.Event) *bus.Reply { rec.add(ev); return echo(ev) })
		time.Sleep(time.Minute)
		equal(t, "events", rec.took(), "")
	})
}

func TestPlainNoWorker(t *testing.T) {
	inEveryProtocol(t, nil, func(t *testing.T, f *plainFixture) {
		c, start := f.dialPlain(), time.Now()
		<-c.done
		equal(t, "after hold", time.Since(start).Round(time.Second), f.gw.config().Hold)
		equal(t, "refused", f.gw.Stats().Refused, 1)
	})
}

// A client that sends more than its queue takes is not read until there is room, and
// loses nothing.
func TestPlainBackpressure(t *testing.T) {
	few := func(c *Config) { c.QueueFrames = 4 }
	inEveryProtocol(t, few, func(t *testing.T, f *plainFixture) {
		w := f.sdk("w")
		c := f.connect()
		go c.read()
		w.answer()
		equal(t, "open", w.has(), "open")
		const all = 40
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			for i := range all {
				c.send(string(rune('A' + i)))
			}
		}()
		synctest.Wait()
		select {
		case <-sent:
			t.Error("the client was read to its end")
		default:
		}
		equal(t, "waiting", f.gw.index.all()[0].lane.waiting, 4)
		got := ""
		for len(got) < all {
			w.answer()
			got += strings.ReplaceAll(c.has(), " ", "")
		}
		var want strings.Builder
		for i := range all {
			want.WriteString(string(rune('A' + i)))
		}
		equal(t, "answers", got, want.String())
		<-sent
	})
}

// A client that does not read is closed, and nobody else.
func TestPlainSlow(t *testing.T) {
	few := func(c *Config) { c.SendFrames = 10 }
	inEveryProtocol(t, few, func(t *testing.T, f *plainFixture) {
		var rec recorder
		f.worker(func(ev bus.Event) *bus.Reply { rec.add(ev); return echo(ev) })
		slow := f.connect() // does not read
		synctest.Wait()
		good := f.dialPlain()
		_ = slow
		for range 30 {
			f.push(bus.ToAll, "", "x")
			synctest.Wait()
		}
		equal(t, "the other one got", strings.Count(good.has(), "x"), 30)
		equal(t, "slow", f.gw.Stats().ClosedSlow, 1)
		time.Sleep(time.Minute)
		equal(t, "events", rec.took(), "open open close:4000")
		equal(t, "clients", f.gw.index.len(), 1)
		equal(t, "the other one is open", good.open(), true)
	})
}

// One that takes a frame, but too slowly, is closed by write_timeout.
func TestPlainWriteTimeout(t *testing.T) {
	inEveryProtocol(t, nil, func(t *testing.T, f *plainFixture) {
		var rec recorder
		f.worker(func(ev bus.Event) *bus.Reply { rec.add(ev); return echo(ev) })
		f.connect()
		synctest.Wait()
		f.push(bus.ToAll, "", "x")
		time.Sleep(f.gw.config().WriteTimeout + time.Second)
		equal(t, "events", rec.took(), "open close:4000")
		equal(t, "slow", f.gw.Stats().ClosedSlow, 1)
	})
}

// What a worker sends before it closes a client arrives before the end.
func TestPlainClosedByWorker(t *testing.T) {
	inEveryProtocol(t, nil, func(t *testing.T, f *plainFixture) {
		var rec recorder
		f.worker(func(ev bus.Event) *bus.Reply {
			rec.add(ev)
			if ev.Kind.Frame() {
				return &bus.Reply{Kind: bus.Text, Data: []byte("b"), Status: bus.Closed, Code: 4100, Reason: "enough"}
			}
			return &bus.Reply{}
		})
		c := f.dialPlain()
		f.push(bus.ToAll, "", "a")
		c.send("x")
		c.ended()
		equal(t, "frames", c.has(), "a b")
		equal(t, "events", rec.took(), "open "+f.word("x")+" close:4100")
		equal(t, "clients", f.gw.index.len(), 0)
	})
}

// A gateway that stops answers what it has taken, and then ends the connections.
func TestPlainDrain(t *testing.T) {
	inEveryProtocol(t, nil, func(t *testing.T, f *plainFixture) {
		w := f.sdk("w")
		c := f.connect()
		go c.read()
		w.answer()
		c.send("1", "2", "3")
		synctest.Wait()
		stopped := make(chan struct{})
		go func() {
			defer close(stopped)
			f.stop()
		}()
		for range 3 {
			time.Sleep(time.Second)
			w.answer()
		}
		time.Sleep(f.gw.config().Drain)
		w.answer()
		c.ended()
		equal(t, "answers", c.has(), "1 2 3")
		<-stopped
		equal(t, "events", w.has(), "open 1 2 3 close")
		if _, err := f.others[0].dial(t.Context(), "", ""); !errors.Is(err, net.ErrClosed) {
			t.Errorf("the listener is still there: %v", err)
		}
	})
}

// A peer that does not close its side is not waited for without end.
func TestPlainPeerStaysOpen(t *testing.T) {
	inEveryProtocol(t, nil, func(t *testing.T, f *plainFixture) {
		f.worker(echo)
		c := f.connect()
		synctest.Wait()
		go func() { _, _ = io.Copy(io.Discard, c.conn) }()
		f.stop()
		if limit := f.gw.config().Drain + 2*f.gw.config().CloseTimeout; f.took > limit {
			t.Errorf("the stop took %v, more than %v", f.took, limit)
		}
	})
}

func TestPlainTooLarge(t *testing.T) {
	small := func(c *Config) { c.MaxFrame = 10 }
	inEveryProtocol(t, small, func(t *testing.T, f *plainFixture) {
		if f.protocol == ProtocolRaw {
			return // it has no messages
		}
		var rec recorder
		f.worker(func(ev bus.Event) *bus.Reply { rec.add(ev); return echo(ev) })
		c := f.dialPlain()
		c.send("0123456789")
		equal(t, "the largest", c.has(), "0123456789")
		go func() { _, _ = io.WriteString(c.conn, c.encoded("0123456789X")+c.encoded("Y")) }()
		c.ended()
		time.Sleep(time.Minute)
		equal(t, "events", rec.took(), "open "+f.word("0123456789")+" close:1009")
	})
}

// Each protocol has its own form of what is pushed to all.
func TestPushToEveryProtocol(t *testing.T) {
	several := func(c *Config) {
		for _, p := range plainWires {
			c.Listeners = append(c.Listeners, Listener{Listen: "127.0.0.1:1", Protocol: p, Name: string(p)})
		}
	}
	inBubble(t, several, func(t *testing.T, f *fixture) {
		f.worker(func(ev bus.Event) *bus.Reply {
			if ev.Kind == bus.Open {
				return &bus.Reply{Data: []byte(`{"groups":["room"]}`)}
			}
			return echo(ev)
		})
		ws := f.dial("/")
		var peers []*plainPeer
		for i, p := range plainWires {
			for range 2 {
				conn, err := f.others[i].dial(t.Context(), "", "")
				if err != nil {
					t.Fatal(err)
				}
				c := newPlainPeer(t, p, conn)
				go c.read()
				peers = append(peers, c)
			}
		}
		synctest.Wait()
		for range 3 {
			equal(t, "clients", f.push(bus.ToGroup, "room", "x").Clients, 7)
		}
		equal(t, "empty", f.push(bus.ToAll, "", "").Clients, 7)
		f.push(bus.ToAll, "", "y")
		synctest.Wait()
		equal(t, "websocket", ws.got(), "x x x  y")
		for _, c := range peers {
			want := "x x x  y"
			if c.protocol == ProtocolRaw {
				want = "x x x y"
			}
			equal(t, string(c.protocol), c.has(), want)
		}
	})
}

// Clients of a listener with a group are for that, whatever the others are for.
func TestListenerGroup(t *testing.T) {
	own := func(c *Config) { c.Listeners[0].Group = "devices" }
	inEveryProtocol(t, own, func(t *testing.T, f *plainFixture) {
		f.worker(func(ev bus.Event) *bus.Reply { t.Errorf("the default group got %v", ev.Kind); return echo(ev) })
		w := f.denseIn("devices", "a")
		c := f.connect()
		go c.read()
		w.answer()
		c.send("1")
		equal(t, "devices", w.has(), "open 1")
		w.answer()
		equal(t, "answer", c.has(), "1")
		_ = c.conn.Close()
		w.answer()
	})
}
