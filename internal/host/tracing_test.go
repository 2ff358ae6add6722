package host

import (
	"compress/gzip"
	"context"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/nats-io/nats.go"
	"go.opentelemetry.io/otel/trace"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/gatebus/gatebus/configs"
	"github.com/gatebus/gatebus/worker"
)

// receiver takes traces as a collector does: OTLP over HTTP, in protobuf.
type receiver struct {
	t   *testing.T
	url string

	mu     sync.Mutex
	spans  []received
	header http.Header
	came   chan struct{} // closed, and made anew, when some came
}

// received is a span and what it says in a form that is easy to look at.
type received struct {
	*otlp.Span
	service          string
	id, parent, root string // root is the trace
	attrs            map[string]string
	events           []string
}

func newReceiver(t *testing.T) *receiver {
	r := &receiver{t: t, came: make(chan struct{})}
	s := httptest.NewServer(r)
	t.Cleanup(s.Close)
	r.url = s.URL
	return r
}

func values(attrs []*common.KeyValue) map[string]string {
	m := map[string]string{}
	for _, a := range attrs {
		switch v := a.Value.Value.(type) {
		case *common.AnyValue_IntValue:
			m[a.Key] = fmt.Sprint(v.IntValue)
		case *common.AnyValue_StringValue:
			m[a.Key] = v.StringValue
		}
	}
	return m
}

// ServeHTTP takes spans.
func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body := io.Reader(req.Body)
	if req.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(req.Body)
		if err != nil {
			r.t.Error(err)
			return
		}
		body = z
	}
	data, err := io.ReadAll(body)
	var got collector.ExportTraceServiceRequest
	if err == nil {
		err = proto.Unmarshal(data, &got)
	}
	if err != nil || req.URL.Path != "/v1/traces" || req.Header.Get("Content-Type") != "application/x-protobuf" {
		r.t.Errorf("a request to %s that is none: %v, %v", req.URL, req.Header, err)
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.header = req.Header
	for _, rs := range got.ResourceSpans {
		service := values(rs.Resource.Attributes)["service.name"]
		for _, ss := range rs.ScopeSpans {
			for _, s := range ss.Spans {
				one := received{
					Span: s, service: service, attrs: values(s.Attributes),
					id: hex.EncodeToString(s.SpanId), parent: hex.EncodeToString(s.ParentSpanId), root: hex.EncodeToString(s.TraceId),
				}
				for _, e := range s.Events {
					text := e.Name
					if d := values(e.Attributes)["gatebus.delivery"]; d != "" {
						text += " " + d
					}
					one.events = append(one.events, text)
				}
				r.spans = append(r.spans, one)
			}
		}
	}
	close(r.came)
	r.came = make(chan struct{})
	w.Header().Set("Content-Type", "application/x-protobuf")
}

func (r *receiver) all() []received {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.spans)
}

// await waits for a span.
func (r *receiver) await(what string, is func(received) bool) received {
	r.t.Helper()
	deadline := time.After(patience)
	for {
		r.mu.Lock()
		came := r.came
		i := slices.IndexFunc(r.spans, is)
		if i >= 0 {
			defer r.mu.Unlock()
			return r.spans[i]
		}
		n := len(r.spans)
		r.mu.Unlock()
		select {
		case <-came:
		case <-deadline:
			r.t.Fatalf("no span of %s among %d", what, n)
		}
	}
}

func named(name string) func(received) bool {
	return func(s received) bool { return s.Name == name }
}

func below(parent received) func(received) bool {
	return func(s received) bool { return s.root == parent.root && s.parent == parent.id }
}

func says(t *testing.T, conn *websocket.Conn, text string) {
	t.Helper()
	if err := conn.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
		t.Fatal(err)
	}
}

func hears(t *testing.T, conn *websocket.Conn, want string) {
	t.Helper()
	if _, data, err := conn.ReadMessage(); err != nil || string(data) != want {
		t.Fatalf("%q, %v; want %q", data, err, want)
	}
}

// quick has hosts not wait for clients that do not read any more.
const quick = "gateway.close_timeout=100ms"

const clientParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

