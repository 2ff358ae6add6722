package e2e_test

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gatebus/gatebus/gateway"
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

// What a killed worker held is with another one as soon as its connection has
// ended, long before ack_wait is over.
func TestKilledWorkerIsReplacedAtOnce(t *testing.T) {
	const clients, ackWait = 500, 4 * time.Second
	cluster := testbed.NewCluster(t, 1, "gateway.ack_wait="+ackWait.String())
	r, g := cluster.Register(0), cluster.Gateway("g1")
	workers := []*testbed.Process{cluster.Worker("w1"), cluster.Worker("w2"), cluster.Worker("w3"), cluster.Worker("w4"), cluster.Worker("w5")}
	must(t, testbed.WaitReady(soon(t), append(workers, r, g)...))

	// The first answer of each client after the kill, in nanoseconds after it.
	var killed atomic.Int64
	start := time.Now()
	first := make([]atomic.Int64, clients)
	stop, warm := make(chan struct{}), make(chan struct{})
	var answered atomic.Int64
	var running sync.WaitGroup
	for i := range clients {
		n := testbed.Numbered{URL: ws(t, g), Name: fmt.Sprint("c", i), Stop: stop, OnAnswer: func() {
			if answered.Add(1) == 20*clients {
				close(warm)
			}
			if at := killed.Load(); at > 0 {
				first[i].CompareAndSwap(0, int64(time.Since(start))-at)
			}
		}}
		running.Go(func() {
			if _, err := n.Run(soon(t)); err != nil {
				t.Error(err)
			}
		})
	}
	<-warm
	var s gateway.Stats
	for _, w := range workers[1:] {
		killed.Store(0)
		for i := range first {
			first[i].Store(0)
		}
		before := answered.Load()
		killed.Store(int64(time.Since(start)))
		w.Kill()
		must(t, testbed.Poll(soon(t), func() error {
			for i := range first {
				if first[i].Load() == 0 {
					return errNotYet
				}
			}
			if answered.Load() < before+20*clients {
				return errNotYet
			}
			return nil
		}))
		if s = gatewayStats(t, g); s.Redelivery > 0 {
			break // else it held nothing in that moment
		}
	}
	close(stop)
	running.Wait()
	waits := make([]time.Duration, clients)
	for i := range first {
		waits[i] = time.Duration(first[i].Load())
	}
	slices.Sort(waits)
	if s.Redelivery == 0 {
		t.Fatal("no killed worker held anything: nothing was tested")
	}
	affected := waits[clients-int(min(s.Redelivery, clients)):]
	t.Logf("%d clients, %d affected by the kill; next answer: of all p50 %v, of the affected p50 %v, p99 %v, max %v", clients, len(affected),
		waits[clients/2], affected[len(affected)/2], affected[len(affected)*99/100], affected[len(affected)-1])
	if most := waits[clients-1]; most > ackWait/4 {
		t.Errorf("a client waited %v for its next answer; ack_wait is %v", most, ackWait)
	}
}
