package gateway

import (
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// team are the workers of a group.
type team struct {
	links []*link
	run   atomic.Pointer[run] // nil: nobody was picked yet
}

// run is a worker that was picked, and gets the next few events too: a batch of
// some costs much less than some batches of one, and with many workers each would
// get small ones.
type run struct {
	link *link
	left atomic.Int32
}

// How many events in a row go to the worker that is picked for the first: [link.run].
const (
	// runLength is at least how many. A worker that has more already gets as many again,
	// up to maxRun. So for that a worker has at most a few more to do than another one,
	// or twice as much.
	runLength = 8
	maxRun    = 64
	// To one whose handlers are quick go as many as it does in quickRun, one after the
	// other, each taking quickEvent beside its handler: an event waits no longer than that
	// for having come to this worker and not to an idle one.
	quickRun   = 500 * time.Microsecond
	quickEvent = 2 * time.Microsecond // as measured by gatebus bench echo
	// quickShare is how many times as many as there are out altogether that may be: with
	// little to do there are no batches, and every worker gets its turn soon.
	quickShare = 4
)

// pick chooses who gets an event. inFlight is how many are out.
func (t *team) pick(inFlight func() int) *link {
	last := t.run.Load()
	if last != nil && last.left.Add(-1) >= 0 && !last.link.full() {
		return last.link
	}
	if len(t.links) == 1 {
		return t.links[0]
	}
	next := &run{link: t.next(last)}
	next.left.Store(int32(next.link.run(inFlight()) - 1))
	t.run.Store(next)
	return next.link
}

// next is the one with the least to do, of several not the one whose turn is over.
func (t *team) next(last *run) *link {
	// Among a few: looking at all of very many costs more than it brings.
	const few = 4
	start := rand.IntN(len(t.links))
	var best *link
	for i := range min(few, len(t.links)) {
		l := t.links[(start+i)%len(t.links)]
		if best == nil || l.load() < best.load() || last != nil && best == last.link && l.load() == best.load() {
			best = l
		}
	}
	return best
}

// run is how many events in a row go to the worker if inFlight are out.
func (l *link) run(inFlight int) int {
	n := min(max(int(l.out.Load()), runLength), maxRun)
	if took := time.Duration(l.took.Load()); took > 0 {
		n = max(n, min(quickShare*inFlight, int(quickRun/(quickEvent+took))))
	}
	return n
}
