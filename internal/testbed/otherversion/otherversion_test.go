package otherversion

import (
	"bytes"
	"reflect"
	"testing"

	"github.com/gatebus/gatebus/bus"
)

// What the next version sends is other than what this one sends, and says the same to it.
func TestNextSaysTheSame(t *testing.T) {
	e := bus.BatchEvent{Kind: bus.Open, Client: 7, Seq: 1, Delivery: 1, Data: []byte(`{"client":"g1-1-7"}`)}
	r := bus.BatchReply{Client: 7, Seq: 1, Reply: bus.Reply{Data: []byte(`{"uid":"ann"}`)}}
	c := bus.NameChange{Target: bus.Target{Scope: bus.ToUID, Name: "ann"}, Present: true}
	for _, m := range []*bus.Msg{
		{Subject: "gw.g1.batch.w1-1.2", Data: e.Append(bus.BeginBatch(nil, 5))},
		{Subject: "gw.g1.replies.w1-1.2", Data: r.Append(bus.BeginBatch(nil, 5))},
		{Subject: "gw.g1.names", Data: c.Append(bus.BeginBatch(nil, 5))},
		{Subject: "gw.g1.names.w1-1.2", Data: bus.AppendNamesEnd(bus.BeginNames(bus.BeginBatch(nil, 5), 9))},
		{Subject: "gw.g1.in.default.open", Data: []byte(`{}`)},
		{Subject: "gw.g1.out.g1-1-7.1", Data: []byte(`{"uid":"ann"}`)},
		{Subject: "_INBOX.x", Data: []byte(`{"register":"r1","members":[{"role":"worker","name":"w1"}]}`)},
	} {
		before := bytes.Clone(m.Data)
		n := next(m)[0]
		if bytes.Equal(n.Data, m.Data) || len(n.Header) == 0 {
			t.Errorf("%s: nothing is new", m.Subject)
		}
		if !bytes.Equal(m.Data, before) || m.Header != nil {
			t.Errorf("%s: the message itself has changed", m.Subject)
		}
		if !bytes.Contains(n.Data, []byte("new")) {
			t.Errorf("%s: %q", m.Subject, n.Data)
		}
	}
	for _, m := range []*bus.Msg{
		{Subject: "gw.g1.in.default.text", Data: []byte(`{"a":1}`)},
		{Subject: "gw.g1.out.g1-1-7.2", Data: []byte(`{"a":1}`)},
		{Subject: "gw.g1.push.all", Data: []byte(`{"a":1}`)},
	} {
		if n := next(m)[0]; !bytes.Equal(n.Data, m.Data) {
			t.Errorf("%s: the frame has become %s", m.Subject, n.Data)
		}
	}
	if all := next(bus.Hello{}.Msg("g1")); len(all) != 2 {
		t.Errorf("a greeting goes with an operation that nobody knows: %d messages", len(all))
	}
}

func TestPreviousSaysLess(t *testing.T) {
	for subject, want := range map[string]int{
		"gw.g1.batch.w1-1.2": 0, "gw.g1.names": 0, "gw.g1.do.names": 0, "gw.g1.do.hello": 1, "gw.g1.in.default.text": 1,
	} {
		if got := previous(&bus.Msg{Subject: subject}); len(got) != want {
			t.Errorf("%s: %d messages, want %d", subject, len(got), want)
		}
	}
	open := previous(&bus.Msg{Subject: "gw.g1.in.default.open", Data: []byte(`{"client":"g1-1-7","listener":"default","protocol":"websocket","remote":"x"}`)})
	if got := string(open[0].Data); got != `{"client":"g1-1-7","remote":"x"}` {
		t.Errorf("open is %s", got)
	}
}

func TestGet(t *testing.T) {
	got := map[string]bus.Protocol{}
	for _, name := range Names() {
		e, err := Get(name)
		if err != nil {
			t.Fatal(err)
		}
		got[name] = e.Protocol
	}
	if want := map[string]bus.Protocol{Previous: "", Next: "1.2", Foreign: "2.0"}; !reflect.DeepEqual(got, want) {
		t.Errorf("%v", got)
	}
	if e, err := Get(""); e != nil || err != nil {
		t.Errorf("without a name: %v, %v", e, err)
	}
	if _, err := Get("last"); err == nil {
		t.Error("there is no version of that name")
	}
}
