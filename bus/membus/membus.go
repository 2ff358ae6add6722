// Package membus is a bus in memory, with the semantics that package bus
// states and package bustest checks: wildcards, queue groups, no responders,
// order, bounded buffers, drain. It starts no timer and does no I/O, so it
// works inside a testing/synctest bubble, where a NATS server does not.
package membus

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/internal/pump"
)

// buffer is how many messages a subscription holds, as package bus has it.
const buffer = 1 << 16

// Bus is a server in memory. The zero Bus is ready for use.
type Bus struct {
	mu       sync.Mutex
	subs     []*subscription // in the order they were made
	conns    map[bus.ConnID]*Conn
	last     bus.ConnID
	watchers map[*watcher]struct{}

	inbox atomic.Uint64
}

// Connect makes a connection to the bus.
func (b *Bus) Connect() *Conn {
	stop, cancel := context.WithCancel(context.Background())
	c := &Conn{bus: b, stop: stop, cancel: cancel}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.last++
	c.id = b.last
	if b.conns == nil {
		b.conns = map[bus.ConnID]*Conn{}
	}
	b.conns[c.id] = c
	b.tellLocked(c.id, true)
	return c
}

// Conn is a connection to a Bus.
type Conn struct {
	bus    *Bus
	id     bus.ConnID
	stop   context.Context
	cancel context.CancelFunc
	pumps  sync.WaitGroup
	cut    bool // guarded by bus.mu; see Disconnect
}

var _ bus.Conn = (*Conn)(nil)

type subscription struct {
	// set at construction
	conn  *Conn
	parts []*part
	pump  *pump.Pump[*bus.Msg]

	dropped atomic.Uint64
}

// part is one subject of a subscription.
type part struct {
	subject string
	tokens  []string
	queue   string        // "": none
	left    chan struct{} // closed when the last message of it is delivered
	leaving bool          // guarded by bus.mu
}

// Publish implements bus.Conn.
func (c *Conn) Publish(m *bus.Msg) error {
	tokens, err := split(m.Subject, false)
	b := c.bus
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case c.stop.Err() != nil: // first: closed is cut as well
		return bus.ErrClosed
	case err != nil:
		return err
	case c.cut:
		return fmt.Errorf("membus: publish to %s: not connected", m.Subject)
	}
	queues := map[string][]*subscription{}
	delivered := false
	for _, s := range b.subs {
		for _, p := range s.parts { // overlapping subjects of one call get a copy each
			switch {
			case !p.covers(tokens):
				continue
			case p.queue != "":
				queues[p.queue] = append(queues[p.queue], s)
			default:
				s.put(m)
			}
			delivered = true
		}
	}
	for _, group := range queues {
		group[rand.IntN(len(group))].put(m)
	}
	if !delivered && m.Reply != "" {
		c.noResponders(m)
	}
	return nil
}

// noResponders answers the publisher, if it listens where the reply would go.
func (c *Conn) noResponders(m *bus.Msg) {
	reply, err := split(m.Reply, false)
	if err != nil {
		return
	}
	for _, s := range c.bus.subs {
		for _, p := range s.parts {
			if s.conn == c && p.queue == "" && p.covers(reply) {
				s.put(bus.NoResponders(m.Reply, m.Subject))
				return
			}
		}
	}
}

// put hands a copy of the message to the subscription, or counts the drop.
func (s *subscription) put(m *bus.Msg) {
	cp := &bus.Msg{
		Subject: m.Subject, Reply: m.Reply,
		Header: maps.Clone(m.Header), Data: slices.Clone(m.Data),
	}
	for k, v := range cp.Header {
		cp.Header[k] = slices.Clone(v)
	}
	select {
	case s.pump.C <- cp:
	default:
		s.dropped.Add(1)
	}
}

// covers tells whether messages on the subject go to the part. The bus is
// locked.
func (p *part) covers(subject []string) bool { return !p.leaving && match(p.tokens, subject) }

// match tells whether a subject is covered by a pattern.
func match(pattern, subject []string) bool {
	for i, p := range pattern {
		switch {
		case p == ">":
			return len(subject) > i
		case i >= len(subject):
			return false
		case p != "*" && p != subject[i]:
			return false
		}
	}
	return len(pattern) == len(subject)
}

// split takes a subject apart, or refuses it as a NATS server would.
func split(subject string, pattern bool) ([]string, error) {
	tokens := strings.Split(subject, ".")
	for i, t := range tokens {
		wild := t == "*" || t == ">"
		if t == "" || strings.ContainsAny(t, " \t\r\n") || wild && !pattern || t == ">" && i < len(tokens)-1 {
			return nil, fmt.Errorf("membus: invalid subject %q", subject)
		}
	}
	return tokens, nil
}

// Subscribe implements bus.Conn.
func (c *Conn) Subscribe(fn func(*bus.Msg), subjects ...string) (bus.Subscription, error) {
	return c.subscribe(fn, "", "", subjects, buffer)
}

// QueueSubscribe implements bus.Conn.
func (c *Conn) QueueSubscribe(subject, queue string, fn func(*bus.Msg), further ...string) (bus.Subscription, error) {
	if queue == "" || strings.ContainsAny(queue, " \t\r\n") {
		return nil, fmt.Errorf("membus: invalid queue group %q", queue)
	}
	return c.subscribe(fn, subject, queue, further, buffer)
}

