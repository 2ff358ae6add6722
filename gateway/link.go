package gateway

import (
	"sync/atomic"
	"time"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/internal/batch"
)

// link is one connection of a worker that takes batches.
type link struct {
	// set at construction
	gw      *Gateway
	id      bus.ConnID
	at      bus.WorkerAddress
	batches *batch.Batcher

	out   atomic.Int64 // events that are with it
	limit atomic.Int64 // how many it takes, as far as is known; 0: any number
	since atomic.Int64 // when limit was set, since the gateway's start
	took  atomic.Int64 // how long its handler is at an event, of late; 0: it has not said
}

func newLink(gw *Gateway, id bus.ConnID, at bus.WorkerAddress) *link {
	l := &link{gw: gw, id: id, at: at}
	l.batches = batch.New(l.send, gw.senders.Go, &gw.cork)
	return l
}

// add puts an event into the next batch for the worker, and returns the number
// of that.
func (l *link) add(e *event, follow bool) (number uint64) {
	b := bus.BatchEvent{
		Kind: e.kind, Client: e.client.number, Seq: e.seq, Delivery: e.delivery,
		Queue: e.bond && !follow, Follow: e.bond && follow, Data: e.data,
	}
	if g := e.client.given; g != nil {
		b.UID, b.Session, b.State = g.uid, g.session, g.state
	}
	data := l.batches.Begin()
	if len(data) == 0 {
		data = bus.BeginBatch(data, l.gw.epoch)
	}
	if e.trace != nil {
		return l.batches.EndNoted(b.Append(data), e.trace.note)
	}
	return l.batches.End(b.Append(data))
}

// send publishes a batch.
func (l *link) send(b batch.Batch) {
	m := &bus.Msg{
		Subject: bus.BatchSubject(l.gw.name, l.at),
		Reply:   bus.BatchReplySubject(l.gw.name, l.id, b.Number),
		Data:    b.Data,
	}
	if b.Notes != nil {
		bus.BatchTraces(b.Notes.Texts).Mark(m)
	}
	if err := l.gw.conn.Publish(m); err != nil {
		// Its events are overdue in time.
		l.gw.warn.Do(func() {
			l.gw.log.Warn("cannot publish to the bus", "worker", string(l.at), "events", b.Parts, "err", err)
		})
	}
}

// load says how much the worker has to do; much more if it would hand back what
// it is given.
func (l *link) load() int64 {
	n := l.out.Load()
	if l.full() {
		n += 1 << 32
	}
	return n
}

// full tells whether the worker would hand back what it is given, as far as is
// known.
func (l *link) full() bool {
	limit := l.limit.Load()
	return limit > 0 && l.out.Load() >= limit
}

// limitInterval is how long a worker that has handed something back is left at
// what it took then, before it is given one more.
const limitInterval = 200 * time.Millisecond

// isBusy notes that the worker has handed an event back, which still counts as
// being with it: it takes one less.
func (l *link) isBusy() {
	n := max(l.out.Load()-1, 1)
	if limit := l.limit.Load(); limit == 0 || n < limit {
		l.limit.Store(n)
	}
	l.since.Store(int64(time.Since(l.gw.start)))
}

// relaxes notes that the worker has answered an event: in time it takes more.
func (l *link) relaxes() {
	limit := l.limit.Load()
	if limit == 0 {
		return
	}
	now := int64(time.Since(l.gw.start))
	if since := l.since.Load(); now-since >= int64(limitInterval) && l.since.CompareAndSwap(since, now) {
		l.limit.Store(limit + max(limit/8, 1))
	}
}

// tookFor notes that the worker's handler was at an event for so long. It is called from
// one goroutine at a time.
func (l *link) tookFor(d time.Duration) {
	was := l.took.Load()
	if was == 0 {
		was = int64(d)
	}
	// One that is slow now and then has many quick ones to make up for it.
	l.took.Store(max(was+(int64(d)-was)/tookOver, 1))
}

// tookOver is over how many of the events whose time a worker tells, which are one in
// latency.Every, their mean is taken.
const tookOver = 16
