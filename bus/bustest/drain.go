package bustest

import (
	"context"
	"errors"
	"runtime"
	"sync/atomic"

	"github.com/gatebus/gatebus/bus"
)

var drainCases = []Case{
	{"drain/queue member leaves under load", drainUnderLoad},
	{"drain/what was sent is delivered", drainDelivers},
	{"drain/others stay", drainOthersStay},
	{"drain/one subject", drainOne},
	{"drain/context ends", drainContext},
	{"drain/connection closes", drainClose},
	{"dropped/full buffer", droppedCounts},
}

func drainUnderLoad(f *fixture) {
	const n = 10000
	counts := make(tally, n)
	pub, stayer, leaver := f.conn(), f.conn(), f.conn()
	var handled, late atomic.Int32
	var left atomic.Bool
	some := make(chan struct{})
	b := f.join(stayer, "leave", "q", counts.add)
	a := f.join(leaver, "leave", "q", func(m *bus.Msg) {
		if left.Load() {
			late.Add(1)
		}
		counts.add(m)
		if handled.Add(1) == 500 {
			close(some)
		}
	})
	published := make(chan error, 1)
	go func() {
		for i := range n {
			if err := pub.Publish(numbered("leave", i)); err != nil {
				published <- err
				return
			}
			if i%50 == 49 { // keeps the load up until after the drain
				if err := pub.Flush(context.Background()); err != nil {
					published <- err
					return
				}
				runtime.Gosched()
			}
		}
		published <- pub.Flush(context.Background())
	}()
	wait(f, "the first messages", some)
	f.drain(a)
	left.Store(true)
	if err := wait(f, "the publisher", published); err != nil {
		f.Fatalf("Publish: %v", err)
	}
	f.drain(b)
	counts.want(f, 1)
	if n := late.Load(); n > 0 {
		f.Errorf("%d messages after Drain had returned", n)
	}
	f.drain(a) // again is fine
}

// drainDelivers: what the server sent before the drain, and the connection
// still holds, is handled before Drain returns, on all subjects.
func drainDelivers(f *fixture) {
	pub, sub := f.conn(), f.conn()
	r := newRecord()
	g := f.newGate(r.add)
	s := f.subscribe(sub, g.pass, "deliver.a", "deliver.b")
	for i := range 1000 {
		f.publish(pub, numbered([]string{"deliver.a", "deliver.b"}[i%2], i))
	}
	f.flush(pub)
	wait(f, "the callback", g.entered)
	drained := make(chan error, 2)
	for range cap(drained) { // two that wait for the same
		go func() { drained <- s.Drain(context.Background()) }()
	}
	g.open()
	for range cap(drained) {
		if err := wait(f, "Drain", drained); err != nil {
			f.Errorf("Drain: %v", err)
		}
	}
	f.wantNumbers(r.all(), 0, 1000)
	f.publishN(pub, "deliver.a", 1000, 1100)
	f.flush(pub, sub)
	f.wantNumbers(r.all(), 0, 1000)
}

func drainOthersStay(f *fixture) {
	pub, sub := f.conn(), f.conn()
	gone, stays := newRecord(), newRecord()
	s := f.subscribe(sub, gone.add, "stay")
	f.subscribe(sub, stays.add, "stay")
	f.publishN(pub, "stay", 0, 10)
	f.flush(pub)
	f.drain(s)
	f.publishN(pub, "stay", 10, 20)
	f.wantNumbers(stays.await(f, 20), 0, 20)
	f.wantNumbers(gone.all(), 0, 10)
}

// drainOne: a member leaves its queue group and stays on its further subjects.
func drainOne(f *fixture) {
	pub, sub := f.conn(), f.conn()
	r := newRecord()
	g := f.newGate(r.add)
	s, err := sub.QueueSubscribe("one.shared", "q", g.pass, "one.a", "one.b")
	if err != nil {
		f.Fatalf("QueueSubscribe: %v", err)
	}
	f.flush(sub)
	for i := range 30 {
		f.publish(pub, numbered([]string{"one.shared", "one.a", "one.b"}[i%3], i))
	}
	f.flush(pub, sub)
	wait(f, "the callback", g.entered)
	drained := make(chan error, 1)
	go func() { drained <- s.Drain(context.Background(), "one.shared", "one.b") }()
	g.open()
	if err := wait(f, "Drain", drained); err != nil {
		f.Fatalf("Drain: %v", err)
	}
	f.wantNumbers(r.all(), 0, 30)
	for _, subject := range []string{"one.shared", "one.b"} {
		f.publish(pub, numbered(subject, 100))
	}
	f.publishN(pub, "one.a", 30, 40)
	f.wantNumbers(r.await(f, 40), 0, 40)
	f.drain(s)
	f.publish(pub, numbered("one.a", 100))
	f.flush(pub, sub)
	f.wantNumbers(r.all(), 0, 40)
}

