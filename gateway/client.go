package gateway

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatebus/gatebus/bus"
)

// client is one connection: its lane of events to the workers and its outbox
// of frames to the peer. It begins when its HTTP request asks for a WebSocket
// and ends when its last event is answered or given up.
type client struct {
	// set at construction
	gw       *Gateway
	id       bus.ClientID
	number   uint64 // in the id
	listener *listener
	group    string // worker group

	// opened gets how the open event ended, once.
	opened chan openResult
	// heard is when the peer last sent something, pinged when it was last asked
	// to; both since the gateway's start, by its monotonic clock. Zero is never.
	heard, pinged atomic.Int64

	// guarded by the index's mutex
	uid    string
	claim  int64 // since when it has the uid, or has it no more, in microseconds since 1970
	groups []string

	// open is what the client asked for, and since when it is there; both are set
	// before it is on the index.
	open      []byte     // JSON of bus.OpenInfo
	from      netip.Addr // that it counts for; not valid if none
	connected time.Time
	presence  presence
	// part is how much has come of it that is not taken yet, as was last told to the
	// sum of what waits; written by who reads the connection.
	part atomic.Int64
	// expires is when its token is no good any more, in nanoseconds since 1970; 0 for
	// never. Set before it is on the index.
	expires int64

	mu    sync.Mutex
	lane  lane
	bound bus.WorkerAddress // the worker that gets the next events; "" for any
	dense bool              // that worker takes batches
	// followed counts the events that went to a worker only because the one
	// before was there, since the last one that could have gone to any.
	followed int
	out      outbox
	weight   int       // of lane and outbox, as was last told to the sum
	given    *given    // nil as long as it never had a uid or session; not to be changed
	stalled  bool      // the peer is not read: the lane is full
	conn     transport // nil until it is let in
	// accepted is set when a worker has accepted the open event: a close event
	// is owed.
	accepted bool
	// finishing is set when no more frames are taken, and the client is closed
	// as soon as those taken are answered.
	finishing *closing
	// ending is set when the end has begun: no more frames are taken.
	ending bool
	// cut is set when the connection is to be ended without a word, as soon as there
	// is one.
	cut bool
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
	why         refusal // of a status that is not 0, for the figures
}

// submit puts an event at the end of the lane. It tells whether there is room for
// more; if not, the connection is resumed when there is.
func (c *client) submit(kind bus.Kind, data []byte) (more bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ending || c.finishing != nil {
		c.gw.count.droppedClosing.Add(1)
		return true
	}
	c.gw.count.framesIn.Add(1)
	c.gw.count.bytesIn.Add(int64(len(data)))
	c.addLocked(kind, data)
	c.stalled = c.laneOrOutboxFullLocked()
	return !c.stalled
}

// laneOrOutboxFullLocked tells whether the peer is to be read no further: too much
// of what it has sent waits for its turn, or too much waits for it to be read. With
// half of the outbox left, who sends more than it reads is slowed down, and is not
// closed for the answers to its own frames.
func (c *client) laneOrOutboxFullLocked() bool {
	cfg := c.gw.config()
	return c.lane.full(cfg.QueueFrames, cfg.QueueBytes) || c.out.len() > cfg.SendFrames/2 || c.out.bytes > cfg.SendBytes/2 ||
		c.crampedLocked(cfg.Limits.BufferedBytes)
}

// resumeLocked has the peer read again, if it is not and there is room.
func (c *client) resumeLocked() {
	c.weighLocked()
	if c.stalled && (c.ending || !c.laneOrOutboxFullLocked()) {
		c.stalled = false
		c.alive() // the silence while nothing was read was ours, not the peer's
		c.conn.resumeLocked()
	}
}

// start gives out the open event, which the lane has already.
func (c *client) start() {
	c.mu.Lock()
	c.gw.count.opened.Add(1)
	c.advanceLocked()
	c.unlockAndTidy()
}

