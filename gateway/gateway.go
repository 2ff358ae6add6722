package gateway

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/gorilla/websocket"
	"golang.org/x/time/rate"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/internal/batch"
	"github.com/gatebus/gatebus/internal/running"
	"github.com/gatebus/gatebus/internal/stream"
)

// ErrAddressInUse is wrapped by the error of Listen when the port is taken.
var ErrAddressInUse = syscall.EADDRINUSE

// warnInterval is how often warnings about clients and workers are logged at
// most; what is left out is counted in Stats.
const warnInterval = time.Second

// Gateway holds clients' connections. See the package documentation.
type Gateway struct {
	// set at construction
	live     atomic.Pointer[Config] // what it was told; Reload puts another one
	name     bus.GatewayID
	epoch    bus.Epoch
	log      *slog.Logger
	warn     *rate.Sometimes
	conn     bus.Conn
	index    *index
	dispatch *dispatcher
	roster   *roster
	names    *names
	tap      *tap
	tracer   *tracer // nil: no traces
	upgrader *websocket.Upgrader
	outs     string        // prefix of the reply subjects
	start    time.Time     // what clients' signs of life are counted from
	reloaded chan struct{} // tells keepAlive
	rekeyed  chan struct{} // buffered: tells refreshKeys of a reload
	serving  chan struct{} // closed when workers can reach the gateway
	queries  chan query
	// subjects of the events, by worker group and kind: few and literal,
	// because distinct subjects cost the server cache misses
	subjects map[string]map[bus.Kind]string
	routes   []route // which path leads to which group
	// listeners are where clients connect, the one at Listen first.
	listeners []*listener
	door      atomic.Pointer[rules] // likewise, about who may come in

	crowd    crowd
	buffered buffered
	count    counters
	clients  atomic.Uint64 // numbers the clients of this life
	stopping atomic.Bool
	expiring atomic.Bool // there were clients with tokens
	// handshakes that are being answered
	handshakes atomic.Int64

	streams stream.Pool   // clients' connections
	senders running.Group // of batches
	cork    batch.Cork    // in while many clients' frames are taken

	listenMu sync.Mutex // guards the sockets of the listeners
	// set by Inherit: who gives sockets, and when clients may be accepted; nil: at once
	claim     func(name, listen string) net.Listener
	begin     <-chan struct{}
	acceptors sync.WaitGroup // goroutines that take connections
	arrivals  arrivals
	yielded   atomic.Bool // another process accepts

	subsMu sync.Mutex
	subs   []bus.Subscription
}

// New makes a gateway that speaks to its workers over conn, a connection to its
// own bus. server is that bus itself; nil where it runs elsewhere: what a worker
// held that is gone is then given out again after ack_wait only, and a client with
// sticky routing has one event out at a time. The epoch must
// be one of this start only. It starts nothing.
func New(cfg Config, epoch bus.Epoch, conn bus.Conn, server bus.Server, logger *slog.Logger) (*Gateway, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	g := &Gateway{
		name: bus.GatewayID(cfg.Name), epoch: epoch,
		log:       logger.With("gateway", cfg.Name),
		warn:      &rate.Sometimes{First: 1, Interval: warnInterval},
		conn:      conn,
		dispatch:  newDispatcher(conn, cfg.AckWait),
		upgrader:  newUpgrader(),
		subjects:  map[string]map[bus.Kind]string{},
		routes:    routesOf(cfg.Paths),
		listeners: newListeners(&cfg),
		start:     time.Now(),
		reloaded:  make(chan struct{}, 1),
		rekeyed:   make(chan struct{}, 1),
		serving:   make(chan struct{}),
		queries:   make(chan query, maxQueries),
		buffered:  buffered{over: make(chan struct{}, 1)},
	}
	g.live.Store(&cfg)
	g.buffered.limited.Store(cfg.Limits.BufferedBytes > 0)
	g.count.init()
	r, _ := rulesOf(&cfg) // Validate has looked
	g.door.Store(r)
	g.names = newNames(g)
	g.tap = newTap(g)
	g.tracer = newTracer(g, cfg.Tracing)
	g.index = newIndex(g.name, epoch, g.names.changed, func(c *client) { g.countOut(c.from) })
	g.streams.Before, g.streams.After = g.cork.Put, g.cork.Pull
	g.roster = newRoster(g, server)
	if server != nil {
		g.dispatch.census = newCensus(g, server)
	}
	g.outs = strings.TrimSuffix(bus.ReplySubjects(g.name), "*.*")
	for _, group := range cfg.Groups() {
		g.subjects[group] = map[bus.Kind]string{}
		for _, k := range []bus.Kind{bus.Open, bus.Text, bus.Binary, bus.Close} {
			g.subjects[group][k] = bus.EventSubject(g.name, group, k)
		}
	}
	return g, nil
}

