package gateway

import (
	"fmt"
	"math"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/internal/tracectx"
	"github.com/gatebus/gatebus/internal/wsframe"
)

// traced has all events traced, and shows the spans that have ended.
func traced(c *Config) *tracetest.SpanRecorder {
	spans := tracetest.NewSpanRecorder()
	c.Tracing = Tracing{Provider: sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans)), Sample: 1}
	return spans
}

// told is what the spans of an event of that kind say, one a line: what has happened,
// how it ended, and what is wrong.
func told(spans *tracetest.SpanRecorder, kind string) string {
	synctest.Wait()
	var all []string
	for _, s := range spans.Ended() {
		if s.Name() != "event "+kind {
			continue
		}
		var words []string
		for _, e := range s.Events() {
			words = append(words, e.Name)
		}
		for _, a := range s.Attributes() {
			if a.Key == tracectx.Outcome || a.Key == tracectx.CloseCode || a.Key == tracectx.HTTPStatus || a.Key == tracectx.Delivery {
				words = append(words, fmt.Sprintf("%s=%s", strings.TrimPrefix(string(a.Key), "gatebus."), a.Value.String()))
			}
		}
		if s.Status().Code == codes.Error {
			words = append(words, "error: "+s.Status().Description)
		}
		all = append(all, strings.Join(words, ", "))
	}
	return strings.Join(all, "\n")
}

// A span tells what has become of its event, however that ends.
func TestTraceTells(t *testing.T) {
	for name, c := range map[string]struct {
		worker func(ev bus.Event) *bus.Reply // nil: there is none
		kind   string
		want   string
	}{
		"answered": {echo, "text", "given out, answered, delivery=1, outcome=done"},
		"busy": {func(ev bus.Event) *bus.Reply {
			if ev.Kind == bus.Text && ev.Delivery == 1 && busyOnce() {
				return &bus.Reply{Status: bus.Busy}
			}
			return echo(ev)
		}, "text", "given out, busy, given out, answered, delivery=1, outcome=done"},
		"closed": {func(ev bus.Event) *bus.Reply {
			if ev.Kind == bus.Text {
				return &bus.Reply{Status: bus.Closed, Code: 4401, Reason: "no"}
			}
			return echo(ev)
		}, "text", "given out, answered, delivery=1, close.code=4401, outcome=close"},
		"handler failed": {func(ev bus.Event) *bus.Reply {
			if ev.Kind == bus.Text {
				return &bus.Reply{Status: bus.Closed, Code: 1011, Reason: "handler failed"}
			}
			return echo(ev)
		}, "text", "given out, answered, delivery=1, close.code=1011, outcome=close, error: handler failed"},
		"bad reply": {func(ev bus.Event) *bus.Reply {
			if ev.Kind == bus.Text {
				return &bus.Reply{Kind: bus.Text, Data: []byte{0xff}}
			}
			return echo(ev)
		}, "text", "given out, reply invalid, delivery=1, close.code=1011, outcome=close, error: gateway: a text frame must be valid UTF-8; reply with Gb-Kind: binary"},
		"client closed before": {func(ev bus.Event) *bus.Reply {
			if string(ev.Data) == "first" {
				time.Sleep(time.Second)
				return &bus.Reply{Status: bus.Closed, Code: 4401, Reason: "no"}
			}
			return echo(ev)
		}, "text", "outcome=dropped\ngiven out, answered, delivery=1, close.code=4401, outcome=close"},
		"silent": {func(ev bus.Event) *bus.Reply {
			if ev.Kind == bus.Text {
				return nil
			}
			return echo(ev)
		}, "text", "given out, lost, given out, lost, delivery=2, close.code=1011, outcome=dropped, error: no worker answered"},
		"rejected": {func(bus.Event) *bus.Reply { return &bus.Reply{Status: bus.Rejected, Code: 403, Reason: "no"} },
			"open", "given out, answered, delivery=1, http.response.status_code=403, outcome=reject"},
		"nobody": {nil, "open", "given out, held, delivery=0, close.code=1013, outcome=dropped, error: no worker there"},
	} {
		t.Run(name, func(t *testing.T) {
			var spans *tracetest.SpanRecorder
			inBubble(t, func(c *Config) { spans, c.MaxDeliver, c.Hold = traced(c), 2, 100*time.Millisecond }, func(t *testing.T, f *fixture) {
				busyOnce = once()
				if c.worker != nil {
					f.worker(c.worker)
				}
				if c.kind == "open" {
					if _, _, err := f.tryDial("/", nil); err == nil {
						t.Error("the client is let in")
					}
				} else {
					p := f.dial("/")
					p.send("first")
					if name == "client closed before" {
						p.send("second")
					}
				}
				time.Sleep(time.Minute)
				equal(t, "the span", told(spans, c.kind), c.want)
			})
		})
	}
}

