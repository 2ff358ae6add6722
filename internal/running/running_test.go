package running_test

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/gatebus/gatebus/internal/running"
)

// Goroutines are started while the group is waited for: each of them has run to
// its end when Wait returns, or never runs.
func TestWaitWhileStarting(t *testing.T) {
	for range 1000 {
		var (
			g       running.Group
			started atomic.Int64
			ended   atomic.Int64
			callers sync.WaitGroup
			plain   int // written by the goroutines in turn, read after Wait
			turn    sync.Mutex
		)
		for range 4 {
			callers.Go(func() {
				for g.Go(func() {
					turn.Lock()
					plain++
					turn.Unlock()
					ended.Add(1)
				}) {
					started.Add(1)
				}
			})
		}
		g.Wait()
		n, at := int64(plain), ended.Load()
		callers.Wait()
		if s := started.Load(); n != s || at != s || ended.Load() != s {
			t.Fatalf("%d were started; %d had ended when Wait returned, %d in the end", s, at, ended.Load())
		}
	}
	var g running.Group
	g.Wait()
	if g.Go(func() { t.Error("runs after Wait") }) {
		t.Error("taken after Wait")
	}
	g.Wait()
}
