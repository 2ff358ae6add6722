package bus_test

import (
	"errors"
	"math"
	"reflect"
	"testing"

	"github.com/gatebus/gatebus/bus"
)

func TestBatch(t *testing.T) {
	t.Parallel()
	events := []bus.BatchEvent{
		{Kind: bus.Open, Client: 1, Seq: 1, Delivery: 1, Data: []byte(`{}`)},
		{Kind: bus.Text, Client: 1, Seq: 2, Delivery: 2, UID: "a.b ö", Session: `{"n":1}`, Queue: true, Data: []byte("hi")},
		{Kind: bus.Text, Client: 1, Seq: 3, Delivery: 1, Follow: true, Data: []byte("ho")},
		{Kind: bus.Binary, Client: math.MaxUint64, Seq: math.MaxUint64, Delivery: 1, Data: []byte{0, 255}},
		{Kind: bus.Text, Client: 7, Seq: 3, Delivery: 1, Data: []byte{}},
		{Kind: bus.Close, Client: 7, Seq: 4, Delivery: 5, Data: make([]byte, 70_000)},
	}
	var b []byte
	for i := range events {
		b = events[i].Append(b)
	}
	for _, want := range events {
		var got bus.BatchEvent
		var err error
		if got, b, err = bus.NextEvent(b); err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%+v comes back as %+v, %v", want, got, err)
		}
	}
	if len(b) != 0 {
		t.Errorf("%d bytes are left", len(b))
	}

	replies := []bus.BatchReply{
		{Client: 1, Seq: 1, Reply: bus.Reply{Data: []byte{}}},
		{Client: 1, Seq: 2, Reply: bus.Reply{Kind: bus.Text, Data: []byte("hi")}},
		{Client: 1, Seq: 3, Took: 300, Reply: bus.Reply{Data: []byte{}}},
		{Client: 1, Seq: 4, Took: math.MaxInt64, Reply: bus.Reply{Kind: bus.Text, Data: []byte("ho")}},
		{Client: 2, Seq: 2, Reply: bus.Reply{Status: bus.Busy, Data: []byte{}}},
		{Client: 3, Seq: 1 << 40, Reply: bus.Reply{Status: bus.Closed, Code: 4100, Reason: "bye ö", Kind: bus.Binary, Data: []byte{1}}},
		{Client: 3, Seq: 1, Reply: bus.Reply{Status: bus.Rejected, Code: 403, Data: []byte{}}},
	}
	b = nil
	for i := range replies {
		b = replies[i].Append(b)
	}
	for _, want := range replies {
		var got bus.BatchReply
		var err error
		if got, b, err = bus.NextReply(b); err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%+v comes back as %+v, %v", want, got, err)
		}
	}
	if len(b) != 0 {
		t.Errorf("%d bytes are left", len(b))
	}
}

// A batch that ends too early, at any place, is noticed.
func TestBatchCutOff(t *testing.T) {
	t.Parallel()
	e := bus.BatchEvent{Kind: bus.Text, Client: 300, Seq: 300, Delivery: 2, UID: "ann", Session: `{}`, Data: []byte("hi")}
	r := bus.BatchReply{Client: 300, Seq: 300, Reply: bus.Reply{Status: bus.Closed, Code: 4100, Reason: "bye", Kind: bus.Text, Data: []byte("x")}}
	for b := e.Append(nil); len(b) > 0; {
		b = b[:len(b)-1]
		if got, rest, err := bus.NextEvent(b); !errors.Is(err, bus.ErrMessage) || rest != nil || !reflect.DeepEqual(got, bus.BatchEvent{}) {
			t.Errorf("%q is taken for %+v", b, got)
		}
	}
	for b := r.Append(nil); len(b) > 0; {
		b = b[:len(b)-1]
		if got, rest, err := bus.NextReply(b); !errors.Is(err, bus.ErrMessage) || rest != nil || !reflect.DeepEqual(got, bus.BatchReply{}) {
			t.Errorf("%q is taken for %+v", b, got)
		}
	}
}

func TestReplyCheck(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		event bus.Kind
		reply bus.Reply
		ok    bool
	}{
		{bus.Text, bus.Reply{}, true},
		{bus.Text, bus.Reply{Status: bus.Closed, Code: 4100}, true},
		{bus.Text, bus.Reply{Status: bus.Closed, Code: 1006}, false},
		{bus.Text, bus.Reply{Status: bus.Rejected, Code: 403}, false},
		{bus.Open, bus.Reply{Status: bus.Rejected, Code: 403}, true},
		{bus.Open, bus.Reply{Status: bus.Rejected, Code: 200}, false},
	} {
		if err := c.reply.Check(c.event); (err == nil) != c.ok {
			t.Errorf("%v: %+v: %v", c.event, c.reply, err)
		}
	}
}

