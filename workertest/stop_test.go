package workertest_test

import (
	"strings"
	"testing"

	"github.com/gatebus/gatebus/worker"
	"github.com/gatebus/gatebus/workertest"
)

// A gateway that has stopped is gone: its clients are told, a worker hears of it, and
// nobody waits for its answers any more.
func TestStopGateway(t *testing.T) {
	d := &diary{}
	c := workertest.Start(t, workertest.Options{Handlers: []worker.Handler{d}, Gateways: 2})
	left, stays := c.Dial(workertest.Request{Gateway: 1}), c.Dial(workertest.Request{})
	c.StopGateway(1)
	if code, _ := left.Closed(); code != 1012 {
		t.Errorf("its client was closed with %d, want 1012", code)
	}
	c.Eventually("the worker hears of it", func() bool { return strings.Contains(d.read(), "-g2") })
	c.Eventually("only one gateway is left", func() bool { return len(c.Cluster().Gateways()) == 1 })
	if n, err := c.Cluster().CountClients(t.Context()); n != 1 || err != nil {
		t.Errorf("%d clients, %v, want 1", n, err)
	}
	stays.Send("x")
	stays.Expect("x")
}