// subscribe subscribes to shared as a member of queue, if that is not empty, and
// to the subjects.
func (c *Conn) subscribe(fn func(*bus.Msg), shared, queue string, subjects []string, buffer int) (bus.Subscription, error) {
	s := &subscription{conn: c, pump: pump.New[*bus.Msg](buffer)}
	if queue != "" {
		if err := s.add(shared, queue); err != nil {
			return nil, err
		}
	}
	for _, subject := range subjects {
		if err := s.add(subject, ""); err != nil {
			return nil, err
		}
	}
	c.bus.mu.Lock()
	defer c.bus.mu.Unlock()
	if c.stop.Err() != nil {
		return nil, bus.ErrClosed
	}
	if !c.cut {
		c.bus.subs = append(c.bus.subs, s)
	}
	c.pumps.Go(func() { s.pump.Run(c.stop, fn) })
	return s, nil
}

func (s *subscription) add(subject, queue string) error {
	tokens, err := split(subject, true)
	if err != nil {
		return err
	}
	s.parts = append(s.parts, &part{subject: subject, tokens: tokens, queue: queue, left: make(chan struct{})})
	return nil
}

// remove takes subscriptions off the bus; afterwards nothing more is put.
func (b *Bus) remove(gone func(*subscription) bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.subs = slices.DeleteFunc(b.subs, gone)
}

// Drain implements bus.Subscription.
func (s *subscription) Drain(ctx context.Context, subjects ...string) error {
	wait, last, err := s.leave(subjects)
	if err != nil {
		return err
	}
	for _, ch := range wait {
		select {
		case <-ch:
		case <-s.pump.Done():
			if !s.pump.Drained() {
				return bus.ErrClosed
			}
		case <-ctx.Done():
			return fmt.Errorf("membus: drain: %w", context.Cause(ctx))
		}
	}
	if last && !s.pump.Drained() {
		return bus.ErrClosed
	}
	return nil
}

// leave starts to leave the subjects, or all without any. It returns what to
// wait for, and whether nothing is left to stay.
func (s *subscription) leave(subjects []string) (wait []<-chan struct{}, last bool, err error) {
	b := s.conn.bus
	b.mu.Lock()
	defer b.mu.Unlock()
	last = true
	fresh := false
	for _, p := range s.parts {
		if len(subjects) > 0 && !slices.Contains(subjects, p.subject) {
			last = last && p.leaving
			continue
		}
		wait = append(wait, p.left)
		if p.leaving {
			continue
		}
		if s.conn.stop.Err() != nil {
			return nil, false, bus.ErrClosed
		}
		fresh, p.leaving = true, true
		s.conn.pumps.Go(func() {
			select {
			case <-s.pump.Mark(s.conn.stop, &bus.Msg{}):
				close(p.left)
			case <-s.conn.stop.Done():
			}
		})
	}
	if last {
		wait = append(wait, s.pump.Done())
		b.subs = slices.DeleteFunc(b.subs, func(o *subscription) bool { return o == s })
	}
	if last && fresh {
		s.conn.pumps.Go(s.end)
	}
	return wait, last, nil
}

// end ends the pump when all parts have left.
func (s *subscription) end() {
	for _, p := range s.parts {
		select {
		case <-p.left:
		case <-s.conn.stop.Done():
			return
		}
	}
	s.pump.Drain()
}

// Dropped implements bus.Subscription.
func (s *subscription) Dropped() uint64 { return s.dropped.Load() }

// Request implements bus.Conn.
func (c *Conn) Request(ctx context.Context, m *bus.Msg) (*bus.Msg, error) {
	answers := make(chan *bus.Msg, 1)
	inbox := "_INBOX." + strconv.FormatUint(c.bus.inbox.Add(1), 10)
	sub, err := c.subscribe(func(m *bus.Msg) {
		select {
		case answers <- m:
		default: // a second answer
		}
	}, "", "", []string{inbox}, cap(answers))
	if err != nil {
		return nil, err
	}
	defer func() { _ = sub.Drain(context.WithoutCancel(ctx)) }() // ends: the callback never blocks
	req := *m
	req.Reply = inbox
	if err := c.Publish(&req); err != nil {
		return nil, err
	}
	select {
	case a := <-answers:
		if bus.IsNoResponders(a) {
			return nil, bus.ErrNoResponders
		}
		return a, nil
	case <-c.stop.Done():
		return nil, bus.ErrClosed
	case <-ctx.Done():
		return nil, fmt.Errorf("membus: request to %s: %w", m.Subject, context.Cause(ctx))
	}
}

// Flush implements bus.Conn: here everything is handled at once.
func (c *Conn) Flush(context.Context) error {
	if c.stop.Err() != nil {
		return bus.ErrClosed
	}
	return nil
}

// Close implements bus.Conn.
func (c *Conn) Close() {
	c.bus.mu.Lock()
	c.cancel()
	c.bus.mu.Unlock()
	c.bus.disconnect(c)
	c.pumps.Wait()
}

// ID implements bus.Conn.
func (c *Conn) ID() bus.ConnID { return c.id }
