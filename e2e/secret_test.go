package e2e_test

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/gatebus/gatebus/internal/testbed"
)

func TestSecretKeepsStrangersOut(t *testing.T) {
	t.Parallel()
	cluster := testbed.NewCluster(t, 2, "secret=correct-horse-battery")
	r1, r2, g := cluster.Register(0), cluster.Register(1), cluster.Gateway("g1")
	w := cluster.Worker("w1")
	must(t, testbed.WaitReady(soon(t), r1, r2, g, w))
	load := testbed.StartLoad(t, 20, testbed.Numbered{Every: 5 * time.Millisecond}, ws(t, g))
	must(t, load.WaitAnswered(soon(t), 100))

	stranger := cluster.Worker("w2", "secret=wrong-horse-battery")
	_, err := stranger.WaitLog(soon(t), `(?i)authorization violation`)
	must(t, err)
	for _, url := range []string{"nats://" + addr(t, g, "bus"), "nats://" + cluster.Registers[0]} {
		if nc, err := nats.Connect(url, nats.Timeout(testbed.Patience)); err == nil {
			nc.Close()
			t.Errorf("anybody can connect to %s", url)
		}
	}
	must(t, load.WaitMore(soon(t), 1000))
	if err := stranger.Ready(soon(t)); err == nil {
		t.Error("the stranger is ready")
	}
	if s := workerStats(t, stranger); s.Links != 0 || s.Handled != 0 {
		t.Errorf("the stranger has %d links and handled %d events", s.Links, s.Handled)
	}
	total, err := load.Finish(soon(t))
	must(t, err)
	if total.Connects != 20 {
		t.Errorf("%+v", total)
	}
}