// Serving is closed when Run has got so far that workers can ask the gateway for
// something: it is not to be announced to them before.
func (g *Gateway) Serving() <-chan struct{} { return g.serving }

// Run serves clients until ctx ends, then closes them orderly: spread over
// drain, each with 1012 after the frames taken from it are answered. It
// returns when all is down, which takes drain + ack_wait + 3 × close_timeout at
// most: the last clients have that long to be answered, to be written to, and
// to answer the close. A gateway runs once.
func (g *Gateway) Run(ctx context.Context) error {
	if g.Addr() == nil {
		if err := g.Listen(ctx); err != nil {
			return err
		}
	}
	if err := g.subscribe(g.conn, bus.ReplySubjects(g.name), bus.RepliesSubjects(g.name), bus.HeldSubjects(g.name),
		bus.PushSubjects(g.name), bus.CommandSubjects(g.name)); err != nil {
		g.Close()
		g.senders.Wait()
		return fmt.Errorf("gateway: %w", err)
	}
	// What serves clients outlives ctx until the last one is gone.
	serve, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var tasks sync.WaitGroup
	server := g.newServer(serve)
	served := make(chan error, 2*len(g.listeners)+1)
	for _, l := range g.listeners {
		g.acceptors.Add(1)
		if l.isPlain() {
			tasks.Go(func() {
				served <- g.accept(serve, l, &tasks, func(nc net.Conn) { g.letIn(serve, l, nc) })
			})
			continue
		}
		if l.cfg.ProxyProtocol {
			l.headed = newHeadedListener(l.socket)
			tasks.Go(func() {
				served <- g.accept(serve, l, &tasks, func(nc net.Conn) { l.headed.take(serve, g, l, nc) })
			})
		}
		tasks.Go(func() { served <- g.serveHandshakes(serve, l, server) })
	}
	close(g.serving)
	if n := g.dispatch.census; n != nil {
		tasks.Go(func() {
			if err := n.run(serve); err != nil {
				served <- fmt.Errorf("watch the bus: %w", err)
			}
		})
		tasks.Go(func() { g.roster.run(serve) })
	}
	tasks.Go(func() { g.dispatch.run(serve) })
	tasks.Go(func() { g.keepAlive(serve) })
	tasks.Go(func() { g.tap.run(serve) })
	tasks.Go(func() { g.answerQueries(serve) })
	tasks.Go(func() { g.watch(serve) })
	tasks.Go(func() { g.refreshKeys(serve) })

	var err error
	for ctx.Err() == nil && err == nil {
		select {
		case <-ctx.Done():
		case err = <-served:
			if !g.broken(err) {
				err = nil
				continue
			}
			// the listener broke; clients can be told all the same
			err = fmt.Errorf("gateway: serve clients: %w", err)
		}
	}
	g.drain(server)
	stop()
	tasks.Wait()
	g.streams.Close()
	g.senders.Wait()
	return err
}

// Reconnected says that the connection to the bus was lost and is back. It is for a bus
// that runs elsewhere, and may be called at any time. It does not block.
func (g *Gateway) Reconnected() { g.names.lost() }

// AttachShared is Attach for registers that are on the same cluster as the bus: what
// is for this gateway alone comes over the bus already, and what goes over the bus
// need not be mirrored.
func (g *Gateway) AttachShared(conn bus.Conn) error {
	if err := g.subscribe(conn, bus.PushSubjects(bus.AllGateways), bus.CommandSubjects(bus.AllGateways)); err != nil {
		return fmt.Errorf("gateway: attach to the registers: %w", err)
	}
	return nil
}

// Attach makes the gateway reachable over a connection to the registers: for
// pushes and commands to it, and to all gateways. What is tapped there is mirrored
// over it while the gateway runs: the connection must not be given back what it
// publishes itself.
func (g *Gateway) Attach(conn bus.Conn) error {
	subjects := []string{bus.TapsSubject}
	for _, name := range []bus.GatewayID{bus.AllGateways, g.name} {
		subjects = append(subjects, bus.PushSubjects(name), bus.CommandSubjects(name))
	}
	if err := g.subscribe(conn, subjects...); err != nil {
		return fmt.Errorf("gateway: attach to the registers: %w", err)
	}
	g.tap.attach(conn)
	return nil
}

func (g *Gateway) subscribe(conn bus.Conn, subjects ...string) error {
	sub, err := conn.Subscribe(func(m *bus.Msg) { g.deliver(conn, m) }, subjects...)
	if err != nil {
		return err
	}
	g.subsMu.Lock()
	g.subs = append(g.subs, sub)
	g.subsMu.Unlock()
	return nil
}

