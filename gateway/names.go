package gateway

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/internal/batch"
)

// namesPart is how many names are told at once: while they are put together, no
// client is let in or leaves.
const namesPart = 1000

// names tells workers which uids and groups the clients have, once one has asked:
// what is pushed to a name that nobody has here need not come here.
type names struct {
	// set at construction
	gw      *Gateway
	changes *batch.Batcher // added to under the index's mutex, so in order

	wanted atomic.Bool // somebody has asked

	mu      sync.Mutex
	telling map[bus.WorkerAddress]uint64 // the request that is being answered
}

func newNames(gw *Gateway) *names {
	n := &names{gw: gw, telling: map[bus.WorkerAddress]uint64{}}
	n.changes = batch.New(n.send, gw.senders.Go, nil)
	return n
}

// changed notes that clients have a name, or that none has it any more. The index
// is locked.
func (n *names) changed(scope bus.Scope, name string, present bool) {
	if !n.wanted.Load() {
		return
	}
	data := n.changes.Begin()
	if len(data) == 0 {
		data = bus.BeginBatch(data, n.gw.epoch)
	}
	n.changes.End(bus.NameChange{Target: bus.Target{Scope: scope, Name: name}, Present: present}.Append(data))
}

// lost tells the workers that changes may not have come to them: they ask anew.
func (n *names) lost() {
	if n.wanted.Load() {
		n.publish(bus.NamesSubject(n.gw.name), bus.AppendNamesEnd(bus.BeginBatch(nil, n.gw.epoch)))
	}
}

// flush returns when every change so far is published.
func (n *names) flush() {
	if n.wanted.Load() {
		n.changes.Flush()
	}
}

func (n *names) send(b batch.Batch) { n.publish(bus.NamesSubject(n.gw.name), b.Data) }

func (n *names) publish(subject string, data []byte) {
	if err := n.gw.conn.Publish(&bus.Msg{Subject: subject, Data: data}); err != nil {
		// A bus of the gateway's own is going down; one that runs elsewhere may be
		// back, then lost is called.
		n.gw.warn.Do(func() { n.gw.log.Warn("cannot publish to the bus", "subject", subject, "err", err) })
	}
}

// asked begins to tell a worker all names, or that it has been told of every change. It
// does not wait.
func (n *names) asked(r bus.NamesRequest) {
	if r.Changes {
		n.flush()
		n.publish(bus.NamesFor(n.gw.name, r.Worker), bus.AppendNamesEnd(bus.BeginNames(bus.BeginBatch(nil, n.gw.epoch), r.Request)))
		return
	}
	n.mu.Lock()
	n.telling[r.Worker] = r.Request
	n.mu.Unlock()
	n.wanted.Store(true) // from here on changes are told, before what there is
	if !n.gw.senders.Go(func() { n.tell(r) }) {
		n.gw.log.Debug("a worker asks for the names of a gateway that has stopped", "worker", string(r.Worker))
	}
}

// tell tells a worker all names, in parts, unless it asks anew meanwhile. What
// changes during that is told to all. A part is put together and published with the
// index locked: changes after it come later, and those before it, if they come
// later too, say the same.
func (n *names) tell(r bus.NamesRequest) {
	x := n.gw.index
	begin := bus.BeginNames(bus.BeginBatch(nil, n.gw.epoch), r.Request)
	for _, scope := range []bus.Scope{bus.ToUID, bus.ToGroup} {
		x.mu.RLock()
		all := x.namesLocked(scope)
		x.mu.RUnlock()
		for part := range slices.Chunk(all, namesPart) {
			if !n.current(r) {
				return
			}
			data := slices.Clone(begin)
			x.mu.RLock()
			for _, name := range part {
				if x.hasLocked(scope, name) {
					data = bus.NameChange{Target: bus.Target{Scope: scope, Name: name}, Present: true}.Append(data)
				}
			}
			n.publish(bus.NamesFor(n.gw.name, r.Worker), data)
			x.mu.RUnlock()
		}
	}
	if n.current(r) {
		n.publish(bus.NamesFor(n.gw.name, r.Worker), bus.AppendNamesEnd(begin))
	}
	n.mu.Lock()
	if n.telling[r.Worker] == r.Request {
		delete(n.telling, r.Worker)
	}
	n.mu.Unlock()
}

// current tells whether the request is the worker's last.
func (n *names) current(r bus.NamesRequest) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.telling[r.Worker] == r.Request
}
