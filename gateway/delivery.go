package gateway

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"
	"unicode/utf8"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/internal/latency"
)

// badReplyReason is what a client is told whose worker breaks the protocol.
const badReplyReason = "the reply of the worker was not valid"

// Pauses before an event that was handed back goes out again: the first is
// about busyPause, each further one twice as long up to busyPauseMax, all of
// them shortened by up to a half at random so that a crowd spreads.
const (
	busyPause    = 10 * time.Millisecond
	busyPauseMax = 160 * time.Millisecond
)

const (
	// pipeline is how many events of one client are with its worker at the same
	// time, unless they have queue_bytes before. The worker handles them one by
	// one.
	pipeline = 32
	// followers is how many events of one client go to the same worker only
	// because the one before is there: then it is waited for, so that a client
	// that always has something under way comes to a new worker too.
	followers = 128
)

// advanceLocked does what can be done after a change: gives out events, lets the
// reader read on, closes a client that is to be closed when all is answered.
func (c *client) advanceLocked() {
	c.giveOutLocked()
	c.resumeLocked()
	if f := c.finishing; f != nil && !c.ending && c.lane.empty() {
		c.closeNowLocked(*f)
	}
}

// giveOutLocked publishes the events whose turn it is: the first one to any worker
// or to the one that the client is bound to, and those behind it to the same, if
// that takes them.
func (c *client) giveOutLocked() {
	if c.dense && c.gw.roster.link(c.bound) == nil {
		c.bound, c.dense = "", false // the worker takes no more
	}
	tie, ahead, bytes := c.bound, 0, 0
	for e := c.lane.first; e != nil && ahead < pipeline && bytes < c.gw.config().QueueBytes; e = e.next {
		if e.state == waiting {
			first := e == c.lane.first
			switch {
			case first && e.lost >= c.gw.config().MaxDeliver:
				c.poisonLocked(e) // and comes here again
				return
			case first:
				c.followed = 0
				c.sendLocked(e, c.bound)
			case tie == "" || c.gw.roster.server == nil || e.alone || e.lost >= c.gw.config().MaxDeliver || !c.followLocked(e, tie):
				return
			}
		}
		switch {
		case e.state == answered:
		case e.state != out:
			return // the next one must not overtake it
		case tie == "" && e.link != nil:
			tie = e.at
		case e.at != tie || tie == "":
			return
		}
		ahead++
		bytes += len(e.data)
	}
}

// followLocked sends an event to the worker that has those before it; false if
// it cannot or should not be.
func (c *client) followLocked(e *event, tie bus.WorkerAddress) bool {
	if c.bound == "" {
		if c.followed >= followers || c.gw.roster.link(tie) == nil {
			return false
		}
		c.followed++
	}
	c.sendLocked(e, tie)
	return true
}

// sendLocked publishes an event, to the worker at an address or, without one, to
// any of the group.
func (c *client) sendLocked(e *event, at bus.WorkerAddress) {
	e.delivery++
	e.at, e.bond = at, at != ""
	c.gw.tap.eventLocked(c, e)
	if l := c.gw.roster.pick(c.group, at, len(e.data)); l != nil {
		if e.trace != nil {
			e.at = l.at
			e.trace.givenOut(e)
		}
		// Behind others it must not be handled if one of them was handed back.
		c.gw.dispatch.add(l, e, e != c.lane.first)
		return
	}
	e.link = nil
	m := &bus.Msg{
		Reply: bus.ReplySubject(c.gw.name, c.id, e.seq),
		Data:  e.data,
	}
	if c.given != nil {
		m.Header = c.given.header
	}
	m.Subject = c.subject(e)
	if !e.bond && c.gw.config().Routing == RouteSticky {
		bus.MarkSticky(m)
	}
	bus.MarkDelivery(m, e.delivery)
	if e.trace != nil {
		e.trace.givenOut(e)
		bus.MarkTrace(m, &e.trace.carried)
	}
	if err := c.gw.dispatch.publish(e, m); err != nil {
		c.gw.warn.Do(func() { c.gw.log.Warn("cannot publish to the bus", "client", c.id, "err", err) })
		c.unboundLocked(e)
		if e == c.lane.first {
			c.bouncedLocked(e)
			return
		}
		e.delivery--
		c.recallLocked(e)
	}
}

// subject is where an event is published that does not go in a batch.
func (c *client) subject(e *event) string {
	if e.bond {
		return bus.DirectSubject(c.gw.name, e.at, e.kind)
	}
	return c.gw.subjects[c.group][e.kind]
}

