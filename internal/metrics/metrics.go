// Package metrics shows the figures of a process to Prometheus.
//
// Nothing is counted here. The parts of gatebus count by themselves, with an atomic
// addition each, whether somebody looks or not; a [Set] reads that when it is asked, so
// what it costs depends on how often it is scraped and not on the load. The largest part
// is to look at the queues of every client: some ten milliseconds for a hundred thousand.
//
// Names follow the conventions of Prometheus: base units (seconds, bytes), _total for
// counters. [Families] is the list of all; docs/metrics.md is made from it. The values of
// labels are from small fixed sets, or name a gateway or worker group; none is chosen by a
// client, so that clients cannot make the figures grow.
package metrics

import (
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/time/rate"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/internal/buildinfo"
	"github.com/gatebus/gatebus/internal/latency"
)

// Type is the type of a metric.
type Type string

// The types.
const (
	Counter   Type = "counter"
	Gauge     Type = "gauge"
	Histogram Type = "histogram"
)

// Family is all metrics of one name.
type Family struct {
	Name   string
	Type   Type
	Labels []string
	Help   string
}

// Families are all that a process can show that has every role and handler, in the order of the
// documentation. Those of the Go runtime (go_…) and of the operating system (process_…)
// come with them.
func Families() []Family {
	var all []Family
	for _, fs := range [][]Family{processFamilies, reloadFamilies, memberFamilies, gatewayFamilies, workerFamilies, webhookFamilies, apiFamilies, registerFamilies, natsFamilies, tracingFamilies} {
		all = append(all, fs...)
	}
	return all
}

const (
	// scrapes is how many there may be at the same time.
	scrapes = 4
	// scrapeTimeout is what one may take.
	scrapeTimeout = 8 * time.Second
	// complaintEvery is between two lines in the log about scrapes.
	complaintEvery = time.Minute
)

// Set is what one process shows. Everything must be added before the first scrape.
type Set struct{ registry *prometheus.Registry }

// New makes a set of what every process has: its build, the Go runtime, and what the
// operating system says of it.
func New() *Set {
	s := &Set{registry: prometheus.NewRegistry()}
	s.registry.MustRegister(
		collectors.NewGoCollector(collectors.WithGoCollectorRuntimeMetrics(collectors.MetricsScheduler, collectors.MetricsGC)),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	s.add(processFamilies, func(e *emitter) {
		b := buildinfo.Get()
		e.send("gatebus_build_info", 1, b.Version, b.Revision, b.Go)
		e.send("gatebus_protocol_info", 1, bus.CurrentProtocol().String())
	})
	return s
}

// Handler answers scrapes, in text or what else the scraper prefers. More than a few at
// the same time are refused with 503. A scrape that goes wrong is a warning, at most one
// a minute: of a scraper that leaves, the rest of the families would each be one.
func (s *Set) Handler(log *slog.Logger) http.Handler {
	return promhttp.HandlerFor(s.registry, promhttp.HandlerOpts{
		ErrorLog:            &complaints{log: log, sometimes: rate.Sometimes{First: 1, Interval: complaintEvery}},
		ErrorHandling:       promhttp.ContinueOnError,
		MaxRequestsInFlight: scrapes,
		Timeout:             scrapeTimeout,
	})
}

// complaints are what is said about scrapes.
type complaints struct {
	log       *slog.Logger
	sometimes rate.Sometimes
}

// Println logs one now and then.
func (c *complaints) Println(v ...any) {
	c.sometimes.Do(func() { c.log.Warn("a scrape went wrong", "err", strings.TrimSpace(fmt.Sprintln(v...))) })
}

// add has fn called at each scrape for the families.
func (s *Set) add(families []Family, fn func(*emitter)) {
	c := &collector{families: map[string]described{}, collect: fn}
	for _, f := range families {
		c.families[f.Name] = described{f, prometheus.NewDesc(f.Name, f.Help, f.Labels, nil)}
	}
	s.registry.MustRegister(c)
}

// described is a family and its form for the client library.
type described struct {
	Family
	desc *prometheus.Desc
}

// collector implements prometheus.Collector.
type collector struct {
	families map[string]described
	collect  func(*emitter)
}

func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, f := range c.families {
		ch <- f.desc
	}
}

func (c *collector) Collect(ch chan<- prometheus.Metric) { c.collect(&emitter{c.families, ch}) }

// emitter hands on the values of one scrape.
type emitter struct {
	families map[string]described
	ch       chan<- prometheus.Metric
}

// family finds a family by its name; a name that is none is a mistake in this package
// that any scrape shows.
func (e *emitter) family(name string) described {
	f, ok := e.families[name]
	if !ok {
		panic(fmt.Sprintf("metrics: %s is not among the families", name))
	}
	return f
}

// send hands on a counter or gauge, with the values of its labels.
func (e *emitter) send(name string, value float64, labels ...string) {
	f := e.family(name)
	kind := prometheus.GaugeValue
	if f.Type == Counter {
		kind = prometheus.CounterValue
	}
	e.ch <- prometheus.MustNewConstMetric(f.desc, kind, value, labels...)
}

func (e *emitter) count(name string, value int64, labels ...string) {
	e.send(name, float64(value), labels...)
}

// each hands on a counter for each value of its one label.
func (e *emitter) each(name string, values map[string]int64) {
	for label, n := range values {
		e.count(name, n, label)
	}
}

// flag hands on a gauge that is 1 or 0.
func (e *emitter) flag(name string, yes bool, labels ...string) {
	v := 0.0
	if yes {
		v = 1
	}
	e.send(name, v, labels...)
}

// histogram hands on a histogram, with the values of its labels.
func (e *emitter) histogram(name string, s latency.Snapshot, labels ...string) {
	buckets, n := map[float64]uint64{}, uint64(0)
	for i, le := range s.Bounds {
		n += uint64(s.Counts[i])
		buckets[le] = n
	}
	e.ch <- prometheus.MustNewConstHistogram(e.family(name).desc, uint64(s.Count()), s.Sum, buckets, labels...)
}

var processFamilies = []Family{
	{"gatebus_build_info", Gauge, []string{"version", "revision", "goversion"}, "Which build this is; always 1."},
	{"gatebus_protocol_info", Gauge, []string{"protocol"}, "Which version of the protocol this build speaks; always 1."},
}

var reloadFamilies = []Family{
	{"gatebus_config_last_reload_successful", Gauge, nil, "Whether the last SIGHUP, or else the start, found a configuration that is good in all its parts: 1 or 0. The log says what was wrong."},
	{"gatebus_config_last_reload_success_timestamp_seconds", Gauge, nil, "When a configuration was last taken as a whole, in Unix time."},
}

// Reloads adds how reading the configuration anew went: whether it did the last time, and
// when it last did.
func (s *Set) Reloads(state func() (ok bool, at time.Time)) {
	s.add(reloadFamilies, func(e *emitter) {
		ok, at := state()
		e.flag("gatebus_config_last_reload_successful", ok)
		e.send("gatebus_config_last_reload_success_timestamp_seconds", float64(at.UnixMilli())/1000)
	})
}
