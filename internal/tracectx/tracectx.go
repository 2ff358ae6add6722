// Package tracectx is what the spans of gateways and workers have in common: the form
// in which a trace is carried from one to the other, and the names of attributes.
//
// The form is W3C Trace Context, whatever an application has set as the propagator of
// its process: both sides are of gatebus, and what plain workers in other languages read
// must not depend on it. Baggage is not carried.
package tracectx

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/gatebus/gatebus/internal/buildinfo"
)

// scope names the instrumentation in every span.
const scope = "github.com/gatebus/gatebus"

// The attributes of spans. The first four are those of OpenTelemetry's conventions for
// messaging, and so is the one of HTTP.
const (
	System        = attribute.Key("messaging.system")            // always SystemName
	Destination   = attribute.Key("messaging.destination.name")  // the worker group
	OperationType = attribute.Key("messaging.operation.type")    // send or process
	BodySize      = attribute.Key("messaging.message.body.size") // of the event, in bytes
	HTTPStatus    = attribute.Key("http.response.status_code")   // a client is refused with

	Gateway     = attribute.Key("gatebus.gateway")
	Worker      = attribute.Key("gatebus.worker")
	Client      = attribute.Key("gatebus.client") // its id
	Seq         = attribute.Key("gatebus.seq")    // of the event among its client's
	Kind        = attribute.Key("gatebus.kind")   // open, text, binary or close
	Delivery    = attribute.Key("gatebus.delivery")
	Outcome     = attribute.Key("gatebus.outcome") // done, close, reject or dropped
	CloseCode   = attribute.Key("gatebus.close.code")
	CloseReason = attribute.Key("gatebus.close.reason")
)

// SystemName is the value of System.
const SystemName = "gatebus"

var w3c propagation.TraceContext

// Tracer is the tracer for the spans of gatebus.
func Tracer(p trace.TracerProvider) trace.Tracer {
	return p.Tracer(scope, trace.WithInstrumentationVersion(buildinfo.Version()))
}

// Inject gives the values of the headers traceparent and tracestate for a span; both
// empty if it is none.
func Inject(sc trace.SpanContext) (parent, state string) {
	if !sc.IsValid() {
		return "", ""
	}
	carrier := propagation.MapCarrier{}
	w3c.Inject(trace.ContextWithSpanContext(context.Background(), sc), carrier)
	return carrier["traceparent"], carrier["tracestate"]
}

// Extract puts the span that headers name into a context, as one of elsewhere. Of what is
// no trace, it gives ctx itself, and false.
func Extract(ctx context.Context, parent, state string) (context.Context, bool) {
	carrier := propagation.MapCarrier{"traceparent": parent}
	if state != "" {
		carrier["tracestate"] = state
	}
	sc := trace.SpanContextFromContext(w3c.Extract(context.Background(), carrier))
	if !sc.IsValid() {
		return ctx, false
	}
	return trace.ContextWithRemoteSpanContext(ctx, sc), true
}
