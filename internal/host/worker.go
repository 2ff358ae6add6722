package host

import (
	"context"
	"errors"
	"fmt"

	"github.com/gatebus/gatebus/configs"
	"github.com/gatebus/gatebus/worker"
	"github.com/gatebus/gatebus/worker/handlers"
)

// workerPart is a worker with a built-in handler.
type workerPart struct{ worker *worker.Worker }

func (h *Host) newWorker(at *Addresses) (*workerPart, error) {
	handler := map[string]worker.Handler{
		configs.HandlerEcho: handlers.Echo,
		configs.HandlerChat: handlers.Chat,
	}[h.cfg.Worker.Handler.Type]
	if handler == nil { // Load refuses what is not in this map
		return nil, fmt.Errorf("worker.handler.type: %q is not built in", h.cfg.Worker.Handler.Type)
	}
	cfg := h.cfg.WorkerConfig()
	cfg.Registers, cfg.Log = h.registers(at), h.log
	w, err := worker.New(cfg, handler)
	if err != nil {
		return nil, err
	}
	return &workerPart{w}, nil
}

func (w *workerPart) role() string                  { return string(configs.RoleWorker) }
func (w *workerPart) release()                      {}
func (w *workerPart) stats() any                    { return w.worker.Stats() }
func (w *workerPart) run(ctx context.Context) error { return w.worker.Run(ctx) }

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