func (c *client) addLocked(kind bus.Kind, data []byte) {
	e := newEvent(c, kind, data)
	c.lane.add(e)
	if t := c.gw.tracer; t != nil {
		t.begin(e, nil)
	}
	c.advanceLocked()
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
	c.gw.buffered.add(-c.weight, 0)
	return true
}

// openAnsweredLocked carries out the reply to the open event. The client is
// bound before its next message from the bus is looked at, so a push to its uid
// or group that follows the reply finds it.
func (c *client) openAnsweredLocked(r bus.Reply, subject string) {
	switch r.Status {
	case bus.Rejected:
		c.refuseLocked(openResult{status: r.Code, reason: r.Reason, why: refusedWorker})
		return
	case bus.Closed: // a plain worker that closes what it does not want
		c.refuseLocked(openResult{status: http.StatusForbidden, reason: r.Reason, why: refusedWorker})
		return
	}
	open, err := bus.ParseOpenReply(r.Data)
	if err != nil {
		c.badReply(subject, err)
		c.refuseLocked(openResult{status: http.StatusBadGateway, reason: badReplyReason, why: refusedBadReply})
		return
	}
	c.accepted = true
	// The index is locked before a client. The event stays in its place
	// meanwhile, so nothing overtakes this.
	c.mu.Unlock()
	err = c.gw.admit(c, &open)
	c.mu.Lock()
	switch {
	case errors.Is(err, errUIDTaken):
		c.accepted = false
		c.refuseLocked(openResult{status: http.StatusConflict, reason: "the uid is taken", why: refusedUIDTaken})
	case err != nil:
		c.accepted = false
		c.badReply(subject, err)
		c.refuseLocked(openResult{status: http.StatusBadGateway, reason: badReplyReason, why: refusedBadReply})
	default:
		if !c.ending {
			c.gw.index.online(c)
		}
		c.resolveLocked(openResult{subprotocol: open.Subprotocol})
	}
}

// refuseLocked ends a client that no worker has accepted: the handshake is told,
// a worker need not be.
func (c *client) refuseLocked(r openResult) {
	c.ending = true
	c.gw.index.offline(c)
	c.gw.count.refusals[r.why].Add(1)
	c.lane.clear(false) // at most a close event
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
	c.gw.count.droppedClosing.Add(int64(c.lane.clear(false)))
	c.endLocked(end)
	c.out.last = &end
	if c.conn != nil {
		c.conn.closeLocked()
	}
}

// peerLeft is called when the peer has closed or broken off: what it sent before
// is still handled, then the close event.
func (c *client) peerLeft(end closing) {
	c.mu.Lock()
	if e := c.lane.first; !c.ending && e != nil && e.kind == bus.Open && e.delivery == 0 && e.state == held {
		c.giveUpLocked(e, end) // no worker has heard of it
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
	c.gw.index.offline(c)
	c.gw.count.ended.Add(1)
	if c.accepted {
		c.gw.count.closed(end.code)
	}
	data, err := json.Marshal(bus.CloseInfo{Client: c.id, Code: end.code, Reason: end.reason})
	if err != nil { // cannot be: strings and a number
		panic(err)
	}
	c.addLocked(bus.Close, data)
	c.gw.log.Debug("client ends", "client", c.id, "code", int(end.code), "reason", end.reason)
}

// closeAnswered closes the client once what it has sent so far is answered.
func (c *client) closeAnswered(end closing) {
	c.mu.Lock()
	if c.finishing != nil || c.ending {
		c.mu.Unlock()
		return
	}
	c.finishing = &end
	switch e := c.lane.first; {
	case e == nil || e.state != held:
	case e.kind == bus.Open && e.delivery == 0:
		c.giveUpLocked(e, end) // no worker has heard of it
	default:
		c.holdLocked(e) // it has less time now
	}
	c.advanceLocked()
	c.unlockAndTidy()
}
