package metrics

import (
	"github.com/gatebus/gatebus/worker"
	"github.com/gatebus/gatebus/worker/webhook"
)

var workerFamilies = []Family{
	{"gatebus_worker_events_handled_total", Counter, nil, "Events handled, failed ones included."},
	{"gatebus_worker_events_failed_total", Counter, nil, "Events whose handler failed, or whose answer could not be; their clients were closed."},
	{"gatebus_worker_events_busy_total", Counter, nil, "Events handed back at the concurrency limit."},
	{"gatebus_worker_events_working", Gauge, nil, "Events that are in work, or wait for their turn."},
	{"gatebus_worker_handler_duration_seconds", Histogram, nil, "How long the handler took, of one event in 16."},
	{"gatebus_worker_link_up", Gauge, []string{"gateway"}, "Whether the link to a gateway is up: 1 or 0."},
	{"gatebus_worker_link_events", Gauge, []string{"gateway"}, "Events of a gateway that are here."},
	{"gatebus_worker_gateways_refused", Gauge, nil, "Gateways that are not linked to, because they speak a protocol of another major."},
	{"gatebus_worker_replies_unsent_total", Counter, nil, "Answers that a broken link did not take; their events come again."},
	{"gatebus_worker_sends_unreached_total", Counter, nil, "Sends that did not go to a gateway because the link was down, one for each gateway."},
	{"gatebus_worker_sends_spared_total", Counter, nil, "Sends that did not go to a gateway because it has no client of the uid or group, one for each gateway."},
	{"gatebus_worker_gateways_down_total", Counter, nil, "News of dead gateways handled, failed ones included."},
	{"gatebus_worker_gateways_down_failed_total", Counter, nil, "News of dead gateways whose handler failed."},
}

// Worker is where the figures of a worker come from.
type Worker interface{ Report() worker.Report }

// Worker adds a worker.
func (s *Set) Worker(w Worker) {
	s.add(workerFamilies, func(e *emitter) {
		r := w.Report()
		e.count("gatebus_worker_events_handled_total", r.Handled)
		e.count("gatebus_worker_events_failed_total", r.Failed)
		e.count("gatebus_worker_events_busy_total", r.Busy)
		e.count("gatebus_worker_events_working", int64(r.Working))
		e.histogram("gatebus_worker_handler_duration_seconds", r.Latency)
		for gateway, l := range newest(r.Gateways) {
			e.flag("gatebus_worker_link_up", l.Up, gateway)
			e.count("gatebus_worker_link_events", int64(l.Working), gateway)
		}
		e.count("gatebus_worker_gateways_refused", int64(r.Refused))
		e.count("gatebus_worker_replies_unsent_total", r.Unsent)
		e.count("gatebus_worker_sends_unreached_total", r.Unreached)
		e.count("gatebus_worker_sends_spared_total", r.Spared)
		e.count("gatebus_worker_gateways_down_total", r.GatewaysDown)
		e.count("gatebus_worker_gateways_down_failed_total", r.GatewaysDownFailed)
	})
}

var webhookFamilies = []Family{
	{"gatebus_webhook_requests_total", Counter, nil, "HTTP requests of the webhook handler, retries included."},
	{"gatebus_webhook_retries_total", Counter, nil, "HTTP requests that were tries of an event after its first."},
	{"gatebus_webhook_refused_total", Counter, nil, "Clients that the receiver has refused."},
	{"gatebus_webhook_failed_total", Counter, nil, "Events that the receiver has not handled."},
}

// Webhook is where the figures of the webhook handler come from.
type Webhook interface{ Stats() webhook.Stats }

// Webhook adds the webhook handler of the worker.
func (s *Set) Webhook(h Webhook) {
	s.add(webhookFamilies, func(e *emitter) {
		n := h.Stats()
		e.count("gatebus_webhook_requests_total", n.Requests)
		e.count("gatebus_webhook_retries_total", n.Retries)
		e.count("gatebus_webhook_refused_total", n.Refused)
		e.count("gatebus_webhook_failed_total", n.Failed)
	})
}

// newest are the links by the name of the gateway: of two lives of one, the later.
func newest(links []worker.GatewayLink) map[string]worker.GatewayLink {
	m := map[string]worker.GatewayLink{}
	for _, l := range links {
		if before, ok := m[string(l.Gateway)]; !ok || before.Epoch < l.Epoch {
			m[string(l.Gateway)] = l
		}
	}
	return m
}
