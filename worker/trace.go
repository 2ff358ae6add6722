package worker

import (
	"context"

	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/internal/tracectx"
)

// jobTrace is the span of an event that is being handled.
type jobTrace struct{ span trace.Span }

// trace begins the span of an event whose gateway traces it, and puts it into the
// context of the handler. It is nil, and the context what it was, if what the gateway
// says is no trace.
func (j *job) trace(ctx context.Context) (context.Context, *jobTrace) {
	ctx, ok := tracectx.Extract(ctx, j.event.Trace.Parent, j.event.Trace.State)
	if !ok {
		return ctx, nil
	}
	w, ev := j.link.w, &j.event
	ctx, span := w.tracer.Start(ctx, "handle "+ev.Kind.String(), trace.WithSpanKind(trace.SpanKindConsumer), trace.WithAttributes(
		tracectx.System.String(tracectx.SystemName),
		tracectx.OperationType.String("process"),
		tracectx.Destination.String(w.cfg.Group),
		tracectx.BodySize.Int(len(ev.Data)),
		tracectx.Gateway.String(string(ev.Gateway)),
		tracectx.Worker.String(w.cfg.Name),
		tracectx.Client.String(string(ev.Client)),
		tracectx.Seq.Int64(int64(ev.Seq)),
		tracectx.Kind.String(ev.Kind.String()),
		tracectx.Delivery.Int(ev.Delivery),
	))
	return ctx, &jobTrace{span}
}

// end ends the span with the reply; err is what the handler has failed with.
func (t *jobTrace) end(r *bus.Reply, err error) {
	outcome := "done"
	switch r.Status {
	case bus.Closed:
		outcome = "close"
		t.span.SetAttributes(tracectx.CloseCode.Int(r.Code))
	case bus.Rejected:
		outcome = "reject"
		t.span.SetAttributes(tracectx.HTTPStatus.Int(r.Code))
	}
	t.span.SetAttributes(tracectx.Outcome.String(outcome))
	if err != nil {
		t.span.RecordError(err)
		t.span.SetStatus(codes.Error, "handler failed")
	}
	t.span.End()
}

// carryTrace puts a message into the trace of the span that the context has.
func carryTrace(ctx context.Context, m *bus.Msg) {
	if parent, state := tracectx.Inject(trace.SpanContextFromContext(ctx)); parent != "" {
		bus.MarkTrace(m, &bus.Trace{Parent: parent, State: state})
	}
}
