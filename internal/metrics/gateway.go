package metrics

import "github.com/gatebus/gatebus/gateway"

var gatewayFamilies = []Family{
	{"gatebus_gateway_connections", Gauge, nil, "Clients that are connected or connecting."},
	{"gatebus_gateway_connections_accepted_total", Counter, nil, "Clients that came through the handshake."},
	{"gatebus_gateway_connections_refused_total", Counter, []string{"reason"}, "Clients that were not let in, and requests that were no handshake. Reasons: worker (a worker said so), no_worker (none within hold), unanswered (none answered in max_deliver tries), bad_reply, uid_taken, left (before the answer), stopping, bad_handshake, bad_proxy_header, origin, clients, clients_per_address, connects_per_second (limits), token, no_keys (of tokens, yet)."},
	{"gatebus_gateway_connections_closed_total", Counter, []string{"code"}, "Clients that were let in and have left, by close code, whichever side ended it; 1006 is a connection that broke off, and codes that peers and applications choose count as 3xxx and 4xxx."},
	{"gatebus_gateway_connections_stalled", Gauge, nil, "Clients whose sockets are not read because too much of theirs waits."},
	{"gatebus_gateway_uids", Gauge, nil, "Uids that have clients here."},
	{"gatebus_gateway_groups", Gauge, nil, "Groups that have clients here."},
	{"gatebus_gateway_workers", Gauge, []string{"group"}, "Workers on the bus, by the worker group that the gateway serves."},
	{"gatebus_gateway_received_frames_total", Counter, nil, "Frames that clients sent."},
	{"gatebus_gateway_received_bytes_total", Counter, nil, "Payload of the frames that clients sent."},
	{"gatebus_gateway_sent_frames_total", Counter, nil, "Frames put into clients' queues: answers and pushes."},
	{"gatebus_gateway_sent_bytes_total", Counter, nil, "Payload of the frames put into clients' queues."},
	{"gatebus_gateway_events_total", Counter, nil, "Events that clients caused: frames, and their open and close."},
	{"gatebus_gateway_events_answered_total", Counter, nil, "Events that a worker answered."},
	{"gatebus_gateway_events_in_flight", Gauge, nil, "Events that are with a worker, or on their way."},
	{"gatebus_gateway_events_held", Gauge, nil, "Events that wait for a first worker to appear."},
	{"gatebus_gateway_events_oldest_seconds", Gauge, nil, "For how long the event that is out for longest has had no sign of life from its worker."},
	{"gatebus_gateway_events_redelivered_total", Counter, nil, "Events given out again: their worker was gone or silent."},
	{"gatebus_gateway_events_busy_total", Counter, nil, "Events that workers handed back at their concurrency limit."},
	{"gatebus_gateway_events_dropped_total", Counter, []string{"reason"}, "Events that no worker answered. Reasons: poison (given out max_deliver times), hold (no worker within hold), closing (still waiting when the client was closed)."},
	{"gatebus_gateway_ack_latency_seconds", Histogram, nil, "Time from when an event is first given out to its answer, of one event in 16. Redeliveries and waiting for a worker count too."},
	{"gatebus_gateway_lane_events", Gauge, nil, "Events that wait for their turn, of all clients."},
	{"gatebus_gateway_lane_bytes", Gauge, nil, "Payload of the events that wait for their turn."},
	{"gatebus_gateway_outbox_frames", Gauge, nil, "Frames that wait for clients to read them."},
	{"gatebus_gateway_outbox_bytes", Gauge, nil, "Payload of the frames that wait for clients to read them."},
	{"gatebus_gateway_replies_late_total", Counter, nil, "Replies to an event that was answered before, or whose client is gone: discarded."},
	{"gatebus_gateway_replies_bad_total", Counter, nil, "Replies that break the protocol; their clients were closed."},
	{"gatebus_gateway_requests_bad_total", Counter, nil, "Pushes and commands that break the protocol."},
	{"gatebus_gateway_pushes_total", Counter, []string{"scope"}, "Pushes, by whom they were for: client, uid, group, all, clients, uids, groups."},
	{"gatebus_gateway_commands_total", Counter, []string{"operation"}, "Commands, by operation; those that this version does not know as unknown."},
	{"gatebus_gateway_questions_total", Counter, nil, "Times that the workers were asked what they hold: one was gone, or an event overdue."},
	{"gatebus_gateway_workers_disconnected_total", Counter, nil, "Workers that were disconnected: silent about what they hold while an event was overdue."},
	{"gatebus_gateway_workers_other_protocol_total", Counter, nil, "Greetings of workers that speak a protocol of another major, which are disconnected."},
	{"gatebus_gateway_messages_dropped_total", Counter, nil, "Messages from workers that the gateway was too slow to take."},
	{"gatebus_gateway_tap_messages_total", Counter, nil, "Messages mirrored to the registers because somebody taps."},
	{"gatebus_gateway_tap_messages_skipped_total", Counter, nil, "Messages that somebody taps and that were not mirrored: beyond gateway.tap.rate, or no register was there."},
}

