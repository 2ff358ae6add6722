package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/internal/tracectx"
	"github.com/gatebus/gatebus/register"
)

// sinkConn takes what is published.
type sinkConn struct{ bus.Conn }

func (sinkConn) ID() bus.ConnID         { return 1 }
func (sinkConn) Publish(*bus.Msg) error { return nil }

// traceOf is the traceparent of a span whose number is n.
func traceOf(n int) string { return fmt.Sprintf("00-%032x-%016x-01", n, n) }

// The handler of an event that its gateway traces has a span below the gateway's in its
// context; that of another event has none.
func TestTrace(t *testing.T) {
	spans := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))
	type handled struct {
		data string
		span trace.SpanContext
	}
	seen := make(chan handled, 10)
	w, err := New(Config{Name: "w1", TracerProvider: provider, Log: slog.New(slog.DiscardHandler)}, HandlerFunc(func(ctx context.Context, ev *Event) error {
		seen <- handled{string(ev.Data), trace.SpanContextFromContext(ctx)}
		switch string(ev.Data) {
		case "fail":
			return errors.New("it fails")
		case "panic":
			panic("it panics")
		case "close":
			ev.CloseClient(4401, "no")
		}
		return nil
	}))
	if err != nil {
		t.Fatal(err)
	}
	w.handleCtx = t.Context()
	l := newLink(w, register.Member{Role: register.RoleGateway, Name: "g1", Epoch: 1})
	l.conn, l.up = sinkConn{}, true

	data := bus.BeginBatch(nil, 1)
	for client, text := range []string{"no trace", "close", "bad trace", "fail", "panic"} {
		e := bus.BatchEvent{Kind: bus.Text, Client: uint64(client), Seq: 2, Delivery: 1, Data: []byte(text)}
		if text == "panic" {
			e.Delivery = 2
		}
		data = e.Append(data)
	}
	l.receive(&bus.Msg{Subject: bus.BatchSubject("g1", l.address()), Data: data, Header: bus.Header{bus.HeaderTraces: {
		"1 2 " + traceOf(1), "nonsense", "2 2 00-nonsense", "3 2 " + traceOf(3) + " a=1", "4 2 " + traceOf(4), "9 2 " + traceOf(9),
	}}})
	plain := bus.Event{Gateway: "g1", Group: "default", Kind: bus.Text, Client: bus.NewClientID("g1", 1, 7), Seq: 2, Data: []byte("plain"), Trace: &bus.Trace{Parent: traceOf(7)}}
	m, err := plain.Msg()
	if err != nil {
		t.Fatal(err)
	}
	l.receive(m)
	want := map[string]int{"no trace": 0, "close": 1, "bad trace": 0, "fail": 3, "panic": 4, "plain": 7}
	for range want {
		h := <-seen
		n, ok := want[h.data]
		if !ok || h.span.IsValid() != (n > 0) || n > 0 && (h.span.TraceID().String() != fmt.Sprintf("%032x", n) || h.span.SpanID().String() == fmt.Sprintf("%016x", n)) {
			t.Errorf("%s is handled in the span %v of the trace %v", h.data, h.span.SpanID(), h.span.TraceID())
		}
	}
	<-w.jobs.close()
	w.crew.close()
	l.senders.Wait()
	got := map[string]string{}
	for _, s := range spans.Ended() {
		var words []string
		for _, a := range s.Attributes() {
			if a.Key == tracectx.Outcome || a.Key == tracectx.CloseCode || a.Key == tracectx.Delivery {
				words = append(words, a.Value.String())
			}
		}
		if s.Status().Code == codes.Error {
			words = append(words, s.Status().Description)
		}
		if !s.Parent().IsRemote() || s.Name() != "handle text" || s.SpanKind() != trace.SpanKindConsumer {
			t.Errorf("%v", s)
		}
		got[s.Parent().SpanID().String()] = strings.Join(words, " ")
	}
	for n, text := range map[int]string{1: "1 4401 close", 3: "1 1011 close handler failed", 4: "2 1011 close handler failed", 7: "1 done"} {
		if id := fmt.Sprintf("%016x", n); got[id] != text {
			t.Errorf("the span below %s says %q, want %q", id, got[id], text)
		}
	}
	if len(got) != 4 {
		t.Errorf("spans: %v", got)
	}
}

// A worker that makes no spans hands on the gateway's: what its handler does belongs
// below that.
func TestTraceWithoutProvider(t *testing.T) {
	seen := make(chan trace.SpanContext, 1)
	w, err := New(Config{Name: "w1", Log: slog.New(slog.DiscardHandler)}, HandlerFunc(func(ctx context.Context, _ *Event) error {
		seen <- trace.SpanContextFromContext(ctx)
		return nil
	}))
	if err != nil {
		t.Fatal(err)
	}
	w.handleCtx = t.Context()
	l := newLink(w, register.Member{Role: register.RoleGateway, Name: "g1", Epoch: 1})
	l.conn, l.up = sinkConn{}, true
	ev := bus.Event{Gateway: "g1", Group: "default", Kind: bus.Text, Client: bus.NewClientID("g1", 1, 7), Seq: 2, Trace: &bus.Trace{Parent: traceOf(7), State: "a=1"}}
	m, err := ev.Msg()
	if err != nil {
		t.Fatal(err)
	}
	l.receive(m)
	sc := <-seen
	<-w.jobs.close()
	w.crew.close()
	l.senders.Wait()
	request := &bus.Msg{Subject: bus.CommandSubject("g1", bus.OpJoin)}
	carryTrace(trace.ContextWithSpanContext(t.Context(), sc), request)
	if got := bus.TraceOf(request); got == nil || *got != *ev.Trace {
		t.Errorf("a command carries %v, want %v", got, ev.Trace)
	}
	carryTrace(t.Context(), request)
}
