package e2e_test

import (
	"syscall"
	"testing"
	"time"

	"github.com/gatebus/gatebus/internal/testbed"
)

func TestKilledWorkerLosesAndRepeatsNothing(t *testing.T) {
	const clients, frames = 200, 500
	cluster := testbed.NewCluster(t, 1, "gateway.ack_wait=500ms")
	r := cluster.Register(0)
	g1, g2 := cluster.Gateway("g1"), cluster.Gateway("g2")
	w1, w2, w3 := cluster.Worker("w1"), cluster.Worker("w2"), cluster.Worker("w3")
	must(t, testbed.WaitReady(soon(t), r, g1, g2, w1, w2, w3))
	for _, w := range []*testbed.Process{w1, w2, w3} {
		must(t, awaitLinks(t, w, 2))
	}

	load := testbed.StartLoad(t, clients, testbed.Numbered{Frames: frames, Window: 4}, ws(t, g1), ws(t, g2))
	must(t, load.WaitAnswered(soon(t), clients*frames/2))
	w2.Kill()
	total, err := load.Wait(soon(t))
	must(t, err)
	if total.Answered != clients*frames || total.Sent != clients*frames || total.Connects != clients {
		t.Errorf("%+v", total)
	}
	s1, s2 := gatewayStats(t, g1), gatewayStats(t, g2)
	t.Logf("%d frames in %v, %.0f/s; slowest answer %v; given out again: %d, late replies: %d", total.Answered, total.Took.Round(1e6),
		float64(total.Answered)/total.Took.Seconds(), total.Slowest.Round(1e6), s1.Redelivery+s2.Redelivery, s1.LateReply+s2.LateReply)
	if n := s1.DroppedPoison + s2.DroppedPoison + s1.DroppedHold + s2.DroppedHold + s1.DroppedBus + s2.DroppedBus; n != 0 {
		t.Errorf("%d events were dropped: %+v, %+v", n, s1, s2)
	}
}

// A frozen worker still stands in the queue groups until its pings go
// unanswered. It must be out before one frame can come to it max_deliver times.
func TestFrozenWorkerClosesNobody(t *testing.T) {
	t.Parallel()
	const clients, frames = 60, 500
	cluster := testbed.NewCluster(t, 1, "gateway.ack_wait=1s")
	r, g := cluster.Register(0), cluster.Gateway("g1")
	w1, w2 := cluster.Worker("w1"), cluster.Worker("w2")
	must(t, testbed.WaitReady(soon(t), r, g, w1, w2))

	load := testbed.StartLoad(t, clients, testbed.Numbered{Frames: frames, Every: 10 * time.Millisecond}, ws(t, g))
	must(t, load.WaitAnswered(soon(t), clients*frames/10))
	must(t, w1.Signal(syscall.SIGSTOP))
	total, err := load.Wait(soon(t))
	must(t, err)
	must(t, w1.Signal(syscall.SIGCONT))
	if total.Answered != clients*frames || total.Connects != clients {
		t.Errorf("%+v", total)
	}
	s := gatewayStats(t, g)
	t.Logf("%d frames in %v; slowest answer %v; given out again: %d", total.Answered, total.Took.Round(1e6), total.Slowest.Round(1e6), s.Redelivery)
	if s.Redelivery == 0 {
		t.Error("no frame came to the frozen worker: nothing was tested")
	}
	if s.DroppedPoison != 0 {
		t.Errorf("%d frames were given up", s.DroppedPoison)
	}
	must(t, awaitLinks(t, w1, 1)) // it is back as if nothing had been
}
