//go:build linux

package chaos

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/gatebus/gatebus/internal/chaos/ledger"
)

// stop has a gateway be told to stop, which it has done at once.
func stop(h *history, gateway string) { h.stop(gateway)() }

// fateful is the number of the frame at which something happens.
const fateful = 5

// fakeGateway lets clients in and gives fn their frames, by number.
func fakeGateway(t *testing.T, fn func(c *websocket.Conn, n, kind int, data []byte)) string {
	t.Helper()
	var (
		up    websocket.Upgrader
		conns sync.WaitGroup
	)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conns.Add(1)
		defer conns.Done()
		c, err := up.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer c.Close()
		for n := 0; ; n++ {
			kind, data, err := c.ReadMessage()
			if err != nil {
				return
			}
			fn(c, n, kind, data)
		}
	}))
	t.Cleanup(func() { s.Close(); conns.Wait() })
	return strings.TrimPrefix(s.URL, "http://")
}

func echo(c *websocket.Conn, _, kind int, data []byte) { c.WriteMessage(kind, data) }

// closes ends a connection with a code instead of answering the fateful frame.
func closes(code int) func(*websocket.Conn, int, int, []byte) {
	return func(c *websocket.Conn, n, kind int, data []byte) {
		if n != fateful {
			echo(c, n, kind, data)
			return
		}
		c.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, ""), time.Now().Add(time.Second))
	}
}

// resets breaks a connection off at the same place.
func resets(c *websocket.Conn, n, kind int, data []byte) {
	if n == fateful {
		c.NetConn().Close()
	}
	echo(c, n, kind, data)
}

func TestClientNoticesEachBrokenPromise(t *testing.T) {
	kill := (*history).kill
	for name, tt := range map[string]struct {
		gateway func(c *websocket.Conn, n, kind int, data []byte)
		before  func(*history, string) // what is done to the gateway at the end, if anything
		want    ledger.Broken          // "" for none
	}{
		"kept": {echo, nil, ""},
		"answered twice": {func(c *websocket.Conn, n, kind int, data []byte) {
			echo(c, n, kind, data)
			if n == fateful {
				echo(c, n, kind, data)
			}
		}, nil, ledger.Duplicated},
		"one left out": {func(c *websocket.Conn, n, kind int, data []byte) {
			if n != fateful {
				echo(c, n, kind, data)
			}
		}, nil, ledger.Reordered},
		"none from some time on": {func(c *websocket.Conn, n, kind int, data []byte) {
			if n < fateful {
				echo(c, n, kind, data)
			}
		}, nil, ledger.Lost},
		"of the wrong kind": {func(c *websocket.Conn, n, kind int, data []byte) {
			echo(c, n, websocket.TextMessage+websocket.BinaryMessage-kind, data)
		}, nil, ledger.Mangled},
		"handler failed":             {closes(1011), nil, ledger.Closed},
		"try again later":            {closes(1013), nil, ledger.Closed},
		"handler failed, at a stop":  {closes(1011), stop, ledger.Closed},
		"restart, of itself":         {closes(1012), nil, ledger.Closed},
		"restart, as told":           {closes(1012), stop, ""},
		"closed as if by the client": {closes(1000), nil, ledger.Closed},
		"lost connection":            {resets, nil, ledger.Closed},
		"lost connection at a stop":  {resets, stop, ledger.Closed},
		"killed":                     {resets, kill, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHistory(t.Logf)
			gateway := fakeGateway(t, func(c *websocket.Conn, n, kind int, data []byte) {
				if n == fateful && tt.before != nil {
					tt.before(h, "g1")
				}
				tt.gateway(c, n, kind, data)
			})
			l := newLoad(h, 1, 2, time.Millisecond, time.Second, []door{{name: "g1", addr: gateway}})
			for _, c := range l.clients {
				c.window, c.burst = 3, 1
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var running sync.WaitGroup
			defer running.Wait()
			running.Go(func() { l.run(ctx) })
			enough := time.After(500 * time.Millisecond)
			if tt.want != "" {
				enough = time.After(20 * time.Second)
			}
			select {
			case <-h.broken:
			case <-enough:
			}
			cancel()
			running.Wait()
			violations, _ := h.all()
			switch {
			case tt.want == "" && (len(violations) > 0 || l.answered.Load() == 0):
				t.Errorf("%v, %d answers", violations, l.answered.Load())
			case tt.want != "" && !slices.ContainsFunc(violations, func(v Violation) bool { return v.Broken == tt.want }):
				t.Errorf("%v, want %s", violations, tt.want)
			}
		})
	}
}

func TestClientRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		status int
		before func(*history, string)
		want   bool // a violation
	}{
		"no worker":             {http.StatusServiceUnavailable, nil, true},
		"stopping":              {http.StatusServiceUnavailable, stop, false},
		"failed":                {http.StatusBadGateway, nil, true},
		"failed while stopping": {http.StatusBadGateway, stop, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(tt.status) }))
			defer s.Close()
			h := newHistory(t.Logf)
			if tt.before != nil {
				tt.before(h, "g1")
			}
			l := newLoad(h, 1, 1, time.Millisecond, time.Second, []door{{name: "g1", addr: strings.TrimPrefix(s.URL, "http://")}})
			if conn := l.clients[0].connect(t.Context()); conn != nil {
				t.Error("it was let in")
			}
			if violations, _ := h.all(); len(violations) > 0 != tt.want {
				t.Errorf("%v", violations)
			}
		})
	}
}

func TestRecoveries(t *testing.T) {
	const s = time.Second
	got := recoveries(
		[]episode{
			{Fault{Kind: KillWorker}, 10 * s, 12 * s},
			{Fault{Kind: CutHosts, Targets: []string{"w1", "g1"}}, 20 * s, 25 * s},
			{Fault{Kind: FillDisk}, 1 * s, 50 * s},
		},
		[]slow{
			{"g1", 9 * s, 13 * s, s},   // out at the kill, two seconds more than its work
			{"g2", 11 * s, 12 * s, 0},  // given out while the worker was down
			{"g1", 13 * s, 14 * s, 0},  // after it
			{"g1", 22 * s, 24 * s, 0},  // while two are cut off from each other
			{"g2", 22 * s, 24 * s, 0},  // of another gateway
			{"g1", 5 * s, 6 * s, 0},    // before
			{"g1", 26 * s, 300 * s, 0}, // after all
		})
	if r := got[KillWorker]; r.Faults != 1 || r.N != 2 || r.Most != 2*s {
		t.Errorf("%+v", r)
	}
	if r := got[CutHosts]; r.N != 1 || r.Most != 2*s || len(got) != 2 {
		t.Errorf("%+v", got)
	}
}

func TestHistogram(t *testing.T) {
	var h histogram
	for i := range 1000 {
		h.add(time.Duration(i+1) * time.Millisecond)
	}
	for q, want := range map[float64]time.Duration{0.5: 500 * time.Millisecond, 0.99: 990 * time.Millisecond, 1: time.Second} {
		if got := h.quantile(q); got < want || float64(got) > 1.06*float64(want) {
			t.Errorf("%v: %v", q, got)
		}
	}
}
