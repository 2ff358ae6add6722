package heap

import (
	"context"
	"runtime"
	"runtime/debug"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var sink []byte

// collections is how often the collector comes while so many bytes are allocated.
func collections(bytes int) uint32 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range bytes / (64 << 10) {
		sink = make([]byte, 64<<10)
	}
	runtime.ReadMemStats(&after)
	return after.NumGC - before.NumGC
}

func gogc() uint64 { return read("/gc/gogc:percent") }

// With a small heap the collector comes each time that Slack is allocated, and not
// more often; afterwards everything is as it was.
func TestFewCollections(t *testing.T) {
	t.Setenv("GOGC", "")
	t.Setenv("GOMEMLIMIT", "")
	debug.SetGCPercent(100)
	const total = 8 * Slack
	runtime.GC() // what other tests have left
	plain := collections(total)
	runtime.GC() // what was allocated during the last one counts as live until the next
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { Run(ctx); close(done) }()
	wait(t, "the collector is tuned", func() bool { return gogc() > 100 })
	collections(2 * Slack) // settles
	if n := collections(total); n > plain/2 || n < 4 || n > 16 {
		t.Errorf("%d collections for %d times the slack, %d without", n, total/Slack, plain)
	}
	big := make([]byte, 3*Slack)
	runtime.GC()
	wait(t, "a large heap is let alone", func() bool { return gogc() == 100 })
	runtime.KeepAlive(big)
	cancel()
	<-done
	if n := gogc(); n != 100 {
		t.Errorf("afterwards GOGC is %d", n)
	}
}

// What a quiet process does not need goes back to the system.
func TestGivenBack(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { run(ctx, 20*time.Millisecond); close(done) }()
	before := read("/memory/classes/heap/released:bytes")
	collections(Slack)
	sink = nil
	wait(t, "memory is given back", func() bool {
		return read("/memory/classes/heap/released:bytes") >= before+Slack/4
	})
	cancel()
	<-done
}

// Who sets GOGC is left alone.
func TestSetByHand(t *testing.T) {
	t.Setenv("GOGC", "100")
	before := gogc()
	Run(t.Context()) // returns
	if gogc() != before {
		t.Error("changed")
	}
}

func wait(t *testing.T, what string, ok func() bool) {
	t.Helper()
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for end := time.Now().Add(10 * time.Second); !ok(); <-look.C {
		if time.Now().After(end) {
			t.Fatal("not so within 10 s: " + what)
		}
	}
}
