package e2e_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/gatebus/gatebus/gateway"
	"github.com/gatebus/gatebus/internal/heap"
	"github.com/gatebus/gatebus/internal/testbed"
	"github.com/gatebus/gatebus/worker"
)

// runWorker runs a worker of the cluster in this process until the returned
// stop, which is called at the end of the test at the latest.
func runWorker(t *testing.T, c *testbed.Cluster, cfg worker.Config, h worker.Handler) (w *worker.Worker, stop func()) {
	t.Helper()
	for _, r := range c.Registers {
		cfg.Registers = append(cfg.Registers, "nats://"+r)
	}
	cfg.Log, cfg.Secret = slog.New(slog.DiscardHandler), testbed.Secret
	w, err := worker.New(cfg, h)
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	stop = func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("worker: %v", err)
		}
		done <- nil
	}
	t.Cleanup(stop)
	return w, stop
}

// takes is how long so many more answers take.
func takes(t *testing.T, load *testbed.Load, answers int) time.Duration {
	t.Helper()
	start := time.Now()
	must(t, load.WaitMore(soon(t), answers))
	return time.Since(start)
}

// One worker that is slow, beside three that are not, costs the clients of the
// others little: what it cannot take it hands back.
func TestSlowWorkerBesideFastOnes(t *testing.T) {
	const clients, batch, rounds = 300, 30_000, 3
	cluster := testbed.NewCluster(t, 1)
	r, g := cluster.Register(0), cluster.Gateway("g1")
	ws1, ws2, ws3 := cluster.Worker("w1"), cluster.Worker("w2"), cluster.Worker("w3")
	must(t, testbed.WaitReady(soon(t), r, g, ws1, ws2, ws3))
	load := testbed.StartLoad(t, clients, testbed.Numbered{}, ws(t, g))
	must(t, load.WaitAnswered(soon(t), batch))

	var slow atomic.Int64
	handler := worker.HandlerFunc(func(ctx context.Context, ev *worker.Event) error {
		slow.Add(1)
		timer := time.NewTimer(200 * time.Millisecond)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		ev.Reply(ev.Data)
		return nil
	})
	var alone, with time.Duration
	for range rounds {
		alone += takes(t, load, batch)
		before := slow.Load()
		w, stop := runWorker(t, cluster, worker.Config{Name: "slow", Concurrency: 8}, handler)
		must(t, testbed.Poll(soon(t), func() error {
			if w.Stats().Working < 8 {
				return errNotYet
			}
			return nil
		}))
		with += takes(t, load, batch)
		stop()
		if slow.Load() == before {
			t.Error("the slow worker got nothing")
		}
	}
	ratio := alone.Seconds() / with.Seconds()
	s := gatewayStats(t, g)
	t.Logf("throughput with the slow worker: %.2f of that without (%.0f/s); it handled %d, handed back %d",
		ratio, rounds*batch/alone.Seconds(), slow.Load(), s.Busy)
	if s.Busy == 0 {
		t.Error("nothing was handed back: nothing was tested")
	}
	if ratio < 0.6 { // 0.8 is what a machine that does nothing else shows
		t.Errorf("throughput with the slow worker is %.2f of that without", ratio)
	}
	total, err := load.Finish(soon(t))
	must(t, err)
	if total.Answered != total.Sent || total.Connects != clients {
		t.Errorf("%+v", total)
	}
}

// resident is the memory of a process that is in use, in bytes.
func resident(t *testing.T, p *testbed.Process) int64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.Pid()))
	must(t, err)
	for line := range strings.Lines(string(status)) {
		if kb, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			n, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(kb), " kB"), 10, 64)
			must(t, err)
			return n << 10
		}
	}
	t.Fatalf("no VmRSS in %s", status)
	return 0
}

// flood is a client that sends without waiting for answers, and reads them all.
type flood struct {
	conn     *websocket.Conn
	size     int
	sent     atomic.Int64
	answered atomic.Int64
	wrote    chan error // gets how writing ended
	read     chan error // gets how reading ended: nil when all is answered
}

// startFlood sends numbered frames until stop is closed.
func startFlood(conn *websocket.Conn, size int, stop <-chan struct{}) *flood {
	f := &flood{conn: conn, size: size, wrote: make(chan error, 1), read: make(chan error, 1)}
	frame := func(n int64) []byte { return fmt.Appendf(nil, "%0*d", size, n) }
	var last atomic.Int64
	last.Store(-1)
	go func() {
		for n := int64(0); ; n++ {
			select {
			case <-stop:
				last.Store(n)
				f.wrote <- f.conn.WriteMessage(websocket.TextMessage, []byte("end"))
				return
			default:
			}
			if err := f.conn.WriteMessage(websocket.TextMessage, frame(n)); err != nil {
				f.wrote <- err
				return
			}
			f.sent.Add(1)
		}
	}()
	go func() {
		for n := int64(0); ; n++ {
			_, data, err := f.conn.ReadMessage()
			switch {
			case err != nil:
				f.read <- err
				return
			case string(data) == "end":
				if last.Load() != n {
					err = fmt.Errorf("%d of %d frames are answered", n, last.Load())
				}
				f.read <- err
				return
			case !bytes.Equal(data, frame(n)):
				f.read <- fmt.Errorf("%.20q answers frame %d", data, n)
				return
			}
			f.answered.Add(1)
		}
	}()
	return f
}

