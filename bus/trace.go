package bus

import (
	"fmt"
	"strconv"
	"strings"
)

// The headers of traces. The first two are those of W3C Trace Context, in lower case as
// it writes them: any message has them that belongs to a trace, an event, push or
// command. The third stands on a batch of events, once for each that is traced.
const (
	HeaderTraceParent = "traceparent"
	HeaderTraceState  = "tracestate"
	HeaderTraces      = "Gb-Traces"
)

const (
	// maxTraceParent is more than the versions of W3C Trace Context so far need, in
	// bytes.
	maxTraceParent = 128
	// maxTraceState is how much of a trace state is carried on, in bytes: what W3C
	// Trace Context asks for at least.
	maxTraceState = 512
)

// Trace is where a message stands in a trace: the values of the headers. They are
// carried, not understood; who reads them finds out whether they are valid.
type Trace struct {
	Parent string // traceparent: version, trace, span, flags
	State  string // tracestate; "" mostly
}

// usable tells whether the trace can stand in a header, less its state perhaps.
func (t *Trace) usable() bool {
	return t != nil && t.Parent != "" && len(t.Parent) <= maxTraceParent && isPrintable(t.Parent, false)
}

// state is the trace state, "" if it cannot stand in a header: what is said beside the
// trace is no reason to lose that.
func (t *Trace) state() string {
	if len(t.State) > maxTraceState || !isPrintable(t.State, true) {
		return ""
	}
	return t.State
}

// isPrintable tells whether a text is printable ASCII, with spaces or without.
func isPrintable(s string, spaces bool) bool {
	for i := range len(s) {
		if c := s[i]; c > '~' || c < ' ' || c == ' ' && !spaces {
			return false
		}
	}
	return true
}

// MarkTrace sets the headers that put a message into a trace; of nil, or of what can be
// none, it sets nothing, and no state that is too long. The message gets headers of its
// own.
func MarkTrace(m *Msg, t *Trace) {
	if !t.usable() {
		return
	}
	setHeader(m, HeaderTraceParent, t.Parent)
	if state := t.state(); state != "" {
		m.Header[HeaderTraceState] = []string{state}
	}
}

// TraceOf is where a message stands in a trace; nil if it says nothing, or what can be
// none. A trace that is wrong is no reason to refuse anything.
func TraceOf(m *Msg) *Trace {
	if len(m.Header) == 0 {
		return nil
	}
	parent := m.Header[HeaderTraceParent]
	if len(parent) != 1 { // W3C Trace Context: of several, none counts
		return nil
	}
	t := &Trace{Parent: parent[0], State: strings.Join(m.Header[HeaderTraceState], ",")}
	if t.State = t.state(); !t.usable() {
		return nil
	}
	return t
}

// BatchTrace is the trace of an event in a batch.
type BatchTrace struct {
	Client uint64 // the number in its id
	Seq    uint64
	Trace
}

// String is the value of [HeaderTraces] for the event: its client and seq, the trace
// parent and, if there is one, the trace state, with a space between two; "" if the trace
// can be none.
func (t *BatchTrace) String() string {
	if !t.usable() {
		return ""
	}
	s := strconv.FormatUint(t.Client, 10) + " " + strconv.FormatUint(t.Seq, 10) + " " + t.Parent
	if state := t.state(); state != "" {
		s += " " + state
	}
	return s
}

// parseBatchTrace reverses [BatchTrace.String].
func parseBatchTrace(s string) (t BatchTrace, err error) {
	client, rest, _ := strings.Cut(s, " ")
	seq, rest, _ := strings.Cut(rest, " ")
	if t.Client, err = strconv.ParseUint(client, 10, 64); err != nil {
		return t, fmt.Errorf("bus: %w: %s: %w", ErrMessage, HeaderTraces, err)
	}
	if t.Seq, err = strconv.ParseUint(seq, 10, 64); err != nil {
		return t, fmt.Errorf("bus: %w: %s: %w", ErrMessage, HeaderTraces, err)
	}
	t.Parent, t.State, _ = strings.Cut(rest, " ")
	if t.State = t.state(); !t.usable() {
		return t, fmt.Errorf("bus: %w: %s: %.150q is no trace", ErrMessage, HeaderTraces, rest)
	}
	return t, nil
}

// BatchTraces are the traces of the events of a batch, in the order of its events. The
// values, made by [BatchTrace.String], are what a batcher has kept of them.
type BatchTraces []string

// Mark puts the traces on the message of the batch.
func (t BatchTraces) Mark(m *Msg) {
	if len(t) > 0 {
		m.Header = Header{HeaderTraces: t}
	}
}

// BatchTracesOf are the traces of the events of a batch; nil if none is traced.
func BatchTracesOf(m *Msg) BatchTraces {
	if len(m.Header) == 0 {
		return nil
	}
	return m.Header[HeaderTraces]
}

// Take is the trace of an event, nil if it is not traced. It is called for the events in
// their order, and takes off what was found. What is none is left out.
func (t *BatchTraces) Take(e *BatchEvent) *Trace {
	for len(*t) > 0 {
		first, err := parseBatchTrace((*t)[0])
		if err != nil {
			*t = (*t)[1:]
			continue
		}
		if first.Client != e.Client || first.Seq != e.Seq {
			return nil // of one behind it
		}
		*t = (*t)[1:]
		taken := first.Trace // alone on the heap: most events of a batch are not traced
		return &taken
	}
	return nil
}
