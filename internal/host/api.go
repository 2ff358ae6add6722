package host

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/gatebus/gatebus/api"
	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/configs"
	"github.com/gatebus/gatebus/internal/admin"
	"github.com/gatebus/gatebus/internal/dashboard"
	"github.com/gatebus/gatebus/internal/keys"
	"github.com/gatebus/gatebus/worker"
)

// apiPart is the HTTP API and the dashboard, which the admin listener serves. The API
// uses the links of the worker of this process; without one it has links of its own.
type apiPart struct {
	handler   *api.Handler
	dashboard *dashboard.Dashboard
	registers bus.Config     // for the dashboard, which looks on
	worker    *worker.Worker // nil: none runs here

	connection  atomic.Pointer[worker.Connection] // nil until it is there
	toRegisters atomic.Pointer[bus.NATS]          // likewise

	mu     sync.Mutex
	links  worker.Config // of its own
	others chan struct{} // closed when they are others
}

func (h *Host) newAPI(at *Addresses, w *worker.Worker) *apiPart {
	a := &apiPart{worker: w, others: make(chan struct{}), links: worker.Config{
		Registers: h.registers(at), Secret: string(h.cfg.Secret), NATS: h.cfg.NATS.Credentials(), Log: h.log,
	}}
	if h.certs != nil {
		a.links.TLS = h.certs.Client()
	}
	a.handler = api.New(api.Config{
		Tokens: h.cfg.API.AllTokens(),
		Cluster: func() *worker.Cluster {
			if h.stopping.Load() {
				return nil
			}
			return a.cluster()
		},
	})
	a.dashboard = dashboard.New(dashboard.Config{Guard: a.handler.Guard})
	a.registers = bus.Config{
		URLs: a.links.Registers, Name: "gatebus dashboard", Log: h.log,
		Options: h.registerOptions(keys.RoleObserver), Login: h.registerLogin(keys.RoleObserver),
	}
	return a
}

// cluster is what reaches the clients, or nil.
func (a *apiPart) cluster() *worker.Cluster {
	if a.worker != nil {
		return a.worker.Cluster()
	}
	if c := a.connection.Load(); c != nil {
		return c.Cluster
	}
	return nil
}

func (a *apiPart) run(ctx context.Context) error {
	registers, err := bus.Dial(a.registers)
	if err != nil {
		return err
	}
	defer registers.Close()
	a.toRegisters.Store(registers)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	shown := make(chan error, 1)
	go func() { shown <- a.dashboard.Run(ctx, registers) }()
	err = a.serve(ctx)
	stop()
	return errors.Join(err, <-shown)
}

// serve has links for the API until ctx ends.
func (a *apiPart) serve(ctx context.Context) error {
	if a.worker == nil {
		c, err := a.connect(ctx)
		if c == nil || err != nil {
			return err
		}
		defer c.Close()
	}
	<-ctx.Done()
	return nil
}

// connect makes the links. It begins again if they are to be others before there is any,
// and returns nil if ctx ends.
func (a *apiPart) connect(ctx context.Context) (*worker.Connection, error) {
	for {
		a.mu.Lock()
		links, others := a.links, a.others
		a.mu.Unlock()
		try, cancel := context.WithCancel(ctx)
		connected := make(chan struct{})
		go func() {
			select {
			case <-others:
				cancel()
			case <-connected:
			}
		}()
		c, err := worker.Connect(try, links)
		close(connected)
		cancel()
		a.mu.Lock()
		same := a.others == others
		if err == nil && same && ctx.Err() == nil {
			a.connection.Store(c) // reload finds it from here on
			a.mu.Unlock()
			return c, nil
		}
		a.mu.Unlock()
		if err == nil {
			c.Close()
		}
		if ctx.Err() != nil {
			return nil, nil
		}
		if err != nil && same {
			return nil, err
		}
	}
}

func (a *apiPart) reload(cfg *configs.Config, to change) error {
	if cfg.API != nil {
		a.handler.SetTokens(cfg.API.AllTokens())
	}
	if to.secrets {
		if c := a.toRegisters.Load(); c != nil {
			c.Renew()
		}
	}
	a.mu.Lock()
	a.links.Secret, a.links.TLS = string(cfg.Secret), to.clientTLS()
	if to.secrets {
		close(a.others)
		a.others = make(chan struct{})
	}
	a.mu.Unlock()
	if c := a.connection.Load(); c != nil {
		return c.SetLogin(string(cfg.Secret), to.clientTLS())
	}
	return nil
}

func (a *apiPart) role() string { return string(configs.RoleAPI) }
func (a *apiPart) release()     {}

func (a *apiPart) checks() []admin.Check {
	return []admin.Check{{Name: configs.ReadyRegisters, Missing: func() error {
		if a.cluster() == nil {
			return errors.New("no register has answered yet")
		}
		return nil
	}}}
}

func (a *apiPart) show(s *shown) { s.API(a.handler) }

// apiStats are the figures of the API.
type apiStats struct {
	Links int `json:"links"` // gauge: gateways linked to
	api.Stats
}

func (a *apiPart) stats() any {
	s := apiStats{Stats: a.handler.Stats()}
	if c := a.cluster(); c != nil {
		for _, l := range c.Gateways() {
			if l.Up {
				s.Links++
			}
		}
	}
	return s
}
