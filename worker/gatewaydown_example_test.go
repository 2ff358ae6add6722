package worker_test

import (
	"context"
	"fmt"
	"sync"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/worker"
)

// presence keeps who is online, in a map that stands for a database which all
// workers share.
type presence struct {
	mu     sync.Mutex
	online map[bus.ClientID]string // to the uid
}

func (p *presence) Handle(_ context.Context, ev *worker.Event) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch ev.Kind {
	case worker.Open:
		p.online[ev.Client.ID()] = "ann"
	case worker.Close:
		delete(p.online, ev.Client.ID())
	}
	return nil
}

func (p *presence) GatewayDown(_ context.Context, down worker.GatewayDown) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id := range p.online {
		if down.Had(id) {
			delete(p.online, id)
		}
	}
	return nil
}

func ExampleGatewayDownHandler() {
	p := &presence{online: map[bus.ClientID]string{
		bus.NewClientID("g1", 7, 1): "ann", // of a life of g1 that was killed
		bus.NewClientID("g1", 8, 1): "ann", // she is back already
	}}
	var h worker.GatewayDownHandler = p // so that a worker with this handler is told
	if err := h.GatewayDown(context.Background(), worker.GatewayDown{Gateway: "g1", Epoch: 7}); err != nil {
		fmt.Println(err)
	}
	fmt.Println(p.online)
	// Output: map[g1-8-1:ann]
}