// newClient makes a client of a listener and a worker group, with an id that was
// never used and never will be.
func (g *Gateway) newClient(l *listener, group string) *client {
	n := g.clients.Add(1)
	c := &client{
		gw:       g,
		id:       bus.NewClientID(g.name, g.epoch, n),
		number:   n,
		listener: l,
		group:    group,
		opened:   make(chan openResult, 1),
	}
	return c
}

// keepAlive pings clients that are silent and closes those that stay silent.
// One goroutine looks after all of them.
func (g *Gateway) keepAlive(ctx context.Context) {
	next := time.NewTimer(g.aliveInterval())
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-g.reloaded:
			next.Reset(g.aliveInterval())
		case <-next.C:
			next.Reset(g.aliveInterval())
			now := time.Since(g.start)
			for _, c := range g.index.all() {
				g.checkAlive(c, now)
			}
		}
	}
}

// aliveInterval is how often it is looked after the clients.
func (g *Gateway) aliveInterval() time.Duration {
	every := min(g.config().PingInterval, g.config().PongTimeout)
	for _, l := range g.listeners {
		if d := l.cfg.IdleTimeout; d > 0 {
			every = min(every, d)
		}
	}
	return every / 4
}

// checkAlive looks after one client; now is since the gateway's start.
func (g *Gateway) checkAlive(c *client, now time.Duration) {
	heard, pinged := time.Duration(c.heard.Load()), time.Duration(c.pinged.Load())
	switch {
	case heard == 0: // still in its handshake, or at its end
	case c.listener.isPlain():
		g.checkIdle(c, now, heard, pinged)
	case pinged <= heard:
		if now-heard >= g.config().PingInterval {
			c.pinged.Store(int64(now))
			c.ping()
		}
	case now-pinged < g.config().PongTimeout:
	case c.blocked(): // its pong may wait behind frames that are not read
		c.alive()
	default:
		c.silent(g.config().PingInterval + g.config().PongTimeout)
	}
}

// checkIdle is checkAlive for a client of a protocol without pings.
func (g *Gateway) checkIdle(c *client, now, heard, pinged time.Duration) {
	l := c.listener
	switch idle := l.cfg.IdleTimeout; {
	case idle > 0 && now-heard >= idle && c.blocked(): // what it sends is not read
		c.alive()
	case idle > 0 && now-heard >= idle:
		c.silent(idle)
	case l.ping != nil && now-max(heard, pinged) >= g.config().PingInterval:
		c.pinged.Store(int64(now))
		c.ping()
	}
}

// drain stops accepting and closes the clients.
func (g *Gateway) drain(server *http.Server) {
	g.stopping.Store(true)
	g.closeSockets(g.yielded.Load())
	// What Drain does not achieve, the end of these bounds does.
	ctx, cancel := context.WithTimeout(context.Background(), g.config().Drain+g.config().CloseTimeout+g.config().AckWait)
	defer cancel()
	// Shutdown closes the listener and lets handshakes end with an answer. When
	// all clients are gone, who is left has asked for nothing yet.
	var shutdown sync.WaitGroup
	shutdown.Go(func() { _ = server.Shutdown(ctx) })
	defer shutdown.Wait()
	defer server.Close()
	clients := g.index.all()
	rand.Shuffle(len(clients), func(i, j int) { clients[i], clients[j] = clients[j], clients[i] })
	start := time.Now()
	for i, c := range clients {
		at := start.Add(g.config().Drain * time.Duration(i) / time.Duration(len(clients)))
		if !sleepUntil(ctx, at) {
			break
		}
		c.closeAnswered(restarts)
	}
	// Unanswered events have until the end of ctx.
	if !g.waitEmpty(ctx) {
		for _, c := range g.index.all() {
			c.abandon(restarts)
		}
		last, cancel := context.WithTimeout(context.Background(), g.config().CloseTimeout)
		defer cancel()
		g.waitEmpty(last)
	}
}

// abandon ends a client now, whatever is unanswered.
func (c *client) abandon(end closing) {
	c.closeNow(end)
	c.mu.Lock()
	for e := c.lane.first; e != nil; e = c.lane.first {
		if e.state == waiting {
			c.gw.count.droppedClosing.Add(1)
		}
		c.gw.dispatch.forget(e)
		c.lane.pop()
	}
	c.resolveLocked(openResult{status: http.StatusServiceUnavailable, reason: end.reason})
	c.unlockAndTidy()
}

// waitEmpty waits until no client and no handshake is left; false if ctx ended
// before.
func (g *Gateway) waitEmpty(ctx context.Context) bool {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for g.index.len() > 0 || g.handshakes.Load() > 0 {
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
	}
	return true
}

func sleepUntil(ctx context.Context, at time.Time) bool {
	d := time.Until(at)
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
