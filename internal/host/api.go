package host

import (
	"context"
	"errors"
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
	links     worker.Config  // of its own

	connection atomic.Pointer[worker.Connection] // nil until it is there
}

func (h *Host) newAPI(at *Addresses, w *worker.Worker) *apiPart {
	a := &apiPart{worker: w, links: worker.Config{
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
		URLs: a.links.Registers, Name: "gatebus dashboard", Options: h.registerAuth(keys.RoleObserver), Log: h.log,
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
		c, err := worker.Connect(ctx, a.links)
		if ctx.Err() != nil {
			if err == nil {
				c.Close()
			}
			return nil
		}
		if err != nil {
			return err
		}
		a.connection.Store(c)
		defer c.Close()
	}
	<-ctx.Done()
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

// show has nothing to add: the API is no member, and has no figures but its links.
func (a *apiPart) show(*shown) {}

// apiStats are the figures of the API.
type apiStats struct {
	Links int `json:"links"` // gauge: gateways linked to
}

func (a *apiPart) stats() any {
	var s apiStats
	if c := a.cluster(); c != nil {
		for _, l := range c.Gateways() {
			if l.Up {
				s.Links++
			}
		}
	}
	return s
}
