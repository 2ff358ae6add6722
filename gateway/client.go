package gateway

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/gatebus/gatebus/bus"
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

// client is one connection: its lane of events to the workers and its outbox
// of frames to the peer. It begins when its HTTP request asks for a WebSocket
// and ends when its last event is answered or given up.
type client struct {
	// set at construction
	gw    *Gateway
	id    bus.ClientID
	group string // worker group
	log   *slog.Logger

	// opened gets how the open event ended, once.
	opened chan openResult
	// heard is when the peer last sent something, pinged when it was last asked
	// to; both since the gateway's start, by its monotonic clock. Zero is never.
	heard, pinged atomic.Int64

	// guarded by the index's mutex
	uid    string
	groups []string

	mu     sync.Mutex
	lane   lane
	out    outbox
	header bus.Header    // Gb-Uid and Gb-Session, nil if neither is set
	room   chan struct{} // closed when the lane has room again; nil if nobody waits
	ws     *wsConn       // nil until the handshake is done
	// accepted is set when a worker has accepted the open event: a close event
	// is owed.
	accepted bool
	// finishing is set when no more frames are taken, and the client is closed
	// as soon as those taken are answered.
	finishing *closing
	// ending is set when the end has begun: no more frames are taken.
	ending bool
	// gone is set when the client is off the index.
	gone bool
}

// closing is how a connection ends.
type closing struct {
	code   bus.CloseCode
	reason string
}

// restarts is how a stopping gateway closes its clients.
var restarts = closing{bus.CloseRestart, "the gateway restarts"}

// openResult is how an open event ended: status 0 if the client is accepted,
// else the HTTP status to refuse it with.
type openResult struct {
	status      int
	reason      string
	subprotocol string
}

// submit puts an event at the end of the lane. It tells whether the queue is
// full now; the caller then waits for room before it reads on.
func (c *client) submit(kind bus.Kind, data []byte) (room <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ending || c.finishing != nil {
		c.gw.count.droppedClosing.Add(1)
		return nil
	}
	return c.addLocked(kind, data)
}

// start gives out the open event, which the lane has already.
func (c *client) start() {
	c.mu.Lock()
	c.gw.count.eventsIn.Add(1)
	c.advanceLocked()
	c.unlockAndTidy()
}

func (c *client) addLocked(kind bus.Kind, data []byte) (room <-chan struct{}) {
	c.gw.count.eventsIn.Add(1)
	c.lane.add(newEvent(c, kind, data))
	c.advanceLocked()
	if !c.lane.full(c.gw.cfg.QueueFrames, c.gw.cfg.QueueBytes) {
		return nil
	}
	if c.room == nil {
		c.room = make(chan struct{})
	}
	return c.room
}

// advanceLocked gives out the next event, if none is out.
func (c *client) advanceLocked() {
	if e := c.lane.next(); e != nil {
		c.sendLocked(e)
	}
	if c.room != nil && (c.ending || !c.lane.full(c.gw.cfg.QueueFrames, c.gw.cfg.QueueBytes)) {
		close(c.room)
		c.room = nil
	}
	if f := c.finishing; f != nil && !c.ending && c.lane.empty() {
		c.closeNowLocked(*f)
	}
}

// sendLocked publishes the head of the lane.
func (c *client) sendLocked(e *event) {
	e.delivery++
	m := &bus.Msg{
		Subject: c.gw.subjects[c.group][e.kind],
		Reply:   bus.ReplySubject(c.gw.name, c.id, e.seq),
		Header:  c.header,
		Data:    e.data,
	}
	bus.MarkDelivery(m, e.delivery)
	if err := c.gw.dispatch.publish(e, m); err != nil {
		c.gw.warn.Do(func() { c.gw.log.Warn("cannot publish to the bus", "client", c.id, "err", err) })
		c.bouncedLocked(e)
	}
}

// answer handles what came to the reply subject of event seq. It runs on the
// goroutine that delivers from the bus.
func (c *client) answer(seq uint64, m *bus.Msg) {
	c.mu.Lock()
	e := c.lane.head
	if e == nil || e.seq != seq {
		c.mu.Unlock()
		c.gw.late(m)
		return
	}
	if bus.IsNoResponders(m) {
		if e.state == out {
			c.bouncedLocked(e)
		}
		c.unlockAndTidy()
		return
	}
	r, err := bus.ParseReply(e.kind, m)
	if err == nil && r.Kind == bus.Text && !utf8.Valid(r.Data) {
		err = fmt.Errorf("gateway: a text frame must be valid UTF-8; reply with %s: binary", bus.HeaderKind)
	}
	if err != nil {
		c.badReply(m.Subject, err)
		r = bus.Reply{Status: bus.Closed, Code: int(bus.CloseHandlerFailed), Reason: badReplyReason}
		if e.kind == bus.Open {
			r = bus.Reply{Status: bus.Rejected, Code: http.StatusBadGateway, Reason: r.Reason}
		}
	}
	switch r.Status {
	case bus.Busy:
		c.gw.count.busy.Add(1)
		if e.state == out {
			c.pauseLocked(e)
		}
		c.mu.Unlock()
		return
	case bus.Working:
		c.gw.dispatch.await(e)
		c.mu.Unlock()
		return
	}
	c.gw.dispatch.answered(e)
	c.gw.count.answered.Add(1)
	e.state = settled
	switch e.kind {
	case bus.Open:
		c.openAnsweredLocked(r, m.Subject)
	case bus.Text, bus.Binary:
		if r.Kind != 0 {
			c.pushLocked(frame{kind: r.Kind, data: r.Data})
		}
		if r.Status == bus.Closed {
			c.closeNowLocked(closing{bus.CloseCode(r.Code), bus.TrimReason(r.Reason)})
		}
	}
	if c.lane.head == e { // it was unlocked for a moment: a stop may have given it up
		c.lane.pop()
	}
	c.advanceLocked()
	c.unlockAndTidy()
}

