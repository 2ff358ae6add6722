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

// allocate allocates so many bytes that nobody keeps.
func allocate(bytes int) {
	for range bytes / (64 << 10) {
		sink = make([]byte, 64<<10)
	}
}

func gogc() uint64 { return read("/gc/gogc:percent") }

// room is how much may be allocated from now on before the collector comes.
func room() uint64 {
	runtime.GC()
	return read("/gc/heap/goal:bytes") - read(liveBytes)
}

// With a small heap the collector comes each time that Slack is allocated, and not
// more often; afterwards everything is as it was. How often it really comes is up to
// who else wants the processor: the goal that it has is not.
func TestFewCollections(t *testing.T) {
	t.Setenv("GOGC", "")
	t.Setenv("GOMEMLIMIT", "")
	debug.SetGCPercent(100)
	if n := room(); n > Slack/2 {
		t.Fatalf("by its own rule the collector comes after %d bytes", n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { Run(ctx); close(done) }()
	wait(t, "the collector is tuned", func() bool { return gogc() > 100 })
	wait(t, "it comes after the slack", func() bool { n := room(); return n > Slack*9/10 && n < Slack*3/2 })
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
	allocate(Slack)
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