// A trace goes from the gateway to the worker, in batches: the worker's span is a child
// of the gateway's. What a client says of its own trace is heeded for its open event, if
// the configuration says so.
func TestTrace(t *testing.T) {
	for _, trust := range []bool{false, true} {
		t.Run(fmt.Sprint("trust=", trust), func(t *testing.T) {
			t.Parallel()
			r := newReceiver(t)
			at, _, stop := run(t, load(t, quick, "worker.handler.type=echo", "tracing.endpoint="+r.url, "tracing.sample=1",
				fmt.Sprint("tracing.trust_clients=", trust)))
			ready(t, at)
			conn, _, err := websocket.DefaultDialer.Dial("ws://"+at.Clients, http.Header{"traceparent": {clientParent}})
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			says(t, conn, "hello")
			hears(t, conn, "hello")
			if err := conn.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(4100, "bye")); err != nil {
				t.Fatal(err)
			}
			_, _, _ = conn.ReadMessage() // it is closed
			for _, kind := range []string{"open", "text", "close"} {
				event := r.await("event "+kind, named("event "+kind))
				handle := r.await("handle "+kind, below(event))
				if event.service != "gatebus-gateway" || handle.service != "gatebus-worker" || handle.Name != "handle "+kind ||
					event.Kind != otlp.Span_SPAN_KIND_PRODUCER || handle.Kind != otlp.Span_SPAN_KIND_CONSUMER {
					t.Errorf("%s: %v of %s, %v of %s", kind, event, event.service, handle, handle.service)
				}
				if got := strings.Join(event.events, ", "); got != "given out 1, answered" || event.attrs["gatebus.outcome"] != "done" || handle.attrs["gatebus.outcome"] != "done" {
					t.Errorf("%s: %s, %v", kind, got, event.attrs)
				}
				for _, key := range []string{"gatebus.client", "gatebus.seq", "gatebus.kind"} {
					if event.attrs[key] == "" || event.attrs[key] != handle.attrs[key] {
						t.Errorf("%s: %s is %q and %q", kind, key, event.attrs[key], handle.attrs[key])
					}
				}
				if follows := event.root == "0af7651916cd43dd8448eb211c80319c" && event.parent == "b7ad6b7169203331"; follows != (trust && kind == "open") {
					t.Errorf("%s: the trace is %s below %q", kind, event.root, event.parent)
				}
			}
			stop()
			if n := len(r.all()); n != 6 {
				t.Errorf("%d spans, want 6", n)
			}
		})
	}
}

// Of many frames of one client, some are traced. All are answered in order, and each
// worker's span belongs to the gateway's of the same event.
func TestTraceSampled(t *testing.T) {
	t.Parallel()
	r := newReceiver(t)
	at, _, stop := run(t, load(t, quick, "worker.handler.type=echo", "tracing.endpoint="+r.url, "tracing.sample=0.5", "tracing.trust_clients=true"))
	ready(t, at)
	const frames = 400
	conn := dial(t, "ws://"+at.Clients)
	for i := range frames {
		says(t, conn, fmt.Sprint(i))
	}
	for i := range frames {
		hears(t, conn, fmt.Sprint(i))
	}
	// Spans are exported in the order in which they end: this one is the last.
	last, _, err := websocket.DefaultDialer.Dial("ws://"+at.Clients, http.Header{"traceparent": {clientParent}})
	if err != nil {
		t.Fatal(err)
	}
	defer last.Close()
	r.await("the last event", func(s received) bool { return s.parent == "b7ad6b7169203331" })
	stop()
	seqs := map[string]string{} // by span of the gateway
	handled := 0
	for _, s := range r.all() {
		if s.Name == "event text" {
			seqs[s.root+s.id] = s.attrs["gatebus.seq"]
		}
	}
	for _, s := range r.all() {
		if s.Name != "handle text" {
			continue
		}
		handled++
		if seq := seqs[s.root+s.parent]; seq != s.attrs["gatebus.seq"] {
			t.Errorf("the event %s is handled below the span of event %q", s.attrs["gatebus.seq"], seq)
		}
	}
	if handled != len(seqs) || handled < frames/4 || handled > frames*3/4 {
		t.Errorf("%d spans of the gateway and %d of the worker for %d frames", len(seqs), handled, frames)
	}
}

