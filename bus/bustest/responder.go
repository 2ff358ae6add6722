package bustest

import (
	"fmt"

	"github.com/gatebus/gatebus/bus"
)

var responderCases = []Case{
	{"no responders/comes back", comesBack},
	{"no responders/queue subscription on the reply", notToQueue},
	{"no responders/somebody else's subscription on the reply", notToOthers},
	{"no responders/queue member is a responder", notWithMember},
	{"no responders/plain subscriber is a responder", notWithPlain},
	{"no responders/without reply subject", notWithoutReply},
	{"no responders/after drain", againAfterDrain},
	{"no responders/after close", againAfterClose},
}

func ignore(*bus.Msg) {}

func comesBack(f *fixture) {
	for _, pattern := range []string{"back.g1.out.*.*", "back.g1.out.c1.7", "back.>"} {
		c := f.conn()
		r := newRecord()
		s := f.subscribe(c, r.add, pattern)
		f.publish(c, &bus.Msg{Subject: "nobody.in", Reply: "back.g1.out.c1.7", Data: []byte("a frame")})
		f.flush(c)
		f.drain(s)
		if got := r.all(); len(got) != 1 {
			f.Errorf("%s: %d messages came back, want 1", pattern, len(got))
		} else if m := got[0]; m.Subject != "back.g1.out.c1.7" || !bus.IsNoResponders(m) || len(m.Data) != 0 {
			f.Errorf("%s: got %q on %q, no responders: %v", pattern, m.Data, m.Subject, bus.IsNoResponders(m))
		}
	}
	// Each one comes back, in order, among those of one subscription.
	c := f.conn()
	r := newRecord()
	s := f.subscribe(c, r.add, "back.g1.out.*.*", "other")
	var want []string
	for i := range 500 {
		reply := fmt.Sprintf("back.g1.out.c%d.%d", i%7, i)
		want = append(want, reply)
		f.publish(c, &bus.Msg{Subject: "nobody.in", Reply: reply, Data: []byte("a frame")})
	}
	f.flush(c)
	f.drain(s)
	got := subjects(r.all())
	if len(got) != len(want) {
		f.Fatalf("%d came back, want %d", len(got), len(want))
	}
	for i := range got {
		if got[i] != want[i] {
			f.Fatalf("number %d came back as %q, want %q", i, got[i], want[i])
		}
	}
}

// silent publishes on subject and checks that nothing comes back.
func (f *fixture) silent(c bus.Conn, s bus.Subscription, r *record, subject, reply string) {
	f.Helper()
	f.publish(c, &bus.Msg{Subject: subject, Reply: reply, Data: []byte("a frame")})
	f.flush(c)
	f.drain(s)
	if n := r.len(); n != 0 {
		f.Errorf("%d messages came back, want none", n)
	}
}

func notToQueue(f *fixture) {
	c := f.conn()
	r := newRecord()
	s := f.join(c, "back.*", "q", r.add)
	f.silent(c, s, r, "nobody", "back.1")
}

func notToOthers(f *fixture) {
	c, other := f.conn(), f.conn()
	r := newRecord()
	s := f.subscribe(other, r.add, "back.*")
	f.silent(c, s, r, "nobody", "back.1")
}

func notWithMember(f *fixture) {
	c := f.conn()
	r := newRecord()
	f.join(f.conn(), "some.*", "q", ignore)
	s := f.subscribe(c, r.add, "back.*")
	f.silent(c, s, r, "some.body", "back.1")
}

func notWithPlain(f *fixture) {
	c := f.conn()
	r := newRecord()
	f.subscribe(f.conn(), ignore, "some.>")
	s := f.subscribe(c, r.add, "back.*")
	f.silent(c, s, r, "some.body", "back.1")
}

func notWithoutReply(f *fixture) {
	c := f.conn()
	r := newRecord()
	s := f.subscribe(c, r.add, "back.*")
	f.silent(c, s, r, "nobody", "")
}

func againAfterDrain(f *fixture) {
	c := f.conn()
	r := newRecord()
	f.subscribe(c, r.add, "back.*")
	ask := &bus.Msg{Subject: "coming.going", Reply: "back.1"}
	for round := range 5 {
		f.publish(c, ask)
		r.await(f, round+1)
		handled := newRecord()
		a := f.join(f.conn(), "coming.going", "q", handled.add)
		b := f.join(f.conn(), "coming.*", "q", handled.add)
		f.publish(c, ask)
		handled.await(f, 1)
		f.drain(a)
		f.publish(c, ask) // the other is still there
		handled.await(f, 2)
		f.drain(b)
	}
	f.publish(c, ask)
	for _, m := range r.await(f, 6) {
		if !bus.IsNoResponders(m) {
			f.Errorf("got a message that is not no responders: %q", m.Data)
		}
	}
	if n := r.len(); n != 6 {
		f.Errorf("%d came back, want 6", n)
	}
}

func againAfterClose(f *fixture) {
	c, worker := f.conn(), f.conn()
	r := newRecord()
	f.subscribe(c, r.add, "back.*")
	f.join(worker, "coming.going", "q", ignore)
	f.publish(c, &bus.Msg{Subject: "coming.going", Reply: "back.1"})
	f.flush(c)
	worker.Close()
	// A server may take a moment to notice.
	for end := f.bounded(); r.len() == 0; {
		if end.Err() != nil {
			f.Fatalf("no message came back in %v", patience)
		}
		f.publish(c, &bus.Msg{Subject: "coming.going", Reply: "back.2"})
		f.flush(c)
	}
	if m := r.await(f, 1)[0]; !bus.IsNoResponders(m) || m.Subject != "back.2" {
		f.Errorf("got %q on %q", m.Data, m.Subject)
	}
}
