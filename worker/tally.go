package worker

import "sync"

// tally counts events: those that were taken and are not answered, of which up
// to a limit are in work at the same time. Once it is closed no more are taken,
// so that waiting for the last one is not a race with a next one.
type tally struct {
	limit int           // of those in work; 0: none
	idle  chan struct{} // closed when the tally is, and nothing is held

	mu      sync.Mutex
	held    int      // taken, not done
	working int      // of those
	waiting []func() // of those: start them
	closed  bool
}

func newTally(limit int) *tally { return &tally{limit: limit, idle: make(chan struct{})} }

// begin takes an event if it can be in work at once.
func (t *tally) begin() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || !t.roomLocked() {
		return false
	}
	t.held++
	t.working++
	return true
}

func (t *tally) roomLocked() bool { return t.limit == 0 || t.working < t.limit }

// take takes an event that start will follow for, unless the tally is closed.
func (t *tally) take() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false
	}
	t.held++
	return true
}

// start calls fn, which must not block, when the event can be in work: now, or
// from the call of done that makes room.
func (t *tally) start(fn func()) {
	t.mu.Lock()
	if !t.roomLocked() {
		t.waiting = append(t.waiting, fn)
		t.mu.Unlock()
		return
	}
	t.working++
	t.mu.Unlock()
	fn()
}

// done takes off an event that was in work.
func (t *tally) done() {
	t.mu.Lock()
	t.held--
	t.working--
	var next func()
	if len(t.waiting) > 0 {
		next, t.waiting[0] = t.waiting[0], nil
		t.waiting = t.waiting[1:]
		t.working++
	}
	if t.closed && t.held == 0 {
		close(t.idle)
	}
	t.mu.Unlock()
	if next != nil {
		next()
	}
}

// close lets nothing more be taken. What it returns is closed when the last
// event is done.
func (t *tally) close() (idle <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.closed && t.held == 0 {
		close(t.idle)
	}
	t.closed = true
	return t.idle
}

func (t *tally) count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.held
}
