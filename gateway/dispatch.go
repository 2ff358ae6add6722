package gateway

import (
	"context"
	"sync"
	"time"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/internal/deadline"
)

// probeInterval is how often a gateway without workers tries whether there is
// one, with a single event of those that wait. A bounced event comes back
// within a millisecond, so one that has not come back by the next tick has
// found a worker.
const probeInterval = 25 * time.Millisecond

// dispatcher publishes events and watches their deadlines.
type dispatcher struct {
	// set at construction
	conn    bus.Conn
	ackWait time.Duration
	wake    chan struct{} // buffered: something waits for a first worker

	census *census // nil: workers cannot be asked

	// publishing is held for reading between the stamp of an event and its
	// publication.
	publishing sync.RWMutex

	mu      sync.Mutex
	acks    deadline.List[*event] // out, by when patience ends
	overdue deadline.List[*event] // out, patience is over; the census knows more
	stamp   uint64                // of what was published last
	held    map[string]*heldGroup // by worker group; only groups with held events
}

// heldGroup are the events that wait for a first worker of one group.
type heldGroup struct {
	events deadline.List[*event] // oldest first; due is when waiting ends
	// probe is the event that is out as a trial, nil if none is.
	probe *event
	// release is set when an answer came: a worker is there.
	release bool
}

func newDispatcher(conn bus.Conn, ackWait time.Duration) *dispatcher {
	return &dispatcher{
		conn: conn, ackWait: ackWait,
		wake: make(chan struct{}, 1),
		held: map[string]*heldGroup{},
	}
}

// publish starts the clock and gives the event's message to the bus. Its
// client's mutex is held.
func (d *dispatcher) publish(e *event, m *bus.Msg) error {
	d.publishing.RLock()
	defer d.publishing.RUnlock()
	d.await(e)
	return d.conn.Publish(m)
}

// add gives the event to a worker that takes batches and starts the clock. One
// that goes there because of others (its bond) waits behind them; with follow, if
// they are there. Its client's mutex is held.
func (d *dispatcher) add(p *link, e *event, follow bool) {
	d.publishing.RLock()
	defer d.publishing.RUnlock()
	e.at, e.link = p.at, p
	e.client.lane.to(e, out) // first: whoever waits for the batch has been counted when the next one is picked
	e.batch = p.add(e, follow)
	d.await(e)
}

// flush returns when every event that is out is published: a batch may wait to be sent
// still, also to a worker that the roster does not know any more.
func (d *dispatcher) flush() {
	links := map[*link]struct{}{}
	d.mu.Lock()
	for _, l := range []*deadline.List[*event]{&d.acks, &d.overdue} {
		for n := l.Front(); n != nil; n = l.Next(n) {
			if p := n.Value.link; p != nil {
				links[p] = struct{}{}
			}
		}
	}
	d.mu.Unlock()
	for p := range links {
		p.batches.Flush()
	}
}

// sentTo are the events that are out on a worker's connection, in the batch of
// the number or a later one, and their stamps.
func (d *dispatcher) sentTo(id bus.ConnID, batch uint64) (events []*event, stamps []uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, l := range []*deadline.List[*event]{&d.acks, &d.overdue} {
		for n := l.Front(); n != nil; n = l.Next(n) {
			if e := n.Value; e.link != nil && e.link.id == id && e.batch >= batch {
				events, stamps = append(events, e), append(stamps, e.stamp)
			}
		}
	}
	return events, stamps
}

// await starts the clock for an answer anew. The client's mutex is held.
func (d *dispatcher) await(e *event) {
	e.client.lane.to(e, out)
	now := time.Now()
	e.due = now.Add(d.ackWait)
	if e.given == 0 {
		e.given = now.Sub(e.client.gw.start) + 1 // not 0: not yet
	}
	d.mu.Lock()
	d.stamp++
	e.stamp = d.stamp
	d.acks.Push(&e.node, e.due)
	d.mu.Unlock()
}

// published is the newest stamp, at a moment when all that has a stamp is
// published and all that is published has a stamp; 0 if nothing is out.
func (d *dispatcher) published() (stamp uint64) {
	d.publishing.Lock()
	defer d.publishing.Unlock()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.acks.Len() == 0 && d.overdue.Len() == 0 {
		return 0
	}
	return d.stamp
}

// anyOverdue tells whether an event waits for the census to say what became of
// it.
func (d *dispatcher) anyOverdue() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.overdue.Len() > 0
}

// forget stops the clock. The client's mutex is held.
func (d *dispatcher) forget(e *event) {
	d.mu.Lock()
	e.node.Remove()
	if g := d.held[e.client.group]; g != nil && g.probe == e {
		g.probe = nil // the trial came back, or nobody waits for it
	}
	d.mu.Unlock()
}

// inFlight is how many events are out.
func (d *dispatcher) inFlight() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.acks.Len() + d.overdue.Len()
}

