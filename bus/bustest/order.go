package bustest

import (
	"fmt"
	"slices"
	"strconv"
	"sync"

	"github.com/gatebus/gatebus/bus"
)

var orderCases = []Case{
	{"order/one subject", orderOneSubject},
	{"order/subjects of one Subscribe", orderAcrossSubjects},
	{"order/several publishers", orderSeveralPublishers},
	{"order/one callback at a time", oneAtATime},
	{"order/blocked callback holds up no other", blockedCallback},
	{"subjects/wildcards", wildcards},
	{"subjects/overlap", overlap},
	{"subjects/own messages", ownMessages},
	{"subjects/refused", refused},
}

func orderOneSubject(f *fixture) {
	pub, sub := f.conn(), f.conn()
	r, r2 := newRecord(), newRecord()
	s := f.subscribe(sub, r.add, "order")
	s2 := f.subscribe(sub, r2.add, "order")
	f.publishN(pub, "order", 0, 3000)
	f.flush(pub)
	f.drain(s, s2)
	f.wantNumbers(r.all(), 0, 3000)
	f.wantNumbers(r2.all(), 0, 3000)
}

// orderAcrossSubjects is what makes a push that precedes a reply arrive first.
func orderAcrossSubjects(f *fixture) {
	pub, sub := f.conn(), f.conn()
	r := newRecord()
	s := f.subscribe(sub, r.add, "across.out.*.*", "across.push.>", "across.do")
	var want []string
	for i := range 3000 {
		subject := []string{"across.push.client.c1", "across.out.c1.7", "across.do", "across.push.all", "across.out.c2.1"}[i*i%5]
		want = append(want, subject)
		f.publish(pub, numbered(subject, i))
	}
	f.flush(pub)
	f.drain(s)
	f.wantNumbers(r.all(), 0, 3000)
	if !slices.Equal(subjects(r.all()), want) {
		f.Error("the subjects are not those that were published")
	}
}

func orderSeveralPublishers(f *fixture) {
	const publishers, each = 4, 500
	sub := f.conn()
	r := newRecord()
	s := f.subscribe(sub, r.add, "many.*")
	var wg sync.WaitGroup
	for p := range publishers {
		pub := f.conn()
		wg.Go(func() {
			for i := range each {
				if err := pub.Publish(numbered("many."+strconv.Itoa(p), i)); err != nil {
					f.Errorf("Publish: %v", err)
				}
			}
			if err := pub.Flush(f.Context()); err != nil {
				f.Errorf("Flush: %v", err)
			}
		})
	}
	wg.Wait()
	f.drain(s)
	of := map[string][]*bus.Msg{}
	for _, m := range r.all() {
		of[m.Subject] = append(of[m.Subject], m)
	}
	for p := range publishers {
		f.wantNumbers(of["many."+strconv.Itoa(p)], 0, each)
	}
}

func oneAtATime(f *fixture) {
	pub, sub := f.conn(), f.conn()
	calls := 0 // not guarded: the race detector would tell
	s := f.subscribe(sub, func(*bus.Msg) { calls++ }, "single.a", "single.b")
	for range 500 {
		f.publish(pub, &bus.Msg{Subject: "single.a"})
		f.publish(pub, &bus.Msg{Subject: "single.b"})
	}
	f.flush(pub)
	f.drain(s)
	if calls != 1000 {
		f.Errorf("%d calls, want 1000", calls)
	}
}

func blockedCallback(f *fixture) {
	pub, sub := f.conn(), f.conn()
	stuck, free := newRecord(), newRecord()
	g := f.newGate(stuck.add)
	f.subscribe(sub, g.pass, "block")
	f.subscribe(sub, free.add, "block", "free")
	f.publishN(pub, "block", 0, 100)
	f.wantNumbers(free.await(f, 100), 0, 100)
	wait(f, "the callback", g.entered)
	f.publishN(pub, "free", 100, 200)
	f.wantNumbers(free.await(f, 200), 0, 200)
	if n := stuck.len(); n != 0 {
		f.Errorf("%d messages passed a closed gate", n)
	}
	g.open()
	f.wantNumbers(stuck.await(f, 100), 0, 100)
}

