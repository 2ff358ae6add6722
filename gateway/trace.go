package gateway

import (
	"context"
	"math"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/internal/tracectx"
)

// Tracing says which events have a span, and who gets it. The span goes from when the
// event has come from the client until its answer is carried out, and workers are told
// of it: theirs are its children.
type Tracing struct {
	// Provider makes the spans; nil: there are none, and it costs nothing. It decides
	// about each anew, so its sampler is best one that takes all. It must not block.
	Provider trace.TracerProvider
	// Sample is the share of the events that begin a trace, each decided for itself,
	// from 0 to 1. The others cost the decision.
	Sample float64
	// TrustClients lets the open event of a WebSocket client belong to the trace that
	// the client names in the header traceparent of its request: then that says whether
	// it is sampled, so that anybody can have his events traced.
	TrustClients bool
}

// check names what is wrong.
func (t *Tracing) check(bad func(key, format string, args ...any)) {
	if !(t.Sample >= 0 && t.Sample <= 1) { // NaN too
		bad("tracing.sample", "%v is not from 0 to 1", t.Sample)
	}
}

// tracer makes spans of events; nil where none are wanted.
type tracer struct {
	// set at construction
	gw        *Gateway
	tracer    trace.Tracer
	threshold uint64 // a random number up to that begins a trace
	none      bool   // no event begins one
	trust     bool
}

func newTracer(gw *Gateway, cfg Tracing) *tracer {
	if cfg.Provider == nil {
		return nil
	}
	t := &tracer{gw: gw, tracer: tracectx.Tracer(cfg.Provider), none: cfg.Sample == 0, trust: cfg.TrustClients}
	if t.threshold = math.MaxUint64; cfg.Sample < 1 {
		t.threshold = uint64(cfg.Sample * (1 << 63) * 2)
	}
	return t
}

// eventTrace is the span of an event; nil of one that has none. Its methods are called
// with the client's mutex held.
type eventTrace struct {
	span    trace.Span
	carried bus.Trace
	note    string // for batches
	outcome string // how it ended; "" as long as nobody has answered
	// Of an event that is held, the trials that come back are not told, which would be
	// thousands: trial is the last one, until something else is known of it.
	held  bool
	trial []trace.EventOption // nil: none is out
}

// begin begins the span of an event that is in the lane, if it is to have one. The
// header is that of a client's request; nil of what is none.
func (t *tracer) begin(e *event, header http.Header) {
	ctx := context.Background()
	follows := false
	if parent := header["Traceparent"]; t.trust && len(parent) == 1 {
		ctx, follows = tracectx.Extract(ctx, parent[0], strings.Join(header["Tracestate"], ","))
	}
	if follows && !trace.SpanContextFromContext(ctx).IsSampled() || !follows && (t.none || rand.Uint64() > t.threshold) {
		return
	}
	c := e.client
	_, span := t.tracer.Start(ctx, "event "+e.kind.String(), trace.WithSpanKind(trace.SpanKindProducer), trace.WithAttributes(
		tracectx.System.String(tracectx.SystemName),
		tracectx.OperationType.String("send"),
		tracectx.Destination.String(c.group),
		tracectx.BodySize.Int(len(e.data)),
		tracectx.Gateway.String(string(t.gw.name)),
		tracectx.Client.String(string(c.id)),
		tracectx.Seq.Int64(int64(e.seq)),
		tracectx.Kind.String(e.kind.String()),
	))
	if !span.IsRecording() { // the provider does not want it
		span.End()
		return
	}
	et := &eventTrace{span: span}
	et.carried.Parent, et.carried.State = tracectx.Inject(span.SpanContext())
	note := bus.BatchTrace{Client: c.number, Seq: e.seq, Trace: et.carried}
	et.note = note.String()
	e.trace = et
}

// What a span says has happened to its event.
const (
	traceGivenOut  = "given out"     // published, to any worker of the group or to a certain one
	traceBusy      = "busy"          // a worker hands it back
	traceReturned  = "returned"      // the worker takes no more; it goes to another one
	traceHeld      = "held"          // there is no worker
	traceLost      = "lost"          // its worker is gone or silent
	traceAnswered  = "answered"      // what follows is the wait for those before it
	traceBadReply  = "reply invalid" // it breaks the protocol
	outcomeDropped = "dropped"
)

