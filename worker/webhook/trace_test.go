package webhook

import (
	"fmt"
	"strings"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/gatebus/gatebus/internal/tracectx"
	"github.com/gatebus/gatebus/worker"
)

// The receiver of an event that is traced gets W3C's headers, below a span for each try;
// of another event it gets none.
func TestTrace(t *testing.T) {
	inBubble(t, testConfig(), answers(503), func(t *testing.T, f *fixture) {
		spans := tracetest.NewSpanRecorder()
		ctx, parent := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans)).Tracer("").Start(t.Context(), "handle")
		ts, err := trace.ParseTraceState("a=1,b=2")
		if err != nil {
			t.Fatal(err)
		}
		sc := parent.SpanContext().WithTraceState(ts)
		if _, err := f.h.exchange(ctx, f.h.newEventRequest(event(worker.Text, "x"), time.Now())); err != nil {
			t.Fatal(err)
		}
		got := f.requests()
		if len(got) != 2 || len(spans.Ended()) != 2 {
			t.Fatalf("%d requests, %d spans", len(got), len(spans.Ended()))
		}
		for i, s := range spans.Ended() {
			if want := fmt.Sprintf("00-%s-%s-01", s.SpanContext().TraceID(), s.SpanContext().SpanID()); got[i].header.Get("traceparent") != want {
				t.Errorf("try %d has %v, want traceparent %s", i+1, got[i].header, want)
			}
			if s.Parent().SpanID() != parent.SpanContext().SpanID() || s.SpanKind() != trace.SpanKindClient {
				t.Errorf("try %d is %v", i+1, s)
			}
			attrs := fmt.Sprint(s.Attributes())
			if status := []string{"503", "200"}[i]; !strings.Contains(attrs, status) || strings.Contains(attrs, "resend_count") != (i == 1) {
				t.Errorf("try %d says %s", i+1, attrs)
			}
		}

		// A worker that makes no spans hands on the gateway's.
		carried, state := tracectx.Inject(sc)
		ctx, _ = tracectx.Extract(t.Context(), carried, state)
		if _, err := f.h.exchange(ctx, f.h.newEventRequest(event(worker.Text, "y"), time.Now())); err != nil {
			t.Fatal(err)
		}
		if h := f.requests()[2].header; h.Get("traceparent") != carried || h.Get("tracestate") != "a=1,b=2" {
			t.Errorf("%v, want %s", h, carried)
		}

		if _, err := f.exchange("z"); err != nil {
			t.Fatal(err)
		}
		if h := f.requests()[3].header; h.Get("traceparent") != "" || h.Get("tracestate") != "" {
			t.Errorf("an event that is not traced has %v", h)
		}
	})
}