// A plain worker gets the trace in a header; when it is gone without an answer, the
// worker of the SDK that comes next continues the same trace, marked as a redelivery.
// What its handler does with its context is below its span, and what it asks gateways
// for below that.
func TestTraceOfRedelivery(t *testing.T) {
	t.Parallel()
	r := newReceiver(t)
	cfg := load(t, quick, "tracing.endpoint="+r.url, "tracing.sample=1", "gateway.ack_wait=150ms")
	cfg.Only(configs.RoleRegister, configs.RoleGateway)
	at, _, _ := run(t, cfg)
	nc, err := nats.Connect("nats://" + at.Bus)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	taken := make(chan *nats.Msg, 1)
	_, err = nc.QueueSubscribe("gw.*.in.default.*", "default", func(m *nats.Msg) {
		if strings.HasSuffix(m.Subject, ".text") {
			taken <- m
			return
		}
		_ = m.Respond(nil)
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	ready(t, at)
	conn := dial(t, "ws://"+at.Clients)
	says(t, conn, "hello")
	var m *nats.Msg
	select {
	case m = <-taken:
	case <-time.After(patience):
		t.Fatal("the plain worker gets nothing")
	}
	nc.Close()

	own, err := newTracing(t.Context(), configs.Tracing{Endpoint: r.url}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	provider, err := own.provider(t.Context(), "application", "")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var tasks sync.WaitGroup
	tasks.Go(func() { _ = own.run(ctx) })
	tasks.Go(func() {
		wcfg := worker.Config{Registers: []string{"nats://" + at.Register}, TracerProvider: provider, Log: slog.New(slog.DiscardHandler)}
		err := worker.Run(ctx, wcfg, worker.HandlerFunc(func(ctx context.Context, ev *worker.Event) error {
			ctx, span := provider.Tracer("application").Start(ctx, "query")
			defer span.End()
			ev.Reply(ev.Data)
			if ev.Kind != worker.Text {
				return nil
			}
			return ev.Client.Join(ctx, "room")
		}))
		if err != nil {
			t.Error(err)
		}
	})
	hears(t, conn, "hello")
	cancel()
	tasks.Wait()

	event := r.await("event text", named("event text"))
	if want := "00-" + event.root + "-" + event.id + "-01"; m.Header["traceparent"] == nil || m.Header["traceparent"][0] != want {
		t.Errorf("the plain worker gets %v, want traceparent %s", m.Header, want)
	}
	if got := strings.Join(event.events, ", "); !strings.HasPrefix(got, "given out 1, lost, given out 2") || !strings.HasSuffix(got, "answered") {
		t.Errorf("the gateway says %s", got)
	}
	handle := r.await("handle text", below(event))
	if handle.attrs["gatebus.delivery"] != "2" || handle.service != "gatebus-application" {
		t.Errorf("the worker says %v", handle.attrs)
	}
	query := r.await("query", below(handle))
	command := r.await("command", below(query))
	if command.attrs["gatebus.command"] != "join" || command.service != "gatebus-gateway" {
		t.Errorf("the gateway says %v of a command", command.attrs)
	}
}

// Without an endpoint there are no traces, and no headers.
func TestTraceOffByDefault(t *testing.T) {
	t.Parallel()
	cfg := load(t, quick, "gateway.ack_wait=100ms")
	cfg.Only(configs.RoleRegister, configs.RoleGateway)
	at, _, _ := run(t, cfg)
	nc, err := nats.Connect("nats://" + at.Bus)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	headers := make(chan nats.Header, 10)
	if _, err := nc.QueueSubscribe("gw.*.in.default.*", "default", func(m *nats.Msg) { headers <- m.Header; _ = m.Respond(m.Data) }); err != nil {
		t.Fatal(err)
	}
	ready(t, at)
	conn := dial(t, "ws://"+at.Clients)
	says(t, conn, "hello")
	hears(t, conn, "hello")
	for range 2 {
		if h := <-headers; len(h) > 0 {
			t.Errorf("an event has the headers %v", h)
		}
	}
	if tr, err := newTracing(t.Context(), configs.Default().Tracing, slog.New(slog.DiscardHandler)); tr != nil || err != nil {
		t.Errorf("there is an exporter: %v, %v", tr, err)
	}
}

// Who takes no traces harms nobody: clients are served, what waits is bounded, and the
// host is down in time.
func TestTraceReceiverGone(t *testing.T) {
	release := make(chan struct{})
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		_, _ = io.Copy(io.Discard, req.Body)
		select { // until the client has had enough
		case <-req.Context().Done():
		case <-release:
		}
	}))
	t.Cleanup(func() { close(release); silent.Close() })
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	for name, url := range map[string]string{"silent": silent.URL, "gone": gone.URL} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tr, err := newTracing(t.Context(), configs.Tracing{Endpoint: url}, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			ctx := oneSpan(t, tr)
			tr.last = 300 * time.Millisecond
			start := time.Now()
			if err := tr.run(ctx); err != nil {
				t.Error(err)
			}
			if took := time.Since(start); took > 5*time.Second { // less than exportTimeout
				t.Errorf("it takes %v to end", took)
			}
			if got := tr.Spans(); got.Failed != 1 {
				t.Errorf("%+v", got)
			}
		})
	}
	t.Run("host", func(t *testing.T) {
		t.Parallel()
		at, log, stop := run(t, load(t, quick, "worker.handler.type=echo", "tracing.endpoint="+gone.URL, "tracing.sample=1"))
		ready(t, at)
		conn := dial(t, "ws://"+at.Clients)
		for i := range 200 {
			says(t, conn, fmt.Sprint(i))
			hears(t, conn, fmt.Sprint(i))
		}
		stop()
		log.await(t, "traces cannot be exported")
	})
}