// Gateway is where the figures of a gateway come from.
type Gateway interface {
	Stats() gateway.Stats
	Queues() gateway.Queues
	Workers() map[string]int
}

// Gateway adds a gateway.
func (s *Set) Gateway(g Gateway) {
	s.add(gatewayFamilies, func(e *emitter) {
		st, q := g.Stats(), g.Queues()
		e.count("gatebus_gateway_connections", st.Clients)
		e.count("gatebus_gateway_connections_accepted_total", st.Accepted)
		e.each("gatebus_gateway_connections_refused_total", st.RefusedFor)
		e.each("gatebus_gateway_connections_closed_total", st.Closed)
		e.count("gatebus_gateway_connections_stalled", q.Stalled)
		e.count("gatebus_gateway_uids", st.UIDs)
		e.count("gatebus_gateway_groups", st.Groups)
		for group, n := range g.Workers() {
			e.send("gatebus_gateway_workers", float64(n), group)
		}
		e.count("gatebus_gateway_received_frames_total", st.FramesIn)
		e.count("gatebus_gateway_received_bytes_total", st.BytesIn)
		e.count("gatebus_gateway_sent_frames_total", st.FramesOut)
		e.count("gatebus_gateway_sent_bytes_total", st.BytesOut)
		e.count("gatebus_gateway_events_total", st.EventsIn)
		e.count("gatebus_gateway_events_answered_total", st.Answered)
		e.count("gatebus_gateway_events_in_flight", st.InFlight)
		e.count("gatebus_gateway_events_held", st.Waiting)
		e.send("gatebus_gateway_events_oldest_seconds", q.Oldest)
		e.count("gatebus_gateway_events_redelivered_total", st.Redelivery)
		e.count("gatebus_gateway_events_busy_total", st.Busy)
		e.count("gatebus_gateway_events_dropped_total", st.DroppedPoison, "poison")
		e.count("gatebus_gateway_events_dropped_total", st.DroppedHold, "hold")
		e.count("gatebus_gateway_events_dropped_total", st.DroppedClosing, "closing")
		e.histogram("gatebus_gateway_ack_latency_seconds", st.Latency)
		e.count("gatebus_gateway_lane_events", q.LaneEvents)
		e.count("gatebus_gateway_lane_bytes", q.LaneBytes)
		e.count("gatebus_gateway_outbox_frames", q.OutboxFrames)
		e.count("gatebus_gateway_outbox_bytes", q.OutboxBytes)
		e.count("gatebus_gateway_replies_late_total", st.LateReply)
		e.count("gatebus_gateway_replies_bad_total", st.BadReply)
		e.count("gatebus_gateway_requests_bad_total", st.BadRequest)
		e.each("gatebus_gateway_pushes_total", st.Pushes)
		e.each("gatebus_gateway_commands_total", st.Commands)
		e.count("gatebus_gateway_questions_total", st.Asked)
		e.count("gatebus_gateway_workers_disconnected_total", st.Disconnected)
		e.count("gatebus_gateway_workers_other_protocol_total", st.OtherProtocol)
		e.count("gatebus_gateway_messages_dropped_total", st.DroppedBus)
		e.count("gatebus_gateway_tap_messages_total", st.Tapped)
		e.count("gatebus_gateway_tap_messages_skipped_total", st.TapSkipped)
	})
}