// drainContext: a drain that nobody waits for any more goes on.
func drainContext(f *fixture) {
	pub, sub := f.conn(), f.conn()
	r := newRecord()
	g := f.newGate(r.add)
	s := f.subscribe(sub, g.pass, "impatient.a", "impatient.b", "impatient.c")
	for i := range 30 {
		f.publish(pub, numbered([]string{"impatient.a", "impatient.b", "impatient.c"}[i%3], i))
	}
	f.flush(pub)
	wait(f, "the callback", g.entered)
	canceled, stop := context.WithCancelCause(context.Background())
	cause := errors.New("enough")
	stop(cause)
	if err := s.Drain(canceled); !errors.Is(err, cause) {
		f.Errorf("Drain = %v, want the cause of its context", err)
	}
	g.open()
	f.drain(s)
	f.wantNumbers(r.all(), 0, 30)
	for _, subject := range []string{"impatient.a", "impatient.b", "impatient.c"} {
		if _, err := pub.Request(f.bounded(), &bus.Msg{Subject: subject}); !errors.Is(err, bus.ErrNoResponders) {
			f.Errorf("Request to %s = %v, want ErrNoResponders: it is drained", subject, err)
		}
	}
}

func drainClose(f *fixture) {
	pub, sub := f.conn(), f.conn()
	r := newRecord()
	g := f.newGate(r.add)
	s := f.subscribe(sub, g.pass, "cut")
	f.publishN(pub, "cut", 0, 1000)
	f.flush(pub)
	wait(f, "the callback", g.entered)
	drained, closed := make(chan error, 1), make(chan struct{})
	go func() { drained <- s.Drain(context.Background()) }()
	go func() { sub.Close(); close(closed) }()
	for end := f.bounded(); !errors.Is(sub.Publish(&bus.Msg{Subject: "x"}), bus.ErrClosed); {
		if end.Err() != nil {
			f.Fatal("the connection is not closed")
		}
		runtime.Gosched()
	}
	g.open()
	wait(f, "Close", closed)
	if err := wait(f, "Drain", drained); !errors.Is(err, bus.ErrClosed) {
		f.Errorf("Drain = %v, want ErrClosed: %d of 1000 were handled", err, r.len())
	}
}

func droppedCounts(f *fixture) {
	const tooMany = 500
	pub, sub := f.conn(), f.conn()
	r := newRecord()
	g := f.newGate(r.add)
	s := f.subscribe(sub, g.pass, "full.a", "full.b")
	if n := s.Dropped(); n != 0 {
		f.Errorf("Dropped = %d before anything was sent", n)
	}
	f.publish(pub, numbered("full.a", 0))
	wait(f, "the callback", g.entered) // from here on it holds one
	last := 1 + buffer
	f.publishN(pub, "full.a", 1, last)
	f.flush(pub, sub)
	if n := s.Dropped(); n != 0 {
		f.Errorf("Dropped = %d, but the buffer holds %d", n, buffer)
	}
	f.publishN(pub, "full.a", last, last+tooMany)
	f.publishN(pub, "full.b", last, last+tooMany)
	f.flush(pub, sub)
	if n := s.Dropped(); n != 2*tooMany {
		f.Errorf("Dropped = %d, want %d", n, 2*tooMany)
	}
	g.open()
	f.wantNumbers(r.await(f, last), 0, last)
	f.publish(pub, numbered("full.b", last)) // there is room again
	f.wantNumbers(r.await(f, last+1), 0, last+1)
	f.drain(s)
	if n := s.Dropped(); n != 2*tooMany {
		f.Errorf("Dropped = %d after Drain, want %d as before", n, 2*tooMany)
	}
}
