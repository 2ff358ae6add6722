// Package running knows when the goroutines of something have all ended.
package running

import "sync"

// Group is a sync.WaitGroup that may be waited for while goroutines are still
// being started: who comes after Wait is refused. The zero Group is ready for
// use, by any goroutine.
//
// One goroutine that has nothing more to do is kept for the next call of Go, until
// Wait, which has to follow: the stack of a new one has to grow first, which can cost
// more than what it is to do.
type Group struct {
	wg sync.WaitGroup

	mu    sync.Mutex
	ended bool
	kept  chan<- func() // what is sent to it, the one that is kept does; nil: none is
}

// Go runs fn on a goroutine of its own; false, and it does not run, if Wait has
// been called.
func (g *Group) Go(fn func()) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.ended:
		return false
	case g.kept != nil:
		g.kept <- fn
		g.kept = nil
	default:
		g.wg.Go(func() { g.run(fn) })
	}
	return true
}

// run runs fn, and what comes while the goroutine is kept.
func (g *Group) run(fn func()) {
	fn()
	next := make(chan func(), 1) // Go does not wait
	for g.keep(next) {
		fn, ok := <-next
		if !ok {
			return
		}
		fn()
	}
}

// keep tells whether a goroutine that has nothing to do is to wait for something.
func (g *Group) keep(next chan<- func()) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ended || g.kept != nil {
		return false
	}
	g.kept = next
	return true
}

// Wait returns when what was started has returned. Nothing is started any more
// from then on.
func (g *Group) Wait() {
	g.mu.Lock()
	g.ended = true
	if g.kept != nil {
		close(g.kept)
		g.kept = nil
	}
	g.mu.Unlock()
	g.wg.Wait()
}
