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
	link  *link
	until time.Time // when the turn is over, but for runLength events
	left  atomic.Int32
}

// How many events in a row go to the worker that is picked for the first: [team.length].
const (
	// runLength is at least how many, if they are small. A worker that has more already
	// gets as many again, up to maxRun. So for that a worker has at most a few more to do
	// than another one, or twice as much.
	runLength = 8
	maxRun    = 64
	// To one whose handlers are quick go as many as it does in quickRun, one after the
	// other, each taking quickEvent beside its handler: while it does so, an event waits no
	// longer than that for having come to this worker and not to an idle one.
	quickRun   = 500 * time.Microsecond
	quickEvent = 2 * time.Microsecond // as measured by gatebus bench echo
	// quickShare is how many times as many as are with all workers that may be: with
	// little to do there are no batches, and every worker gets its turn soon.
	quickShare = 4
	// runTime is how long a turn lasts, if there are few events or the worker stands still.
	runTime = 5 * time.Millisecond
	// runUnit is the payload that counts as one event more, in bytes: a few large events
	// fill a batch.
	runUnit = 1 << 10
)

// pick chooses who gets an event of so many bytes.
func (t *team) pick(bytes int) *link {
	last := t.run.Load()
	if last != nil && last.goesOn(bytes) {
		return last.link
	}
	if len(t.links) == 1 {
		return t.links[0]
	}
	next := &run{link: t.next(last), until: time.Now().Add(runTime)}
	next.left.Store(t.length(next.link))
	next.left.Add(-units(bytes))
	t.run.Store(next)
	return next.link
}

func units(bytes int) int32 { return int32(1 + bytes/runUnit) }

// goesOn tells whether the worker gets an event of so many bytes too.
func (r *run) goesOn(bytes int) bool {
	n := units(bytes)
	left := r.left.Add(-n)
	if left < 0 || r.link.full() {
		return false
	}
	// The clock costs a tenth of what an event does: it is looked at now and then.
	return left/runLength == (left+n)/runLength || time.Now().Before(r.until)
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

// length is how many events in a row go to a worker.
func (t *team) length(l *link) int32 {
	n := min(max(l.out.Load(), runLength), maxRun)
	if took := time.Duration(l.took.Load()); took > 0 {
		n = max(n, min(quickShare*t.inFlight(), int64(quickRun/(quickEvent+took))))
	}
	return int32(n)
}

// inFlight is how many events are with the workers of the team; of very many workers, as
// far as some tell.
func (t *team) inFlight() (n int64) {
	const some = 64
	looked := min(some, len(t.links))
	start := rand.IntN(len(t.links))
	for i := range looked {
		n += t.links[(start+i)%len(t.links)].out.Load()
	}
	return n * int64(len(t.links)) / int64(looked)
}
