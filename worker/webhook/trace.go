package webhook

import (
	"context"
	"net/http"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/gatebus/gatebus/internal/tracectx"
)

// try is one try of a request, the nth from 1. Of an event that is traced, each has a
// span, so that a trace shows the retries.
func (h *Handler) try(ctx context.Context, r *request, n int) (*response, error) {
	parent := trace.SpanFromContext(ctx)
	if !parent.SpanContext().IsValid() {
		return h.post(ctx, r)
	}
	ctx, span := tracectx.Tracer(parent.TracerProvider()).Start(ctx, http.MethodPost, trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(
		attribute.String("http.request.method", http.MethodPost),
		attribute.String("url.full", h.where),
	))
	defer span.End()
	if n > 1 {
		span.SetAttributes(attribute.Int("http.request.resend_count", n-1))
	}
	resp, err := h.post(ctx, r)
	switch {
	case err != nil:
		span.SetStatus(codes.Error, err.Error())
	case !resp.success():
		span.SetAttributes(tracectx.HTTPStatus.Int(resp.status))
		span.SetStatus(codes.Error, "")
	default:
		span.SetAttributes(tracectx.HTTPStatus.Int(resp.status))
	}
	return resp, err
}

// carryTrace puts a request into the trace of the span that the context has, as the
// distributed tracing extension of CloudEvents leaves it to HTTP: with the headers of
// W3C Trace Context.
func carryTrace(ctx context.Context, header http.Header) {
	parent, state := tracectx.Inject(trace.SpanContextFromContext(ctx))
	if parent == "" {
		return
	}
	header.Set("Traceparent", parent)
	header.Del("Tracestate")
	if state != "" {
		header.Set("Tracestate", state)
	}
}