// oldest is for how long the event that is out for longest has had no sign of life;
// 0 if none is out.
func (d *dispatcher) oldest(now time.Time) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, l := range []*deadline.List[*event]{&d.overdue, &d.acks} {
		if n := l.Front(); n != nil {
			return max(now.Sub(n.Due())+d.ackWait, 0)
		}
	}
	return 0
}

// answered stops the clock, and if others wait for a first worker, lets them
// go: one is there. The client's mutex is held.
func (d *dispatcher) answered(e *event) {
	d.mu.Lock()
	e.node.Remove()
	if len(d.held) > 0 {
		if g := d.held[e.client.group]; g != nil && !g.release {
			g.release = true
			d.nudge()
		}
	}
	d.mu.Unlock()
}

// hold keeps an event until a worker appears or its time is over. The client's
// mutex is held.
func (d *dispatcher) hold(e *event) {
	e.client.lane.to(e, held)
	d.mu.Lock()
	defer d.mu.Unlock()
	g := d.held[e.client.group]
	if g == nil {
		g = &heldGroup{}
		d.held[e.client.group] = g
	}
	if g.probe == e {
		g.probe = nil
		g.events.PushFront(&e.node, e.heldUntil)
	} else {
		g.events.Push(&e.node, e.heldUntil)
	}
	d.nudge()
}

func (d *dispatcher) nudge() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// waiting is how many events wait for a first worker.
func (d *dispatcher) waiting() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := 0
	for _, g := range d.held {
		n += g.events.Len()
	}
	return n
}

// run watches the deadlines until ctx ends.
func (d *dispatcher) run(ctx context.Context) {
	// A new deadline is never nearer than ackWait, so looking again then, or
	// when the oldest one is due, misses none: nobody has to wake this loop
	// for each event.
	acks := time.NewTimer(d.ackWait)
	defer acks.Stop()
	probe := time.NewTimer(probeInterval)
	defer probe.Stop()
	probing := true // the timer runs; what is held more meanwhile must not set it back
	for {
		select {
		case <-ctx.Done():
			return
		case <-acks.C:
			acks.Reset(d.expireAcks())
		case <-d.wake:
			if !d.releaseAnswered() && !probing {
				probing = true
				probe.Reset(probeInterval)
			}
		case <-probe.C:
			if probing = d.probeHeld(); probing {
				probe.Reset(probeInterval)
			}
		}
	}
}

// expireAcks hands the events that nobody answered in time to the census, or
// without one to their clients, and returns how long to wait for the next one.
func (d *dispatcher) expireAcks() time.Duration {
	for {
		now := time.Now()
		d.mu.Lock()
		n := d.acks.Front()
		if n == nil {
			d.mu.Unlock()
			return d.ackWait
		}
		if wait := n.Due().Sub(now); wait > 0 {
			d.mu.Unlock()
			return wait
		}
		if d.census != nil {
			d.overdue.Push(n, n.Due())
			d.mu.Unlock()
			d.census.nudge()
			continue
		}
		n.Remove()
		d.mu.Unlock()
		n.Value.client.overdue(n.Value, now)
	}
}

// releaseAnswered lets go the events of groups that had an answer. It tells
// whether nothing is held any more.
func (d *dispatcher) releaseAnswered() (empty bool) {
	var free []*event
	d.mu.Lock()
	for name, g := range d.held {
		if g.release {
			free = append(free, g.take()...)
			delete(d.held, name)
		}
	}
	empty = len(d.held) == 0
	d.mu.Unlock()
	for _, e := range free {
		e.client.retry(e)
	}
	return empty
}

// take empties the group.
func (g *heldGroup) take() []*event {
	events := make([]*event, 0, g.events.Len())
	for n := g.events.Front(); n != nil; n = g.events.Front() {
		n.Remove()
		events = append(events, n.Value)
	}
	return events
}

// probeHeld gives up the events whose time is over, lets go the groups whose
// trial did not come back, and starts a trial for the others. It tells whether
// to come again.
func (d *dispatcher) probeHeld() (again bool) {
	var over, free []*event
	now := time.Now()
	d.mu.Lock()
	for name, g := range d.held {
		for n := g.events.Front(); n != nil; {
			next := g.events.Next(n)
			if !now.Before(n.Due()) {
				n.Remove()
				over = append(over, n.Value)
			}
			n = next
		}
		switch n := g.events.Front(); {
		case n == nil && g.probe == nil:
			delete(d.held, name)
		case g.probe != nil:
			free = append(free, g.take()...)
			delete(d.held, name)
		default:
			n.Remove()
			g.probe = n.Value
			free = append(free, n.Value)
		}
	}
	again = len(d.held) > 0
	d.mu.Unlock()
	for _, e := range over {
		e.client.holdOver(e)
	}
	for _, e := range free {
		e.client.retry(e)
	}
	return again
}
