package metrics

// Spans counts the spans of a process that has traces, by what became of them.
type Spans struct {
	Exported int64 // the receiver has taken them
	Failed   int64 // the receiver has not, in all tries
	Dropped  int64 // too many waited
}

var tracingFamilies = []Family{
	{"gatebus_trace_spans_total", Counter, []string{"result"}, "Spans of traces, where tracing.endpoint is set. Results: exported (the receiver has taken them), failed (it has not), dropped (too many waited)."},
}

// Tracing adds the spans of the process.
func (s *Set) Tracing(spans func() Spans) {
	s.add(tracingFamilies, func(e *emitter) {
		n := spans()
		e.count("gatebus_trace_spans_total", n.Exported, "exported")
		e.count("gatebus_trace_spans_total", n.Failed, "failed")
		e.count("gatebus_trace_spans_total", n.Dropped, "dropped")
	})
}
