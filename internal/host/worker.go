package host

import (
	"context"
	"errors"
	"fmt"

	"github.com/gatebus/gatebus/configs"
	"github.com/gatebus/gatebus/worker"
	"github.com/gatebus/gatebus/worker/handlers"
	"github.com/gatebus/gatebus/worker/webhook"
)

// workerPart is a worker with a built-in handler.
type workerPart struct {
	worker  *worker.Worker
	handler worker.Handler
}

func (h *Host) newWorker(at *Addresses) (*workerPart, error) {
	cfg := h.cfg.WorkerConfig()
	cfg.Registers, cfg.Log = h.registers(at), h.log
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

// stats are those of the worker and, of a handler that has some, its own.
func (w *workerPart) stats() any {
	all := struct {
		worker.Stats
		Webhook *webhook.Stats `json:"webhook,omitempty"`
	}{Stats: w.worker.Stats()}
	if h, ok := w.handler.(interface{ Stats() webhook.Stats }); ok {
		s := h.Stats()
		all.Webhook = &s
	}
	return all
}

func (w *workerPart) ready() error {
	switch {
	case w.worker.Conflict() != nil:
		return w.worker.Conflict()
	case !w.worker.Joined():
		return errors.New("no register has confirmed this worker yet")
	case w.worker.Stats().Links == 0:
		return errors.New("no gateway is linked yet")
	}
	return nil
}
