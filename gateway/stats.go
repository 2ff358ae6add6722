package gateway

import "sync/atomic"

// Stats are the counters of a gateway since its start, and two gauges.
type Stats struct {
	Clients    int64 `json:"clients"`     // gauge: connected or connecting
	Waiting    int64 `json:"waiting"`     // gauge: clients whose event waits for a first worker
	Accepted   int64 `json:"accepted"`    // clients that came through the handshake
	Refused    int64 `json:"refused"`     // clients refused at the handshake
	EventsIn   int64 `json:"events_in"`   // open, frames and close that clients caused
	Answered   int64 `json:"answered"`    // events that a worker answered
	FramesOut  int64 `json:"frames_out"`  // frames put into clients' queues
	Redelivery int64 `json:"redelivered"` // events given out again
	Asked      int64 `json:"asked"`       // times that the workers were asked what they hold
	Busy       int64 `json:"busy"`        // events that workers handed back
	LateReply  int64 `json:"late_reply"`  // replies to an event that was answered before, or whose client is gone
	BadReply   int64 `json:"bad_reply"`   // replies that break the protocol
	BadRequest int64 `json:"bad_request"` // pushes and commands that break the protocol

	// Disconnected counts the workers that were silent about what they hold
	// while an event was overdue.
	Disconnected int64 `json:"disconnected"`

	// Events that no worker answered, by reason.
	DroppedPoison  int64 `json:"dropped_poison"`  // given out max_deliver times
	DroppedHold    int64 `json:"dropped_hold"`    // no worker within hold
	DroppedClosing int64 `json:"dropped_closing"` // still waiting when the client was closed
	DroppedBus     int64 `json:"dropped_bus"`     // messages lost between bus and gateway

	// Clients that the gateway closed, by reason.
	ClosedSlow   int64 `json:"closed_slow"`   // 4000
	ClosedSilent int64 `json:"closed_silent"` // 4001
}

// counters are the Stats as they are counted.
type counters struct {
	accepted, refused, eventsIn, answered, framesOut   atomic.Int64
	asked, disconnected                                atomic.Int64
	redelivered, busy, lateReply, badReply, badRequest atomic.Int64
	droppedPoison, droppedHold, droppedClosing         atomic.Int64
	closedSlow, closedSilent                           atomic.Int64
}

// Stats is a snapshot. It may be called at any time.
func (g *Gateway) Stats() Stats {
	c := &g.count
	dropped := int64(0)
	g.subsMu.Lock()
	for _, s := range g.subs {
		dropped += int64(s.Dropped())
	}
	g.subsMu.Unlock()
	return Stats{
		Clients:        int64(g.index.len()),
		Waiting:        int64(g.dispatch.waiting()),
		Accepted:       c.accepted.Load(),
		Refused:        c.refused.Load(),
		EventsIn:       c.eventsIn.Load(),
		Answered:       c.answered.Load(),
		FramesOut:      c.framesOut.Load(),
		Redelivery:     c.redelivered.Load(),
		Asked:          c.asked.Load(),
		Disconnected:   c.disconnected.Load(),
		Busy:           c.busy.Load(),
		LateReply:      c.lateReply.Load(),
		BadReply:       c.badReply.Load(),
		BadRequest:     c.badRequest.Load(),
		DroppedPoison:  c.droppedPoison.Load(),
		DroppedHold:    c.droppedHold.Load(),
		DroppedClosing: c.droppedClosing.Load(),
		DroppedBus:     dropped,
		ClosedSlow:     c.closedSlow.Load(),
		ClosedSilent:   c.closedSilent.Load(),
	}
}
