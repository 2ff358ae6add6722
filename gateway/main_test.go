package gateway

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/bus/membus"
	"github.com/gatebus/gatebus/internal/bubble"
)

func TestMain(m *testing.M) { bubble.Main(m) }

// fixture is a gateway in a synctest bubble: a bus in memory, connections that
// are pipes, and virtual time.
type fixture struct {
	t        *testing.T
	bus      membus.Bus
	gw       *Gateway
	log      *strings.Builder
	listener *pipeListener   // of the first
	others   []*pipeListener // of Config.Listeners
	stop     func()          // drains the gateway; returns how long that took
	took     time.Duration
	// protocols are what clients offer; nil: two of them
	protocols []string
}

// inBubble runs a test with a gateway that configure has adjusted.
func inBubble(t *testing.T, configure func(*Config), fn func(t *testing.T, f *fixture)) {
	t.Helper()
	inBubbleOf(t, configure, func(f *fixture) bus.Server { return &f.bus }, fn)
}

// inBubbleElsewhere is inBubble with a bus that runs elsewhere.
func inBubbleElsewhere(t *testing.T, configure func(*Config), fn func(t *testing.T, f *fixture)) {
	t.Helper()
	inBubbleOf(t, configure, func(*fixture) bus.Server { return nil }, fn)
}

