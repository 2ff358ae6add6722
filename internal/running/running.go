// Package running knows when the goroutines of something have all ended.
package running

import "sync"

// Group is a sync.WaitGroup that may be waited for while goroutines are still
// being started: who comes after Wait is refused. The zero Group is ready for
// use, by any goroutine.
type Group struct {
	mu    sync.RWMutex
	ended bool
	wg    sync.WaitGroup
}

// Go runs fn on a goroutine of its own; false, and it does not run, if Wait has
// been called.
func (g *Group) Go(fn func()) bool {
	g.mu.RLock()
	defer g.mu.RUnlock()
	if g.ended {
		return false
	}
	g.wg.Go(fn)
	return true
}

// Wait returns when what was started has returned. Nothing is started any more
// from then on.
func (g *Group) Wait() {
	g.mu.Lock()
	g.ended = true
	g.mu.Unlock()
	g.wg.Wait()
}