// still waits until a figure has not changed for a while.
func still(t *testing.T, figure func() int64) {
	t.Helper()
	const quiet = 500 * time.Millisecond
	last, since := figure(), time.Now()
	must(t, testbed.Poll(soon(t), func() error {
		if n := figure(); n != last {
			last, since = n, time.Now()
		}
		if time.Since(since) < quiet {
			return errNotYet
		}
		return nil
	}))
}

// All workers are at their limit while clients send as much as they can: what
// the gateway holds is bounded, TCP slows the clients down, and all is answered
// in the end.
func TestAllWorkersBusy(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs /proc to see the memory of a process")
	}
	const clients, size, queue = 12, 4 << 10, 256 << 10
	cluster := testbed.NewCluster(t, 1)
	r, g := cluster.Register(0), cluster.Gateway("g1")
	must(t, testbed.WaitReady(soon(t), r, g))
	release := make(chan struct{})
	w, _ := runWorker(t, cluster, worker.Config{Name: "w1", Concurrency: 8}, worker.HandlerFunc(func(ctx context.Context, ev *worker.Event) error {
		if ev.Kind.Frame() {
			<-release
		}
		ev.Reply(ev.Data)
		return nil
	}))
	must(t, testbed.Poll(soon(t), func() error {
		if w.Stats().Links != 1 {
			return errNotYet
		}
		return nil
	}))
	stop := make(chan struct{})
	var conns []*websocket.Conn
	for range clients { // while there is a worker to let them in
		conns = append(conns, dial(t, ws(t, g)))
	}
	var floods []*flood
	before := resident(t, g)
	for _, conn := range conns {
		floods = append(floods, startFlood(conn, size, stop))
	}
	sent := func() (n int64) {
		for _, f := range floods {
			n += f.sent.Load()
		}
		return n
	}
	still(t, sent)
	full, stuck := resident(t, g), sent()
	// What waits, and what is with workers; twice for the garbage collector, and
	// twice for what is on its way over the bus. The collector comes only after so
	// much, whatever it is.
	bound := int64(clients*2*queue*4 + heap.Slack)
	t.Logf("%d clients sent %d MB before they stood still; the gateway grew from %d to %d MB", clients, stuck*size>>20, before>>20, full>>20)
	if full-before > bound && !testbed.RaceEnabled { // whose memory is its own
		t.Errorf("the gateway grew by %d MB; its queues hold %d MB", (full-before)>>20, 2*clients*queue>>20)
	}
	if n := sent(); n != stuck {
		t.Errorf("%d frames more were taken", n-stuck)
	}
	close(stop)
	close(release)
	for i, f := range floods {
		must(t, <-f.wrote)
		select {
		case err := <-f.read:
			if err != nil {
				t.Fatalf("client %d: %v", i, err)
			}
		case <-soon(t).Done():
			t.Fatalf("client %d: %d of %d answered", i, f.answered.Load(), f.sent.Load())
		}
	}
	s := gatewayStats(t, g)
	t.Logf("%d answered, %d handed back, %d given out again", s.Answered, s.Busy, s.Redelivery)
	if s.DroppedPoison+s.DroppedHold+s.DroppedBus+s.ClosedSlow != 0 || s.Redelivery != 0 {
		t.Errorf("%+v", s)
	}
}

// A client that floods is slowed down, and one that never reads is closed with
// its code; their neighbours see nothing of either.
func TestGreedyClientsHarmNobody(t *testing.T) {
	cluster := testbed.NewCluster(t, 1)
	r, g, w := cluster.Register(0), cluster.Gateway("g1"), cluster.Worker("w1")
	must(t, testbed.WaitReady(soon(t), r, g, w))
	load := testbed.StartLoad(t, 50, testbed.Numbered{Every: 5 * time.Millisecond}, ws(t, g))
	must(t, load.WaitAnswered(soon(t), 1000))

	stop := make(chan struct{})
	f := startFlood(dial(t, ws(t, g)), 1<<10, stop)
	deaf := dial(t, ws(t, g))
	frame := bytes.Repeat([]byte("x"), 32<<10)
	// It writes until the gateway closes it: nobody reads what comes back.
	must(t, testbed.Poll(soon(t), func() error {
		for range 20 {
			if deaf.WriteMessage(websocket.BinaryMessage, frame) != nil {
				return nil
			}
		}
		return errNotYet
	}))
	awaitStats(t, g, "one client closed for being slow", func(s gateway.Stats) bool { return s.ClosedSlow == 1 })
	must(t, load.WaitMore(soon(t), 2000))
	close(stop)
	must(t, <-f.wrote)
	if err := <-f.read; err != nil {
		t.Errorf("the client that floods: %v", err)
	}
	total, err := load.Finish(soon(t))
	must(t, err)
	t.Logf("%d frames of the flood are answered; the neighbours' slowest answer took %v", f.answered.Load(), total.Slowest.Round(time.Millisecond))
	if total.Answered != total.Sent || total.Connects != 50 {
		t.Errorf("%+v", total)
	}
	if s := gatewayStats(t, g); s.ClosedSlow != 1 || s.DroppedPoison+s.DroppedHold+s.DroppedBus != 0 {
		t.Errorf("%+v", s)
	}
}