// unlockAndTidy unlocks the client, and takes it off the index when nothing
// is left of it.
func (c *client) unlockAndTidy() {
	gone := c.goneLocked()
	c.mu.Unlock()
	if gone {
		c.gw.index.remove(c)
	}
}

// goneLocked tells, once, that nothing is left of the client: whoever hears it
// takes the client off the index, after unlocking.
func (c *client) goneLocked() bool {
	if c.gone || !c.ending || !c.lane.empty() {
		return false
	}
	c.gone = true
	return true
}

func (c *client) badReply(subject string, err error) {
	c.gw.count.badReply.Add(1)
	c.gw.warn.Do(func() {
		c.gw.log.Warn("a worker's reply breaks the protocol; the client is closed",
			"client", c.id, "subject", subject, "err", err)
	})
}

// openAnsweredLocked carries out the reply to the open event. The client is
// bound before its next message from the bus is looked at, so a push to its uid
// or group that follows the reply finds it.
func (c *client) openAnsweredLocked(r bus.Reply, subject string) {
	switch r.Status {
	case bus.Rejected:
		c.refuseLocked(openResult{status: r.Code, reason: r.Reason})
		return
	case bus.Closed: // a plain worker that closes what it does not want
		c.refuseLocked(openResult{status: http.StatusForbidden, reason: r.Reason})
		return
	}
	open, err := bus.ParseOpenReply(r.Data)
	var header bus.Header
	if err == nil {
		header, err = openHeader(open)
	}
	if err != nil {
		c.badReply(subject, err)
		c.refuseLocked(openResult{status: http.StatusBadGateway, reason: badReplyReason})
		return
	}
	c.header = header
	c.accepted = true
	// The index is locked before a client. The head stays meanwhile, so nothing
	// overtakes this.
	c.mu.Unlock()
	c.gw.index.bind(c, open.UID, open.Groups)
	c.mu.Lock()
	c.resolveLocked(openResult{subprotocol: open.Subprotocol})
}

// openHeader checks what a worker gave a client at open and makes the headers
// that its events carry from then on.
func openHeader(r bus.OpenReply) (bus.Header, error) {
	for _, name := range r.Groups {
		if _, err := bus.Escape(name); err != nil {
			return nil, fmt.Errorf("gateway: reply to open: group: %w", err)
		}
	}
	session := string(r.Session)
	if session == "null" {
		session = ""
	}
	header, err := bus.ClientHeader(r.UID, session)
	if err != nil {
		return nil, fmt.Errorf("gateway: reply to open: %w", err)
	}
	return header, nil
}

// refuseLocked ends a client that no worker has accepted: the handshake is told,
// a worker need not be.
func (c *client) refuseLocked(r openResult) {
	c.ending = true
	c.lane.clear() // at most a close event
	c.resolveLocked(r)
}

// resolveLocked tells the handshake how the open event ended; only the first
// call counts.
func (c *client) resolveLocked(r openResult) {
	select {
	case c.opened <- r:
	default:
	}
}

// bouncedLocked keeps the head until a worker appears: there is none.
func (c *client) bouncedLocked(e *event) {
	e.delivery-- // nobody got it
	if e.kind == bus.Open && e.delivery == 0 && (c.ending || c.finishing != nil) {
		// The client left, or the gateway stops, before any worker heard of it:
		// nobody needs to know.
		c.gw.dispatch.forget(e)
		c.lane.pop()
		c.refuseLocked(openResult{status: http.StatusServiceUnavailable, reason: "no worker there"})
		return
	}
	c.holdLocked(e)
}

// holdLocked keeps an event for as long as it may wait for a worker, counted
// from the first time.
func (c *client) holdLocked(e *event) {
	hold := c.gw.cfg.Hold
	if c.gw.stopping.Load() { // workers that stop at the same time do not come back
		hold = min(hold, c.gw.cfg.AckWait)
	}
	if until := time.Now().Add(hold); e.heldUntil.IsZero() || until.Before(e.heldUntil) {
		e.heldUntil = until
	}
	c.gw.dispatch.hold(e)
}

