package bus

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/nats-io/nats.go"

	"github.com/gatebus/gatebus/internal/pump"
)

// natsSubscription is one Subscribe call: one channel that nats.go's read loop
// fills in order of arrival, whatever the subject, and one goroutine, the
// pump, that empties it into the callback.
type natsSubscription struct {
	// set at construction
	conn  *NATS
	pump  *pump.Pump[*Msg]
	parts []*part

	mu sync.Mutex // guards what the parts have dropped
}

// part is one subject of a subscription.
type part struct {
	// set at construction
	subject string
	sub     *nats.Subscription
	left    chan struct{} // closed when the last message of it is delivered

	leaving bool   // guarded by conn.mu
	dropped uint64 // when last asked: nats.go forgets it; guarded by the subscription's mu
}

// Subscribe implements Conn.
func (c *NATS) Subscribe(fn func(*Msg), subjects ...string) (Subscription, error) {
	return c.subscribe(fn, "", "", subjects)
}

// QueueSubscribe implements Conn.
func (c *NATS) QueueSubscribe(subject, queue string, fn func(*Msg), further ...string) (Subscription, error) {
	if queue == "" { // NATS would make a plain subscription of it
		return nil, fmt.Errorf("bus: subscribe to %s: a queue group needs a name", subject)
	}
	return c.subscribe(fn, subject, queue, further)
}

// subscribe subscribes to shared as a member of queue, if that is not empty, and
// to the subjects.
func (c *NATS) subscribe(fn func(*Msg), shared, queue string, subjects []string) (Subscription, error) {
	s := &natsSubscription{conn: c, pump: pump.New[*Msg](subscriptionBuffer)}
	for _, subject := range subjects {
		if emulated != nil && !emulated.Subscribed(subject) {
			continue
		}
		sub, err := c.nc.ChanSubscribe(subject, s.pump.C)
		if err := s.add(subject, sub, err); err != nil {
			return nil, err
		}
	}
	// The group last: who is in it is subscribed to the rest.
	if queue != "" {
		sub, err := c.nc.ChanQueueSubscribe(shared, queue, s.pump.C)
		if err := s.add(shared, sub, err); err != nil {
			return nil, err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stop.Err() != nil {
		return nil, ErrClosed
	}
	c.running.Go(func() { s.pump.Run(c.stop, fn) })
	return s, nil
}

// add takes in another part, or takes back all, if it could not be had.
func (s *natsSubscription) add(subject string, sub *nats.Subscription, err error) error {
	if err != nil {
		for _, p := range s.parts {
			_ = p.sub.Unsubscribe() // the connection is closed anyway, or the call is refused
		}
		return s.conn.wrap("subscribe to "+subject, err)
	}
	s.parts = append(s.parts, &part{subject: subject, sub: sub, left: make(chan struct{})})
	return nil
}

// Drain implements Subscription.
func (s *natsSubscription) Drain(ctx context.Context, subjects ...string) error {
	parts := s.parts
	if len(subjects) > 0 {
		parts = slices.DeleteFunc(slices.Clone(parts), func(p *part) bool { return !slices.Contains(subjects, p.subject) })
	}
	last, err := s.leave(parts)
	if err != nil {
		return err
	}
	wait := make([]<-chan struct{}, 0, len(parts)+1)
	for _, p := range parts {
		wait = append(wait, p.left)
	}
	if last {
		wait = append(wait, s.pump.Done())
	}
	for _, ch := range wait {
		select {
		case <-ch:
		case <-s.pump.Done():
			if !s.pump.Drained() {
				return ErrClosed
			}
		case <-ctx.Done():
			return fmt.Errorf("bus: drain: %w", context.Cause(ctx))
		}
	}
	if last && !s.pump.Drained() {
		return ErrClosed
	}
	return nil
}

// leave starts to leave the parts that are still there. It goes on whether or
// not somebody waits. It tells whether no part is left to stay.
func (s *natsSubscription) leave(parts []*part) (last bool, err error) {
	c := s.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	all := func() bool { return !slices.ContainsFunc(s.parts, func(p *part) bool { return !p.leaving }) }
	if all() {
		return true, nil
	}
	if c.stop.Err() != nil {
		return false, ErrClosed
	}
	s.Dropped() // for the last time
	for _, p := range parts {
		if p.leaving {
			continue
		}
		p.leaving = true
		closed := p.sub.StatusChanged(nats.SubscriptionClosed)
		if drain(c.nc, p.sub) != nil {
			closed = nil // it was off already
		}
		c.running.Go(func() { s.part(p, closed) })
	}
	if last = all(); last {
		c.running.Go(s.end)
	}
	return last, nil
}

// part sees one part to its end; closed is when nats.go will put nothing more
// of it into the pump, nil for now.
func (s *natsSubscription) part(p *part, closed <-chan nats.SubStatus) {
	stop := s.conn.stop
	if closed != nil {
		select {
		case <-closed:
		case <-stop.Done():
			return
		}
	}
	select {
	case <-s.pump.Mark(stop, &Msg{}):
		close(p.left)
	case <-stop.Done():
	}
}

// end ends the pump when all parts have left.
func (s *natsSubscription) end() {
	for _, p := range s.parts {
		select {
		case <-p.left:
		case <-s.conn.stop.Done():
			return
		}
	}
	s.pump.Drain()
}

// drain takes a subscription off when all that the server has sent for it is in
// the pump: nats.go unsubscribes, makes a round trip, and only then forgets it.
// An error says that it was off already.
//
// While the connection is down nothing more can come, and a drain would be worse
// than useless: nats.go subscribes anew at the reconnect and then forgets the
// subscription without telling the server, which goes on giving it its share
// of the queue group.
func drain(nc *nats.Conn, sub *nats.Subscription) error {
	if !nc.IsConnected() {
		return sub.Unsubscribe()
	}
	return sub.Drain()
}

// Dropped implements Subscription.
func (s *natsSubscription) Dropped() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	var n uint64
	for _, p := range s.parts {
		if d, err := p.sub.Dropped(); err == nil {
			p.dropped = uint64(d)
		}
		n += p.dropped
	}
	return n
}
