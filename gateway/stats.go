package gateway

import (
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/internal/latency"
)

// Stats are the counters of a gateway since its start, and some gauges.
type Stats struct {
	Clients    int64 `json:"clients"`     // gauge: connected or connecting
	Waiting    int64 `json:"waiting"`     // gauge: clients whose event waits for a first worker
	InFlight   int64 `json:"in_flight"`   // gauge: events that are out and not answered
	UIDs       int64 `json:"uids"`        // gauge: uids that have clients
	Groups     int64 `json:"groups"`      // gauge: groups that have clients
	Accepted   int64 `json:"accepted"`    // clients that came through the handshake
	Refused    int64 `json:"refused"`     // clients refused at the handshake
	EventsIn   int64 `json:"events_in"`   // open, frames and close that clients caused
	FramesIn   int64 `json:"frames_in"`   // of those: frames
	BytesIn    int64 `json:"bytes_in"`    // payload of the frames
	Answered   int64 `json:"answered"`    // events that a worker answered
	FramesOut  int64 `json:"frames_out"`  // frames put into clients' queues
	BytesOut   int64 `json:"bytes_out"`   // payload of those
	Redelivery int64 `json:"redelivered"` // events given out again
	Asked      int64 `json:"asked"`       // times that the workers were asked what they hold
	Busy       int64 `json:"busy"`        // events that workers handed back
	LateReply  int64 `json:"late_reply"`  // replies to an event that was answered before, or whose client is gone
	BadReply   int64 `json:"bad_reply"`   // replies that break the protocol
	BadRequest int64 `json:"bad_request"` // pushes and commands that break the protocol

	// OtherProtocol counts the greetings of workers that speak a protocol of another
	// major, which are disconnected.
	OtherProtocol int64 `json:"other_protocol"`

	// Disconnected counts the workers that were silent about what they hold
	// while an event was overdue.
	Disconnected int64 `json:"disconnected"`

	Tapped     int64 `json:"tapped"`      // messages mirrored to the registers for taps
	TapSkipped int64 `json:"tap_skipped"` // those that were not, beyond tap.rate or with no register

	// Events that no worker answered, by reason.
	DroppedPoison  int64 `json:"dropped_poison"`  // given out max_deliver times
	DroppedHold    int64 `json:"dropped_hold"`    // no worker within hold
	DroppedClosing int64 `json:"dropped_closing"` // still waiting when the client was closed
	DroppedBus     int64 `json:"dropped_bus"`     // messages lost between bus and gateway

	// Clients that the gateway closed, by reason.
	ClosedSlow   int64 `json:"closed_slow"`   // 4000
	ClosedSilent int64 `json:"closed_silent"` // 4001

	// RefusedFor counts the clients that were not let in, and the requests that were no
	// handshake, by reason: see [RefusedReasons].
	RefusedFor map[string]int64 `json:"refused_for"`
	// Closed counts the clients that were let in and have left, whichever side ended it,
	// by close code: each code of bus.CloseCodes, 1005 (the peer gave none) and 1006 (the
	// connection ended without a close) for itself; others as "3xxx", "4xxx" or "other".
	Closed map[string]int64 `json:"closed"`
	// Pushes counts the pushes, by whom they were for: the scopes of package bus.
	Pushes map[string]int64 `json:"pushes"`
	// Commands counts the commands, by operation; those that this gateway does not know
	// as "unknown".
	Commands map[string]int64 `json:"commands"`
	// Latency is the time from when an event is first given out to its answer, of one
	// event in [latency.Every]. Redeliveries, the pauses of events that were handed back,
	// and the wait for a first worker count too: it is what a client sees.
	Latency latency.Snapshot `json:"ack_latency"`
	// Door are figures of the rules for all clients.
	Door DoorStats `json:"door"`
}

// RefusedReasons are why clients are not let in.
func RefusedReasons() []string { return refusalNames[1:] }

// refusal is why a client was not let in.
type refusal uint8

