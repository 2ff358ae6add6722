package worker

import "sync"

// tally counts events in work: up to a limit, and none any more once it is
// closed, so that waiting for the last one is not a race with a next one.
type tally struct {
	limit int           // 0: none
	idle  chan struct{} // closed when the tally is, and nothing is in work

	mu     sync.Mutex
	n      int
	closed bool
}

func newTally(limit int) *tally { return &tally{limit: limit, idle: make(chan struct{})} }

// add counts an event, unless there is no room for it.
func (t *tally) add() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || t.limit > 0 && t.n >= t.limit {
		return false
	}
	t.n++
	return true
}

// done takes off what add has counted.
func (t *tally) done() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.n--
	if t.closed && t.n == 0 {
		close(t.idle)
	}
}

// close lets nothing more be added. What it returns is closed when the last
// event is done.
func (t *tally) close() (idle <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.closed && t.n == 0 {
		close(t.idle)
	}
	t.closed = true
	return t.idle
}

func (t *tally) count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.n
}
