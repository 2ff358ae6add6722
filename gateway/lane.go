package gateway

import (
	"time"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/internal/deadline"
)

// event is one thing that happened to a client, from when it happened until it
// is answered.
type event struct {
	// set at construction
	client *client
	kind   bus.Kind
	data   []byte

	// guarded by the dispatcher's mutex
	node deadline.Node[*event] // its place among the deadlines
	// link and batch are where it went last, if it went in a batch; written
	// under the client's mutex while it is not among the deadlines.
	link  *link
	batch uint64
	stamp uint64 // numbers what is out in the order in which it was published; written under both mutexes

	// guarded by the client's mutex
	next *event    // behind it in the lane
	seq  uint64    // its number among the client's events, from 1
	due  time.Time // when it is out: when patience ends
	// at is the one worker it went to last, "" for the group to choose; bond
	// says that it went there because its client is bound, or the one before
	// it was there.
	at   bus.WorkerAddress
	bond bool
	// alone says that it must not follow another one to its worker.
	alone bool
	state eventState
	// given is when it was first given out, since the gateway's start; 0: not yet.
	given time.Duration
	// delivery counts how often it was given out, as far as a worker may have
	// got it: it marks redeliveries.
	delivery int
	// lost counts how often that was in vain.
	lost int
	// busy counts how often it was handed back.
	busy int
	// heldUntil is when waiting for a first worker ends; zero before it starts.
	heldUntil time.Time
	// answer is what came for it while others before it were not answered.
	answer *answer
	trace  *eventTrace // nil: it has no span
}

// answer is a worker's final reply to an event, and the subject it came on.
type answer struct {
	bus.Reply
	subject string
}

// eventState says where an event is.
type eventState uint8

const (
	waiting  eventState = iota // to be given out, or to be given out again, in its turn
	out                        // published; an answer is awaited until due
	held                       // no worker is there
	paused                     // handed back as busy; it goes out again shortly
	answered                   // but not all before it are
	settled                    // off the lane
)

func newEvent(c *client, kind bus.Kind, data []byte) *event {
	e := &event{client: c, kind: kind, data: data}
	e.node.Value = e
	return e
}

// lane keeps the events of one client in order, from the oldest that is not
// settled to the newest. Without sticky routing at most one of them, the first,
// is with a worker. It is pure bookkeeping, guarded by its client's mutex.
type lane struct {
	first, last *event
	waiting     int    // events that wait
	bytes       int    // payload of those
	seq         uint64 // of the newest
}

// full tells whether what waits has reached a limit. A lane where nothing waits
// takes any frame, whatever its size.
func (l *lane) full(frames, bytes int) bool {
	return l.waiting > 0 && (l.waiting >= frames || l.bytes >= bytes)
}

// add puts an event behind all others.
func (l *lane) add(e *event) {
	l.seq++
	e.seq, e.state = l.seq, waiting
	if l.last == nil {
		l.first = e
	} else {
		l.last.next = e
	}
	l.last = e
	l.count(e, 1)
}

func (l *lane) count(e *event, n int) {
	l.waiting += n
	l.bytes += n * len(e.data)
}

// to puts an event into another state.
func (l *lane) to(e *event, s eventState) {
	if e.state == waiting {
		l.count(e, -1)
	}
	if s == waiting {
		l.count(e, 1)
	}
	if was, is := e.state == out, s == out; was != is && e.link != nil {
		if is {
			e.link.out.Add(1)
		} else {
			e.link.out.Add(-1)
		}
	}
	e.state = s
	if s == settled && e.trace != nil {
		e.trace.end()
	}
}

// find returns the event with the number, nil if it is not there.
func (l *lane) find(seq uint64) *event {
	for e := l.first; e != nil && e.seq <= seq; e = e.next {
		if e.seq == seq {
			return e
		}
	}
	return nil
}

// pop takes the first off.
func (l *lane) pop() {
	e := l.first
	l.to(e, settled)
	if l.first = e.next; l.first == nil {
		l.last = nil
	}
	e.next = nil
}

// clear drops all that wait, or all but the last of them, and says how much that
// was. What is with a worker stays.
func (l *lane) clear(keepLast bool) int {
	n := 0
	var prev *event
	for e := l.first; e != nil; e = e.next {
		if e.state != waiting || keepLast && e == l.last {
			prev = e
			continue
		}
		l.to(e, settled)
		n++
		if prev == nil {
			l.first = e.next
		} else {
			prev.next = e.next
		}
		if e == l.last {
			l.last = prev
		}
	}
	return n
}

// empty tells whether nothing is left to be answered.
func (l *lane) empty() bool { return l.first == nil }
