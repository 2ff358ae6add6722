package embedded_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/gatebus/gatebus/embedded"
)

// stuck joins a queue group as a worker does that is frozen: its socket is open
// and nobody reads it or answers pings.
func stuck(t *testing.T, s *embedded.Server, subject, queue string) {
	t.Helper()
	c, err := net.DialTimeout("tcp", s.Addr(), patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	// So that little fits into the socket itself.
	if err := c.(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(io.LimitReader(c, 64<<10))
	if _, err := in.ReadString('\n'); err != nil { // INFO
		t.Fatal(err)
	}
	fmt.Fprintf(c, "CONNECT {\"name\":\"stuck\",\"verbose\":false,\"headers\":true,\"no_responders\":true}\r\nSUB %s %s 1\r\nPING\r\n", subject, queue)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(line, "PONG") {
			return
		}
	}
}

// A worker that does not read must not slow the gateway down, nor the other
// workers; and it is off the group when too much waits for it. Redelivery, the
// throughput beside a frozen worker and the bounds of memory stand on this.
func TestSlowConsumer(t *testing.T) {
	const messages, size = 2000, 16 << 10 // 32 MB; 8 wait for one connection at most
	s := start(t, bus())
	gateway := connectInProcess(t, s)
	var got atomic.Int64
	worker := connect(t, s)
	sub, err := worker.QueueSubscribe("q", "workers", func(*nats.Msg) { got.Add(1) })
	if err != nil {
		t.Fatal(err)
	}
	if err := sub.SetPendingLimits(-1, -1); err != nil {
		t.Fatal(err)
	}
	flush(t, worker)
	data := make([]byte, size)
	// publishAll returns how long it takes until the server has them all.
	publishAll := func() time.Duration {
		start := time.Now()
		for i := range messages {
			if err := gateway.Publish("q", data); err != nil {
				t.Fatal(err)
			}
			if i%100 == 99 { // as a gateway, whose clients wait for answers
				flush(t, gateway)
				flush(t, worker)
			}
		}
		took := time.Since(start)
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for deadline := time.Now().Add(patience); time.Now().Before(deadline); <-tick.C {
			waits, _, err := sub.Pending()
			if n, errN := sub.Delivered(); err != nil || errN != nil || waits == 0 && n == got.Load() {
				break
			}
		}
		return took
	}
	alone := publishAll()
	all := got.Load()
	if all != messages {
		t.Fatalf("%d of %d messages came", all, messages)
	}
	events := watch(t, s)
	stuck(t, s, "q", "workers")
	beside := publishAll()
	ev := await(t, "disconnect", events, client("stuck", embedded.ClientDisconnected))
	if !strings.Contains(ev.Reason, "Slow Consumer") {
		t.Errorf("it is disconnected for %q", ev.Reason)
	}
	lost := messages - (got.Load() - all)
	t.Logf("%v alone, %v beside a stuck worker, to which %d messages went; ended: %s", alone, beside, lost, ev.Reason)
	// What it was given is at most what may wait for it, and what fits into
	// its socket.
	if most := int64((embedded.MaxPending + 8<<20) / size); lost == 0 || lost > most {
		t.Errorf("%d messages went to the stuck worker, want 1 to %d", lost, most)
	}
	if beside > 10*alone { // 90 times, where NATS lets the publisher wait
		t.Errorf("%v beside a stuck worker, %v without", beside, alone)
	}
	before := got.Load()
	publishAll()
	if n := got.Load() - before; n != messages {
		t.Errorf("%d of %d messages came when it was gone", n, messages)
	}
}

// A peer that is silent, because its host is gone or cut off, is disconnected
// after two pings.
func TestSilentPeer(t *testing.T) {
	t.Parallel()
	s := start(t, bus())
	events := watch(t, s)
	stuck(t, s, "q", "workers")
	ev := await(t, "disconnect", events, client("stuck", embedded.ClientDisconnected))
	if ev.Reason != "Stale Connection" {
		t.Errorf("it is disconnected for %q", ev.Reason)
	}
	subs, err := s.Subscriptions("q")
	if err != nil || len(subs) != 0 {
		t.Errorf("it is still in the group: %v, %v", subs, err)
	}
}