// pauseLocked keeps the head for a short while: a worker handed it back.
func (c *client) pauseLocked(e *event) {
	e.delivery-- // nobody handled it
	pause := min(busyPause<<min(e.busy, 10), busyPauseMax)
	e.busy++
	e.state = paused
	c.gw.dispatch.answered(e) // a busy worker is a worker
	time.AfterFunc(pause/2+rand.N(pause/2), func() { c.retry(e) })
}

// retry gives an event out again after it was held or handed back.
func (c *client) retry(e *event) {
	c.mu.Lock()
	if e.state == held || e.state == paused {
		c.sendLocked(e)
	}
	c.unlockAndTidy()
}

// unanswered gives an event out again when nobody answered in time, or gives
// it up.
func (c *client) unanswered(e *event, now time.Time) {
	c.mu.Lock()
	if e.state != out || now.Before(e.due) {
		c.mu.Unlock() // it was answered meanwhile, or is awaited anew
		return
	}
	if e.delivery < c.gw.cfg.MaxDeliver {
		c.gw.count.redelivered.Add(1)
		e.heldUntil = time.Time{} // a worker was there
		c.sendLocked(e)
		c.unlockAndTidy()
		return
	}
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
			"client", c.id, "group", c.group, "kind", e.kind.String(), "hold", c.gw.cfg.Hold)
	})
	c.giveUpLocked(e, closing{bus.CloseTryLater, "no worker there"})
}

// giveUpLocked drops the head and ends the client. It unlocks.
func (c *client) giveUpLocked(e *event, end closing) {
	if c.gw.stopping.Load() { // whatever else was wrong: another gateway may do better
		end = restarts
	}
	c.gw.dispatch.forget(e)
	c.lane.pop()
	if e.kind == bus.Open {
		c.refuseLocked(openResult{status: http.StatusServiceUnavailable, reason: end.reason})
	} else {
		if c.ending { // the peer has left: the rest goes too, its close event is still owed
			c.gw.count.droppedClosing.Add(int64(c.lane.keepLast()))
		}
		c.closeNowLocked(end)
	}
	c.advanceLocked()
	c.unlockAndTidy()
}

// closeNow closes the client from this side.
func (c *client) closeNow(end closing) {
	c.mu.Lock()
	c.closeNowLocked(end)
	c.unlockAndTidy()
}

// closeNowLocked begins the end from this side: events that wait are dropped, the
// close event is next, and the close frame follows the frames already queued.
func (c *client) closeNowLocked(end closing) {
	if c.ending {
		return
	}
	c.gw.count.droppedClosing.Add(int64(c.lane.clear()))
	c.endLocked(end)
	c.out.last = &end
	c.writeLocked()
	if c.ws != nil {
		time.AfterFunc(c.gw.cfg.CloseTimeout, c.closeSentOrAbort)
	}
}

// closeSentOrAbort ends a connection to which the close frame, and the frames
// before it, could not be written in close_timeout.
func (c *client) closeSentOrAbort() {
	c.mu.Lock()
	sent, ws := c.out.closeSent, c.ws
	c.mu.Unlock()
	if !sent {
		ws.abort()
	}
}

// peerLeft is called when the peer has closed or broken off: what it sent before
// is still handled, then the close event.
func (c *client) peerLeft(end closing) {
	c.mu.Lock()
	if e := c.lane.head; !c.ending && e != nil && e.kind == bus.Open && e.delivery == 0 && e.state == held {
		c.giveUpLocked(e, end) // no worker has heard of it
		return
	}
	if !c.ending {
		c.endLocked(end)
	}
	c.unlockAndTidy()
}

// endLocked begins the end: the close event goes behind the others. A client
// still waiting for the answer to its open event gets its close event only if
// that is accepted.
func (c *client) endLocked(end closing) {
	c.ending = true
	data, err := json.Marshal(bus.CloseInfo{Client: c.id, Code: end.code, Reason: end.reason})
	if err != nil { // cannot be: strings and a number
		panic(err)
	}
	c.addLocked(bus.Close, data)
	c.log.Debug("client ends", "client", c.id, "code", int(end.code), "reason", end.reason)
}

// closeAnswered closes the client once what it has sent so far is answered.
func (c *client) closeAnswered(end closing) {
	c.mu.Lock()
	if c.finishing != nil || c.ending {
		c.mu.Unlock()
		return
	}
	c.finishing = &end
	if e := c.lane.head; e != nil && e.state == held {
		if e.kind == bus.Open && e.delivery == 0 {
			c.giveUpLocked(e, end) // no worker has heard of it
			return
		}
		c.holdLocked(e) // it has less time now
	}
	c.advanceLocked()
	c.unlockAndTidy()
}
