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

// dispatcher publishes the heads of the lanes and watches their deadlines.
type dispatcher struct {
	// set at construction
	conn    bus.Conn
	ackWait time.Duration
	wake    chan struct{} // buffered: something waits for a first worker

	mu   sync.Mutex
	acks deadline.List[*client] // published, by when patience ends
	held map[string]*heldGroup  // by worker group; only groups with held lanes
}

// heldGroup are the lanes of one worker group that wait for a first worker.
type heldGroup struct {
	lanes deadline.List[*client] // oldest first; due is when waiting ends
	// probe is the client whose event was published as a trial, nil if none
	// is out.
	probe *client
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

// publish gives the message to the bus and starts the clock. The client's
// mutex is held. It returns when patience ends.
func (d *dispatcher) publish(c *client, m *bus.Msg) (time.Time, error) {
	if err := d.conn.Publish(m); err != nil {
		return time.Time{}, err
	}
	return d.await(c), nil
}

// await starts the clock for an answer anew. The client's mutex is held.
func (d *dispatcher) await(c *client) time.Time {
	due := time.Now().Add(d.ackWait)
	d.mu.Lock()
	d.acks.Push(&c.node, due)
	d.mu.Unlock()
	return due
}

// forget stops the clock. The client's mutex is held.
func (d *dispatcher) forget(c *client) {
	d.mu.Lock()
	c.node.Remove()
	if g := d.held[c.group]; g != nil && g.probe == c {
		g.probe = nil // the trial came back, or nobody waits for it
	}
	d.mu.Unlock()
}

// answered stops the clock, and if others wait for a first worker, lets them
// go: one is there. The client's mutex is held.
func (d *dispatcher) answered(c *client) {
	d.mu.Lock()
	c.node.Remove()
	if len(d.held) > 0 {
		if g := d.held[c.group]; g != nil && !g.release {
			g.release = true
			d.nudge()
		}
	}
	d.mu.Unlock()
}

// hold keeps a client's lane until a worker appears or the time is over. The
// client's mutex is held.
func (d *dispatcher) hold(c *client, until time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	g := d.held[c.group]
	if g == nil {
		g = &heldGroup{}
		d.held[c.group] = g
	}
	if g.probe == c {
		g.probe = nil
		g.lanes.PushFront(&c.node, until)
	} else {
		g.lanes.Push(&c.node, until)
	}
	d.nudge()
}

func (d *dispatcher) nudge() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// heldLanes is how many lanes wait for a first worker.
func (d *dispatcher) heldLanes() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := 0
	for _, g := range d.held {
		n += g.lanes.Len()
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

// expireAcks hands the events that nobody answered in time to their clients,
// and returns how long to wait for the next one.
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
		n.Remove()
		d.mu.Unlock()
		n.Value.unanswered(now)
	}
}

// releaseAnswered lets go the lanes of groups that had an answer. It tells
// whether nothing is held any more.
func (d *dispatcher) releaseAnswered() (empty bool) {
	var free []*client
	d.mu.Lock()
	for name, g := range d.held {
		if g.release {
			free = append(free, g.take()...)
			delete(d.held, name)
		}
	}
	empty = len(d.held) == 0
	d.mu.Unlock()
	for _, c := range free {
		c.retry()
	}
	return empty
}

// take empties the group.
func (g *heldGroup) take() []*client {
	cs := make([]*client, 0, g.lanes.Len())
	for n := g.lanes.Front(); n != nil; n = g.lanes.Front() {
		n.Remove()
		cs = append(cs, n.Value)
	}
	return cs
}

// probeHeld gives up the lanes whose time is over, lets go the groups whose
// trial did not come back, and starts a trial for the others. It tells whether
// to come again.
func (d *dispatcher) probeHeld() (again bool) {
	var over, free []*client
	now := time.Now()
	d.mu.Lock()
	for name, g := range d.held {
		for n := g.lanes.Front(); n != nil; {
			next := g.lanes.Next(n)
			if !now.Before(n.Due()) {
				n.Remove()
				over = append(over, n.Value)
			}
			n = next
		}
		switch n := g.lanes.Front(); {
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
	for _, c := range over {
		c.holdOver()
	}
	for _, c := range free {
		c.retry()
	}
	return again
}
