package ledger

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"
)

// Finding is a promise that the workers' records show to be broken.
type Finding struct {
	Broken Broken
	Client string // the client's id
	Conn   string // the name of its connection, if an open event told it
	Text   string
	At     time.Duration // by the clock of the records; 0 if there is no time to it
}

// Lives tells what the records cannot say of themselves.
type Lives struct {
	// Answered is how many frames of a connection, by name, were answered.
	Answered map[string]int
	// Excused tells whether a client, with this connection, need not have a close
	// event: its gateway was killed after its open event began, which was at since.
	Excused func(client, conn string, since time.Duration) bool
}

// Book is what the records have, by client.
type Book struct {
	clients map[string]*clientLog
}

// clientLog is what was handled of one client. There are millions of rows.
type clientLog struct {
	conn   string
	rows   []row
	events map[eventKey][]stint // made of rows while they are checked
}

type row struct {
	eventKey
	stint
}

// eventKey names an event of a client; its order is that of the events.
type eventKey struct {
	kind   byte
	number int
}

// stint is one handling.
type stint struct {
	start, end time.Duration
	delivery   int
}

// NewBook makes an empty one.
func NewBook() *Book { return &Book{clients: map[string]*clientLog{}} }

// Add takes in a handling, in any order.
func (b *Book) Add(h Handling) {
	c := b.clients[h.Client]
	if c == nil {
		c = &clientLog{}
		b.clients[h.Client] = c
	}
	if h.Kind == 'o' {
		c.conn = h.Conn
	}
	c.rows = append(c.rows, row{eventKey{h.Kind, h.Number}, stint{h.Start, h.End, h.Delivery}})
}

// Verify checks what was handled of all clients, and returns how many events and
// how many repeated handlings there were, and what is wrong.
func (b *Book) Verify(lives Lives) (events, again int, findings []Finding) {
	seen := map[string]bool{}
	for _, id := range slices.Sorted(maps.Keys(b.clients)) {
		c := b.clients[id]
		seen[c.conn] = true
		c.events = map[eventKey][]stint{}
		for _, r := range c.rows {
			c.events[r.eventKey] = append(c.events[r.eventKey], r.stint)
		}
		events += len(c.events)
		again += len(c.rows) - len(c.events)
		for _, f := range c.verify(id, lives) {
			f.Client, f.Conn = id, c.conn
			findings = append(findings, f)
		}
		c.events = nil
	}
	for _, conn := range slices.Sorted(maps.Keys(lives.Answered)) {
		if !seen[conn] {
			findings = append(findings, Finding{Broken: Lost, Conn: conn, Text: "it was let in, and no worker has handled its open event"})
		}
	}
	return events, again, findings
}

// verify checks one client. The events in order are open, frames, close. An event
// can be handled several times, marked as given out again, and a worker that was
// frozen may come to it long after. What must hold is that no event begins before
// one handling of the event before it, the one that answered, has ended.
func (c *clientLog) verify(id string, lives Lives) (findings []Finding) {
	add := func(b Broken, at time.Duration, format string, args ...any) {
		findings = append(findings, Finding{Broken: b, At: at, Text: fmt.Sprintf(format, args...)})
	}
	keys := slices.SortedFunc(maps.Keys(c.events), func(a, b eventKey) int {
		return cmp.Or(a.rank()-b.rank(), a.number-b.number)
	})
	var prev eventKey
	done := time.Duration(0) // when the event before was first done with
	for i, k := range keys {
		begun, ended := c.times(k)
		if n := c.unmarked(k); n > 1 {
			add(Duplicated, begun, "%v was given out %d times without being marked as given out again", k, n)
		}
		switch {
		case i == 0 && k.kind != 'o':
			add(Reordered, begun, "%v was handled, and open was not", k)
		case i > 0 && k.kind == 'f' && k.number != prev.number+1 && prev.kind == 'f', i > 0 && k.kind == 'f' && prev.kind == 'o' && k.number != 0:
			add(Lost, begun, "%v was handled, and those between it and %v were not", k, prev)
		case i > 0 && done == math.MaxInt64:
			add(Reordered, begun, "%v was handled, and no handling of %v has ended", k, prev)
		case begun < done:
			add(Reordered, begun, "%v began %v before %v was done", k, (done - begun).Round(time.Microsecond), prev)
		}
		prev, done = k, ended
	}
	if n, ok := lives.Answered[c.conn]; ok && n > 0 {
		if _, ended := c.times(eventKey{'f', n - 1}); ended == math.MaxInt64 {
			add(Lost, 0, "frame %d was answered, and no worker has handled it to the end", n-1)
		}
	}
	open := c.events[eventKey{'o', 0}]
	_, closed := c.events[eventKey{'c', 0}]
	if _, in := lives.Answered[c.conn]; in && !closed && len(open) > 0 && !lives.Excused(id, c.conn, open[0].start) {
		add(Lost, 0, "no close event")
	}
	return findings
}

func (k eventKey) rank() int {
	switch k.kind {
	case 'o':
		return 0
	case 'f':
		return 1
	}
	return 2
}

func (k eventKey) String() string {
	switch k.kind {
	case 'o':
		return "open"
	case 'f':
		return fmt.Sprintf("frame %d", k.number)
	}
	return "close"
}

// times are when an event was first begun with and first done with; never is the
// end of time.
func (c *clientLog) times(k eventKey) (begun, ended time.Duration) {
	begun, ended = math.MaxInt64, math.MaxInt64
	for _, s := range c.events[k] {
		begun = min(begun, s.start)
		if s.end != 0 {
			ended = min(ended, s.end)
		}
	}
	return begun, ended
}

// unmarked is how often an event was given out as if for the first time.
func (c *clientLog) unmarked(k eventKey) (n int) {
	for _, s := range c.events[k] {
		if s.delivery < 2 {
			n++
		}
	}
	return n
}
