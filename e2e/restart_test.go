package e2e_test

import (
	"testing"
	"time"

	"github.com/gatebus/gatebus/internal/testbed"
)

func TestKilledGatewayIsServedAgain(t *testing.T) {
	t.Parallel()
	cluster := testbed.NewCluster(t, 1)
	r, g, w := cluster.Register(0), cluster.Gateway("g1"), cluster.Worker("w1")
	must(t, testbed.WaitReady(soon(t), r, g, w))
	const clients = 20
	load := testbed.StartLoad(t, clients, testbed.Numbered{Every: 5 * time.Millisecond, Reconnect: true}, ws(t, g))
	for range 3 {
		must(t, load.WaitMore(soon(t), 5*clients))
		g.Kill()
		g = g.Again()
	}
	must(t, load.WaitMore(soon(t), 5*clients))
	total, err := load.Finish(soon(t))
	must(t, err)
	if total.Connects < 2*clients {
		t.Errorf("the clients connected %d times: they did not notice", total.Connects)
	}
	must(t, awaitLinks(t, w, 1))
}

// While no register is there, a worker finds a gateway that has restarted by
// itself; when they tell it of the new life, it must not stand in the queue
// group twice.
func TestGatewayRestartedWithoutRegistersIsLinkedOnce(t *testing.T) {
	t.Parallel()
	cluster := testbed.NewCluster(t, 1)
	r, g, w := cluster.Register(0), cluster.Gateway("g1"), cluster.Worker("w1")
	must(t, testbed.WaitReady(soon(t), r, g, w))
	r.Kill()
	g.Kill()
	g = g.Again()
	c := dial(t, ws(t, g))
	echoes(t, c, "hello")

	r = r.Again()
	must(t, testbed.WaitReady(soon(t), r, g, w))
	_, err := w.WaitLog(soon(t), "gateway has restarted; old link closed")
	must(t, err)
	must(t, awaitLinks(t, w, 1))
	echoes(t, c, "still here")
}
