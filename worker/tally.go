package worker

import (
	"slices"
	"sync"
	"time"
)

const (
	// patience is how long an event may wait for room that another worker could have:
	// quick handlers make room for hundreds in that time, and what a gateway does with
	// one that is handed back takes longer.
	patience = 5 * time.Millisecond
	// maxPatient is how many events wait so.
	maxPatient = 4096
)

// tally counts events: those that were taken and are not answered, of which up
// to a limit are in work at the same time. Once it is closed no more are taken,
// so that waiting for the last one is not a race with a next one.
type tally struct {
	limit int           // of those in work; 0: none
	idle  chan struct{} // closed when the tally is, and nothing is held

	mu      sync.Mutex
	held    int       // taken, not done
	working int       // of those
	waiting []waiting // of those, in order
	patient int       // of those: they have an end
	ticking bool      // expire will be called
	closed  bool
}

// waiting is an event that waits for room.
type waiting struct {
	waiter
	until time.Time // zero: for ever
}

// waiter is what is told how waiting has ended. Its methods must not block.
type waiter interface {
	start()  // there is room
	giveUp() // there was none in time; the event is not held any more
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

// takeBriefly takes an event that startSoon will follow for, unless too many wait so.
func (t *tally) takeBriefly() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || t.patient >= maxPatient {
		return false
	}
	t.held++
	return true
}

// start starts an event when it can be in work: now, or from the call of done that makes
// room.
func (t *tally) start(w waiter) { t.startOr(waiting{waiter: w}) }

// startSoon is start for an event that is given up if there is no room for as long as
// patience.
func (t *tally) startSoon(w waiter) { t.startOr(waiting{w, time.Now().Add(patience)}) }

func (t *tally) startOr(w waiting) {
	t.mu.Lock()
	if !t.roomLocked() {
		t.waiting = append(t.waiting, w)
		if !w.until.IsZero() {
			t.patient++
			if !t.ticking {
				t.ticking = true
				time.AfterFunc(patience, t.expire)
			}
		}
		t.mu.Unlock()
		return
	}
	t.working++
	t.mu.Unlock()
	w.start()
}

// expire gives up what has waited for too long.
func (t *tally) expire() {
	now := time.Now()
	var over []waiting
	t.mu.Lock()
	t.waiting = slices.DeleteFunc(t.waiting, func(w waiting) bool {
		if w.until.IsZero() || w.until.After(now) {
			return false
		}
		over = append(over, w)
		return true
	})
	t.patient -= len(over)
	if t.ticking = t.patient > 0; t.ticking {
		time.AfterFunc(patience/2, t.expire) // at the longest it is half as much again
	}
	t.mu.Unlock()
	for _, w := range over {
		w.giveUp()
		t.off(0)
	}
}

// done takes off an event that was in work.
func (t *tally) done() { t.off(1) }

// off takes off an event, and what it has occupied.
func (t *tally) off(working int) {
	t.mu.Lock()
	t.held--
	t.working -= working
	var next waiter
	if len(t.waiting) > 0 && t.roomLocked() {
		if !t.waiting[0].until.IsZero() {
			t.patient--
		}
		next, t.waiting[0] = t.waiting[0].waiter, waiting{}
		t.waiting = t.waiting[1:]
		t.working++
	}
	if t.closed && t.held == 0 {
		close(t.idle)
	}
	t.mu.Unlock()
	if next != nil {
		next.start()
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
