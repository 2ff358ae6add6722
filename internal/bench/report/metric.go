package report

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Metric is one kind of figure.
type Metric struct {
	Key   string
	Label string
	Unit  Unit
	// Compared says that the ratio of two sides means something.
	Compared bool
}

// Unit says how a value is written.
type Unit uint8

// The units.
const (
	Count     Unit = iota // a number of things
	Micros                // a time, given in µs
	MicrosCPU             // CPU time for one thing, in µs
	Kilobytes
	Megabytes
	Percent
)

// The keys of the metrics.
const (
	Rate         = "rate"
	Connects     = "connects"
	Deliveries   = "deliveries"
	CPU          = "cpu_us"
	P50          = "p50_us"
	P90          = "p90_us"
	P99          = "p99_us"
	P999         = "p999_us"
	Max          = "max_us"
	Lag          = "lag_p99_us"
	GeneratorCPU = "generator_cpu_us"
	Busy         = "cpu_percent"
	PerIdle      = "kb_per_connection"
	Memory       = "memory_mb"
	Pings        = "pings"
	Pushes       = "pushes"
	Messages     = "messages"
)

// Metrics are all metrics in the order in which they are shown.
var Metrics = []Metric{
	{Rate, "messages/s", Count, true},
	{Deliveries, "deliveries/s", Count, true},
	{Pushes, "pushes/s", Count, true},
	{Connects, "connects/s", Count, true},
	{PerIdle, "memory a connection", Kilobytes, true},
	{CPU, "server CPU each", MicrosCPU, true},
	{P50, "latency p50", Micros, true},
	{P90, "latency p90", Micros, true},
	{P99, "latency p99", Micros, true},
	{P999, "latency p99.9", Micros, true},
	{Max, "latency max", Micros, false},
	{Busy, "server CPU, of one core", Percent, false},
	{Memory, "server memory", Megabytes, true},
	{GeneratorCPU, "generator CPU each", MicrosCPU, false},
	{Lag, "sent late p99", Micros, false},
	{Pings, "pings answered", Count, false},
	{Messages, "measured", Count, false},
}

// metric finds a metric by its key.
func metric(key string) Metric {
	for _, m := range Metrics {
		if m.Key == key {
			return m
		}
	}
	return Metric{Key: key, Label: key}
}

// Format writes a value with its unit.
func (u Unit) Format(v float64) string {
	switch u {
	case Micros:
		return micros(v)
	case MicrosCPU:
		return digits(v) + " µs"
	case Kilobytes:
		return digits(v) + " KB"
	case Megabytes:
		return digits(v) + " MB"
	case Percent:
		return digits(v) + " %"
	}
	return thousands(v)
}

// micros writes a time in the unit in which it is short.
func micros(us float64) string {
	switch {
	case us >= 1e6:
		return digits(us/1e6) + " s"
	case us >= 1e3:
		return digits(us/1e3) + " ms"
	}
	return digits(us) + " µs"
}

// digits writes three significant digits.
func digits(v float64) string {
	switch a := math.Abs(v); {
	case a >= 99.95:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case a >= 9.995:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return strconv.FormatFloat(v, 'f', 2, 64)
}

// thousands writes a number with a space between groups of three digits.
func thousands(v float64) string {
	if v < 10 && v != math.Trunc(v) {
		return digits(v)
	}
	s := strconv.FormatFloat(v, 'f', 0, 64)
	var b strings.Builder
	for i, c := range s {
		if i > 0 && (len(s)-i)%3 == 0 && s[i-1] != '-' {
			b.WriteByte(' ')
		}
		b.WriteRune(c)
	}
	return b.String()
}

// String writes the ratio with its spread.
func (r Ratio) String() string {
	middle, spread := r.parts()
	return strings.TrimSpace(middle + " " + spread)
}

// parts are the median, and the spread if there is one.
func (r Ratio) parts() (middle, spread string) {
	middle = fmt.Sprintf("%.2f", r.Median)
	if len(r.Rounds) > 1 {
		spread = fmt.Sprintf("(%.2f–%.2f)", r.Least, r.Most)
	}
	return middle, spread
}

// String writes what is asked.
func (t Target) String() string {
	sign := "≤"
	if t.Least {
		sign = "≥"
	}
	if t.Ratio {
		return fmt.Sprintf("%s %s × raw", sign, strconv.FormatFloat(t.Limit, 'f', -1, 64))
	}
	m := metric(t.Metric)
	return sign + " " + short(m.Unit.Format(t.Limit))
}

// Verdict says in a word how it went.
func (t Target) Verdict() string {
	switch {
	case t.Reached == nil:
		return "not measured"
	case *t.Reached:
		return "reached"
	}
	return "missed"
}