// busyOnce is true once.
var busyOnce func() bool

func once() func() bool {
	first := true
	return func() bool { defer func() { first = false }(); return first }
}

// However long an event is held, its span tells of what was before, and of the trial that
// has found a worker, when that was.
func TestTraceOfWhatIsHeld(t *testing.T) {
	var spans *tracetest.SpanRecorder
	inBubble(t, func(c *Config) { spans, c.Hold = traced(c), time.Hour }, func(t *testing.T, f *fixture) {
		go func() {
			time.Sleep(time.Minute)
			f.worker(echo)
		}()
		f.dial("/")
		equal(t, "the span", told(spans, "open"), "given out, held, given out, answered, delivery=1, outcome=done")
		s := spans.Ended()[0]
		equal(t, "first given out", s.Events()[0].Time.Sub(s.StartTime()) < time.Second, true)
		equal(t, "given out to the worker", s.Events()[2].Time.Sub(s.StartTime()).Round(time.Second), time.Minute)
	})
}

// The trace of an event that goes in a batch stands in the header of that; those behind
// it follow it to its worker as they do without traces.
func TestTraceInBatches(t *testing.T) {
	var spans *tracetest.SpanRecorder
	inBubble(t, func(c *Config) { spans = traced(c) }, func(t *testing.T, f *fixture) {
		w := f.dense("w")
		p := f.join(w, 1)[0]
		w.set(func(w *testWorker) { w.traces = nil })
		p.send("1", "2", "3")
		equal(t, "the worker has", w.has(), "1 =2 =3")
		w.answer()
		equal(t, "answers", p.got(), "1 2 3")
		var want []string
		for _, s := range spans.Ended() {
			if s.Name() == "event text" {
				sc := s.SpanContext()
				want = append(want, fmt.Sprintf("1 %d 00-%s-%s-01", len(want)+2, sc.TraceID(), sc.SpanID()))
			}
		}
		equal(t, "traces", strings.Join(w.traces, "\n"), strings.Join(want, "\n"))
		equal(t, "spans", told(spans, "text"), strings.Join([]string{
			"given out, answered, delivery=1, outcome=done", "given out, answered, delivery=1, outcome=done", "given out, answered, delivery=1, outcome=done"}, "\n"))
	})
}

// What comes back from a worker that takes no more batches says so in its span.
func TestTraceOfWhatComesBack(t *testing.T) {
	var spans *tracetest.SpanRecorder
	inBubble(t, func(c *Config) { spans = traced(c) }, func(t *testing.T, f *fixture) {
		a := f.dense("a")
		p := f.join(a, 1)[0]
		p.send("1")
		equal(t, "a", a.has(), "1")
		b := f.dense("b")
		a.leave()
		p.send("2") // follows the one before
		a.answer()
		equal(t, "b", b.has(), "2")
		b.answer()
		equal(t, "answers", p.got(), "1 2")
		equal(t, "spans", told(spans, "text"), "given out, answered, delivery=1, outcome=done\n"+
			"given out, returned, given out, answered, delivery=1, outcome=done")
	})
}