const (
	notRefused        refusal = iota
	refusedWorker             // a worker said so
	refusedNoWorker           // none was there within hold
	refusedUnanswered         // none answered in max_deliver tries
	refusedBadReply           // the worker's answer broke the protocol
	refusedUIDTaken           // its uid has another client
	refusedLeft               // it left before the answer
	refusedStopping           // the gateway stops
	refusedHandshake          // it was no handshake for a WebSocket
	refusedProxy              // it had no PROXY header that counts
	refusedOrigin             // its page is not among origins
	refusedFull               // limits.clients
	refusedAddress            // limits.clients_per_address
	refusedTooFast            // limits.connects_per_second
	refusedToken              // it had none, or a bad one
	refusedNoKeys             // there are no keys yet for its token
)

var refusalNames = [...]string{
	"", "worker", "no_worker", "unanswered", "bad_reply", "uid_taken", "left", "stopping", "bad_handshake",
	"bad_proxy_header", "origin", "clients", "clients_per_address", "connects_per_second", "token", "no_keys",
}

// refusalFor is why a client is not let in whose open event is given up.
func refusalFor(end closing) refusal {
	switch end.code {
	case bus.CloseRestart:
		return refusedStopping
	case bus.CloseTryLater:
		return refusedNoWorker
	case bus.CloseHandlerFailed:
		return refusedUnanswered
	}
	return refusedLeft
}

// byName counts by a fixed set of names; what is none of them counts as the last one.
type byName struct {
	names  []string
	counts []atomic.Int64
}

func newByName(names ...string) *byName {
	return &byName{names: names, counts: make([]atomic.Int64, len(names))}
}

func (b *byName) add(name string) {
	i := slices.Index(b.names, name)
	if i < 0 {
		i = len(b.names) - 1
	}
	b.counts[i].Add(1)
}

func (b *byName) snapshot() map[string]int64 {
	m := make(map[string]int64, len(b.names))
	for i, name := range b.names {
		m[name] = b.counts[i].Load()
	}
	return m
}

// closeNames are as what close codes count.
func closeNames() (names []string) {
	for _, c := range bus.CloseCodes {
		names = append(names, strconv.Itoa(int(c.Code)))
	}
	return append(names, strconv.Itoa(int(bus.CloseNoStatus)), strconv.Itoa(int(bus.CloseAbnormal)), "3xxx", "4xxx", "other")
}

// closed counts the end of a client that was let in.
func (c *counters) closed(code bus.CloseCode) {
	name := strconv.Itoa(int(code))
	if !slices.Contains(c.ends.names, name) && 3000 <= code && code <= 4999 {
		name = name[:1] + "xxx" // peers and applications choose theirs: there must not be a figure for each
	}
	c.ends.add(name)
}

// counters are the Stats as they are counted.
type counters struct {
	opened, framesIn, bytesIn, ended                   atomic.Int64
	accepted, refused, answered, framesOut, bytesOut   atomic.Int64
	asked, disconnected, otherProtocol                 atomic.Int64
	redelivered, busy, lateReply, badReply, badRequest atomic.Int64
	droppedPoison, droppedHold, droppedClosing         atomic.Int64
	closedSlow, closedSilent                           atomic.Int64
	tapped, tapSkipped                                 atomic.Int64

	refusals               [len(refusalNames)]atomic.Int64
	ends, pushes, commands *byName
	latency                latency.Histogram
	door                   doorCounters
}

func (c *counters) init() {
	c.ends = newByName(closeNames()...)
	c.pushes = newByName(
		string(bus.ToClient), string(bus.ToUID), string(bus.ToGroup), string(bus.ToAll),
		string(bus.ToClients), string(bus.ToUIDs), string(bus.ToGroups),
	)
	c.commands = newByName(
		bus.OpClose, bus.OpBind, bus.OpUnbind, bus.OpJoin, bus.OpLeave, bus.OpDissolve, bus.OpSession,
		bus.OpInfo, bus.OpCount, bus.OpList, bus.OpHello, bus.OpNames, "unknown",
	)
}

// sent counts frames that were put into clients' queues, each of so many bytes.
func (c *counters) sent(frames, bytes int) {
	c.framesOut.Add(int64(frames))
	c.bytesOut.Add(int64(frames * bytes))
}