func inBubbleOf(t *testing.T, configure func(*Config), server func(*fixture) bus.Server, fn func(t *testing.T, f *fixture)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		cfg := DefaultConfig()
		if configure != nil {
			configure(&cfg)
		}
		f := &fixture{t: t, log: &strings.Builder{}, listener: newPipeListener()}
		conn := f.bus.Connect()
		gw, err := New(cfg, bus.NewEpoch(time.Now()), conn, server(f), slog.New(slog.NewTextHandler(f.log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		f.gw = gw
		if err := gw.loadTokens(); err != nil {
			t.Fatal(err)
		}
		for i, l := range gw.listeners {
			p := f.listener
			if i > 0 {
				p = newPipeListener()
				f.others = append(f.others, p)
			}
			l.socket = p
			if l.certificate != nil {
				if err := l.certificate.load(); err != nil {
					t.Fatal(err)
				}
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- gw.Run(ctx) }()
		var once sync.Once
		f.stop = func() {
			once.Do(func() {
				start := time.Now()
				cancel()
				if err := <-done; err != nil {
					t.Errorf("run: %v", err)
				}
				f.took = time.Since(start)
				conn.Close()
			})
		}
		defer f.stop()
		synctest.Wait()
		fn(t, f)
	})
}

// worker joins the default group with fn, which returns the reply to an event;
// nil for none. The returned function leaves at once.
func (f *fixture) worker(fn func(bus.Event) *bus.Reply) (leave func()) {
	f.t.Helper()
	return f.plainWorker(func(ev bus.Event, reply string) []*bus.Msg {
		if r := fn(ev); r != nil {
			return []*bus.Msg{r.Msg(ev.Kind, reply)}
		}
		return nil
	})
}

// plainWorker joins the default group with fn, which returns the messages to
// publish for an event.
func (f *fixture) plainWorker(fn func(ev bus.Event, reply string) []*bus.Msg) (leave func()) {
	f.t.Helper()
	conn := f.bus.Connect()
	_, err := conn.QueueSubscribe(bus.EventSubjects("g1", "default"), "default", func(m *bus.Msg) {
		ev, err := bus.ParseEvent(m)
		if err != nil {
			f.t.Errorf("event: %v", err)
			return
		}
		for _, out := range fn(ev, m.Reply) {
			if err := conn.Publish(out); err != nil {
				f.t.Errorf("publish to %s: %v", out.Subject, err)
			}
		}
	})
	if err != nil {
		f.t.Fatal(err)
	}
	var once sync.Once
	leave = func() { once.Do(conn.Close) }
	f.t.Cleanup(leave)
	return leave
}

// echo answers frames with themselves and accepts all else.
func echo(ev bus.Event) *bus.Reply {
	r := &bus.Reply{}
	if ev.Kind.Frame() {
		r.Kind, r.Data = ev.Kind, ev.Data
	}
	return r
}

// recorder is a worker's memory.
type recorder struct {
	mu     sync.Mutex
	events []bus.Event
}

func (r *recorder) add(ev bus.Event) {
	r.mu.Lock()
	r.events = append(r.events, ev)
	r.mu.Unlock()
}

// took tells the events so far as words, "open text:a close:1000", and forgets
// them.
func (r *recorder) took() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var words []string
	for _, ev := range r.events {
		w := ev.Kind.String()
		switch ev.Kind {
		case bus.Text, bus.Binary:
			w += ":" + string(ev.Data)
		case bus.Close:
			_, rest, _ := strings.Cut(string(ev.Data), `"code":`)
			w += ":" + rest[:4]
		}
		if ev.Delivery > 1 {
			w += "*"
		}
		words = append(words, w)
	}
	r.events = nil
	return strings.Join(words, " ")
}

// peer is a client. Its reader runs until the connection ends.
type peer struct {
	t    *testing.T
	conn *websocket.Conn
	done chan struct{}

	mu     sync.Mutex
	frames []string // text as it is, binary in angle brackets
	times  []time.Time
	end    error
}

// dial connects a client that reads all it gets.
func (f *fixture) dial(path string) *peer {
	f.t.Helper()
	p, resp, err := f.tryDial(path, nil)
	if err != nil {
		f.t.Fatalf("dial: %v (%v)", err, resp)
	}
	go p.read()
	return p
}

// tryDial connects a client that reads nothing yet.
func (f *fixture) tryDial(path string, header http.Header) (*peer, *http.Response, error) {
	d := websocket.Dialer{
		NetDialContext:   f.listener.dial,
		HandshakeTimeout: time.Hour,
		Subprotocols:     []string{"v1.gatebus", "v2.gatebus"},
	}
	if f.protocols != nil {
		d.Subprotocols = f.protocols
	}
	conn, resp, err := d.Dial("ws://gateway"+path, header)
	if err != nil {
		return nil, resp, err
	}
	p := &peer{t: f.t, conn: conn, done: make(chan struct{})}
	f.t.Cleanup(func() { _ = conn.Close() })
	return p, resp, nil
}

func (p *peer) read() {
	defer close(p.done)
	for {
		kind, data, err := p.conn.ReadMessage()
		p.mu.Lock()
		if err != nil {
			p.end = err
			p.mu.Unlock()
			_ = p.conn.Close()
			return
		}
		s := string(data)
		if kind == websocket.BinaryMessage {
			s = "<" + s + ">"
		}
		p.frames = append(p.frames, s)
		p.times = append(p.times, time.Now())
		p.mu.Unlock()
	}
}

func (p *peer) send(frames ...string) {
	p.t.Helper()
	for _, s := range frames {
		if err := p.conn.WriteMessage(websocket.TextMessage, []byte(s)); err != nil {
			p.t.Errorf("send %q: %v", s, err) // not Fatalf: goroutines send too
			return
		}
	}
}

// got are the frames so far, and forgets them.
func (p *peer) got() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := strings.Join(p.frames, " ")
	p.frames, p.times = nil, nil
	return s
}

// closed waits for the end and returns the close code.
func (p *peer) closed() bus.CloseCode {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(24 * time.Hour): // virtual: a bubble with tickers never stands still
		p.t.Fatal("the client is not closed")
	}
	var ce *websocket.CloseError
	if errors.As(p.end, &ce) {
		return bus.CloseCode(ce.Code)
	}
	return bus.CloseAbnormal
}

func (p *peer) open() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

func equal[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Fatalf("%s: %v, want %v", what, got, want)
	}
}

// pipeListener accepts connections that are pipes: nothing is buffered, and
// they work in a bubble.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
	remote string // "" for what a pipe says
}

func newPipeListener() *pipeListener {
	return &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }

func (l *pipeListener) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, pipe := net.Pipe()
	server := pipe
	if l.remote != "" {
		server = tcpConn{pipe, l.remote}
	}
	select {
	case l.conns <- server:
		return client, nil
	case <-l.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