// Spans that find too many before them are dropped, and counted.
func TestTraceQueue(t *testing.T) {
	t.Parallel()
	r := newReceiver(t)
	tr, err := newTracing(t.Context(), configs.Tracing{Endpoint: r.url}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	p, err := tr.provider(t.Context(), configs.RoleGateway, "g1")
	if err != nil {
		t.Fatal(err)
	}
	const more = 10
	for range spanQueue + more {
		_, span := p.Tracer("").Start(context.Background(), "x", trace.WithNewRoot())
		span.End()
	}
	ctx, cancel := context.WithCancel(context.Background())
	var task sync.WaitGroup
	task.Go(func() {
		if err := tr.run(ctx); err != nil {
			t.Error(err)
		}
	})
	r.await("the last", func(received) bool { return len(r.spans) == spanQueue })
	cancel()
	task.Wait()
	if got := tr.Spans(); got.Dropped != more || got.Exported != spanQueue || got.Failed != 0 {
		t.Errorf("%+v", got)
	}
	if n := len(r.all()); n != spanQueue {
		t.Errorf("the receiver has %d spans, want %d", n, spanQueue)
	}
}

// Traces can go over TLS, with headers, to a receiver whose certificate an authority
// of one's own vouches for; without that it is refused, and headers go nowhere else.
func TestTraceTLS(t *testing.T) {
	t.Parallel()
	r := &receiver{t: t, came: make(chan struct{})}
	s := httptest.NewTLSServer(r)
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	defer s.Close()
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		t.Errorf("somebody else gets %v", req.Header)
	}))
	defer elsewhere.Close()
	redirects := httptest.NewServer(http.RedirectHandler(elsewhere.URL, http.StatusTemporaryRedirect))
	defer redirects.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		url, ca string
		want    int64
	}{{s.URL, ca, 1}, {s.URL, "", 0}, {redirects.URL, "", 0}} {
		cfg := configs.Tracing{Endpoint: c.url, CA: c.ca, Headers: map[string]configs.Secret{"Authorization": "Bearer abc"}}
		tr, err := newTracing(t.Context(), cfg, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		ctx := oneSpan(t, tr)
		if err := tr.run(ctx); err != nil {
			t.Error(err)
		}
		if got := tr.Spans(); got.Exported != c.want || got.Failed != 1-c.want {
			t.Errorf("%s, ca %q: %+v", c.url, c.ca, got)
		}
	}
	if got := r.header.Get("Authorization"); got != "Bearer abc" {
		t.Errorf("authorization is %q", got)
	}
}

// oneSpan has one span wait to be exported, and returns a context that has ended.
func oneSpan(t *testing.T, tr *tracing) context.Context {
	t.Helper()
	p, err := tr.provider(t.Context(), configs.RoleGateway, "g1")
	if err != nil {
		t.Fatal(err)
	}
	_, span := p.Tracer("").Start(context.Background(), "x")
	span.End()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}
