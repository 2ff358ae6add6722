package gateway

import (
	"context"
	"errors"
	"fmt"
	"log"
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
	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

	"github.com/gatebus/gatebus/bus"
)

// ErrAddressInUse is wrapped by the error of Listen when the port is taken.
var ErrAddressInUse = syscall.EADDRINUSE

// warnInterval is how often warnings about clients and workers are logged at
// most; what is left out is counted in Stats.
const warnInterval = time.Second

// Gateway holds clients' connections. See the package documentation.
type Gateway struct {
	// set at construction
	cfg      Config
	name     bus.GatewayID
	epoch    bus.Epoch
	log      *slog.Logger
	warn     *rate.Sometimes
	conn     bus.Conn
	index    *index
	dispatch *dispatcher
	upgrader *websocket.Upgrader
	outs     string // prefix of the reply subjects
	// subjects of the events, by worker group and kind: few and literal,
	// because distinct subjects cost the server cache misses
	subjects map[string]map[bus.Kind]string

	count    counters
	clients  atomic.Uint64 // numbers the clients of this life
	stopping atomic.Bool
	// handshakes that are being answered
	handshakes atomic.Int64

	readers sync.WaitGroup
	writers sync.WaitGroup

	listenMu sync.Mutex
	listener net.Listener

	subsMu sync.Mutex
	subs   []bus.Subscription
}

// New makes a gateway that speaks to its workers over conn, a connection to its
// own bus. The epoch must be one of this start only. It starts nothing.
func New(cfg Config, epoch bus.Epoch, conn bus.Conn, logger *slog.Logger) (*Gateway, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	g := &Gateway{
		cfg: cfg, name: bus.GatewayID(cfg.Name), epoch: epoch,
		log:      logger.With("gateway", cfg.Name),
		warn:     &rate.Sometimes{First: 1, Interval: warnInterval},
		conn:     conn,
		index:    newIndex(),
		dispatch: newDispatcher(conn, cfg.AckWait),
		upgrader: newUpgrader(),
		subjects: map[string]map[bus.Kind]string{},
	}
	g.outs = strings.TrimSuffix(bus.ReplySubjects(g.name), "*.*")
	for _, group := range []string{cfg.Group} {
		g.subjects[group] = map[bus.Kind]string{}
		for _, k := range []bus.Kind{bus.Open, bus.Text, bus.Binary, bus.Close} {
			g.subjects[group][k] = bus.EventSubject(g.name, group, k)
		}
	}
	return g, nil
}

// Listen takes the clients' port. Serving begins with Run.
func (g *Gateway) Listen(ctx context.Context) error {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", g.cfg.Listen)
	if err != nil {
		return fmt.Errorf("gateway: listen for clients on %s: %w", g.cfg.Listen, err)
	}
	g.listenMu.Lock()
	g.listener = l
	g.listenMu.Unlock()
	return nil
}

// Close gives the clients' port back, of a gateway that does not run.
func (g *Gateway) Close() {
	g.listenMu.Lock()
	defer g.listenMu.Unlock()
	if g.listener != nil {
		_ = g.listener.Close() // a second time does no harm
	}
}

// Addr is where clients connect, once Listen has returned; nil before.
func (g *Gateway) Addr() net.Addr {
	g.listenMu.Lock()
	defer g.listenMu.Unlock()
	if g.listener == nil {
		return nil
	}
	return g.listener.Addr()
}

// Run serves clients until ctx ends, then closes them orderly: spread over
// drain, each with 1012 after the frames taken from it are answered. It
// returns when all is down, at the latest some drain + close_timeout +
// ack_wait after ctx ended. A gateway runs once.
func (g *Gateway) Run(ctx context.Context) error {
	if g.Addr() == nil {
		if err := g.Listen(ctx); err != nil {
			return err
		}
	}
	if err := g.subscribe(g.conn, bus.ReplySubjects(g.name), bus.PushSubjects(g.name), bus.CommandSubjects(g.name)); err != nil {
		g.Close()
		return fmt.Errorf("gateway: %w", err)
	}
	// What serves clients outlives ctx until the last one is gone.
	serve, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	group, serve := errgroup.WithContext(serve)
	server := g.newServer(serve)
	group.Go(func() error {
		if err := server.Serve(g.listener); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("gateway: serve clients: %w", err)
		}
		return nil
	})
	group.Go(func() error { g.dispatch.run(serve); return nil })
	group.Go(func() error { g.keepAlive(serve); return nil })

	select {
	case <-ctx.Done():
	case <-serve.Done(): // the listener broke
	}
	g.drain(server)
	stop()
	err := group.Wait()
	g.readers.Wait()
	g.writers.Wait()
	return err
}

