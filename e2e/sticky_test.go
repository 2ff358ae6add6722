package e2e_test

import (
	"syscall"
	"testing"
	"time"

	"github.com/gatebus/gatebus/gateway"
	"github.com/gatebus/gatebus/internal/testbed"
)

// Sticky clients keep their promises through a restart, a kill and a freeze of
// the workers that they are bound to, with many frames on their way.
func TestStickyWorkersComeAndGo(t *testing.T) {
	const clients = 100
	cluster := testbed.NewCluster(t, 1, "gateway.routing=sticky", "gateway.ack_wait=500ms")
	r, g := cluster.Register(0), cluster.Gateway("g1")
	w1, w2, w3 := cluster.Worker("w1"), cluster.Worker("w2"), cluster.Worker("w3")
	must(t, testbed.WaitReady(soon(t), r, g, w1, w2, w3))
	load := testbed.StartLoad(t, clients, testbed.Numbered{Window: 16}, ws(t, g))
	must(t, load.WaitAnswered(soon(t), 20*clients))

	must(t, w1.Signal(syscall.SIGTERM))
	exits(t, w1, 0)
	must(t, load.WaitMore(soon(t), 20*clients))
	s := gatewayStats(t, g)
	if n := s.Redelivery + s.LateReply; n != 0 {
		t.Errorf("a worker that leaves costs %d redeliveries: %+v", n, s)
	}
	w4 := cluster.Worker("w4")
	must(t, testbed.WaitReady(soon(t), w4))

	w2.Kill()
	must(t, load.WaitMore(soon(t), 20*clients))
	must(t, w3.Signal(syscall.SIGSTOP))
	// The frozen one's clients stand still for ack_wait, and then go on.
	awaitStats(t, g, "a worker disconnected", func(s gateway.Stats) bool { return s.Disconnected == 1 })
	must(t, load.WaitMore(soon(t), 20*clients))
	must(t, w3.Signal(syscall.SIGCONT))
	must(t, awaitLinks(t, w3, 1))
	must(t, load.WaitMore(soon(t), 20*clients))

	total, err := load.Finish(soon(t))
	must(t, err)
	s = gatewayStats(t, g)
	t.Logf("%d frames, slowest answer %v, given out again %d, late %d", total.Answered, total.Slowest.Round(time.Millisecond), s.Redelivery, s.LateReply)
	if total.Answered != total.Sent || total.Connects != clients {
		t.Errorf("%+v", total)
	}
	if s.Redelivery == 0 || s.DroppedPoison+s.DroppedHold+s.DroppedBus != 0 {
		t.Errorf("%+v", s)
	}
}
