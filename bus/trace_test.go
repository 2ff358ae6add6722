package bus_test

import (
	"strings"
	"testing"

	"github.com/gatebus/gatebus/bus"
)

const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

// What cannot stand in a header is not carried, and not read.
func TestTrace(t *testing.T) {
	for _, c := range []struct {
		give bus.Trace
		want bool
	}{
		{bus.Trace{Parent: parent}, true},
		{bus.Trace{Parent: parent, State: "a=1,b=x y"}, true},
		{bus.Trace{}, false},
		{bus.Trace{State: "a=1"}, false},
		{bus.Trace{Parent: parent + "\r\nGb-Uid: root"}, false},
		{bus.Trace{Parent: "a b"}, false},
		{bus.Trace{Parent: strings.Repeat("0", 129)}, false},
		{bus.Trace{Parent: parent, State: strings.Repeat("0", 512)}, true},
	} {
		shared := bus.Header{bus.HeaderUID: {"ann"}}
		m := &bus.Msg{Header: shared}
		bus.MarkTrace(m, &c.give)
		got := bus.TraceOf(m)
		if (got != nil) != c.want || c.want && *got != c.give {
			t.Errorf("%q is carried as %q", c.give, got)
		}
		if len(shared) != 1 {
			t.Errorf("the headers of others have become %v", shared)
		}
		line := (&bus.BatchTrace{Client: 7, Seq: 2, Trace: c.give}).String()
		batch := bus.BatchTraces{line}
		taken := batch.Take(&bus.BatchEvent{Client: 7, Seq: 2})
		if (taken != nil) != c.want || c.want && *taken != c.give {
			t.Errorf("%q in a batch is carried as %q: %q", c.give, taken, line)
		}
	}
	for _, h := range []bus.Header{nil, {bus.HeaderTraceParent: {parent, parent}}, {bus.HeaderTraceParent: {}}, {bus.HeaderTraceState: {"a=1"}}} {
		if got := bus.TraceOf(&bus.Msg{Header: h}); got != nil {
			t.Errorf("%v says %v", h, got)
		}
	}
	// A state that cannot be carried is left out, and the trace goes on.
	for _, state := range []string{"a\n", "ü", strings.Repeat("0", 513)} {
		m, give := &bus.Msg{}, bus.Trace{Parent: parent, State: state}
		bus.MarkTrace(m, &give)
		batch := bus.BatchTraces{(&bus.BatchTrace{Client: 7, Seq: 2, Trace: give}).String()}
		for _, got := range []*bus.Trace{bus.TraceOf(m), batch.Take(&bus.BatchEvent{Client: 7, Seq: 2})} {
			if got == nil || *got != (bus.Trace{Parent: parent}) {
				t.Errorf("with the state %q it is carried as %q", state, got)
			}
		}
	}
	long := bus.TraceOf(&bus.Msg{Header: bus.Header{bus.HeaderTraceParent: {parent}, bus.HeaderTraceState: {strings.Repeat("0", 513)}}})
	if long == nil || long.State != "" {
		t.Errorf("with a long state, it is %v", long)
	}
}

// Events that are not traced cost no allocation in a batch with one behind them that is.
func TestBatchTracesCostTheOthersNothing(t *testing.T) {
	traces := bus.BatchTraces{(&bus.BatchTrace{Client: 7, Seq: 2, Trace: bus.Trace{Parent: parent}}).String()}
	if n := testing.AllocsPerRun(100, func() { traces.Take(&bus.BatchEvent{Client: 6, Seq: 1}) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// Traces of a batch are found for their events, whatever is wrong with others.
func TestBatchTraces(t *testing.T) {
	m := &bus.Msg{}
	bus.BatchTraces{"1 2 a", "", "x 3 b", "1 3 b", "2 y c", "2 1", "2 1 d e=1,f=2 3", "5 5 never"}.Mark(m)
	traces := bus.BatchTracesOf(m)
	for _, c := range []struct {
		client, seq uint64
		want        string
	}{{1, 1, ""}, {1, 2, "a "}, {1, 3, "b "}, {1, 3, ""}, {1, 4, ""}, {2, 1, "d e=1,f=2 3"}, {5, 4, ""}} {
		got := traces.Take(&bus.BatchEvent{Client: c.client, Seq: c.seq})
		text := ""
		if got != nil {
			text = got.Parent + " " + got.State
		}
		if text != c.want {
			t.Errorf("event %d of %d has the trace %q, want %q", c.seq, c.client, text, c.want)
		}
	}
	if none := (bus.BatchTraces)(nil); bus.BatchTracesOf(&bus.Msg{}) != nil || none.Take(&bus.BatchEvent{}) != nil {
		t.Error("a batch without traces has some")
	}
	plain := &bus.Msg{}
	(bus.BatchTraces)(nil).Mark(plain)
	if plain.Header != nil {
		t.Errorf("a batch without traces has the headers %v", plain.Header)
	}
}
