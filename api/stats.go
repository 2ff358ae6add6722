package api

import (
	"maps"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatebus/gatebus/internal/latency"
)

// Other is the route and the method of requests that no route is for.
const Other = "other"

// Stats are the figures of a handler since it was made.
type Stats struct {
	// InFlight is how many requests are being answered now.
	InFlight int64 `json:"in_flight"`
	// Routes are all that there are, and last [Other].
	Routes []RouteStats `json:"routes"`
}

// RouteStats are the requests of one route.
type RouteStats struct {
	// Route is its path, such as /api/v1/clients/{client}: what stands in braces is no
	// client's to choose.
	Route string `json:"route"`
	// Method is that of the route; a HEAD counts as the GET that it is answered like.
	Method string `json:"method"`
	// Codes is how many requests were answered with each status, refused ones included;
	// 200 is always among them.
	Codes map[int]int64 `json:"codes"`
	// Latency is how long it took to answer, of every request.
	Latency latency.Snapshot `json:"latency"`
}

// counters are the Stats as they are counted.
type counters struct {
	inFlight atomic.Int64
	routes   []routeCounter // as in routes, and one for the others
}

type routeCounter struct {
	latency latency.Histogram

	mu    sync.Mutex
	codes map[int]int64
}

func newCounters() *counters {
	c := &counters{routes: make([]routeCounter, len(routes)+1)}
	for i := range c.routes {
		c.routes[i].codes = map[int]int64{http.StatusOK: 0}
	}
	return c
}

// begin counts a request in, of a route or of none (nil); what it returns is called with
// the status when it was answered.
func (c *counters) begin(found *route) func(status int) {
	c.inFlight.Add(1)
	start := time.Now()
	return func(status int) {
		if status == 0 { // nothing was said: this is a panic on its way
			status = http.StatusInternalServerError
		}
		to := &c.routes[indexOf(found)]
		to.latency.Observe(time.Since(start))
		to.mu.Lock()
		to.codes[status]++
		to.mu.Unlock()
		c.inFlight.Add(-1)
	}
}

// indexOf is the place of a route among all; behind them if it is none.
func indexOf(found *route) int {
	for i := range routes {
		if found == &routes[i] {
			return i
		}
	}
	return len(routes)
}

// Stats is a snapshot. It may be called at any time. No count in it is ever less than in
// one that was taken before.
func (h *Handler) Stats() Stats {
	s := Stats{InFlight: h.count.inFlight.Load()}
	for i := range h.count.routes {
		c := &h.count.routes[i]
		r := RouteStats{Route: Other, Method: Other, Latency: c.latency.Snapshot()}
		if i < len(routes) {
			r.Route, r.Method = Prefix+routes[i].path, routes[i].method
		}
		c.mu.Lock()
		r.Codes = maps.Clone(c.codes)
		c.mu.Unlock()
		s.Routes = append(s.Routes, r)
	}
	return s
}

// statusWriter notes the status of an answer.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *statusWriter) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap is for [http.ResponseController].
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
