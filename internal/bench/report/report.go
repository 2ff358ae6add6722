// Package report holds what benches have measured, and shows it as text, JSON,
// Markdown and a page of HTML.
//
// The first [Side] of a bench is what it is about, the second, if there is one,
// the baseline. Ratios are of the first to the second, taken round by round: the
// rounds of the two sides alternate, so that what else the machine does in the
// meantime meets both. Rendering is pure: the same report gives the same bytes.
package report

import (
	"encoding/json"
	"io"
	"slices"
	"time"
)

// Report is the outcome of one or several benches.
type Report struct {
	Version string        `json:"version"` // of gatebus
	Started time.Time     `json:"started"`
	Took    time.Duration `json:"took_ns"`
	Machine Machine       `json:"machine"`
	Benches []Bench       `json:"benches"`
}

// Machine is what the figures were measured on, without its name.
type Machine struct {
	CPUs   int    `json:"cpus"`
	Model  string `json:"model,omitempty"`
	Memory int64  `json:"memory_bytes,omitempty"`
	OS     string `json:"os"` // with the version of its kernel, if known
	Arch   string `json:"arch"`
	Go     string `json:"go"`
}

// Bench is one load on one or two sides.
type Bench struct {
	Name    string   `json:"name"`    // unique in a report
	Kind    string   `json:"kind"`    // echo, fanout, connect or idle
	Title   string   `json:"title"`   // what the load is
	Command string   `json:"command"` // that measures this
	Sides   []Side   `json:"sides"`
	Ratios  []Ratio  `json:"ratios,omitempty"`
	Targets []Target `json:"targets,omitempty"`
	Notes   []string `json:"notes,omitempty"`
}

// Side is one server under the load.
type Side struct {
	Name   string  `json:"name"`
	Median Figures `json:"median"` // of the rounds, figure by figure
	Rounds []Round `json:"rounds"`
	Curve  []Mark  `json:"curve,omitempty"` // of all rounds together
}

// Round is one measurement.
type Round struct {
	Figures Figures `json:"figures"`
	Faults  Faults  `json:"faults"`
	Series  []Point `json:"series,omitempty"`
}

// Figures are values by the Key of their metric. One that could not be measured
// is not there.
type Figures map[string]float64

// Faults counts what must not be.
type Faults struct {
	Wrong    int64    `json:"wrong"`   // answers that are not what was sent
	Order    int64    `json:"order"`   // answers out of order, or twice
	Missing  int64    `json:"missing"` // answers that did not come
	Broken   int64    `json:"broken"`  // connections that failed
	Examples []string `json:"examples,omitempty"`
}

// Sum is the number of faults.
func (f Faults) Sum() int64 { return f.Wrong + f.Order + f.Missing + f.Broken }

// Point is what happened in one interval of a round. Latencies are in µs.
type Point struct {
	At     float64 `json:"at"`   // the end of the interval, in seconds of the round
	Rate   float64 `json:"rate"` // a second
	P50    float64 `json:"p50_us,omitempty"`
	P99    float64 `json:"p99_us,omitempty"`
	Memory float64 `json:"memory_mb,omitempty"`
}

// Mark is a point of the curve of latencies.
type Mark struct {
	Percentile float64 `json:"percentile"`
	Latency    float64 `json:"us"`
}

// Ratio compares the two sides in one metric.
type Ratio struct {
	Metric string    `json:"metric"`
	Median float64   `json:"median"`
	Least  float64   `json:"least"`
	Most   float64   `json:"most"`
	Rounds []float64 `json:"rounds"`
}

// Target is what is asked of a metric: a limit for its ratio to the baseline, or
// for its value.
type Target struct {
	Metric  string  `json:"metric"`
	Ratio   bool    `json:"ratio"`
	Least   bool    `json:"least"` // the limit is the least, not the most
	Limit   float64 `json:"limit"`
	Reached *bool   `json:"reached,omitempty"` // nil if it was not measured
}

// Complete computes what follows from the rounds: medians, ratios, and whether
// the targets are reached.
func (b *Bench) Complete() {
	for i := range b.Sides {
		s := &b.Sides[i]
		s.Median = Figures{}
		for _, m := range Metrics {
			var values []float64
			for _, r := range s.Rounds {
				if v, ok := r.Figures[m.Key]; ok {
					values = append(values, v)
				}
			}
			if len(values) > 0 {
				s.Median[m.Key] = median(values)
			}
		}
	}
	b.Ratios = nil
	if len(b.Sides) > 1 {
		for _, m := range Metrics {
			if r, ok := ratio(m, b.Sides[0].Rounds, b.Sides[1].Rounds); ok {
				b.Ratios = append(b.Ratios, r)
			}
		}
	}
	for i := range b.Targets {
		t := &b.Targets[i]
		if v, ok := b.value(*t); ok {
			reached := v <= t.Limit
			if t.Least {
				reached = v >= t.Limit
			}
			t.Reached = &reached
		}
	}
}

// value is what a target is about.
func (b *Bench) value(t Target) (float64, bool) {
	if t.Ratio {
		r, ok := b.Ratio(t.Metric)
		return r.Median, ok
	}
	if len(b.Sides) == 0 {
		return 0, false
	}
	v, ok := b.Sides[0].Median[t.Metric]
	return v, ok
}

// Ratio finds the ratio of a metric.
func (b *Bench) Ratio(metric string) (Ratio, bool) {
	i := slices.IndexFunc(b.Ratios, func(r Ratio) bool { return r.Metric == metric })
	if i < 0 {
		return Ratio{}, false
	}
	return b.Ratios[i], true
}

// Faults are those of all rounds of all sides.
func (b *Bench) Faults() Faults {
	var sum Faults
	for _, s := range b.Sides {
		for _, r := range s.Rounds {
			sum.Wrong += r.Faults.Wrong
			sum.Order += r.Faults.Order
			sum.Missing += r.Faults.Missing
			sum.Broken += r.Faults.Broken
			for _, e := range r.Faults.Examples {
				sum.Examples = append(sum.Examples, s.Name+": "+e)
			}
		}
	}
	return sum
}

func ratio(m Metric, a, b []Round) (Ratio, bool) {
	r := Ratio{Metric: m.Key}
	for i := range min(len(a), len(b)) {
		x, ok := a[i].Figures[m.Key]
		y := b[i].Figures[m.Key]
		if ok && y != 0 && m.Compared {
			r.Rounds = append(r.Rounds, x/y)
		}
	}
	if len(r.Rounds) == 0 {
		return r, false
	}
	r.Median, r.Least, r.Most = median(r.Rounds), slices.Min(r.Rounds), slices.Max(r.Rounds)
	return r, true
}

func median(values []float64) float64 {
	v := slices.Sorted(slices.Values(values))
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}

// WriteJSON writes the report as JSON.
func (r *Report) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}
