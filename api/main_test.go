package api

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/worker"
	"github.com/gatebus/gatebus/workertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait.
const patience = 20 * time.Second

// fixture is the API over real gateways, as a server.
type fixture struct {
	t       *testing.T
	cluster *workertest.Cluster
	server  *httptest.Server
	client  *http.Client
	spec    *spec
	header  http.Header // of every request
}

func start(t *testing.T, gateways int, tokens ...string) *fixture {
	t.Helper()
	accept := worker.HandlerFunc(func(_ context.Context, ev *worker.Event) error {
		if ev.Kind.Frame() {
			ev.Reply(ev.Data)
		}
		return nil
	})
	c := workertest.Start(t, workertest.Options{Handlers: []worker.Handler{accept}, Gateways: gateways, Patience: patience})
	f := serve(t, Config{Cluster: c.Cluster, Tokens: tokens})
	f.cluster = c
	return f
}

func serve(t *testing.T, cfg Config) *fixture {
	f := &fixture{t: t, spec: loadSpec(t), header: http.Header{}}
	f.server = httptest.NewServer(New(cfg))
	transport := &http.Transport{}
	f.client = &http.Client{Transport: transport, Timeout: patience}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		f.server.Close()
	})
	return f
}

// answered is the answer to a request.
type answered struct {
	f      *fixture
	status int
	header http.Header
	body   []byte
}

// ask sends a request, with JSON or nothing for its body, and checks the answer against
// the description.
func (f *fixture) ask(method, path, body string, header ...string) answered {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, f.server.URL+Prefix+path, strings.NewReader(body))
	if err != nil {
		f.t.Fatal(err)
	}
	req.Header = f.header.Clone()
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
		}
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := f.client.Do(req)
	if err != nil {
		f.t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		f.t.Fatal(err)
	}
	if route, _, _, _ := find(req); route != nil {
		var sent []byte
		if body != "" {
			sent = []byte(body)
		}
		f.spec.check(f.t, route, sent, resp, data)
	}
	if h := resp.Header; h.Get("Cache-Control") != "no-store" || h.Get("Access-Control-Allow-Origin") != "" {
		f.t.Errorf("%s %s: headers %v", method, path, h)
	}
	return answered{f, resp.StatusCode, resp.Header, bytes.TrimSpace(data)}
}

// is checks the status and the body; "" stands for any.
func (a answered) is(status int, body string) answered {
	a.f.t.Helper()
	if a.status != status || body != "" && string(a.body) != body {
		a.f.t.Fatalf("%d %s, want %d %s", a.status, a.body, status, body)
	}
	return a
}

// problem checks that it is an error of that type, whose detail has the text.
func (a answered) problem(k kind, detail string) Problem {
	a.f.t.Helper()
	var p Problem
	if err := json.Unmarshal(a.body, &p); err != nil {
		a.f.t.Fatalf("%d %s: %v", a.status, a.body, err)
	}
	if a.status != k.status || p.Status != k.status || p.Type != typePrefix+k.name || p.Title != k.title || !strings.Contains(p.Detail, detail) {
		a.f.t.Errorf("%d %s, want %s with %q", a.status, a.body, k.name, detail)
	}
	return p
}

// into reads the body.
func (a answered) into(v any) {
	a.f.t.Helper()
	if err := json.Unmarshal(a.body, v); err != nil {
		a.f.t.Fatalf("%d %s: %v", a.status, a.body, err)
	}
}

// connect connects a client to a gateway, and knows its id.
func (f *fixture) connect(gateway int) (*workertest.Client, bus.ClientID) {
	f.t.Helper()
	cl := f.cluster.Dial(workertest.Request{Gateway: gateway})
	return cl, cl.ID()
}

// quoted is a text in JSON.
func quoted(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// escaped and queryEscaped are a name in a path and in a query.
func escaped(name string) string      { return url.PathEscape(name) }
func queryEscaped(name string) string { return url.QueryEscape(name) }
