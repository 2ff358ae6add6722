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
		for range 2 { // of ten at the same time, one is that which was kept
			end, who := make(chan struct{}), make(chan string, 10)
			for range 10 {
				g.Go(func() { who <- goroutine(); <-end })
			}
			synctest.Wait()
			close(who)
			again, all := 0, map[string]int{}
			for id := range who {
				again += min(ids[id], 1)
				all[id]++
			}
			if again != 1 || len(all) != 10 {
				t.Errorf("of %d goroutines for ten that do not end, %d were there before, want 1", len(all), again)
			}
			close(end)
			synctest.Wait()
			ids = all
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
