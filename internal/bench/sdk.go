package bench

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/gatebus/gatebus/worker"
)

// sdkPusher pushes as a worker of the SDK does.
type sdkPusher struct {
	send func(payload []byte) error
	fail chan error // nothing comes: sends have no answer
}

func newSDKPusher(w *worker.Worker, o *Options) *sdkPusher {
	c := w.Cluster()
	p := &sdkPusher{fail: make(chan error)}
	switch o.Scope {
	case ScopeGroup:
		p.send = func(b []byte) error { return c.SendGroup(memberName, worker.Text, b) }
	case ScopeUID:
		p.send = func(b []byte) error { return c.SendUID(memberName, worker.Text, b) }
	default:
		p.send = func(b []byte) error { return c.SendAll(worker.Text, b) }
	}
	return p
}

func (p *sdkPusher) push(payload []byte) error { return p.send(payload) }
func (p *sdkPusher) failed() <-chan error      { return p.fail }
func (p *sdkPusher) close()                    {}

// startSDK makes the bench a worker, the only one of its group, which lets every
// client in, with the uid or group that pushes go to. It returns when that is linked
// to all gateways.
func startSDK(ctx context.Context, register string, o *Options) (_ *worker.Worker, stop func(), err error) {
	var admission worker.Admission
	switch o.Scope {
	case ScopeGroup:
		admission.Groups = []string{memberName}
	case ScopeUID:
		admission.UID = memberName
	}
	cfg := worker.Config{Registers: []string{register}, Group: o.Group, Log: slog.New(slog.DiscardHandler)}
	w, err := worker.New(cfg, worker.HandlerFunc(func(_ context.Context, ev *worker.Event) error {
		if ev.Kind == worker.Open {
			return ev.Accept(admission)
		}
		return nil
	}))
	if err != nil {
		return nil, nil, err
	}
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan error, 1)
	go func() { done <- w.Run(running) }()
	stop = func() { cancel(); <-done }
	ctx, end := startContext(ctx)
	defer end()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for w.Stats().Links < o.Gateways {
		select {
		case <-again.C:
		case <-ctx.Done():
			stop()
			return nil, nil, fmt.Errorf("be a worker: linked to %d of %d gateways: %w", w.Stats().Links, o.Gateways, context.Cause(ctx))
		}
	}
	return w, stop, nil
}