// Stats is a snapshot. It may be called at any time. No counter in it is ever less than
// in one that was taken before.
func (g *Gateway) Stats() Stats {
	c := &g.count
	dropped := int64(0)
	g.subsMu.Lock()
	for _, s := range g.subs {
		dropped += int64(s.Dropped())
	}
	g.subsMu.Unlock()
	uids, groups := g.index.names()
	s := Stats{
		Clients:        int64(g.index.len()),
		Waiting:        int64(g.dispatch.waiting()),
		InFlight:       int64(g.dispatch.inFlight()),
		UIDs:           int64(uids),
		Groups:         int64(groups),
		Accepted:       c.accepted.Load(),
		Refused:        c.refused.Load(),
		FramesIn:       c.framesIn.Load(),
		BytesIn:        c.bytesIn.Load(),
		Answered:       c.answered.Load(),
		FramesOut:      c.framesOut.Load(),
		BytesOut:       c.bytesOut.Load(),
		Redelivery:     c.redelivered.Load(),
		Asked:          c.asked.Load(),
		Disconnected:   c.disconnected.Load(),
		OtherProtocol:  c.otherProtocol.Load(),
		Busy:           c.busy.Load(),
		LateReply:      c.lateReply.Load(),
		BadReply:       c.badReply.Load(),
		BadRequest:     c.badRequest.Load(),
		DroppedPoison:  c.droppedPoison.Load(),
		DroppedHold:    c.droppedHold.Load(),
		DroppedClosing: c.droppedClosing.Load(),
		DroppedBus:     dropped,
		ClosedSlow:     c.closedSlow.Load(),
		Tapped:         c.tapped.Load(),
		TapSkipped:     c.tapSkipped.Load(),
		ClosedSilent:   c.closedSilent.Load(),
		RefusedFor:     map[string]int64{},
		Closed:         c.ends.snapshot(),
		Pushes:         c.pushes.snapshot(),
		Commands:       c.commands.snapshot(),
		Latency:        c.latency.Snapshot(),
		Door:           c.door.stats(g.buffered.total.Load()),
	}
	s.EventsIn = c.opened.Load() + s.FramesIn + c.ended.Load()
	for why := range c.refusals {
		if why != int(notRefused) {
			s.RefusedFor[refusalNames[why]] = c.refusals[why].Load()
		}
	}
	return s
}

// Queues are what waits in a gateway: gauges.
type Queues struct {
	// LaneEvents are the events of clients that wait for their turn, LaneBytes their
	// payload.
	LaneEvents int64 `json:"lane_events"`
	LaneBytes  int64 `json:"lane_bytes"`
	// OutboxFrames are the frames that wait for clients to read them, OutboxBytes their
	// payload.
	OutboxFrames int64 `json:"outbox_frames"`
	OutboxBytes  int64 `json:"outbox_bytes"`
	// Stalled are the clients whose sockets are not read because too much of theirs
	// waits.
	Stalled int64 `json:"stalled"`
	// Oldest is for how long, in seconds, the event that is out and unanswered for
	// longest has had no sign of life from its worker: the lag behind the clients.
	Oldest float64 `json:"oldest_seconds"`
}

// Queues is a snapshot. It looks at every client, each locked for a moment: with a
// hundred thousand it takes some ten milliseconds, so it is for every few seconds.
func (g *Gateway) Queues() Queues {
	q := Queues{Oldest: g.dispatch.oldest(time.Now()).Seconds()}
	for _, c := range g.index.all() {
		c.mu.Lock()
		q.LaneEvents += int64(c.lane.waiting)
		q.LaneBytes += int64(c.lane.bytes)
		q.OutboxFrames += int64(c.out.len())
		q.OutboxBytes += int64(c.out.bytes)
		if c.stalled {
			q.Stalled++
		}
		c.mu.Unlock()
	}
	return q
}

// Workers is how many workers of each group that the gateway serves are on its bus, as
// it has seen a moment ago at most; nil if the bus runs elsewhere, so that it cannot see
// them.
func (g *Gateway) Workers() map[string]int {
	if g.roster.server == nil {
		return nil
	}
	seen, workers := g.roster.now.Load().workers, map[string]int{}
	for group := range g.subjects {
		workers[group] = seen[group]
	}
	return workers
}
