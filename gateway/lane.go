package gateway

import (
	"time"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/internal/deadline"
)

// event is one thing that happened to a client, from when it happened until it
// is answered. All but node is guarded by the client's mutex.
type event struct {
	// set at construction
	client *client
	kind   bus.Kind
	data   []byte

	// node is its place among the deadlines; guarded by the dispatcher's mutex.
	node deadline.Node[*event]

	seq   uint64 // set when it becomes the head
	state eventState
	due   time.Time // when it is out: when patience ends
	// delivery counts how often it was given out to a worker.
	delivery int
	// busy counts how often it was handed back.
	busy int
	// heldUntil is when waiting for a first worker ends; zero before it starts.
	heldUntil time.Time
}

// eventState says where an event is.
type eventState uint8

const (
	waiting eventState = iota // behind others
	out                       // published; an answer is awaited until due
	held                      // no worker is there
	paused                    // handed back as busy; it goes out again shortly
	settled                   // answered or given up
)

func newEvent(c *client, kind bus.Kind, data []byte) *event {
	e := &event{client: c, kind: kind, data: data}
	e.node.Value = e
	return e
}

// lane keeps the events of one client in order: a head, which at most one
// worker at a time is asked about, and those that wait behind it. It is pure
// bookkeeping, guarded by its client's mutex.
type lane struct {
	head  *event
	queue []*event // behind the head
	bytes int      // payload of queue
	seq   uint64   // of the newest head
}

// full tells whether the queue has reached a limit. An empty queue takes any
// frame, whatever its size.
func (l *lane) full(frames, bytes int) bool {
	return len(l.queue) > 0 && (len(l.queue) >= frames || l.bytes >= bytes)
}

// add puts an event behind all others.
func (l *lane) add(e *event) {
	l.queue = append(l.queue, e)
	l.bytes += len(e.data)
}

// next makes the first waiting event the head and returns it; nil if there is
// a head already or nothing waits.
func (l *lane) next() *event {
	if l.head != nil || len(l.queue) == 0 {
		return nil
	}
	e := l.queue[0]
	l.queue[0] = nil
	l.queue = l.queue[1:]
	if len(l.queue) == 0 {
		l.queue = nil // lets go of the array: most lanes are empty most of the time
	}
	l.bytes -= len(e.data)
	l.seq++
	e.seq = l.seq
	l.head = e
	return e
}

// pop takes the head off: it is answered or given up.
func (l *lane) pop() *event {
	e := l.head
	e.state = settled
	l.head = nil
	return e
}

// clear drops what waits behind the head and says how much that was.
func (l *lane) clear() int {
	n := len(l.queue)
	l.queue, l.bytes = nil, 0
	return n
}

// keepLast drops what waits behind the head but the last one, and says how much
// that was.
func (l *lane) keepLast() int {
	n := max(len(l.queue)-1, 0)
	if n > 0 {
		l.queue = []*event{l.queue[n]}
		l.bytes = len(l.queue[0].data)
	}
	return n
}

// empty tells whether nothing is left to be answered.
func (l *lane) empty() bool { return l.head == nil && len(l.queue) == 0 }
