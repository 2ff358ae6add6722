package worker

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

type taskFunc func()

func (f taskFunc) do() { f() }

// Tasks that wait for each other are all begun, however many there are, in
// whatever order, and also when those before them end their goroutines.
func TestCrewStartsAll(t *testing.T) {
	const n = 500
	var (
		c       crew
		started sync.WaitGroup
		ended   sync.WaitGroup
	)
	started.Add(n)
	ended.Add(2 * n)
	for i := range n {
		c.do(taskFunc(func() { // quick
			defer ended.Done()
			if i%3 == 0 {
				runtime.Goexit()
			}
		}))
		c.do(taskFunc(func() {
			defer ended.Done()
			started.Done()
			started.Wait() // until all are
			if i%5 == 0 {
				runtime.Goexit()
			}
		}))
	}
	ended.Wait()
	if c.busy() || c.head != 0 || len(c.ready) != 0 {
		t.Errorf("%d tasks are left", len(c.ready)-c.head)
	}
}

// Quick tasks that come together are done by few goroutines.
func TestCrewIsSmall(t *testing.T) {
	const n = 2000
	var (
		c          crew
		ended      sync.WaitGroup
		starting   = make(chan struct{})
		goroutines atomic.Int64 // most at a time
	)
	ended.Add(n + 1)
	c.do(taskFunc(func() { defer ended.Done(); <-starting }))
	before := runtime.NumGoroutine()
	for range n {
		c.do(taskFunc(func() {
			defer ended.Done()
			if now := int64(runtime.NumGoroutine()); now > goroutines.Load() {
				goroutines.Store(now)
			}
		}))
	}
	close(starting)
	ended.Wait()
	if most := goroutines.Load() - int64(before); most > 50 {
		t.Errorf("%d goroutines for quick tasks", most)
	}
}
