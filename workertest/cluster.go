package workertest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/bus/membus"
	"github.com/gatebus/gatebus/gateway"
	"github.com/gatebus/gatebus/register"
	"github.com/gatebus/gatebus/worker"
)

// Options say what is started. The zero Options are a gateway and no worker.
type Options struct {
	// Handlers are the workers, each with a handler of its own; they may be the same.
	Handlers []worker.Handler
	// Gateways is how many there are, g1, g2, …; 0 means 1.
	Gateways int
	// Gateway, if set, adjusts the configuration of each gateway.
	Gateway func(*gateway.Config)
	// Worker, if set, adjusts the configuration of each worker.
	Worker func(*worker.Config)
	// Patience is how long is waited for anything; 0 means 10s.
	Patience time.Duration
}

// Cluster is gateways and workers in this process.
type Cluster struct {
	tb        testing.TB
	patience  time.Duration
	log       *slog.Logger
	registers membus.Bus
	observer  *worker.Worker

	mu       sync.Mutex
	gateways []*host // complete when Start returns
	stalled  map[bus.GatewayID]bool
}

// host is a gateway and its bus.
type host struct {
	name    bus.GatewayID
	epoch   bus.Epoch
	bus     membus.Bus
	gateway *gateway.Gateway
	stop    func()
	downs   []func(error) // tell workers that it is down; guarded by Cluster.mu
}

// Start starts a cluster, which ends with the test.
func Start(tb testing.TB, o Options) *Cluster {
	tb.Helper()
	c := &Cluster{
		tb: tb, patience: o.Patience, stalled: map[bus.GatewayID]bool{},
		log: slog.New(slog.NewTextHandler(tb.Output(), nil)),
	}
	if c.patience == 0 {
		c.patience = 10 * time.Second
	}
	self := register.Member{Role: register.RoleRegister, Name: "r1", Epoch: bus.NewEpoch(time.Now()), Address: "r1"}
	conn := c.registers.Connect()
	tb.Cleanup(conn.Close)
	c.background("register", register.NewServer(self, conn, slog.New(slog.DiscardHandler)).Run)
	var workers []*worker.Worker
	for i, h := range o.Handlers {
		cfg := worker.DefaultConfig()
		cfg.Name, cfg.Log = "w"+strconv.Itoa(i+1), c.log
		if o.Worker != nil {
			o.Worker(&cfg)
		}
		workers = append(workers, c.startWorker(cfg, h))
	}
	c.observer = c.startWorker(worker.Config{Name: "test", Group: "test-" + strconv.FormatInt(time.Now().UnixNano(), 36), Log: slog.New(slog.DiscardHandler)},
		worker.HandlerFunc(func(context.Context, *worker.Event) error { return nil }))
	workers = append(workers, c.observer)
	for _, w := range workers { // before there are gateways: they hear of each at once
		c.Eventually("every worker has joined", w.Joined)
	}
	for i := range max(o.Gateways, 1) {
		cfg := gateway.DefaultConfig()
		cfg.Name, cfg.Listen, cfg.Drain = "g"+strconv.Itoa(i+1), "127.0.0.1:0", 0
		if o.Gateway != nil {
			o.Gateway(&cfg)
		}
		c.startGateway(cfg)
	}
	for _, w := range workers {
		c.Eventually("every worker is linked to every gateway", func() bool { return w.Stats().Links == max(o.Gateways, 1) })
	}
	return c
}

// background runs fn until the returned stop, at the latest at the end of the test.
func (c *Cluster) background(what string, fn func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(c.tb.Context()))
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := fn(ctx); err != nil {
			c.tb.Errorf("workertest: %s: %v", what, err)
		}
	}()
	stop = sync.OnceFunc(func() { cancel(); <-done })
	c.tb.Cleanup(stop)
	return stop
}

