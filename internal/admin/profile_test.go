package admin

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// request asks the routes of a server.
func request(t *testing.T, cfg Config, path string, change func(*http.Request)) *httptest.ResponseRecorder {
	t.Helper()
	cfg.Log = slog.New(slog.DiscardHandler)
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
	r.RemoteAddr, r.Host = "127.0.0.1:4711", "127.0.0.1:8280"
	if change != nil {
		change(r)
	}
	answer := httptest.NewRecorder()
	(&Server{cfg: cfg}).handler().ServeHTTP(answer, r)
	return answer
}

func TestProfilesAreForThisMachine(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*http.Request)
		status int
	}{
		{"from here", nil, 200},
		{"by name", func(r *http.Request) { r.Host = "LocalHost:8280" }, 200},
		{"through a tunnel", func(r *http.Request) { r.Host = "localhost" }, 200},
		{"over IPv6", func(r *http.Request) { r.RemoteAddr, r.Host = "[::1]:4711", "[::1]:8280" }, 200},
		{"over IPv6, the default port", func(r *http.Request) { r.RemoteAddr, r.Host = "[::ffff:127.0.0.1]:4711", "[::1]" }, 200},
		{"from elsewhere", func(r *http.Request) { r.RemoteAddr = "10.0.0.7:4711" }, 403},
		{"from elsewhere, as if not", func(r *http.Request) { r.RemoteAddr, r.Host = "10.0.0.7:4711", "localhost" }, 403},
		{"of a page whose name leads here", func(r *http.Request) { r.Host = "evil.example:8280" }, 403},
		{"through a proxy here", func(r *http.Request) { r.Header.Set("X-Forwarded-For", "10.0.0.7") }, 403},
		{"through another proxy here", func(r *http.Request) { r.Header.Set("Forwarded", "for=10.0.0.7") }, 403},
	} {
		for _, path := range []string{"/debug/pprof/", "/debug/pprof/cmdline", "/debug/pprof/goroutine?debug=1"} {
			if got := request(t, Config{}, path, c.change).Code; got != c.status {
				t.Errorf("%s: %s: %d, want %d", c.name, path, got, c.status)
			}
		}
	}
	// With an authentication of its own, where a request comes from does not count.
	cfg := Config{Guard: func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") != "Bearer x" {
				http.Error(w, "who are you", http.StatusUnauthorized)
				return
			}
			h.ServeHTTP(w, r)
		})
	}}
	if got := request(t, cfg, "/debug/pprof/", nil).Code; got != 401 {
		t.Errorf("without a token: %d", got)
	}
	away := func(r *http.Request) { r.RemoteAddr = "10.0.0.7:1"; r.Header.Set("Authorization", "Bearer x") }
	if got := request(t, cfg, "/debug/pprof/", away).Code; got != 200 {
		t.Errorf("with a token: %d", got)
	}
}

// What is answered is a profile.
func TestProfile(t *testing.T) {
	answer := request(t, Config{}, "/debug/pprof/heap", nil)
	z, err := gzip.NewReader(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(z)
	if err != nil || !bytes.Contains(data, []byte("inuse_space")) {
		t.Errorf("%d bytes, %v", len(data), err)
	}
}

func TestReady(t *testing.T) {
	var joined, workers error
	cfg := Config{Ready: map[string][]Check{
		"gateway": {{"joined", func() error { return joined }}, {"workers", func() error { return workers }}},
		"worker":  {{"joined", func() error { return nil }}},
	}}
	check := func(status int, words ...string) {
		t.Helper()
		answer := request(t, cfg, "/readyz", nil)
		if answer.Code != status {
			t.Errorf("%d, want %d", answer.Code, status)
		}
		for _, w := range words {
			if !strings.Contains(answer.Body.String(), w) {
				t.Errorf("%s lacks %s", answer.Body, w)
			}
		}
	}
	check(200, `"gateway": "ready"`, `"worker": "ready"`)
	workers = errors.New("none there")
	check(503, `"gateway": "workers: none there"`, `"worker": "ready"`)
	joined = errors.New("not yet")
	check(503, `"gateway": "joined: not yet; workers: none there"`)
}

func TestMetricsAreThere(t *testing.T) {
	if got := request(t, Config{}, "/metrics", nil).Code; got != 404 {
		t.Errorf("without any: %d", got)
	}
	cfg := Config{Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) })}
	if got := request(t, cfg, "/metrics", func(r *http.Request) { r.RemoteAddr = "10.0.0.7:1" }).Code; got != 204 {
		t.Errorf("from elsewhere: %d", got)
	}
}