// All lines of a tracestate that a client sends are carried.
func TestTraceStateInLines(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Tracing = Tracing{Provider: sdktrace.NewTracerProvider(), TrustClients: true}
	g, _, conns := benchGateway(t, cfg, 1)
	e := newEvent(conns[0].client, bus.Open, nil)
	g.tracer.begin(e, http.Header{"Traceparent": {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}, "Tracestate": {"a=1", "b=2"}})
	equal(t, "state", e.trace.carried.State, "a=1,b=2")
}

// Nobody's traceparent is heeded for frames, and that of a client only if that is wanted
// and says that it is sampled.
func TestTraceTrust(t *testing.T) {
	const sampled, not = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
	for _, c := range []struct {
		trust  bool
		sample float64
		parent []string
		spans  int
		below  bool
	}{
		{true, 0, []string{sampled}, 1, true},
		{true, 1, []string{sampled}, 1, true},
		{true, 1, []string{not}, 0, false},
		{true, 1, []string{"nonsense"}, 1, false},
		{true, 0, []string{"nonsense"}, 0, false},
		{true, 1, []string{sampled, sampled}, 1, false},
		{false, 1, []string{sampled}, 1, false},
		{false, 0, []string{sampled}, 0, false},
	} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			spans := tracetest.NewSpanRecorder()
			cfg := DefaultConfig()
			cfg.Tracing = Tracing{Provider: sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans)), Sample: c.sample, TrustClients: c.trust}
			g, _, conns := benchGateway(t, cfg, 1)
			e := newEvent(conns[0].client, bus.Open, nil)
			g.tracer.begin(e, http.Header{"Traceparent": c.parent})
			if got := len(spans.Started()); got != c.spans || (e.trace != nil) != (c.spans == 1) {
				t.Fatalf("%d spans, want %d", got, c.spans)
			}
			if c.spans == 1 && (spans.Started()[0].Parent().IsRemote() != c.below || strings.HasPrefix(e.trace.carried.Parent, sampled[:36]) != c.below) {
				t.Errorf("it is below %v, and carries %v", spans.Started()[0].Parent(), e.trace.carried)
			}
		})
	}
}

// Without traces, and for events that are not sampled, nothing is allocated for them.
func TestTraceCostsNothing(t *testing.T) {
	allocs := func(tracing Tracing) float64 {
		cfg := DefaultConfig()
		cfg.Tracing = tracing
		gw, conn, conns := benchGateway(t, cfg, 1)
		frame := wsframe.AppendMasked(nil, wsframe.Text, wsframe.Key{1, 2, 3, 4}, make([]byte, 128))
		in, out := make([]byte, len(frame)), make([]byte, 0, 4096)
		return testing.AllocsPerRun(2000, func() {
			gw.cork.Put()
			copy(in, frame)
			conns[0].Received(in)
			gw.cork.Pull()
			if err := gw.replies(conn.answer()); err != nil {
				t.Error(err)
			}
			conns[0].Output(out)
		})
	}
	provider := sdktrace.NewTracerProvider()
	off, none, few, all := allocs(Tracing{}), allocs(Tracing{Provider: provider}),
		allocs(Tracing{Provider: provider, Sample: 1e-12, TrustClients: true}), allocs(Tracing{Provider: provider, Sample: 1})
	if none > off || few > off || all <= off {
		t.Errorf("%v allocations a frame without traces; %v if none is sampled, %v if few are, %v if all are", off, none, few, all)
	}
}

func TestSampleIsChecked(t *testing.T) {
	for _, sample := range []float64{-0.1, 1.1, math.NaN(), math.Inf(1)} {
		cfg := DefaultConfig()
		cfg.Tracing.Sample = sample
		if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), "tracing.sample") {
			t.Errorf("%v: %v", sample, err)
		}
	}
}
