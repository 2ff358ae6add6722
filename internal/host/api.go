package host

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/gatebus/gatebus/api"
	"github.com/gatebus/gatebus/configs"
	"github.com/gatebus/gatebus/internal/admin"
	"github.com/gatebus/gatebus/worker"
)

// apiPart is the HTTP API, which the admin listener serves. It uses the links of the
// worker of this process; without one it has links of its own.
type apiPart struct {
	handler *api.Handler
	worker  *worker.Worker // nil: none runs here
	links   worker.Config  // of its own

	connection atomic.Pointer[worker.Connection] // nil until it is there
}

func (h *Host) newAPI(at *Addresses, w *worker.Worker) *apiPart {
	a := &apiPart{worker: w, links: worker.Config{
		Registers: h.registers(at), Secret: string(h.cfg.Secret), Log: h.log,
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
