package worker

import (
	"github.com/gatebus/gatebus/internal/latency"
	"github.com/gatebus/gatebus/internal/usage"
)

// Stats are the counters of a worker since its start, and two gauges.
type Stats struct {
	Links   int   `json:"links"`   // gauge: gateways linked to
	Working int   `json:"working"` // gauge: events in work
	Handled int64 `json:"handled"` // events handled, failed ones included
	Failed  int64 `json:"failed"`  // events whose handler failed, or whose answer could not be
	Busy    int64 `json:"busy"`    // events handed back at the concurrency limit
	Unsent  int64 `json:"unsent"`  // answers that a broken link did not take
	// Unreached counts the sends that did not go to a gateway because the link
	// to it was down, one for each gateway.
	Unreached int64 `json:"unreached"`
	// Spared counts the sends that did not go to a gateway because it has no
	// client of the uid or group, one for each gateway.
	Spared int64 `json:"spared"`

	GatewaysDown       int64 `json:"gateways_down"`        // news of dead gateways handled, failed ones included
	GatewaysDownFailed int64 `json:"gateways_down_failed"` // those whose handler failed

	// Refused is a gauge: gateways that are not linked to, because they speak a protocol
	// of another major.
	Refused int `json:"gateways_refused"`

	// MissedHeartbeats counts the announcements that no register has confirmed.
	MissedHeartbeats int64 `json:"missed_heartbeats"`
	// Latency is how long the handler took, of one event in [latency.Every].
	Latency latency.Snapshot `json:"handler_latency"`
}

// Report is what a worker says about itself to those who ask for it through the
// registers: the statistics of its NATS micro service.
type Report struct {
	Stats
	Gateways []GatewayLink `json:"gateways"`
	Process  usage.Usage   `json:"process"`
}

// Report is a snapshot. It may be called at any time.
func (w *Worker) Report() Report {
	return Report{Stats: w.Stats(), Gateways: w.cluster.Gateways(), Process: usage.Now()}
}

// Stats is a snapshot. It may be called at any time.
func (w *Worker) Stats() Stats {
	s := Stats{
		Working: w.jobs.count(),
		Handled: w.count.handled.Load(),
		Failed:  w.count.failed.Load(),
		Busy:    w.count.busy.Load(),
		Unsent:  w.count.unsent.Load(),

		Unreached: w.count.unreached.Load(),
		Spared:    w.count.spared.Load(),

		GatewaysDown:       w.count.downs.Load(),
		GatewaysDownFailed: w.count.downsFailed.Load(),

		MissedHeartbeats: w.members.Missed(),
		Latency:          w.latency.Snapshot(),
	}
	w.mu.Lock()
	s.Refused = len(w.refused)
	w.mu.Unlock()
	for _, l := range w.allLinks() {
		if l.isUp() {
			s.Links++
		}
	}
	return s
}
