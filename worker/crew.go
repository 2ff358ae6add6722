package worker

import "sync"

// task is what a crew does: a job.
type task interface{ do() }

// crew has jobs done, each at once whatever the others do: a handler may take as
// long as it likes. Quick ones are done by few goroutines, one after the other,
// since a new goroutine for each costs more than many a handler: its stack has to
// grow first.
type crew struct {
	mu    sync.Mutex
	ready []task // from head on: nobody is at them
	head  int
	// coming says that a goroutine was started and has not taken a job yet. If
	// there is a job that nobody is at, one is coming: who takes the last but one
	// sends for the next before it begins.
	coming bool
}

// do has the job done; it does not wait.
func (c *crew) do(j task) {
	c.mu.Lock()
	if c.head > 0 && len(c.ready) == cap(c.ready) {
		n := copy(c.ready, c.ready[c.head:])
		clear(c.ready[n:])
		c.ready, c.head = c.ready[:n], 0
	}
	c.ready = append(c.ready, j)
	start := !c.coming
	c.coming = true
	c.mu.Unlock()
	if start {
		go c.work() // joined by the tallies, unless the handler never returns
	}
}

// work does jobs until there is none. A handler may end its goroutine: then
// others do the rest.
func (c *crew) work() {
	for first := true; ; first = false {
		j, start := c.take(first)
		if start {
			go c.work()
		}
		if j == nil {
			return
		}
		j.do()
	}
}

// take takes a job, nil if there is none, and tells whether to send for somebody
// else for the next.
func (c *crew) take(first bool) (j task, start bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if first {
		c.coming = false
	}
	if c.head == len(c.ready) {
		return nil, false
	}
	j, c.ready[c.head] = c.ready[c.head], nil
	if c.head++; c.head == len(c.ready) {
		c.ready, c.head = c.ready[:0], 0
		return j, false
	}
	start = !c.coming
	c.coming = true
	return j, start
}

// busy tells whether there are jobs that nobody is at.
func (c *crew) busy() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.head < len(c.ready)
}
