package worker

import (
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
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
	c.close()
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
	c.close()
	if most := goroutines.Load() - int64(before); most > 50 {
		t.Errorf("%d goroutines for quick tasks", most)
	}
}

// Who has nothing to do does the next task, on the goroutine that is there, until the
// crew is closed: then nobody is left.
func TestCrewIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c crew
		ids := map[string]int{}
		for range 100 {
			c.do(taskFunc(func() { ids[goroutine()]++ }))
			synctest.Wait()
		}
		if len(ids) != 1 {
			t.Errorf("%d goroutines did the tasks", len(ids))
		}
		end := make(chan struct{})
		for range 3 * maxParked {
			c.do(taskFunc(func() { <-end }))
		}
		synctest.Wait()
		close(end)
		synctest.Wait()
		if n := len(c.parked); n != maxParked {
			t.Errorf("%d are kept, want %d", n, maxParked)
		}
		// Who waits from one trim to the next ends; who was needed stays.
		c.trim()
		end = make(chan struct{})
		for range 3 {
			c.do(taskFunc(func() { <-end }))
		}
		synctest.Wait()
		close(end)
		synctest.Wait()
		c.trim()
		if n := len(c.parked); n != 3 {
			t.Errorf("%d are kept of 3 that were needed", n)
		}
		c.trim()
		if n := len(c.parked); n != 0 {
			t.Errorf("%d are kept that were not needed", n)
		}
		c.close()
		c.do(taskFunc(func() { ids[goroutine()]++ })) // is done all the same
	}) // which fails if a goroutine is left
}

// Tasks that are brought begin together when they are sent for, or when anything else is;
// each is begun whatever the others do.
func TestCrewBrings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var (
			c     crew
			begun atomic.Int64
			end   = make(chan struct{})
			wait  = taskFunc(func() { begun.Add(1); <-end })
		)
		for i, begin := range []func(){c.send, func() { c.do(wait) }} {
			begun.Store(0)
			for range 5 {
				c.bring(wait)
			}
			synctest.Wait()
			if n := begun.Load(); n != 0 {
				t.Errorf("%d began before the last was brought", n)
			}
			begin()
			synctest.Wait()
			if n := begun.Load(); n != int64(5+i) {
				t.Errorf("%d of %d began", n, 5+i)
			}
		}
		c.send() // for nothing
		synctest.Wait()
		if n := len(c.parked); n != 0 {
			t.Errorf("%d were sent for, for nothing", n)
		}
		close(end)
		synctest.Wait()
		c.close()
	})
}

// goroutine names the goroutine that calls it.
func goroutine() string {
	var b [64]byte
	return strings.Fields(string(b[:runtime.Stack(b[:], false)]))[1]
}
