package api

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/gatebus/gatebus/worker"
)

// counted are the requests of a route, by status.
func counted(s Stats, method, route string) (codes map[int]int64, observed int64) {
	for _, r := range s.Routes {
		if r.Method == method && r.Route == route {
			return r.Codes, r.Latency.Count()
		}
	}
	return nil, -1
}

// Requests count by the route that they are for and how they were answered, and by nothing
// that an asker chooses.
func TestStats(t *testing.T) {
	h := New(Config{Cluster: func() *worker.Cluster { return nil }, Tokens: []string{"0123456789abcdef"}})
	before := len(h.Stats().Routes)
	do := func(method, path, token string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if token != "" {
			req.Header.Set("Authorization", "Bearer "+token)
		}
		h.ServeHTTP(&discard{header: http.Header{}}, req)
	}
	const token = "0123456789abcdef"
	do("GET", "/api/v1/openapi.json", token)
	do("HEAD", "/api/v1/openapi.json", token)
	do("GET", "/api/v1/openapi.json", "")
	do("GET", "/api/v1/clients/g1-1-1", token)         // there is no gateway
	do("GET", "/api/v1/clients/g1-1-2", "another one") // another client is no other route
	do("GET", "/api/v1/clients/%20", token)            // which cannot be
	do("BREW", "/api/v1/clients", token)
	do("GET", "/api/v1/nothing/x", token)
	do("GET", "/elsewhere", token)
	do("GET", "/elsewhere", "")

	s := h.Stats()
	if len(s.Routes) != before || before != len(routes)+1 || s.InFlight != 0 {
		t.Errorf("%d routes, before %d; %d in flight", len(s.Routes), before, s.InFlight)
	}
	for _, want := range []struct {
		method, route string
		codes         map[int]int64
	}{
		{"GET", "/api/v1/openapi.json", map[int]int64{200: 2, 401: 1}},
		{"GET", "/api/v1/clients/{client}", map[int]int64{200: 0, 503: 1, 401: 1, 400: 1}},
		{"GET", "/api/v1/clients", map[int]int64{200: 0}},
		{Other, Other, map[int]int64{200: 0, 401: 1, 404: 2, 405: 1}},
	} {
		codes, observed := counted(s, want.method, want.route)
		all := int64(0)
		for status, n := range codes {
			if all += n; n != want.codes[status] {
				t.Errorf("%s %s: %d times %d, want %d", want.method, want.route, n, status, want.codes[status])
			}
		}
		if len(codes) != len(want.codes) || observed != all {
			t.Errorf("%s %s: %v, and %d observed; want %v", want.method, want.route, codes, observed, want.codes)
		}
	}
}

// A request that waits is in flight, and its time is that of the answer.
func TestStatsInFlight(t *testing.T) {
	asked, answer := make(chan struct{}), make(chan struct{})
	h := New(Config{Cluster: func() *worker.Cluster { close(asked); <-answer; return nil }})
	req, err := http.NewRequestWithContext(context.Background(), "GET", "http://127.0.0.1/api/v1/counts", nil)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		h.ServeHTTP(&discard{header: http.Header{}}, req)
	}()
	<-asked
	if s := h.Stats(); s.InFlight != 1 {
		t.Errorf("%d in flight, want 1", s.InFlight)
	}
	began := time.Now()
	for time.Since(began) < 3*time.Millisecond { // a little that can be seen in a histogram
	}
	close(answer)
	<-done
	s := h.Stats()
	for _, r := range s.Routes {
		if r.Route == "/api/v1/counts" && r.Method == "GET" && (r.Latency.Count() != 1 || r.Latency.Sum < 0.003) {
			t.Errorf("it took %v", r.Latency)
		}
	}
	if s.InFlight != 0 {
		t.Errorf("%d in flight, want none", s.InFlight)
	}
}

// discard is a response that nobody reads.
type discard struct{ header http.Header }

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(b []byte) (int, error) { return len(b), nil }
func (d *discard) WriteHeader(int)             {}
