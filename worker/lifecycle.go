package worker

import (
	"context"
	"runtime/debug"
	"sync"
)

// Starter is what a [Handler] also is that has something to do before the first
// event: open a database, say. The worker is not a member yet, and Cluster reaches
// nobody; it may be kept. An error is the end of Run. ctx ends when the worker is to
// stop.
type Starter interface {
	Start(ctx context.Context, c *Cluster) error
}

// Stopper is what a [Handler] also is that has something to do after its last event
// is answered, before Run returns; also if handlers did not finish in time. It is
// called if Start was, and has not failed. Cluster may still reach gateways or not.
type Stopper interface {
	Stop(ctx context.Context)
}

// GatewayHandler is what a [Handler] also is that wants to know of its links to
// gateways. The calls come one at a time, in order, beside those of Handle. A link
// that is down need not mean that the gateway is: for that, see [GatewayDownHandler].
// ctx ends when the worker has no more time to stop.
type GatewayHandler interface {
	GatewayConnected(ctx context.Context, g GatewayLink)
	GatewayGone(ctx context.Context, g GatewayLink)
}

// linkWatch tells a handler of links, one after the other.
type linkWatch struct {
	handler GatewayHandler
	w       *Worker
	wake    chan struct{}

	mu   sync.Mutex
	news []GatewayLink // not told yet
}

// newLinkWatch is nil if the handler does not want to know.
func newLinkWatch(w *Worker) *linkWatch {
	h, ok := w.handler.(GatewayHandler)
	if !ok {
		return nil
	}
	return &linkWatch{handler: h, w: w, wake: make(chan struct{}, 1)}
}

// tell does not block.
func (n *linkWatch) tell(l *link, up bool) {
	if n == nil {
		return
	}
	n.mu.Lock()
	n.news = append(n.news, l.shown(up))
	n.mu.Unlock()
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

// run tells the handler until ctx ends; what is under way then is waited for.
func (n *linkWatch) run(ctx context.Context, tasks *sync.WaitGroup) {
	if n == nil {
		return
	}
	tasks.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-n.wake:
			}
			n.mu.Lock()
			news := n.news
			n.news = nil
			n.mu.Unlock()
			for _, g := range news {
				n.call(g)
			}
		}
	})
}

// call tells the handler of one; its panic is nobody else's.
func (n *linkWatch) call(g GatewayLink) {
	defer func() {
		if p := recover(); p != nil {
			n.w.log.Error("handler panicked over a gateway", "gateway", g.Gateway, "panic", p, "stack", string(debug.Stack()))
		}
	}()
	if g.Up {
		n.handler.GatewayConnected(n.w.handleCtx, g)
	} else {
		n.handler.GatewayGone(n.w.handleCtx, g)
	}
}
