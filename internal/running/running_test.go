package running_test

import (
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

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

// One goroutine is kept for what comes next, if it has nothing to do, and ends with Wait.
func TestOneIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g running.Group
		ids := map[string]int{}
		for range 100 {
			g.Go(func() { ids[goroutine()]++ })
			synctest.Wait()
		}
		if len(ids) != 1 {
			t.Errorf("%d goroutines did what came one after the other", len(ids))
		}
		end, before := make(chan struct{}), runtime.NumGoroutine()
		for range 10 {
			g.Go(func() { <-end })
		}
		synctest.Wait()
		if n := runtime.NumGoroutine() - before; n != 9 {
			t.Errorf("%d more goroutines for 10 that do not end, want 9 and the one that was kept", n)
		}
		close(end)
		synctest.Wait()
		if n := runtime.NumGoroutine() - before; n != 0 {
			t.Errorf("%d are kept, want 1", n+1)
		}
		g.Go(runtime.Goexit) // then there is another
		synctest.Wait()
		var ran bool
		if !g.Go(func() { ran = true }) {
			t.Error("refused")
		}
		g.Wait()
		if !ran {
			t.Error("Wait has not waited for what the goroutine that was kept was to do")
		}
	}) // which fails if a goroutine is left
}

// goroutine names the goroutine that calls it.
func goroutine() string {
	var b [64]byte
	return strings.Fields(string(b[:runtime.Stack(b[:], false)]))[1]
}
