package metrics

import (
	"strconv"

	"github.com/gatebus/gatebus/api"
)

var apiFamilies = []Family{
	{"gatebus_api_requests_total", Counter, []string{"route", "method", "code"}, "Requests of the HTTP API that were answered, refused ones included, by route (/api/v1/clients/{client}, say, or other), its method and the status. Statuses that were never answered are not there."},
	{"gatebus_api_request_duration_seconds", Histogram, []string{"route", "method"}, "How long it took to answer requests of the HTTP API, of every one."},
	{"gatebus_api_requests_in_flight", Gauge, nil, "Requests of the HTTP API that are being answered."},
}

// API is where the figures of the HTTP API come from.
type API interface{ Stats() api.Stats }

// API adds the HTTP API.
func (s *Set) API(a API) {
	s.add(apiFamilies, func(e *emitter) {
		st := a.Stats()
		e.count("gatebus_api_requests_in_flight", st.InFlight)
		for _, r := range st.Routes {
			for status, n := range r.Codes {
				e.count("gatebus_api_requests_total", n, r.Route, r.Method, strconv.Itoa(status))
			}
			e.histogram("gatebus_api_request_duration_seconds", r.Latency, r.Route, r.Method)
		}
	})
}
