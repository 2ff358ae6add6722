// Package host runs the roles of one configuration in one process: it wires
// the packages that know nothing of each other, starts them in the order in
// which they need each other, and stops them so that nothing is lost: first
// the gateway, whose clients' last events the worker still handles, then the
// API and the worker, then the register.
//
// A host whose gateway has a handover path takes the listeners of the process that serves
// there, if one does, once it has all that this one has; and it stops in the same order
// when another process has taken its own. No connection is lost by that.
package host

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/nats-io/nats.go"

	"github.com/gatebus/gatebus/configs"
	"github.com/gatebus/gatebus/internal/admin"
	"github.com/gatebus/gatebus/internal/certs"
	"github.com/gatebus/gatebus/internal/dashboard"
	"github.com/gatebus/gatebus/worker"
)

// Host is the roles of one configuration in one process.
type Host struct {
	cfg *configs.Config // that it was started with
	log *slog.Logger
	// secrets are nil without a secret; Reload puts others.
	secrets atomic.Pointer[secrets]
	certs   *certs.Certs // nil without TLS
	// tracing exports spans; nil without.
	tracing *tracing
	nats    []nats.Option // to log in to a NATS cluster that gatebus does not run

	parts []part   // in the order in which they are stopped
	api   *apiPart // one of them, or nil
	admin *admin.Server

	takeover *takeover           // nil: no process is replaced
	replaced func(successor int) // nil: nobody wants to know

	stopping atomic.Bool // Run has begun to stop the parts

	// owned by Reload: the configuration that it was given last, and what of it is heeded,
	// which differs where whether there is a secret, or a token, does
	latest, heeded *configs.Config
	reloaded       reloadState
}

// errStopping is why a host that stops is not ready.
var errStopping = errors.New("stopping")

// part is one role while it runs.
type part interface {
	// run works until ctx ends and it has come down orderly.
	run(ctx context.Context) error
	// checks are what the role has to have to serve.
	checks() []admin.Check
	// stats are its figures: a struct for JSON.
	stats() any
	// show adds them to what Prometheus is shown.
	show(*shown)
	// reload heeds another configuration, and that the secret is another one by now
	// if it is. What is wrong with it stays as it was.
	reload(cfg *configs.Config, to change) error
	// release gives back what start has taken, of a part that does not run.
	release()
	role() string
}

// Addresses are where a host that has started listens, with the real ports.
// What does not run here is empty.
type Addresses struct {
	Clients, Bus, Register, Cluster, Admin string
	// ClientsTLS says that Clients speak TLS.
	ClientsTLS bool
}

// ClientsURL is the URL at which WebSocket clients connect.
func (a Addresses) ClientsURL() string {
	if a.ClientsTLS {
		return "wss://" + a.Clients
	}
	return "ws://" + a.Clients
}

// Start takes all the ports and starts the servers of the configured roles. An
// error means that nothing is left running. Run must follow.
func Start(ctx context.Context, cfg *configs.Config, log *slog.Logger) (*Host, Addresses, error) {
	h := &Host{cfg: cfg, latest: cfg, heeded: cfg, log: log}
	var at Addresses
	first, err := newSecrets(cfg)
	if err != nil {
		return nil, at, err
	}
	h.secrets.Store(first)
	h.reloaded.set(nil)
	if h.nats, err = cfg.NATS.Credentials().Options(); err != nil {
		return nil, at, fmt.Errorf("nats: %w", err)
	}
	if cfg.TLS.On() {
		c, err := certs.Load(filesOf(cfg), log)
		if err != nil {
			return nil, at, fmt.Errorf("tls: %w", err)
		}
		h.certs = c
	}
	if h.tracing, err = newTracing(ctx, cfg.Tracing, log); err != nil {
		return nil, at, err
	}
	if err := h.start(ctx, &at); err != nil {
		h.takeover.close()
		for _, p := range h.parts {
			p.release()
		}
		return nil, at, err
	}
	return h, at, nil
}

func (h *Host) start(ctx context.Context, at *Addresses) error {
	if err := h.startTakeover(ctx); err != nil {
		return err
	}
	if h.cfg.Register != nil {
		r, err := h.startRegister(ctx, at)
		if err != nil {
			return err
		}
		h.parts = append(h.parts, r)
	}
	var linked *worker.Worker
	if h.cfg.Worker != nil {
		w, err := h.newWorker(ctx, at)
		if err != nil {
			return err
		}
		h.parts, linked = append([]part{w}, h.parts...), w.worker
	}
	if h.cfg.API != nil {
		h.api = h.newAPI(at, linked)
		h.parts = append([]part{h.api}, h.parts...)
	}
	if h.cfg.Gateway != nil {
		g, err := h.startGateway(ctx, at)
		if err != nil {
			return err
		}
		h.parts = append([]part{g}, h.parts...)
	}
	return h.startAdmin(ctx, at)
}

