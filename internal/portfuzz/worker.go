package portfuzz

import (
	"strings"

	"github.com/gatebus/gatebus/bus"
)

// answers is what a worker says to what it is told that has no good manners: to events,
// alone or in batches, and to the question what it holds.
func answers(t *talk, heard []byte) (b []byte) {
	if t.heard = append(t.heard, heard...); len(t.heard) > maxRead {
		t.heard = nil
	}
	for {
		m, pings, rest, ok := takeMessage(t.heard)
		t.heard = rest
		b = append(b, strings.Repeat("PONG\r\n", pings)...)
		if !ok || len(b) > maxSaid {
			return b
		}
		b = append(b, answerTo(t, &m)...)
	}
}

func answerTo(t *talk, m *natsMessage) (b []byte) {
	d := t.dice
	for range of(d, 0, 1, 1, 1, 1, 2) {
		switch {
		case bus.IsReply(m.reply): // it is an event
			b = append(b, replyTo(d, m)...)
		case bus.IsBatch(m.subject):
			b = append(b, replyToBatch(t, m)...)
		case bus.IsHeld(m.reply):
			held := natsMessage{subject: m.reply, data: heldBy(d, t.nats, nil)}
			b = held.publish(b)
		}
	}
	return b
}

// replyTo is a reply to an event, good or bad.
func replyTo(d dice, m *natsMessage) []byte {
	r := natsMessage{subject: m.reply, header: statusHeader(d), data: d.bytes(1000)}
	if strings.HasSuffix(m.subject, ".open") && !d.once(4) {
		r.header, r.data = nil, []byte(of(d, ``, `{}`,
			`{"uid":"fuzz1","groups":["fuzz1","fuzz2"],"session":{"a":1},"others":"replace"}`,
			`{"uid":"`+d.name()+`","others":"refuse"}`, `{"subprotocol":"chat","session":null}`,
			`{"groups":["`+strings.Repeat(`g","`, d.length(1100))+`g"]}`, `{"session":"`+strings.Repeat("s", d.length(3000))+`"}`))
		if d.once(3) {
			r.data = d.mutate(r.data)
		}
	}
	return r.publish(nil)
}

// replyToBatch answers the events of a batch, or changes them.
func replyToBatch(t *talk, m *natsMessage) []byte {
	d := t.dice
	epoch, rest, err := bus.BatchEpoch(m.data)
	if err != nil {
		return nil
	}
	g, at, err := bus.ParseBatchSubject(m.subject)
	if err != nil {
		return nil
	}
	data := bus.BeginBatch(nil, epoch)
	for len(rest) > 0 {
		var e bus.BatchEvent
		if e, rest, err = bus.NextEvent(rest); err != nil {
			return nil
		}
		r := bus.BatchReply{Client: e.Client, Seq: e.Seq, Reply: anyReply(d)}
		if d.once(2) {
			r.Reply = bus.Reply{}
		}
		for range of(d, 0, 1, 1, 1, 1, 2) {
			data = r.Append(data)
		}
	}
	if d.once(3) {
		// Numbers of clients are beyond what a change of few bits makes of them.
		data = append(data, d.bytes(40)...)
	}
	reply := natsMessage{subject: bus.RepliesSubject(g, at), data: data[:len(data)-d.IntN(min(3, len(data)))]}
	return reply.publish(nil)
}
