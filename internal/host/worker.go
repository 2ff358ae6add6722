package host

import (
	"context"
	"errors"
	"fmt"

	"github.com/gatebus/gatebus/configs"
	"github.com/gatebus/gatebus/internal/admin"
	"github.com/gatebus/gatebus/internal/metrics"
	"github.com/gatebus/gatebus/worker"
	"github.com/gatebus/gatebus/worker/handlers"
	"github.com/gatebus/gatebus/worker/webhook"
)

// workerPart is a worker with a built-in handler.
type workerPart struct {
	worker  *worker.Worker
	handler worker.Handler
}

func (h *Host) newWorker(ctx context.Context, at *Addresses) (_ *workerPart, err error) {
	cfg := h.cfg.WorkerConfig()
	if cfg.TracerProvider, err = h.tracing.provider(ctx, configs.RoleWorker, cfg.Name); err != nil {
		return nil, err
	}
	cfg.Registers, cfg.Log = h.registers(at), h.log
	if h.certs != nil {
		cfg.TLS = h.certs.Client()
	}
	handler, err := handlers.New(h.cfg.Worker.Handler, cfg)
	if err != nil {
		return nil, fmt.Errorf("worker.handler: %w", err)
	}
	w, err := worker.New(cfg, handler)
	if err != nil {
		return nil, err
	}
	return &workerPart{w, handler}, nil
}

func (w *workerPart) role() string                  { return string(configs.RoleWorker) }
func (w *workerPart) release()                      {}
func (w *workerPart) run(ctx context.Context) error { return w.worker.Run(ctx) }

func (w *workerPart) reload(cfg *configs.Config, to change) error {
	return w.worker.SetLogin(string(cfg.Secret), to.clientTLS())
}

// stats are those of the worker and, of a handler that has some, its own.
func (w *workerPart) stats() any {
	all := struct {
		worker.Report
		Webhook *webhook.Stats `json:"webhook,omitempty"`
	}{Report: w.worker.Report()}
	if h, ok := w.handler.(metrics.Webhook); ok {
		s := h.Stats()
		all.Webhook = &s
	}
	return all
}

func (w *workerPart) checks() []admin.Check {
	return []admin.Check{
		joinedCheck(configs.RoleWorker, w.worker),
		{Name: configs.ReadyLinks, Missing: func() error {
			if w.worker.Stats().Links > 0 {
				return nil
			}
			if err := w.worker.Refused(); err != nil {
				return err
			}
			return errors.New("no gateway is linked yet")
		}},
	}
}

func (w *workerPart) show(s *shown) {
	s.member(w.worker.Member(), w.worker)
	s.Worker(w.worker)
	if h, ok := w.handler.(metrics.Webhook); ok {
		s.Webhook(h)
	}
}