// Attach makes the gateway reachable over a connection to the registers: for
// pushes and commands to it, and to all gateways.
func (g *Gateway) Attach(conn bus.Conn) error {
	var subjects []string
	for _, name := range []bus.GatewayID{bus.AllGateways, g.name} {
		subjects = append(subjects, bus.PushSubjects(name), bus.CommandSubjects(name))
	}
	if err := g.subscribe(conn, subjects...); err != nil {
		return fmt.Errorf("gateway: attach to the registers: %w", err)
	}
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

// newClient makes a client with an id that was never used and never will be.
func (g *Gateway) newClient() *client {
	c := &client{
		gw:     g,
		id:     bus.NewClientID(g.name, g.epoch, g.clients.Add(1)),
		group:  g.cfg.Group,
		log:    g.log,
		opened: make(chan openResult, 1),
	}
	c.node.Value = c
	return c
}

// forget takes a client off the index: all is said about it.
func (g *Gateway) forget(c *client) { g.index.remove(c) }

// keepAlive pings clients that are silent and closes those that stay silent.
// One goroutine looks after all of them.
func (g *Gateway) keepAlive(ctx context.Context) {
	tick := time.NewTicker(min(g.cfg.PingInterval, g.cfg.PongTimeout) / 4)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			for _, c := range g.index.all() {
				g.checkAlive(c, now)
			}
		}
	}
}

func (g *Gateway) checkAlive(c *client, now time.Time) {
	heard := c.heard.Load()
	if heard == 0 {
		return // still in its handshake
	}
	pinged := c.pinged.Load()
	if pinged <= heard {
		if now.Sub(time.Unix(0, heard)) >= g.cfg.PingInterval {
			c.pinged.Store(now.UnixNano())
			c.ping()
		}
		return
	}
	if now.Sub(time.Unix(0, pinged)) < g.cfg.PongTimeout {
		return
	}
	if c.blocked() { // its pong may wait behind frames that are not read
		c.heard.Store(now.UnixNano())
		return
	}
	c.silent()
}

// drain stops accepting and closes the clients.
func (g *Gateway) drain(server *http.Server) {
	g.stopping.Store(true)
	// What Drain does not achieve, the end of these bounds does.
	ctx, cancel := context.WithTimeout(context.Background(), g.cfg.Drain+g.cfg.CloseTimeout+g.cfg.AckWait)
	defer cancel()
	// Shutdown closes the listener and lets handshakes end with an answer. When
	// all clients are gone, who is left has asked for nothing yet.
	var shutdown sync.WaitGroup
	shutdown.Go(func() { _ = server.Shutdown(ctx) })
	defer shutdown.Wait()
	defer server.Close()
	clients := g.index.all()
	rand.Shuffle(len(clients), func(i, j int) { clients[i], clients[j] = clients[j], clients[i] })
	restart := closing{bus.CloseRestart, "the gateway restarts"}
	start := time.Now()
	for i, c := range clients {
		at := start.Add(g.cfg.Drain * time.Duration(i) / time.Duration(len(clients)))
		if !sleepUntil(ctx, at) {
			break
		}
		c.finish(restart)
	}
	// Unanswered events have until the end of ctx.
	if !g.waitEmpty(ctx) {
		for _, c := range g.index.all() {
			c.abandon(restart)
		}
		last, cancel := context.WithTimeout(context.Background(), g.cfg.CloseTimeout)
		defer cancel()
		g.waitEmpty(last)
	}
}

// abandon ends a client now, whatever is unanswered.
func (c *client) abandon(end closing) {
	c.shut(end)
	c.mu.Lock()
	ws := c.ws
	c.gw.dispatch.forget(c)
	c.lane.pop()
	c.gw.count.droppedClosing.Add(int64(c.lane.clear()))
	c.mu.Unlock()
	c.resolveOpen(openResult{status: http.StatusServiceUnavailable, reason: end.reason})
	c.mu.Lock()
	c.unlockAndTidy()
	if ws != nil {
		ws.hurry(c.gw.cfg.CloseTimeout)
		ws.expect(c.gw.cfg.CloseTimeout)
	}
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

// quietLog takes net/http's complaints about clients' bad requests: they are
// the clients' doing and worth a look only when one looks for them.
func quietLog(l *slog.Logger) *log.Logger {
	return slog.NewLogLogger(l.Handler(), slog.LevelDebug)
}