// add notes that something has happened to the event.
func (t *eventTrace) add(what string) {
	switch {
	case t == nil:
		return
	case what == traceHeld && t.held:
		t.trial = nil
		return
	}
	t.found()
	t.held = what == traceHeld
	t.span.AddEvent(what)
}

// found notes that the trial, if one is out, has not come back.
func (t *eventTrace) found() {
	if t.trial != nil {
		t.span.AddEvent(traceGivenOut, t.trial...)
		t.trial = nil
	}
}

// givenOut notes that the event is published for the delivery that it counts now.
func (t *eventTrace) givenOut(e *event) {
	attrs := []attribute.KeyValue{tracectx.Delivery.Int(e.delivery)}
	if e.at != "" {
		attrs = append(attrs, tracectx.Worker.String(string(e.at)))
	}
	if t.held {
		t.trial = []trace.EventOption{trace.WithTimestamp(time.Now()), trace.WithAttributes(attrs...)}
		return
	}
	t.span.AddEvent(traceGivenOut, trace.WithAttributes(attrs...))
}

// answered notes the final reply; err says that it breaks the protocol.
func (t *eventTrace) answered(e *event, r *bus.Reply, err error) {
	if err != nil {
		t.add(traceBadReply)
		t.span.SetStatus(codes.Error, err.Error())
	} else {
		t.add(traceAnswered)
	}
	t.outcome = "done"
	attrs := []attribute.KeyValue{tracectx.Delivery.Int(e.delivery)}
	switch r.Status {
	case bus.Closed:
		t.outcome = "close"
		attrs = append(attrs, tracectx.CloseCode.Int(r.Code), tracectx.CloseReason.String(bus.TrimReason(r.Reason)))
		if err == nil && r.Code == int(bus.CloseHandlerFailed) {
			t.span.SetStatus(codes.Error, r.Reason)
		}
	case bus.Rejected:
		t.outcome = "reject"
		attrs = append(attrs, tracectx.HTTPStatus.Int(r.Code))
		if err == nil && r.Code >= http.StatusInternalServerError {
			t.span.SetStatus(codes.Error, r.Reason)
		}
	}
	t.span.SetAttributes(attrs...)
}

// givenUp notes why no worker has answered.
func (t *eventTrace) givenUp(e *event, end closing) {
	t.outcome = outcomeDropped
	t.span.SetAttributes(tracectx.Delivery.Int(e.delivery), tracectx.CloseCode.Int(int(end.code)))
	t.span.SetStatus(codes.Error, end.reason)
}

// end ends the span, when the event is off the lane.
func (t *eventTrace) end() {
	if t.outcome == "" { // its client was gone, or closed, before its turn: nothing is wrong with that
		t.outcome = outcomeDropped
	}
	t.found()
	t.span.SetAttributes(tracectx.Outcome.String(t.outcome))
	t.span.End()
}

// request is the span of a push or command that belongs to a trace which is sampled; nil
// of any other.
func (t *tracer) request(m *bus.Msg, what string) *requestTrace {
	if t == nil || len(m.Header) == 0 {
		return nil
	}
	carried := bus.TraceOf(m)
	if carried == nil {
		return nil
	}
	ctx, ok := tracectx.Extract(context.Background(), carried.Parent, carried.State)
	if !ok || !trace.SpanContextFromContext(ctx).IsSampled() {
		return nil
	}
	_, span := t.tracer.Start(ctx, what, trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(
		tracectx.System.String(tracectx.SystemName),
		tracectx.Gateway.String(string(t.gw.name)),
	))
	return &requestTrace{span}
}

// requestTrace is the span of a push or command.
type requestTrace struct{ span trace.Span }

// end ends it. A request that is refused is as it should be; one that is wrong is not.
func (t *requestTrace) end(err error) {
	if t == nil {
		return
	}
	if err != nil {
		t.span.SetAttributes(attribute.String("error.type", codeOf(err)))
		if !refused(err) {
			t.span.SetStatus(codes.Error, err.Error())
		}
	}
	t.span.End()
}