func (c *Cluster) startGateway(cfg gateway.Config) {
	c.tb.Helper()
	h := &host{name: bus.GatewayID(cfg.Name), epoch: bus.NewEpoch(time.Now())}
	conn := h.bus.Connect()
	c.tb.Cleanup(conn.Close)
	g, err := gateway.New(cfg, h.epoch, conn, &h.bus, c.log)
	if err == nil {
		err = g.Listen(c.tb.Context())
	}
	if err != nil {
		c.tb.Fatalf("workertest: %v", err)
	}
	h.gateway = g
	c.mu.Lock()
	c.gateways = append(c.gateways, h)
	c.mu.Unlock()
	registers := c.registers.Connect()
	c.tb.Cleanup(registers.Close)
	if err := g.Attach(registers); err != nil {
		c.tb.Fatalf("workertest: %v", err)
	}
	members, err := register.NewClient(register.ClientConfig{Self: register.Member{
		Role: register.RoleGateway, Name: cfg.Name, Epoch: h.epoch, Address: cfg.Name, Group: cfg.Group,
		Clients: g.Addr().String(), AckWait: cfg.AckWait.Milliseconds(),
	}})
	if err != nil {
		c.tb.Fatalf("workertest: %v", err)
	}
	run := c.background("gateway "+cfg.Name, g.Run)
	select {
	case <-g.Serving():
	case <-time.After(c.patience):
		c.tb.Fatalf("workertest: gateway %s does not serve after %v", cfg.Name, c.patience)
	}
	leave := c.background("gateway "+cfg.Name, func(ctx context.Context) error { return members.Run(ctx, registers) })
	h.stop = func() { leave(); run() }
}

func (c *Cluster) startWorker(cfg worker.Config, h worker.Handler) *worker.Worker {
	c.tb.Helper()
	w, err := worker.New(cfg, h)
	if err != nil {
		c.tb.Fatalf("workertest: %v", err)
	}
	registers := c.registers.Connect()
	c.tb.Cleanup(registers.Close)
	c.background("worker "+cfg.Name, func(ctx context.Context) error { return w.RunOn(ctx, registers, c.dial) })
	return w
}

// errStopped is why a connection to a gateway is down.
var errStopped = errors.New("workertest: the gateway has stopped")

// dial connects a worker to the bus of a gateway.
func (c *Cluster) dial(m register.Member, down func(error)) (bus.Conn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, h := range c.gateways {
		if string(h.name) == m.Name && h.epoch == m.Epoch {
			h.downs = append(h.downs, down)
			return &stallable{Conn: h.bus.Connect(), c: c, gateway: h.name}, nil
		}
	}
	return nil, fmt.Errorf("workertest: no gateway %s", m.Name)
}

// Cluster reaches all clients of all gateways, as a worker would.
func (c *Cluster) Cluster() *worker.Cluster { return c.observer.Cluster() }

// StopGateway stops the gateway of that number, from 0, in order: its clients are
// closed with 1012, and the workers' links to it end. It returns when all is down; that
// the workers hear of it may take a moment longer.
func (c *Cluster) StopGateway(i int) {
	h := c.gateways[i]
	h.stop()
	c.mu.Lock()
	downs := h.downs
	h.downs = nil
	c.mu.Unlock()
	for _, down := range downs {
		down(errStopped)
	}
}

// Stall has the gateway of that number, from 0, not answer any more what it is asked
// (pushes that are counted, changes, queries), or answer again: as one does that is
// frozen. Events and their answers go on.
func (c *Cluster) Stall(i int, stalled bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stalled[c.gateways[i].name] = stalled
}

// stallable is a connection to a gateway whose requests may get no answer.
type stallable struct {
	bus.Conn
	c       *Cluster
	gateway bus.GatewayID
}

// Request implements bus.Conn.
func (s *stallable) Request(ctx context.Context, m *bus.Msg) (*bus.Msg, error) {
	s.c.mu.Lock()
	stalled := s.c.stalled[s.gateway]
	s.c.mu.Unlock()
	if stalled {
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}
	return s.Conn.Request(ctx, m)
}

// Eventually waits until a condition holds that nobody tells the change of; it looks
// every few milliseconds. The test fails if that takes longer than Options.Patience.
func (c *Cluster) Eventually(what string, holds func() bool) {
	c.tb.Helper()
	deadline := time.After(c.patience)
	look := time.NewTicker(2 * time.Millisecond)
	defer look.Stop()
	for !holds() {
		select {
		case <-look.C:
		case <-deadline:
			c.tb.Fatalf("workertest: after %v it is not so that %s", c.patience, what)
		}
	}
}
