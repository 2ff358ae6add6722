package bustest

import (
	"bytes"
	"fmt"
	"maps"
	"slices"

	"github.com/gatebus/gatebus/bus"
)

var messageCases = []Case{
	{"message/headers and payload", exactly},
	{"message/empty payload", emptyPayload},
	{"message/publisher reuses Data", reuse},
	{"message/receivers own their copies", ownCopies},
}

func exactly(f *fixture) {
	var every []byte
	for i := range 256 {
		every = append(every, byte(i))
	}
	msgs := []*bus.Msg{
		{Data: []byte("plain")},
		{Data: every, Reply: "exact.reply.client-1.18446744073709551615"},
		{Data: []byte("\r\nPING\r\n+OK\r\nMSG a 1 1\r\n")},
		{Data: bytes.Repeat(every, 2000)}, // 512,000 bytes
		{Data: []byte("with headers"), Header: bus.Header{
			bus.HeaderUID:     {"alice%40example"},
			bus.HeaderStatus:  {"close 4401 größer: ✓ 😀; a=b"},
			bus.HeaderExcept:  {"a-1-1,a-1-2", "a-1-3"},
			bus.HeaderSession: {`{"n":1,"s":"x\\y"}`},
			"lower-case":      {"kept"},
			"X-Empty":         {""},
		}},
		{Header: bus.Header{bus.HeaderKind: {"text"}}},
	}
	pub, sub := f.conn(), f.conn()
	plain, queued := newRecord(), newRecord()
	s := f.subscribe(sub, plain.add, "exact.in")
	q := f.join(sub, "exact.in", "q", queued.add)
	for _, m := range msgs {
		m.Subject = "exact.in"
		f.publish(pub, m)
	}
	f.flush(pub)
	f.drain(s, q)
	for _, got := range [][]*bus.Msg{plain.all(), queued.all()} {
		if len(got) != len(msgs) {
			f.Fatalf("got %d messages, want %d", len(got), len(msgs))
		}
		for i, want := range msgs {
			if got[i].Subject != want.Subject || got[i].Reply != want.Reply {
				f.Errorf("message %d: on %q, reply %q; want %q, %q", i, got[i].Subject, got[i].Reply, want.Subject, want.Reply)
			}
			if !bytes.Equal(got[i].Data, want.Data) {
				f.Errorf("message %d: %d bytes differ from the %d that were sent", i, len(got[i].Data), len(want.Data))
			}
			if !maps.EqualFunc(got[i].Header, want.Header, slices.Equal) {
				f.Errorf("message %d: headers %q, want %q", i, got[i].Header, want.Header)
			}
		}
	}
}

// emptyPayload: an empty message is a message, and not a no-responders one.
func emptyPayload(f *fixture) {
	pub, sub := f.conn(), f.conn()
	r := newRecord()
	s := f.subscribe(sub, r.add, "empty")
	f.publish(pub, &bus.Msg{Subject: "empty"})
	f.publish(pub, &bus.Msg{Subject: "empty", Data: []byte{}, Reply: "r"})
	f.publish(pub, &bus.Msg{Subject: "empty", Header: bus.Header{bus.HeaderStatus: {"busy"}}})
	f.flush(pub)
	f.drain(s)
	if n := r.len(); n != 3 {
		f.Errorf("got %d messages, want 3", n)
	}
	for i, m := range r.all() {
		if len(m.Data) != 0 || bus.IsNoResponders(m) {
			f.Errorf("message %d: %q, no responders: %v", i, m.Data, bus.IsNoResponders(m))
		}
	}
}

func reuse(f *fixture) {
	pub, sub := f.conn(), f.conn()
	r := newRecord()
	s := f.subscribe(sub, r.add, "reuse")
	buf := make([]byte, 0, 16)
	m := &bus.Msg{Subject: "reuse", Header: bus.Header{"N": {""}}}
	for i := range 500 {
		buf = fmt.Append(buf[:0], i)
		m.Data = buf
		m.Header["N"][0] = string(buf)
		f.publish(pub, m)
		clear(buf)
	}
	f.flush(pub)
	f.drain(s)
	f.wantNumbers(r.all(), 0, 500)
	for _, m := range r.all() {
		if m.Header.Get("N") != string(m.Data) {
			f.Fatalf("header %q of message %q", m.Header.Get("N"), m.Data)
		}
	}
}

// ownCopies: what one receiver does to a message, no other sees.
func ownCopies(f *fixture) {
	pub, sub := f.conn(), f.conn()
	r := newRecord()
	spoil := func(m *bus.Msg) {
		clear(m.Data)
		m.Header["K"][0] = "spoilt"
		m.Header.Add("K", "more")
		m.Subject = "spoilt"
	}
	a := f.subscribe(sub, spoil, "copies")
	b := f.subscribe(f.conn(), spoil, "copies")
	c := f.join(sub, "copies", "q", spoil)
	s := f.subscribe(sub, r.add, "copies")
	sent := &bus.Msg{Subject: "copies", Header: bus.Header{"K": {"v"}}, Data: []byte("data")}
	for range 50 {
		f.publish(pub, sent)
	}
	f.flush(pub)
	f.drain(a, b, c, s)
	for _, m := range append(r.all(), sent) {
		if m.Subject != "copies" || string(m.Data) != "data" || !slices.Equal(m.Header["K"], []string{"v"}) {
			f.Fatalf("another receiver spoilt it: %q %q %q", m.Subject, m.Data, m.Header)
		}
	}
}
