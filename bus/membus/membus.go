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
	mu    sync.Mutex
	subs  []*subscription // in the order they were made
	inbox atomic.Uint64
}

// Connect makes a connection to the bus.
func (b *Bus) Connect() *Conn {
	stop, cancel := context.WithCancel(context.Background())
	return &Conn{bus: b, stop: stop, cancel: cancel}
}

// Conn is a connection to a Bus.
type Conn struct {
	bus    *Bus
	stop   context.Context
	cancel context.CancelFunc
	pumps  sync.WaitGroup
}

var _ bus.Conn = (*Conn)(nil)

type subscription struct {
	// set at construction
	conn    *Conn
	queue   string
	subject [][]string // tokens of each subject
	pump    *pump.Pump[*bus.Msg]

	dropped atomic.Uint64
}

// Publish implements bus.Conn.
func (c *Conn) Publish(m *bus.Msg) error {
	if c.stop.Err() != nil {
		return bus.ErrClosed
	}
	tokens, err := split(m.Subject, false)
	if err != nil {
		return err
	}
	b := c.bus
	b.mu.Lock()
	defer b.mu.Unlock()
	queues := map[string][]*subscription{}
	delivered := false
	for _, s := range b.subs {
		n := s.matches(tokens)
		if n == 0 {
			continue
		}
		delivered = true
		if s.queue != "" {
			queues[s.queue] = append(queues[s.queue], s)
			continue
		}
		for range n { // overlapping subjects of one call get a copy each
			s.put(m)
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
		if s.conn == c && s.queue == "" && s.matches(reply) > 0 {
			s.put(bus.NoResponders(m.Reply, m.Subject))
			return
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

func (s *subscription) matches(subject []string) (n int) {
	for _, p := range s.subject {
		if match(p, subject) {
			n++
		}
	}
	return n
}

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
	return c.subscribe(fn, "", subjects, buffer)
}

// QueueSubscribe implements bus.Conn.
func (c *Conn) QueueSubscribe(subject, queue string, fn func(*bus.Msg)) (bus.Subscription, error) {
	if queue == "" || strings.ContainsAny(queue, " \t\r\n") {
		return nil, fmt.Errorf("membus: invalid queue group %q", queue)
	}
	return c.subscribe(fn, queue, []string{subject}, buffer)
}

func (c *Conn) subscribe(fn func(*bus.Msg), queue string, subjects []string, buffer int) (bus.Subscription, error) {
	s := &subscription{
		conn: c, queue: queue,
		pump: pump.New[*bus.Msg](buffer),
	}
	for _, subject := range subjects {
		tokens, err := split(subject, true)
		if err != nil {
			return nil, err
		}
		s.subject = append(s.subject, tokens)
	}
	c.bus.mu.Lock()
	defer c.bus.mu.Unlock()
	if c.stop.Err() != nil {
		return nil, bus.ErrClosed
	}
	c.bus.subs = append(c.bus.subs, s)
	c.pumps.Go(func() { s.pump.Run(c.stop, fn) })
	return s, nil
}

// remove takes subscriptions off the bus; afterwards nothing more is put.
func (b *Bus) remove(gone func(*subscription) bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.subs = slices.DeleteFunc(b.subs, gone)
}

// Drain implements bus.Subscription.
func (s *subscription) Drain(ctx context.Context) error {
	s.conn.bus.remove(func(o *subscription) bool { return o == s })
	s.pump.Drain()
	select {
	case <-s.pump.Done():
		if !s.pump.Drained() {
			return bus.ErrClosed
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("membus: drain: %w", context.Cause(ctx))
	}
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
	}, "", []string{inbox}, cap(answers))
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
	c.bus.remove(func(s *subscription) bool { return s.conn == c })
	c.pumps.Wait()
}