// answer handles what came to the reply subject of event seq. It runs on the
// goroutine that delivers from the bus.
func (c *client) answer(seq uint64, m *bus.Msg) {
	c.mu.Lock()
	e := c.awaitedLocked(seq)
	switch {
	case e == nil:
		c.mu.Unlock()
		c.gw.late(bus.IsNoResponders(m) || m.Header.Get(bus.HeaderStatus) == "working")
		return
	case bus.IsNoResponders(m):
		c.noRespondersLocked(e, m)
	default:
		r, err := bus.ParseReply(e.kind, m)
		from, errFrom := bus.WorkerOf(m)
		if errFrom != nil {
			c.badReply(m.Subject, errFrom)
		}
		if !e.bond && c.gw.config().Routing == RouteSticky && r.Status != bus.Busy && r.Status != bus.Working {
			c.bound, c.dense = from, false
		}
		c.repliedLocked(e, r, from, m.Subject, err)
	}
	c.unlockAndTidy()
}

// reply handles a reply that came in a batch, on a subject, from the worker at an
// address. It runs on the goroutine that delivers from the bus.
func (c *client) reply(r *bus.BatchReply, from bus.WorkerAddress, subject string) {
	c.mu.Lock()
	e := c.awaitedLocked(r.Seq)
	if e == nil {
		c.mu.Unlock()
		c.gw.late(r.Status == bus.Working)
		return
	}
	final := r.Status != bus.Busy && r.Status != bus.Working
	if p := e.link; p != nil && p.at == from && e.state == out {
		if final {
			p.relaxes()
			if r.Took > 0 {
				p.tookFor(r.Took)
			}
		} else if r.Status == bus.Busy {
			p.isBusy()
		}
		if final && !e.bond && c.gw.config().Routing == RouteSticky {
			c.bound, c.dense = p.at, true
		}
	}
	// The batch that it came in must not stay for as long as a slow client does.
	r.Data = bytes.Clone(r.Data)
	c.repliedLocked(e, r.Reply, from, subject, r.Check(e.kind))
	c.unlockAndTidy()
}

// awaitedLocked finds an event that is not answered; nil if there is none of that
// number, or no worker can have it.
func (c *client) awaitedLocked(seq uint64) *event {
	e := c.lane.find(seq)
	if e == nil || e.state == answered || e.delivery == 0 {
		return nil
	}
	return e
}

// repliedLocked handles a worker's reply to an event; err says that it breaks
// the protocol. subject is where it came, from whose it is, if that is known.
func (c *client) repliedLocked(e *event, r bus.Reply, from bus.WorkerAddress, subject string, err error) {
	if err == nil && r.Kind == bus.Text && !utf8.Valid(r.Data) {
		err = fmt.Errorf("gateway: a text frame must be valid UTF-8; reply with %s: binary", bus.HeaderKind)
	}
	if err != nil {
		c.badReply(subject, err)
		r = bus.Reply{Status: bus.Closed, Code: int(bus.CloseHandlerFailed), Reason: badReplyReason}
		if e.kind == bus.Open {
			r = bus.Reply{Status: bus.Rejected, Code: http.StatusBadGateway, Reason: badReplyReason}
		}
	}
	switch r.Status {
	case bus.Busy:
		c.gw.count.busy.Add(1)
		e.trace.add(traceBusy)
		if from == "" || from == e.at { // else another one has it by now
			c.busyLocked(e)
		}
		return
	case bus.Working:
		c.gw.dispatch.await(e)
		return
	}
	c.gw.dispatch.answered(e)
	c.gw.count.answered.Add(1)
	c.gw.tap.answer(c, e, &r)
	if e.trace != nil {
		e.trace.answered(e, &r, err)
	}
	if latency.Sampled(c.number, e.seq) {
		c.gw.count.latency.Observe(time.Since(c.gw.start) - e.given)
	}
	c.lane.to(e, answered)
	if e == c.lane.first {
		c.settleLocked(e, r, subject)
		c.settleNextLocked()
	} else {
		e.answer = &answer{r, subject}
	}
	c.advanceLocked()
}

// settleNextLocked carries out the answers that were waiting for their turn.
func (c *client) settleNextLocked() {
	for e := c.lane.first; e != nil && e.answer != nil; e = c.lane.first {
		a := e.answer
		e.answer = nil
		c.settleLocked(e, a.Reply, a.subject)
	}
}