func TestBatchSubjects(t *testing.T) {
	t.Parallel()
	if g, at, err := bus.ParseBatchSubject(bus.BatchSubject("g1", "w1-x.7")); err != nil || g != "g1" || at != "w1-x.7" {
		t.Errorf("got %q, %q, %v", g, at, err)
	}
	if to, n, err := bus.ParseBatchReplySubject(bus.BatchReplySubject("g1", 7, 12)); err != nil || to != 7 || n != 12 {
		t.Errorf("got %d, %d, %v", to, n, err)
	}
	if got := bus.InstanceOf("g1", bus.BatchSubjects("g1", "w1-x")); got != "w1-x" {
		t.Errorf("got %q", got)
	}
	for _, s := range []string{"gw.g1.batch.*.*", "gw.g1.batch.>", "gw.g1.at.w1.*", "gw.g2.batch.w1.*", "gw.g1.batch.w1.7", ">"} {
		if got := bus.InstanceOf("g1", s); got != "" {
			t.Errorf("InstanceOf(%q) = %q", s, got)
		}
	}
	for _, s := range append([]string{"gw.g1.batch", "gw.g1.batch.a.b.c", "gw.g1.batch.*"}, strays...) {
		if _, _, err := bus.ParseBatchSubject(s); !errors.Is(err, bus.ErrSubject) {
			t.Errorf("ParseBatchSubject(%q): %v, want ErrSubject", s, err)
		}
	}
	if at, err := bus.ParseRepliesSubject(bus.RepliesSubject("g1", "w1-x.7")); err != nil || at != "w1-x.7" {
		t.Errorf("got %q, %v", at, err)
	}
	for _, s := range append([]string{bus.RepliesSubject("g1", "w1.7"), "gw.g1.replies", "gw.g1.replies.1", "gw.g1.replies.1.-1"}, strays...) {
		if _, _, err := bus.ParseBatchReplySubject(s); !errors.Is(err, bus.ErrSubject) {
			t.Errorf("ParseBatchReplySubject(%q): %v, want ErrSubject", s, err)
		}
	}
}

func FuzzNextEvent(f *testing.F) {
	e := bus.BatchEvent{Kind: bus.Text, Client: 300, Seq: 300, Delivery: 2, UID: "ann", Session: `{}`, Queue: true, Data: []byte("hi")}
	f.Add(e.Append(e.Append(nil)))
	f.Add(e.Append(bus.AppendEventExtension(nil, 31, []byte("new"))))
	f.Add([]byte{1, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80})
	f.Fuzz(func(t *testing.T, b []byte) {
		for len(b) > 0 {
			e, rest, err := bus.NextEvent(b)
			if err != nil {
				return
			}
			if back, left, err := bus.NextEvent(e.Append(nil)); err != nil || len(left) != 0 || !reflect.DeepEqual(back, e) {
				t.Fatalf("%+v comes back as %+v, %v", e, back, err)
			}
			if len(rest) >= len(b) {
				t.Fatal("nothing was taken off")
			}
			b = rest
		}
	})
}

func FuzzNextReply(f *testing.F) {
	r := bus.BatchReply{Client: 300, Seq: 300, Reply: bus.Reply{Status: bus.Closed, Code: 4100, Reason: "bye", Kind: bus.Text, Data: []byte("x")}}
	f.Add(r.Append(r.Append(nil)))
	f.Add(r.Append(bus.AppendReplyExtension(nil, 31, []byte("new"))))
	r.Took = 300
	f.Add(r.Append(r.Append(nil)))
	f.Fuzz(func(t *testing.T, b []byte) {
		for len(b) > 0 {
			r, rest, err := bus.NextReply(b)
			if err != nil {
				return
			}
			if back, left, err := bus.NextReply(r.Append(nil)); err != nil || len(left) != 0 || !reflect.DeepEqual(back, r) {
				t.Fatalf("%+v comes back as %+v, %v", r, back, err)
			}
			if len(rest) >= len(b) {
				t.Fatal("nothing was taken off")
			}
			b = rest
		}
	})
}
