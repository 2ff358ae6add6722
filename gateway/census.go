package gateway

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/internal/deadline"
)

// censusPatience is how long a worker may take to say what it holds before it
// is disconnected, if an event is overdue. An answer takes a round trip, about
// a millisecond; a worker that is silent for this long has no processor, no
// network, or is stopped. What it held is then with other workers ack_wait +
// censusPatience after it was given out, at worst.
const censusPatience = 150 * time.Millisecond

// census finds the events that no worker holds any more: those of a worker that
// is gone, and those that were lost on the way.
//
// It asks all workers that can be asked, which are those subscribed to
// [bus.AskSubject], what they hold. A worker gets the question after all that
// was published before it, and the gateway gets the worker's answer after all
// that the worker replied before it. So an event that was out before the
// question and is neither answered nor held by anybody, once all have
// answered, is lost. If members of its worker group cannot be asked, it may be
// theirs, and ack_wait decides.
//
// It is taken when a connection ends, and when an event is overdue.
type census struct {
	// set at construction
	gw     *Gateway
	server bus.Server
	wake   chan struct{} // buffered: it is worth while to ask

	number uint64 // of the newest question; owned by run

	mu    sync.Mutex
	round *round // under way, nil if none
}

// round is one question and its answers, guarded by the census's mutex.
type round struct {
	number  uint64
	missing map[bus.ConnID]struct{} // those that have not answered
	held    map[bus.EventID]struct{}
	all     chan struct{} // closed when nobody is missing
}

func newCensus(gw *Gateway, server bus.Server) *census {
	// The number is no other life's: a late answer to that one counts for nothing.
	return &census{gw: gw, server: server, wake: make(chan struct{}, 1), number: uint64(gw.epoch)}
}

// nudge has a census taken soon.
func (n *census) nudge() {
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

// run takes a census whenever it is worth while, until ctx ends.
func (n *census) run(ctx context.Context) error {
	stop, err := n.server.OnConnection(n.changed)
	if err != nil {
		return err
	}
	defer stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-n.wake:
			n.take(ctx)
		}
	}
}

// changed is called when a connection was made or has ended.
func (n *census) changed(id bus.ConnID, up bool) {
	n.gw.roster.changed(id, up)
	if up {
		return
	}
	n.gw.log.Debug("a connection has ended", "connection", uint64(id))
	n.mu.Lock()
	n.answeredLocked(id)
	n.mu.Unlock()
	n.nudge()
}

// answeredLocked counts a worker as one that is not waited for.
func (n *census) answeredLocked(id bus.ConnID) {
	r := n.round
	if r == nil {
		return
	}
	if _, ok := r.missing[id]; ok {
		if delete(r.missing, id); len(r.missing) == 0 {
			close(r.all)
		}
	}
}

// heard takes in an answer. It does not block.
func (n *census) heard(m *bus.Msg) {
	if bus.IsNoResponders(m) {
		return
	}
	_, number, err := bus.ParseHeldSubject(m.Subject)
	var h bus.Held
	if err == nil {
		h, err = bus.ParseHeld(m.Data)
	}
	if err != nil {
		n.gw.badRequest(m, err)
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.round == nil || n.round.number != number {
		return // too late
	}
	for _, id := range h.Events {
		n.round.held[id] = struct{}{}
	}
	if !h.More {
		n.answeredLocked(h.Connection)
	}
}

// take takes a census and hands the events that it finds lost to their clients.
func (n *census) take(ctx context.Context) {
	stamp := n.gw.dispatch.published()
	if stamp == 0 {
		return // nothing is out
	}
	start := time.Now()
	asked, err := n.workers(ctx)
	workers := len(asked)
	var held map[bus.EventID]struct{}
	if err == nil {
		held, err = n.ask(ctx, asked)
	}
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		// Nobody is to blame, and nothing is known.
		n.gw.log.Warn("cannot ask the workers what they hold; trying again", "err", err)
		time.AfterFunc(censusPatience, n.nudge)
		return
	}
	others := n.gw.roster.others()
	lost, inWork := n.settle(stamp, held, others)
	n.gw.log.Debug("workers were asked what they hold", "workers", workers, "others", len(others),
		"took", time.Since(start), "held", len(held), "lost", lost, "overdue_in_work", inWork)
}