func (h *Host) startAdmin(ctx context.Context, at *Addresses) error {
	if h.cfg.Admin.Listen == "" {
		return nil
	}
	cfg := admin.Config{
		Listen: h.cfg.Admin.Listen, Listener: h.takeover.adminSocket(h.cfg.Admin.Listen), Log: h.log,
		Ready: map[string][]admin.Check{}, Stats: map[string]func() any{},
		Metrics: h.metrics(),
	}
	for _, p := range h.parts {
		cfg.Stats[p.role()] = p.stats
		cfg.Ready[p.role()] = h.checks(p)
	}
	cfg.Gateway, cfg.GatewayTLS = at.Clients, at.ClientsTLS
	if h.api != nil {
		cfg.API = h.api.handler
		cfg.Dashboard, cfg.DashboardPath = h.api.dashboard, dashboard.Path
		if h.cfg.AdminGuarded() {
			cfg.Guard = h.api.handler.Guard
		}
	}
	s, err := admin.Listen(ctx, cfg)
	if err != nil {
		return keyed("admin.listen", err)
	}
	h.admin, at.Admin = s, s.Addr()
	return nil
}

// checks are those of a part that the configuration does not leave out, and that the
// host goes on.
func (h *Host) checks(p part) []admin.Check {
	checks := []admin.Check{{Missing: func() error {
		if h.stopping.Load() {
			return errStopping // whatever else is missing by now
		}
		return nil
	}}}
	for _, c := range p.checks() {
		if slices.Contains(h.cfg.Admin.ReadyWithout, c.Name) {
			continue
		}
		checks = append(checks, admin.Check{Name: c.Name, Missing: func() error {
			if h.stopping.Load() {
				return nil
			}
			return c.Missing()
		}})
	}
	return checks
}

// runAdmin serves operators, from when this process is in its place.
func (h *Host) runAdmin(ctx context.Context) error {
	select {
	case <-h.InPlace():
		return h.admin.Run(ctx)
	case <-ctx.Done():
		h.admin.Close()
		return nil
	}
}

// InPlace is closed when Run has this process serve clients: from the start, unless it
// replaces another one.
func (h *Host) InPlace() <-chan struct{} {
	if h.takeover == nil {
		at := make(chan struct{})
		close(at)
		return at
	}
	return h.takeover.begin
}

// OnReplaced has fn called when another process has taken over, with its process id,
// before it serves anybody. To be called before Run.
func (h *Host) OnReplaced(fn func(successor int)) { h.replaced = fn }

// Run runs the roles until ctx ends, one fails, or another process has taken over, and
// stops them one after the other. The error is that of the role that failed.
func (h *Host) Run(ctx context.Context) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var (
		mu   sync.Mutex
		errs []error
	)
	// background runs fn until stop is called, and stop waits for it.
	background := func(fn func(context.Context) error) (stop func()) {
		own, cancel := context.WithCancel(context.WithoutCancel(ctx))
		done := make(chan struct{})
		go func() {
			defer close(done)
			if err := fn(own); err != nil {
				mu.Lock()
				errs = append(errs, err)
				mu.Unlock()
				fail(err)
			}
		}()
		return func() { cancel(); <-done }
	}
	var stops []func()
	for _, p := range h.parts {
		stops = append(stops, background(p.run))
	}
	stopAdmin := func() {}
	if h.admin != nil {
		stopAdmin = background(h.runAdmin)
		stops = append(stops, stopAdmin)
	}
	if h.tracing != nil { // the last: it has the spans of all
		stops = append(stops, background(h.tracing.run))
	}
	h.takeover.await(ctx, stopAdmin)
	h.stopping.Store(true)
	for _, stop := range stops {
		stop()
	}
	h.takeover.close()
	mu.Lock()
	defer mu.Unlock()
	return errors.Join(errs...)
}

// serverTLS is what the servers of this host demand of clients; nil without TLS.
func (h *Host) serverTLS() *tls.Config {
	if h.certs == nil {
		return nil
	}
	return h.certs.Server(h.cfg.TLS.Verify)
}

// routeTLS is what the register of this host does with others; nil without TLS.
func (h *Host) routeTLS() *tls.Config {
	if h.certs == nil {
		return nil
	}
	return h.certs.Peer()
}

// keyed says which key of the configuration an error of a listener is about.
func keyed(key string, err error) error {
	if isAddressInUse(err) {
		if strings.Contains(key, "[") { // a flag sets a list as a whole
			return fmt.Errorf("%s: %w; stop what uses it, or choose another", key, err)
		}
		return fmt.Errorf("%s: %w; stop what uses it, or choose another with --set %s=HOST:PORT", key, err, key)
	}
	return fmt.Errorf("%s: %w", key, err)
}