// settleLocked carries out the answer to the first event and takes it off. It may
// unlock the client for a moment, with the event still in its place.
func (c *client) settleLocked(e *event, r bus.Reply, subject string) {
	switch e.kind {
	case bus.Open:
		c.openAnsweredLocked(r, subject)
	case bus.Text, bus.Binary:
		if r.Kind != 0 {
			if c.pushLocked(frame{kind: r.Kind, data: r.Data}) {
				c.gw.count.sent(1, len(r.Data))
			}
		}
		if r.Status == bus.Closed {
			c.closeNowLocked(closing{bus.CloseCode(r.Code), bus.TrimReason(r.Reason)})
		}
	}
	if c.lane.first == e { // a stop may have given it up in that moment
		c.lane.pop()
	}
}

func (c *client) badReply(subject string, err error) {
	c.gw.count.badReply.Add(1)
	c.gw.warn.Do(func() {
		c.gw.log.Warn("a worker's reply breaks the protocol; the client is closed",
			"client", c.id, "subject", subject, "err", err)
	})
}

// noRespondersLocked handles that nobody was there for an event.
func (c *client) noRespondersLocked(e *event, m *bus.Msg) {
	switch to := m.Header.Get(headerSubject); {
	case e.state == out && (e.link != nil || to != "" && to != c.subject(e)):
		// Of a former delivery, which this one has overtaken: it went another way.
	case e.state == out && !e.bond:
		c.bouncedLocked(e)
	case e.state == out: // its worker takes no more
		e.delivery-- // nobody got it
		c.returnedLocked(e)
	case e.state == waiting && e.bond && e.delivery > 0:
		// Recalled together with one before it, and nobody got it.
		e.delivery--
		e.lost = max(e.lost-1, 0)
	}
}

// headerSubject is where NATS says what a message was published on that nobody
// was there for.
const headerSubject = "Nats-Subject"

// bounced is noRespondersLocked for an event that went in a batch, as far as it
// was published with the stamp. It tells whether the event is to go out again, which
// advance does.
func (c *client) bounced(e *event, stamp uint64) (back bool) {
	c.mu.Lock()
	switch {
	case e.stamp != stamp || e.delivery == 0:
	case e.state == out:
		e.delivery-- // nobody got it
		e.trace.add(traceReturned)
		c.unboundLocked(e)
		c.gw.dispatch.forget(e)
		c.lane.to(e, waiting)
		back = true
	case e.state == waiting: // recalled together with one before it
		e.delivery--
		e.lost = max(e.lost-1, 0)
	}
	c.unlockAndTidy()
	return back
}

// advance does what can be done for the client.
func (c *client) advance() {
	c.mu.Lock()
	c.advanceLocked()
	c.unlockAndTidy()
}

// busyLocked handles that a worker hands an event back.
func (c *client) busyLocked(e *event) {
	switch {
	case e.state == out && !e.bond:
		c.pauseLocked(e)
	case e.state == out:
		c.handedBackLocked(e)
		e.alone = true
		c.returnedLocked(e)
	case e.state == waiting && e.bond:
		c.handedBackLocked(e)
	}
}

// handedBackLocked notes that a worker did not take a delivery of the event. If
// it is not the only one, another may have been taken: the next one is marked.
func (c *client) handedBackLocked(e *event) {
	if e.delivery == 1 {
		e.delivery = 0
	}
}

// returnedLocked gives an event out again, in its turn, that its worker did not
// take.
func (c *client) returnedLocked(e *event) {
	e.trace.add(traceReturned)
	c.unboundLocked(e)
	c.recallLocked(e)
	c.advanceLocked()
}

// unboundLocked ends the client's bond to the worker that the event went to.
func (c *client) unboundLocked(e *event) {
	if e.bond && e.at == c.bound {
		c.bound, c.dense = "", false
	}
}

// recallLocked takes an event back that was sent to one worker, and those
// behind it: each goes out again in its turn.
func (c *client) recallLocked(e *event) {
	for ; e != nil; e = e.next {
		if e.state == out {
			c.gw.dispatch.forget(e)
			c.lane.to(e, waiting)
		}
	}
}

// bouncedLocked keeps the first event until a worker appears: there is none.
func (c *client) bouncedLocked(e *event) {
	e.delivery-- // nobody got it
	if e.kind == bus.Open && e.delivery == 0 && (c.ending || c.finishing != nil) {
		// The client left, or the gateway stops, before any worker heard of it:
		// nobody needs to know.
		c.gw.dispatch.forget(e)
		c.lane.pop()
		why := refusedLeft
		if c.finishing != nil {
			why = refusedStopping
		}
		c.refuseLocked(openResult{status: http.StatusServiceUnavailable, reason: "no worker there", why: why})
		return
	}
	c.holdLocked(e)
}

