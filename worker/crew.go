package worker

import (
	"slices"
	"sync"
)

// maxParked is how many goroutines without a job are kept for the next ones.
const maxParked = 16

// task is what a crew does: a job.
type task interface{ do() }

// crew has jobs done, each at once whatever the others do: a handler may take as
// long as it likes. Quick ones are done by few goroutines, one after the other, which
// are kept for a while: a new goroutine for each costs more than many a handler, since its
// stack has to grow first.
type crew struct {
	mu    sync.Mutex
	ready []task // from head on: nobody is at them
	head  int
	// coming says that a goroutine was sent for and has not taken a job yet. If
	// there is a job that nobody is at, one is coming, or send is about to be called:
	// who takes the last but one sends for the next before it begins.
	coming bool
	parked []member // wait for a job, the last one first
	least  int      // how many waited at any time since the last trim
	closed bool     // nobody is to wait any more
}

// member is a goroutine of the crew, by what wakes it.
type member chan struct{} // buffered

// do has the job done; it does not wait.
func (c *crew) do(j task) {
	c.mu.Lock()
	c.addLocked(j)
	c.sendAndUnlock()
}

// bring is do for one of many jobs that come together: they begin when send is called, so
// that nobody is in the way of who brings them, or sooner.
func (c *crew) bring(j task) {
	c.mu.Lock()
	c.addLocked(j)
	c.mu.Unlock()
}

// send has begun what was brought.
func (c *crew) send() {
	c.mu.Lock()
	c.sendAndUnlock()
}

func (c *crew) addLocked(j task) {
	if c.head > 0 && len(c.ready) == cap(c.ready) {
		n := copy(c.ready, c.ready[c.head:])
		clear(c.ready[n:])
		c.ready, c.head = c.ready[:n], 0
	}
	c.ready = append(c.ready, j)
}

// sendAndUnlock sends somebody for the next job, if there is one and nobody is coming.
func (c *crew) sendAndUnlock() {
	send := !c.coming && c.head < len(c.ready)
	c.coming = c.coming || send
	var m member
	if last := len(c.parked) - 1; send && last >= 0 {
		m, c.parked = c.parked[last], c.parked[:last]
		c.least = min(c.least, last)
	}
	c.mu.Unlock()
	switch {
	case m != nil:
		m <- struct{}{}
	case send:
		go c.work() // joined by the tallies, unless the handler never returns
	}
}

// work does jobs, those that come later too if few others do so. A handler may end its
// goroutine: then others do the rest.
func (c *crew) work() {
	me := make(member, 1)
	for {
		for j := c.take(true); j != nil; j = c.take(false) {
			j.do()
		}
		if !c.park(me) {
			return
		}
		if _, sentFor := <-me; !sentFor {
			return
		}
	}
}

// take takes a job, nil if there is none. sentFor says that the caller was coming.
func (c *crew) take(sentFor bool) task {
	c.mu.Lock()
	if sentFor {
		c.coming = false
	}
	if c.head == len(c.ready) {
		c.mu.Unlock()
		return nil
	}
	var j task
	j, c.ready[c.head] = c.ready[c.head], nil
	if c.head++; c.head == len(c.ready) {
		c.ready, c.head = c.ready[:0], 0
		c.mu.Unlock()
		return j
	}
	c.sendAndUnlock()
	return j
}

// park lets a member wait for a job, to be woken; false if it is not to.
func (c *crew) park(m member) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	// A job that came meanwhile has somebody coming for it, or send will be called.
	if c.closed || len(c.parked) == maxParked {
		return false
	}
	c.parked = append(c.parked, m)
	return true
}

// trim ends those who have waited since the last trim. It is called now and then.
func (c *crew) trim() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.endLocked(c.least)
	c.least = len(c.parked)
}

// endLocked ends some of those who wait, who have done so for longest.
func (c *crew) endLocked(n int) {
	for _, m := range c.parked[:n] {
		close(m)
	}
	c.parked = slices.Delete(c.parked, 0, n)
}

// close ends those who wait. What is in work goes on.
func (c *crew) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	c.endLocked(len(c.parked))
	c.least = 0
}

// busy tells whether there are jobs that nobody is at.
func (c *crew) busy() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.head < len(c.ready)
}
