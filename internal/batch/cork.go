package batch

import "sync"

// Cork keeps batchers from sending while somebody adds to them what is there
// already, part by part. It is for short work that does not wait. The zero Cork is
// ready for use, by any goroutine.
type Cork struct {
	mu   sync.Mutex
	in   int        // how many have put it in
	held []*Batcher // have something to send
}

// Put keeps the batchers that have the cork from starting to send. Pull must
// follow.
func (c *Cork) Put() {
	c.mu.Lock()
	c.in++
	c.mu.Unlock()
}

// Pull has what was kept back sent: all of it, though others may have put the cork
// in too, so that nobody's work keeps back what was added before that began. The
// caller's own goroutine sends that, and no more: there is no other to be woken for
// it.
func (c *Cork) Pull() {
	c.mu.Lock()
	c.in--
	held := c.held
	c.held = nil
	c.mu.Unlock()
	for _, b := range held {
		b.work()
	}
}

// holds tells whether the batcher's start is for Pull. The batcher is locked.
func (c *Cork) holds(b *Batcher) bool {
	if c == nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.in > 0 {
		c.held = append(c.held, b)
	}
	return c.in > 0
}
