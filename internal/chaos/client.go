package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/gatebus/gatebus/internal/chaos/ledger"
)

// route is a way to a gateway.
type route struct {
	gateway string // its name
	addr    string
	through *proxy // nil if it is direct
}

// client is one client. It connects, sends numbered frames, checks the answers,
// and connects anew when it has sent enough or the connection has ended for a
// reason.
type client struct {
	// set at construction
	load   *load
	name   string
	rng    *rand.Rand
	window int
	burst  int  // frames in a row, without a pause
	brief  bool // leaves often
	kind   int  // of its frames
	manner manner

	// of the goroutine of run
	conns int
	at    int // index of the gateway it tries first

	mu  sync.Mutex
	now *connection // nil: none
}

// manner is how a client reaches gateways.
type manner int

const (
	direct  manner = iota
	proxied        // through the proxy that can be slow
	fragile        // through the proxy that can go dead
)

// connection is one connection of a client.
type connection struct {
	// set at construction
	name   string
	route  route
	dialed time.Duration // when it was begun
	ws     *websocket.Conn
	room   chan struct{}   // has an entry for each unanswered frame
	cut    <-chan struct{} // closed when nothing comes through any more, by a fault
	ended  chan struct{}   // closed when reading has ended; then:
	err    error

	mu      sync.Mutex
	judge   judge
	pending []time.Duration // when the unanswered frames were sent
	wrong   bool            // a violation was found: nothing more is checked
}

// run is the client's life until ctx ends or the load stops.
func (c *client) run(ctx context.Context) {
	for ctx.Err() == nil && !c.load.isStopping() {
		conn := c.connect(ctx)
		if conn == nil {
			c.load.pause(ctx, c.between(20*time.Millisecond, 200*time.Millisecond))
			continue
		}
		c.session(ctx, conn)
		c.at = c.rng.IntN(len(c.load.gateways))
	}
}

func (c *client) between(low, high time.Duration) time.Duration {
	return low + time.Duration(c.rng.Int64N(int64(high-low)))
}

// heldWithout is how long a handshake may take beyond patience: a gateway without
// workers says no only when it has held the open event for that long.
const heldWithout = 5 * time.Second

// connect tries one gateway; nil if it did not let the client in, which is fine
// if it was not there, or about to go.
func (c *client) connect(ctx context.Context) *connection {
	r := c.load.route(c.at, c.manner)
	c.conns++
	conn := &connection{
		name: fmt.Sprintf("%s.%d", c.name, c.conns), route: r, dialed: ledger.Clock(),
		room: make(chan struct{}, c.window), cut: r.through.dying(), ended: make(chan struct{}),
	}
	conn.judge.conn = conn.name
	dialer := websocket.Dialer{HandshakeTimeout: c.load.patience + heldWithout, ReadBufferSize: 512, WriteBufferSize: 512, WriteBufferPool: c.load.buffers}
	ws, resp, err := dialer.DialContext(ctx, "ws://"+r.addr+"/?"+conn.name, nil)
	if err != nil {
		c.at++ // try the next gateway
		c.notLetIn(ctx, conn, resp, err)
		return nil
	}
	conn.ws = ws
	c.mu.Lock()
	c.now = conn
	c.mu.Unlock()
	c.load.connected(conn)
	return conn
}

// notLetIn judges a failed attempt to connect.
func (c *client) notLetIn(ctx context.Context, conn *connection, resp *http.Response, err error) {
	now, g := ledger.Clock(), conn.route.gateway
	if resp == nil {
		if now-conn.dialed >= c.load.patience+heldWithout && ctx.Err() == nil && !c.load.excuses(g, conn.dialed, now) && !conn.isCut() {
			c.load.history.violated(ledger.Refused, conn.name, "%s has not answered the handshake for %v", g, now-conn.dialed)
		}
		return
	}
	c.load.countRefused()
	if resp.StatusCode != http.StatusServiceUnavailable || !c.load.excuses(g, conn.dialed, now) {
		c.load.history.violated(ledger.Refused, conn.name, "%s refused it after %v: %s (%v)", g, (now - conn.dialed).Round(time.Millisecond), resp.Status, err)
	}
}

// session is one connection from its beginning to its end.
func (c *client) session(ctx context.Context, conn *connection) {
	c.load.readers.Go(func() { c.read(conn) })
	leave := c.write(ctx, conn)
	if leave {
		deadline := time.Now().Add(c.load.patience)
		msg := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")
		_ = conn.ws.WriteControl(websocket.CloseMessage, msg, deadline) // the reader says why
		_ = conn.ws.SetReadDeadline(deadline)                           // likewise
	} else if ctx.Err() != nil {
		_ = conn.ws.Close() // the run is over
	}
	if conn.isCut() {
		c.load.abandon(conn) // its socket stays open for a while
	} else {
		<-conn.ended
		_ = conn.ws.Close() // it has ended
		c.verdict(ctx, conn, leave)
	}
	c.mu.Lock()
	c.now = nil
	c.mu.Unlock()
	c.load.over(conn)
}