// workers are the connections that can be asked. Whoever has an event that is out
// is among them or among the roster's others: the server has routed all of them.
func (n *census) workers(ctx context.Context) (map[bus.ConnID]struct{}, error) {
	n.gw.dispatch.flush()
	ctx, cancel := context.WithTimeout(ctx, censusPatience)
	defer cancel()
	if err := n.gw.conn.Flush(ctx); err != nil {
		return nil, err
	}
	question := bus.AskSubject(n.gw.name)
	subs, err := n.server.Subscriptions(question)
	if err != nil {
		return nil, err
	}
	asked := map[bus.ConnID]struct{}{}
	for _, s := range subs {
		if s.Subject == question { // not one who listens to everything
			asked[s.Conn] = struct{}{}
		}
	}
	n.gw.roster.look()
	return asked, nil
}

// self stands for the gateway among those that have to answer: its own answer,
// which holds nothing, comes to it after what the server itself says about
// events that are out ("no responders").
const self bus.ConnID = 0

// ask asks these workers what they hold, and returns it when all have answered
// or are gone. Those that do not answer are disconnected if an event is
// overdue.
func (n *census) ask(ctx context.Context, workers map[bus.ConnID]struct{}) (map[bus.EventID]struct{}, error) {
	n.number++
	workers[self] = struct{}{}
	r := &round{
		number: n.number, missing: workers,
		held: map[bus.EventID]struct{}{}, all: make(chan struct{}),
	}
	n.mu.Lock()
	n.round = r
	n.mu.Unlock()
	n.gw.count.asked.Add(1)
	question := &bus.Msg{Subject: bus.AskSubject(n.gw.name), Reply: bus.HeldSubject(n.gw.name, r.number)}
	err := n.gw.conn.Publish(question)
	for _, m := range (&bus.Held{Connection: self}).Msgs(question.Reply) {
		err = errors.Join(err, n.gw.conn.Publish(m))
	}
	if err != nil {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.round = nil
		return nil, err
	}
	timer := time.NewTimer(censusPatience)
	defer timer.Stop()
	for {
		select {
		case <-r.all:
		case <-ctx.Done():
		case <-timer.C:
			if !n.gw.dispatch.anyOverdue() {
				timer.Reset(censusPatience / 5) // it may become so
				continue
			}
			n.disconnectMissing(r)
		}
		n.mu.Lock()
		defer n.mu.Unlock()
		n.round = nil
		return r.held, nil
	}
}

// disconnectMissing ends the connections of the workers that do not answer:
// what they hold is for others, and what comes next too.
func (n *census) disconnectMissing(r *round) {
	n.mu.Lock()
	missing := make([]bus.ConnID, 0, len(r.missing))
	for id := range r.missing {
		missing = append(missing, id)
	}
	n.mu.Unlock()
	for _, id := range missing {
		if id == self {
			continue // the bus is slow, not a worker
		}
		n.gw.count.disconnected.Add(1)
		n.gw.log.Warn("a worker does not answer; it is disconnected, and others get what it held",
			"worker", n.server.ClientName(id), "connection", uint64(id), "silent", censusPatience)
		if err := n.server.Disconnect(id); err != nil {
			n.gw.log.Warn("cannot disconnect a worker", "connection", uint64(id), "err", err)
		}
	}
}

// settle hands the events that were out at the stamp and are not held to their
// clients, all of them or, in groups with others who cannot be asked, those that
// are overdue.
func (n *census) settle(stamp uint64, held map[bus.EventID]struct{}, others map[string]struct{}) (lostEvents, heldEvents int) {
	d := n.gw.dispatch
	var lost, inWork []*event
	sort := func(l *deadline.List[*event], overdue bool) {
		for node := l.Front(); node != nil; {
			e := node.Value
			node = l.Next(node)
			if e.stamp > stamp {
				continue
			}
			_, ok := held[bus.EventID{Client: e.client.id, Seq: e.seq}]
			_, unsure := others[e.client.group]
			switch {
			case ok && overdue:
				inWork = append(inWork, e)
			case !ok && (overdue || !unsure):
				lost = append(lost, e)
			}
		}
	}
	d.mu.Lock()
	sort(&d.overdue, true)
	sort(&d.acks, false)
	again := d.overdue.Len() > 0
	d.mu.Unlock()
	for _, e := range inWork {
		e.client.inWork(e, stamp)
	}
	for _, e := range lost {
		e.client.lost(e, stamp)
	}
	if again && d.anyOverdue() {
		n.nudge() // they came after the question
	}
	return len(lost), len(inWork)
}
