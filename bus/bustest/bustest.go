// Package bustest checks that an implementation of bus.Conn keeps what package
// bus promises. One suite, [Cases], for every implementation: in memory, NATS
// over TCP, NATS in process.
//
// The cases wait for events only, for half a minute at most, and never sleep;
// so they also run inside a testing/synctest bubble, if the bus does.
package bustest

import (
	"context"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/gatebus/gatebus/bus"
)

// patience bounds every wait: far more than any of them takes, so that a slow
// machine fails no test, and little enough to find out which one hangs.
const patience = 30 * time.Second

// buffer is how many messages a subscription holds beside the one that its
// callback works on.
const buffer = 1 << 16

// Case is one guarantee.
type Case struct {
	Name string
	run  func(*fixture)
}

// Run checks the guarantee on a fresh bus, to which connect opens another
// connection. The case closes what it opens.
func (c Case) Run(t *testing.T, connect func() bus.Conn) {
	t.Helper()
	c.run(&fixture{T: t, connect: connect})
}

// Run checks every case as a subtest. start is called once for each: it makes a
// fresh bus, which it takes down with t.Cleanup, and returns what connects to it.
func Run(t *testing.T, start func(t *testing.T) (connect func() bus.Conn)) {
	for _, c := range Cases() {
		t.Run(c.Name, func(t *testing.T) { c.Run(t, start(t)) })
	}
}

// Cases is the suite.
func Cases() []Case {
	return slices.Concat(orderCases, queueCases, responderCases, requestCases, drainCases, closeCases, messageCases, useCases)
}

// fixture is what a case works with. Its methods end the test when something
// fails, so they are called on the goroutine of the test.
type fixture struct {
	*testing.T
	connect func() bus.Conn
}

// conn opens a connection that is closed at the end of the test.
func (f *fixture) conn() bus.Conn {
	c := f.connect()
	f.Cleanup(c.Close)
	return c
}

// bounded is a context that ends when patience does.
func (f *fixture) bounded() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	f.Cleanup(cancel)
	return ctx
}

func (f *fixture) flush(conns ...bus.Conn) {
	f.Helper()
	for _, c := range conns {
		if err := c.Flush(f.bounded()); err != nil {
			f.Fatalf("Flush: %v", err)
		}
	}
}

// subscribe returns when the subscription stands.
func (f *fixture) subscribe(c bus.Conn, fn func(*bus.Msg), subjects ...string) bus.Subscription {
	f.Helper()
	s, err := c.Subscribe(fn, subjects...)
	if err != nil {
		f.Fatalf("Subscribe(%q): %v", subjects, err)
	}
	f.flush(c)
	return s
}

// join returns when the subscription of the queue group stands.
func (f *fixture) join(c bus.Conn, subject, queue string, fn func(*bus.Msg)) bus.Subscription {
	f.Helper()
	s, err := c.QueueSubscribe(subject, queue, fn)
	if err != nil {
		f.Fatalf("QueueSubscribe(%q, %q): %v", subject, queue, err)
	}
	f.flush(c)
	return s
}

func (f *fixture) publish(c bus.Conn, m *bus.Msg) {
	f.Helper()
	if err := c.Publish(m); err != nil {
		f.Fatalf("Publish to %s: %v", m.Subject, err)
	}
}

// publishN publishes the numbers from first up to but not including last.
func (f *fixture) publishN(c bus.Conn, subject string, first, last int) {
	f.Helper()
	for i := first; i < last; i++ {
		f.publish(c, numbered(subject, i))
		if i%1000 == 999 { // what waits for one connection is limited on a server
			f.flush(c)
		}
	}
}

// drain returns when all that was sent to the subscription so far is handled.
func (f *fixture) drain(subs ...bus.Subscription) {
	f.Helper()
	for _, s := range subs {
		if err := s.Drain(f.bounded()); err != nil {
			f.Fatalf("Drain: %v", err)
		}
	}
}

// wait returns when ch is closed or gives something.
func wait[T any](f *fixture, what string, ch <-chan T) T {
	f.Helper()
	select {
	case v := <-ch:
		return v
	case <-f.bounded().Done():
		f.Fatalf("waited %v for %s", patience, what)
		panic("not reached")
	}
}

func numbered(subject string, i int) *bus.Msg {
	return &bus.Msg{Subject: subject, Data: strconv.AppendInt(nil, int64(i), 10)}
}

// record keeps the messages that its callback was called with, in order.
type record struct {
	changed chan struct{} // has room for one

	mu   sync.Mutex
	msgs []*bus.Msg
}

func newRecord() *record { return &record{changed: make(chan struct{}, 1)} }

// add is the callback.
func (r *record) add(m *bus.Msg) {
	r.mu.Lock()
	r.msgs = append(r.msgs, m)
	r.mu.Unlock()
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

func (r *record) all() []*bus.Msg {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.msgs)
}

func (r *record) len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.msgs)
}

// await returns when there are n messages or more. One goroutine at a time may
// await.
func (r *record) await(f *fixture, n int) []*bus.Msg {
	f.Helper()
	end := f.bounded().Done()
	for {
		if msgs := r.all(); len(msgs) >= n {
			return msgs
		}
		select {
		case <-r.changed:
		case <-end:
			f.Fatalf("got %d messages in %v, want %d", r.len(), patience, n)
		}
	}
}

func subjects(msgs []*bus.Msg) []string {
	s := make([]string, len(msgs))
	for i, m := range msgs {
		s[i] = m.Subject
	}
	return s
}

// wantNumbers checks that the messages are the numbers from first up to but not
// including last, in order.
func (f *fixture) wantNumbers(msgs []*bus.Msg, first, last int) {
	f.Helper()
	if len(msgs) != last-first {
		f.Errorf("got %d messages, want %d", len(msgs), last-first)
	}
	for i, m := range msgs {
		if want := strconv.Itoa(first + i); string(m.Data) != want {
			f.Fatalf("message %d is %q, want %q", i, m.Data, want)
		}
	}
}

// gate is a callback that holds on to its first message until it is opened.
type gate struct {
	next    func(*bus.Msg)
	entered chan struct{} // closed when the first message is held
	opened  chan struct{}
	open    func()
	once    sync.Once
}

// newGate makes a gate that is opened at the end of the test, before the
// connections that were made earlier are closed.
func (f *fixture) newGate(next func(*bus.Msg)) *gate {
	g := &gate{next: next, entered: make(chan struct{}), opened: make(chan struct{})}
	g.open = sync.OnceFunc(func() { close(g.opened) })
	f.Cleanup(g.open)
	return g
}

func (g *gate) pass(m *bus.Msg) {
	g.once.Do(func() { close(g.entered) })
	<-g.opened
	g.next(m)
}