func wildcards(f *fixture) {
	published := []string{"w", "w.a", "w.b", "w.a.c", "w.a.c.d", "x.a", "W.a"}
	pub, sub := f.conn(), f.conn()
	type pattern struct {
		pattern string
		want    []string
		got     *record
		sub     bus.Subscription
	}
	patterns := []*pattern{
		{pattern: "w", want: []string{"w"}},
		{pattern: "w.a", want: []string{"w.a"}},
		{pattern: "w.*", want: []string{"w.a", "w.b"}},
		{pattern: "*.a", want: []string{"w.a", "x.a", "W.a"}},
		{pattern: "w.*.c", want: []string{"w.a.c"}},
		{pattern: "*.*.*", want: []string{"w.a.c"}},
		{pattern: "w.>", want: []string{"w.a", "w.b", "w.a.c", "w.a.c.d"}},
		{pattern: "w.*.>", want: []string{"w.a.c", "w.a.c.d"}},
		{pattern: "w.a.c.d.>", want: []string{}},
		{pattern: "w.a*", want: []string{}}, // a star is a wildcard only as a whole token
		{pattern: ">", want: published},
	}
	for _, p := range patterns {
		p.got = newRecord()
		p.sub = f.subscribe(sub, p.got.add, p.pattern)
	}
	for _, s := range published {
		f.publish(pub, &bus.Msg{Subject: s})
	}
	f.flush(pub)
	for _, p := range patterns {
		f.drain(p.sub)
		if got := subjects(p.got.all()); !slices.Equal(got, p.want) {
			f.Errorf("%s got %q, want %q", p.pattern, got, p.want)
		}
	}
}

// overlap: each of the subjects that covers a message gets it.
func overlap(f *fixture) {
	pub, sub := f.conn(), f.conn()
	r := newRecord()
	s := f.subscribe(sub, r.add, "over.*", "over.a", "over.b")
	f.publish(pub, &bus.Msg{Subject: "over.a"})
	f.publish(pub, &bus.Msg{Subject: "over.c"})
	f.flush(pub)
	f.drain(s)
	if got, want := subjects(r.all()), []string{"over.a", "over.a", "over.c"}; !slices.Equal(got, want) {
		f.Errorf("got %q, want %q", got, want)
	}
}

func ownMessages(f *fixture) {
	c := f.conn()
	plain, queued := newRecord(), newRecord()
	s := f.subscribe(c, plain.add, "own")
	q := f.join(c, "own", "q", queued.add)
	f.publishN(c, "own", 0, 10)
	f.drain(s, q)
	f.wantNumbers(plain.all(), 0, 10)
	f.wantNumbers(queued.all(), 0, 10)
}

func refused(f *fixture) {
	c := f.conn()
	never := func(m *bus.Msg) { f.Errorf("got a message on %q", m.Subject) }
	for _, subject := range []string{"", "a b", " a", "a\t", "a\r\nPUB b 0", "\n"} {
		if err := c.Publish(&bus.Msg{Subject: subject}); err == nil {
			f.Errorf("Publish to %q is accepted", subject)
		}
		if _, err := c.Request(f.bounded(), &bus.Msg{Subject: subject}); err == nil {
			f.Errorf("Request to %q is accepted", subject)
		}
	}
	for _, subject := range []string{"", ".", "a.", ".a", "a..b", "a b", "a\r\nPUB b 0"} {
		if _, err := c.Subscribe(never, "fine", subject); err == nil {
			f.Errorf("Subscribe to %q is accepted", subject)
		}
		if _, err := c.QueueSubscribe(subject, "q", never); err == nil {
			f.Errorf("QueueSubscribe to %q is accepted", subject)
		}
	}
	for _, queue := range []string{"", "a b", "a\r\nPUB b 0"} {
		if _, err := c.QueueSubscribe("fine", queue, never); err == nil {
			f.Errorf("QueueSubscribe with queue %q is accepted", queue)
		}
	}
	// Nothing of the refused calls stands, and the connection still works.
	r := newRecord()
	f.subscribe(c, r.add, "refused.after")
	for i := range 3 {
		f.publish(c, &bus.Msg{Subject: "fine", Data: fmt.Append(nil, i)})
	}
	f.publish(c, &bus.Msg{Subject: "refused.after"})
	r.await(f, 1)
}