// holdLocked keeps an event for as long as it may wait for a worker, counted
// from the first time.
func (c *client) holdLocked(e *event) {
	hold := c.gw.config().Hold
	if c.gw.stopping.Load() { // workers that stop at the same time do not come back
		hold = min(hold, c.gw.config().AckWait)
	}
	if until := time.Now().Add(hold); e.heldUntil.IsZero() || until.Before(e.heldUntil) {
		e.heldUntil = until
	}
	e.trace.add(traceHeld)
	c.gw.dispatch.hold(e)
}

// pauseLocked keeps the first event for a short while: a worker handed it back.
func (c *client) pauseLocked(e *event) {
	c.handedBackLocked(e)
	c.recallLocked(e.next) // those that were to follow it are handed back too
	pause := min(busyPause<<min(e.busy, 10), busyPauseMax)
	e.busy++
	c.lane.to(e, paused)
	c.gw.dispatch.answered(e) // a busy worker is a worker
	time.AfterFunc(pause/2+rand.N(pause/2), func() { c.retry(e) })
}

// retry gives an event out again after it was held or handed back.
func (c *client) retry(e *event) {
	c.mu.Lock()
	if e.state == held || e.state == paused {
		c.sendLocked(e, c.bound)
		c.advanceLocked()
	}
	c.unlockAndTidy()
}

// overdue gives an event out again that nobody answered in time, or gives it
// up.
func (c *client) overdue(e *event, now time.Time) {
	c.mu.Lock()
	if e.state == out && !now.Before(e.due) { // else it was answered meanwhile, or is awaited anew
		c.lostLocked(e)
	}
	c.unlockAndTidy()
}

// lost is overdue for an event that no worker holds, as far as it was published
// with the stamp or before.
func (c *client) lost(e *event, stamp uint64) {
	c.mu.Lock()
	if e.state == out && e.stamp <= stamp {
		c.lostLocked(e)
	}
	c.unlockAndTidy()
}

// inWork starts the clock anew for an event that a worker has, though nothing
// was heard from it for long.
func (c *client) inWork(e *event, stamp uint64) {
	c.mu.Lock()
	if e.state == out && e.stamp <= stamp {
		c.gw.dispatch.await(e)
	}
	c.mu.Unlock()
}

// lostLocked gives an event out again, in its turn.
func (c *client) lostLocked(e *event) {
	e.heldUntil = time.Time{} // a worker was there
	c.unboundLocked(e)
	for e := e; e != nil; e = e.next {
		if e.state != out {
			continue
		}
		e.trace.add(traceLost)
		if e.lost++; e.lost < c.gw.config().MaxDeliver {
			c.gw.count.redelivered.Add(1)
		}
	}
	c.recallLocked(e)
	c.advanceLocked()
}

// poisonLocked gives up the first event, which was given out too often.
func (c *client) poisonLocked(e *event) {
	c.gw.count.droppedPoison.Add(1)
	c.gw.warn.Do(func() {
		c.gw.log.Warn("no worker answered an event; it is dropped and its client closed",
			"client", c.id, "kind", e.kind.String(), "deliveries", e.delivery)
	})
	c.giveUpLocked(e, closing{bus.CloseHandlerFailed, "no worker answered"})
}

// holdOver gives an event up: no worker came in time.
func (c *client) holdOver(e *event) {
	c.mu.Lock()
	if e.state != held {
		c.mu.Unlock() // it was answered meanwhile
		return
	}
	c.gw.count.droppedHold.Add(1)
	c.gw.warn.Do(func() {
		c.gw.log.Warn("no worker there; an event is dropped and its client closed",
			"client", c.id, "group", c.group, "kind", e.kind.String(), "hold", c.gw.config().Hold)
	})
	c.giveUpLocked(e, closing{bus.CloseTryLater, "no worker there"})
	c.unlockAndTidy()
}

// giveUpLocked drops the first event and ends the client.
func (c *client) giveUpLocked(e *event, end closing) {
	if c.gw.stopping.Load() { // whatever else was wrong: another gateway may do better
		end = restarts
	}
	if e.trace != nil {
		e.trace.givenUp(e, end)
	}
	c.gw.dispatch.forget(e)
	c.lane.pop()
	if e.kind == bus.Open {
		c.refuseLocked(openResult{status: http.StatusServiceUnavailable, reason: end.reason, why: refusalFor(end)})
	} else {
		if c.ending { // the peer has left: the rest goes too, its close event is still owed
			c.gw.count.droppedClosing.Add(int64(c.lane.clear(true)))
		}
		c.closeNowLocked(end)
	}
	c.settleNextLocked()
	c.advanceLocked()
}
