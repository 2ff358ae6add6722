package bustest

import (
	"strconv"
	"sync/atomic"

	"github.com/gatebus/gatebus/bus"
)

var queueCases = []Case{
	{"queue/one member gets each", queueOneEach},
	{"queue/each queue gets one", queueEachQueue},
	{"queue/plain beside queue", queuePlainBeside},
	{"queue/order in a group of one", queueOrder},
	{"queue/wildcard subject", queueWildcard},
}

// tally counts how often each number came.
type tally []atomic.Int32

func (n tally) add(m *bus.Msg) {
	if i, err := strconv.Atoi(string(m.Data)); err == nil && 0 <= i && i < len(n) {
		n[i].Add(1)
	}
}

// want checks that every number came so many times.
func (n tally) want(f *fixture, times int32) {
	f.Helper()
	wrong := 0
	for i := range n {
		if got := n[i].Load(); got != times {
			if wrong++; wrong <= 5 {
				f.Errorf("message %d was handled %d times, want %d", i, got, times)
			}
		}
	}
	if wrong > 5 {
		f.Errorf("… %d wrong counts in all", wrong)
	}
}

func queueOneEach(f *fixture) {
	const members, n = 4, 2000
	pub := f.conn()
	counts := make(tally, n)
	var share [members]atomic.Int32
	var subs []bus.Subscription
	for i := range members {
		subs = append(subs, f.join(f.conn(), "share", "workers", func(m *bus.Msg) {
			counts.add(m)
			share[i].Add(1)
		}))
	}
	f.publishN(pub, "share", 0, n)
	f.flush(pub)
	f.drain(subs...)
	counts.want(f, 1)
	for i := range share {
		// A fair share is 500; that one of 2000 random choices among four falls
		// on a member fewer than 100 times does not happen.
		if got := share[i].Load(); got < 100 {
			f.Errorf("member %d got %d of %d", i, got, n)
		}
	}
}

func queueEachQueue(f *fixture) {
	const n = 500
	pub := f.conn()
	var subs []bus.Subscription
	queues := map[string]tally{"a": make(tally, n), "b": make(tally, n)}
	for range 2 {
		for q, counts := range queues {
			subs = append(subs, f.join(f.conn(), "queues", q, counts.add))
		}
	}
	f.publishN(pub, "queues", 0, n)
	f.flush(pub)
	f.drain(subs...)
	for _, counts := range queues {
		counts.want(f, 1)
	}
}

func queuePlainBeside(f *fixture) {
	const n = 500
	pub, sub := f.conn(), f.conn()
	counts := make(tally, n)
	r := newRecord()
	plain := f.subscribe(sub, r.add, "beside.>")
	subs := []bus.Subscription{
		f.join(sub, "beside.x", "q", counts.add), // on the connection of the plain one
		f.join(f.conn(), "beside.x", "q", counts.add),
	}
	f.publishN(pub, "beside.x", 0, n)
	f.flush(pub)
	f.drain(plain)
	f.drain(subs...)
	f.wantNumbers(r.all(), 0, n)
	counts.want(f, 1)
}

func queueOrder(f *fixture) {
	pub, sub := f.conn(), f.conn()
	r := newRecord()
	s := f.join(sub, "qorder", "q", r.add)
	f.publishN(pub, "qorder", 0, 2000)
	f.flush(pub)
	f.drain(s)
	f.wantNumbers(r.all(), 0, 2000)
}

func queueWildcard(f *fixture) {
	const n = 400
	pub := f.conn()
	counts := make(tally, n)
	subs := []bus.Subscription{
		f.join(f.conn(), "qw.*.in.default.*", "default", counts.add),
		f.join(f.conn(), "qw.g1.in.default.*", "default", counts.add),
	}
	f.publishN(pub, "qw.g1.in.default.text", 0, n)
	f.flush(pub)
	f.drain(subs...)
	counts.want(f, 1)
}
