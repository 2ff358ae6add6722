package webhook

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatebus/gatebus/worker"
)

// answers gives these statuses one after the other, and then 200.
func answers(statuses ...int) http.HandlerFunc {
	var n atomic.Int64
	return func(w http.ResponseWriter, _ *http.Request) {
		if i := int(n.Add(1)) - 1; i < len(statuses) {
			http.Error(w, "not now", statuses[i])
			return
		}
		fmt.Fprint(w, "yes")
	}
}

func TestRetry(t *testing.T) {
	statuses := []int{500, 502, 503, 504, 408, 425, 429}
	cfg := testConfig()
	cfg.SigningKeys = []Secret{testKey}
	inBubble(t, cfg, answers(statuses...), func(t *testing.T, f *fixture) {
		f.refuse = 1
		resp, err := f.exchange("x")
		if err != nil || string(resp.body) != "yes" {
			t.Fatalf("%+v, %v", resp, err)
		}
		got := f.requests()
		if len(got) != len(statuses)+1 {
			t.Fatalf("%d requests, want %d", len(got), len(statuses)+1)
		}
		// The first try was a connection that was refused.
		last, bound := time.Duration(0), minPause
		for i, g := range got {
			if pause := g.at - last; pause < bound/2 || pause > bound {
				t.Errorf("pause %d is %v, want %v to %v", i+1, pause, bound/2, bound)
			}
			last, bound = g.at, min(2*bound, maxPause)
			if g.body != "x" || g.header.Get("ce-id") != "g1-k3x9-7:5" || g.header.Get("webhook-id") != "g1-k3x9-7:5" ||
				g.header.Get("ce-time") != got[0].header.Get("ce-time") {
				t.Errorf("request %d is another event: %q, %v", i, g.body, g.header)
			}
			verify(t, g, testKey)
		}
		if got[7].header.Get("webhook-timestamp") == got[0].header.Get("webhook-timestamp") {
			t.Error("the time of the last try is that of the first")
		}
		if s := f.h.Stats(); s.Requests != 9 || s.Retries != 8 || s.Failed != 0 {
			t.Errorf("stats %+v", s)
		}
		// One every ten seconds at most, which is about what all of it takes.
		if n := strings.Count(f.log.String(), "level=WARN"); n < 1 || n > 2 {
			t.Errorf("%d warnings:\n%s", n, f.log)
		}
	})
}

func TestRetriesEnd(t *testing.T) {
	cfg := testConfig()
	cfg.Retries = 2
	inBubble(t, cfg, answers(500, 500, 500, 500), func(t *testing.T, f *fixture) {
		_, err := f.exchange("x")
		if n := len(f.requests()); n != 3 {
			t.Errorf("%d requests, want 3", n)
		}
		wantError(t, err, true, "http://127.0.0.1/hook: no retries are left (try 3, after ", `: it answers 500 Internal Server Error: "not now\n"`)
	})
	cfg.Retries, cfg.MaxElapsed = 1000, 20*time.Second
	inBubble(t, cfg, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }, func(t *testing.T, f *fixture) {
		_, err := f.exchange("x")
		if d := time.Since(f.start); d > cfg.MaxElapsed {
			t.Errorf("gave up after %v, want %v at most", d, cfg.MaxElapsed)
		}
		if n := len(f.requests()); n < 6 || n > 14 {
			t.Errorf("%d requests in 20 s", n)
		}
		wantError(t, err, true, "would be too late (try ")
	})
}

func TestRetryAfter(t *testing.T) {
	for _, tt := range []struct {
		name, header string
		min, max     time.Duration
		gives        bool // up at once
	}{
		{"seconds", "7", 7 * time.Second, 7 * time.Second, false},
		{"date", "", 9 * time.Second, 10 * time.Second, false},
		{"sooner than the pause", "0", minPause / 2, minPause, false},
		{"past", "Fri, 31 Dec 1999 15:04:05 GMT", minPause / 2, minPause, false},
		{"nonsense", "soon", minPause / 2, minPause, false},
		{"negative", "-5", minPause / 2, minPause, false},
		{"too late", "3600", 0, 0, true},
		{"out of range", "99999999999999999999", minPause / 2, minPause, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			first := true
			inBubble(t, testConfig(), func(w http.ResponseWriter, _ *http.Request) {
				if first {
					first = false
					after := tt.header
					if tt.name == "date" {
						after = time.Now().Add(10 * time.Second).UTC().Format(http.TimeFormat)
					}
					w.Header().Set("Retry-After", after)
					w.WriteHeader(429)
				}
			}, func(t *testing.T, f *fixture) {
				_, err := f.exchange("x")
				if tt.gives {
					wantError(t, err, true, "the next try in 1h0m0s would be too late", "it answers 429 Too Many Requests")
					if d := time.Since(f.start); d != 0 {
						t.Errorf("gave up after %v", d)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				if d := f.requests()[1].at; d < tt.min || d > tt.max {
					t.Errorf("tried again after %v, want %v to %v", d, tt.min, tt.max)
				}
			})
		})
	}
}

// A receiver that says nothing, and one that stops in the middle of its body.
func TestTimeout(t *testing.T) {
	for name, serve := range map[string]http.HandlerFunc{
		"no answer": func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"no body": func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, "he")
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := testConfig()
			cfg.Timeout, cfg.Retries = 2*time.Second, 1
			inBubble(t, cfg, serve, func(t *testing.T, f *fixture) {
				_, err := f.exchange("x")
				wantError(t, err, true, "no answer within timeout of 2s")
				if d := time.Since(f.start); len(f.requests()) != 2 || d < 4*time.Second || d > 4*time.Second+minPause {
					t.Errorf("%d tries in %v", len(f.requests()), d)
				}
			})
		})
	}
}