// write sends frames until it is time to leave, which it reports, or the
// connection has ended.
func (c *client) write(ctx context.Context, conn *connection) (leave bool) {
	// Everybody leaves at some time, so that a gateway that was down gets its share
	// of clients again.
	frames := 100 + c.rng.IntN(500)
	if c.brief {
		frames = 5 + c.rng.IntN(100)
	}
	for n := range frames {
		if n%c.burst == 0 && !c.load.pauseOn(ctx, conn, c.between(c.load.every/2, c.load.every*3/2)) {
			return c.settle(ctx, conn)
		}
		select {
		case conn.room <- struct{}{}:
		case <-conn.ended:
			return false
		case <-conn.cut:
			return false
		case <-ctx.Done():
			return false
		}
		frame := conn.sends()
		c.load.sent.Add(1)
		_ = conn.ws.SetWriteDeadline(time.Now().Add(c.load.patience)) // fails only on a closed connection
		if err := conn.ws.WriteMessage(c.kind, []byte(frame)); err != nil {
			// The reader says why, unless it waits for what will never come.
			_ = conn.ws.SetReadDeadline(time.Now().Add(c.load.patience))
			return false
		}
	}
	return c.settle(ctx, conn)
}

// settle waits until all is answered; false if it will not be.
func (c *client) settle(ctx context.Context, conn *connection) bool {
	for range cap(conn.room) {
		select {
		case conn.room <- struct{}{}:
		case <-conn.ended:
			return false
		case <-conn.cut:
			return false
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// sends takes the next number, and is its frame.
func (conn *connection) sends() string {
	conn.mu.Lock()
	defer conn.mu.Unlock()
	n := conn.judge.sent
	conn.judge.sent++
	conn.pending = append(conn.pending, ledger.Clock())
	return ledger.FrameOf(conn.name, n)
}

// read checks the answers until the connection ends.
func (c *client) read(conn *connection) {
	defer close(conn.ended)
	for {
		kind, data, err := conn.ws.ReadMessage()
		if err != nil {
			conn.err = err
			return
		}
		now := ledger.Clock()
		conn.mu.Lock()
		if conn.wrong {
			conn.mu.Unlock()
			continue
		}
		broken, text := conn.judge.answer(string(data))
		if broken == "" && kind != c.kind {
			broken, text = ledger.Mangled, "the answer is of the wrong kind"
		}
		if broken != "" {
			conn.wrong = true
			conn.mu.Unlock()
			c.load.history.violated(broken, conn.name, "%s (on %s)", text, conn.route.gateway)
			_ = conn.ws.Close() // the next read says so
			continue
		}
		sent := conn.pending[0]
		conn.pending = conn.pending[1:]
		number := conn.judge.answered - 1
		conn.mu.Unlock()
		<-conn.room
		c.load.answer(conn, number, sent, now)
	}
}

// verdict judges the end of a connection.
func (c *client) verdict(ctx context.Context, conn *connection, leave bool) {
	now, g := ledger.Clock(), conn.route.gateway
	if conn.isWrong() || ctx.Err() != nil {
		return
	}
	var ce *websocket.CloseError
	code := websocket.CloseAbnormalClosure
	if errors.As(conn.err, &ce) {
		code = ce.Code
	}
	c.load.countClose(code)
	killed, stopped := c.load.history.wasKilled(g, conn.dialed, now), c.load.history.wasStopped(g, conn.dialed, now)
	switch {
	case leave && code == websocket.CloseNormalClosure:
		return
	case killed:
		c.load.excuse(conn, "its gateway was killed")
		return
	case code == websocket.CloseServiceRestart && stopped:
		c.load.excuse(conn, "its gateway stopped")
		return
	case conn.isCut():
		c.load.excuse(conn, "the connection was cut")
		return
	}
	conn.mu.Lock()
	text := fmt.Sprintf("%s ended it: %v; %d sent, %d answered", g, conn.err, conn.judge.sent, conn.judge.answered)
	conn.mu.Unlock()
	c.load.history.violated(ledger.Closed, conn.name, "%s", text)
}

func (conn *connection) isCut() bool {
	select {
	case <-conn.cut:
		return true
	default:
		return false
	}
}

func (conn *connection) isWrong() bool {
	conn.mu.Lock()
	defer conn.mu.Unlock()
	return conn.wrong
}

// overdue tells of the oldest unanswered frame, once, if it is older than
// patience.
func (conn *connection) overdue(now, patience time.Duration) (number int, age time.Duration, is bool) {
	conn.mu.Lock()
	defer conn.mu.Unlock()
	if conn.wrong || conn.isCut() || len(conn.pending) == 0 || now-conn.pending[0] < patience {
		return 0, 0, false
	}
	conn.wrong = true
	return conn.judge.answered, now - conn.pending[0], true
}