// A connection that breaks is tried again, in the middle of a body too.
func TestBroken(t *testing.T) {
	n := 0
	inBubble(t, testConfig(), func(w http.ResponseWriter, _ *http.Request) {
		switch n++; n {
		case 1:
			panic(http.ErrAbortHandler)
		case 2:
			w.Header().Set("Content-Length", "10")
			fmt.Fprint(w, "he")
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}
		fmt.Fprint(w, "whole")
	}, func(t *testing.T, f *fixture) {
		resp, err := f.exchange("x")
		if err != nil || string(resp.body) != "whole" || n != 3 {
			t.Errorf("%+v, %v after %d tries", resp, err, n)
		}
	})
}

// What stands is not asked again.
func TestNoRetry(t *testing.T) {
	cfg := testConfig()
	cfg.MaxResponse = 10
	for status, want := range map[int]string{
		200: "", 204: "", 299: "",
		301: `it answers 301 Moved Permanently (location "http://elsewhere/"), and redirects are not followed: put the final address into url`,
		400: "it answers 400 Bad Request", 404: "it answers 404 Not Found", 410: "it answers 410 Gone",
	} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			inBubble(t, cfg, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Location", "http://elsewhere/")
				w.WriteHeader(status)
			}, func(t *testing.T, f *fixture) {
				resp, err := f.exchange("x")
				if err == nil {
					_, err = readAnswer(worker.Text, resp)
				}
				if n := len(f.requests()); n != 1 {
					t.Errorf("%d requests", n)
				}
				if want == "" && err != nil || want != "" && (err == nil || err.Error() != want) {
					t.Errorf("error %v, want %q", err, want)
				}
			})
		})
	}
	t.Run("too large", func(t *testing.T) {
		inBubble(t, cfg, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "0123456789x") }, func(t *testing.T, f *fixture) {
			_, err := f.exchange("x")
			wantError(t, err, false, "http://127.0.0.1/hook: the response has more than max_response of 10 bytes")
			if n := len(f.requests()); n != 1 {
				t.Errorf("%d requests", n)
			}
		})
	})
	t.Run("just not too large", func(t *testing.T) {
		inBubble(t, cfg, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "0123456789") }, func(t *testing.T, f *fixture) {
			if resp, err := f.exchange("x"); err != nil || string(resp.body) != "0123456789" {
				t.Errorf("%+v, %v", resp, err)
			}
		})
	})
}

// A worker that has no more time to stop does not wait for a receiver.
func TestCancel(t *testing.T) {
	stopped := errors.New("the worker stops")
	for name, serve := range map[string]http.HandlerFunc{
		"in a try":   func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"in a pause": func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Retry-After", "9"); w.WriteHeader(503) },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, testConfig(), serve, func(t *testing.T, f *fixture) {
				ctx, cancel := context.WithCancelCause(t.Context())
				var err error
				done := make(chan struct{})
				go func() {
					defer close(done)
					err = f.h.Handle(ctx, event(worker.Text, "x"))
				}()
				synctest.Wait()
				cancel(stopped)
				<-done
				if d := time.Since(f.start); !errors.Is(err, stopped) || d != 0 {
					t.Errorf("%v after %v", err, d)
				}
			})
		})
	}
}

// There are as many connections as events are handled at a time, and they are used
// again.
func TestConnections(t *testing.T) {
	cfg := testConfig()
	cfg.Concurrency = 2
	var busy atomic.Int64
	var open chan struct{}
	inBubble(t, cfg, func(_ http.ResponseWriter, r *http.Request) {
		busy.Add(1)
		defer busy.Add(-1)
		select {
		case <-open:
		case <-r.Context().Done():
		}
	}, func(t *testing.T, f *fixture) {
		open = make(chan struct{})
		var wg sync.WaitGroup
		for range 6 {
			wg.Go(func() {
				if _, err := f.exchange("x"); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		if n := busy.Load(); n != 2 {
			t.Errorf("%d requests at a time, want 2", n)
		}
		close(open)
		wg.Wait()
		if f.dialed != 2 {
			t.Errorf("%d connections, want 2", f.dialed)
		}
	})
}

func wantError(t *testing.T, err error, unanswered bool, texts ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	if u := (unansweredError{}); errors.As(err, &u) != unanswered {
		t.Errorf("for want of an answer: %v: %v", !unanswered, err)
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("error %q does not say %q", err, text)
		}
	}
}

// What failed together does not come again together.
func TestPausesDiffer(t *testing.T) {
	for tries := 1; tries < 40; tries++ {
		bound := min(minPause<<min(tries-1, 16), maxPause)
		seen := map[time.Duration]bool{}
		for range 20 {
			d := pauseAfter(tries)
			if d < bound/2 || d > bound {
				t.Errorf("pause %d is %v, want %v to %v", tries, d, bound/2, bound)
			}
			seen[d] = true
		}
		if len(seen) < 10 {
			t.Errorf("pause %d has only %d values in 20 tries", tries, len(seen))
		}
	}
}
