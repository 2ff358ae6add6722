// Package latency counts durations in few buckets, cheaply enough for what is done
// for every frame: [Histogram.Observe] is two atomic additions, and what it costs to
// look at the clock is saved by observing one event of [Every] ([Sampled]).
//
// The share that is observed does not depend on how long an event takes, so quantiles
// hold for all events. How many there were is not to be had from a histogram of
// samples: there are counters for that.
//
// All methods are safe for concurrent use. A snapshot that is taken while something is
// observed may have it among its counts and not in its sum, or the other way round; no
// count ever falls.
package latency

import (
	"sync/atomic"
	"time"
)

// Every is how many events there are to one that is observed. Reading the clock takes
// 40 to 80 ns, an event 700 to 1500 ns in all: for each event it would be seen in every
// measurement of throughput, for one in 16 it is not.
const Every = 16

// Sampled tells whether to observe an event, by two numbers that together go through
// all residues: that of its client and its own among the client's. So neither many
// clients with few events nor one with many escapes.
func Sampled(client, seq uint64) bool { return (client+seq)%Every == 0 }

// bounds are the upper bounds of the buckets, inclusive: from below the fastest round
// to a worker and back, to the longest that an event waits for one by default.
var bounds = [...]time.Duration{
	100 * time.Microsecond, 250 * time.Microsecond, 500 * time.Microsecond,
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond,
	10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second, 30 * time.Second,
}

// Histogram counts durations. The zero Histogram is empty and ready.
type Histogram struct {
	counts [len(bounds) + 1]atomic.Int64 // the last one: longer than all bounds
	sum    atomic.Int64                  // nanoseconds
}

// Observe counts a duration; one below zero counts as zero.
func (h *Histogram) Observe(d time.Duration) {
	d = max(d, 0)
	i := 0
	for i < len(bounds) && d > bounds[i] {
		i++
	}
	h.counts[i].Add(1)
	h.sum.Add(int64(d))
}

// Snapshot is what a histogram has counted so far.
func (h *Histogram) Snapshot() Snapshot {
	s := Snapshot{Bounds: make([]float64, len(bounds)), Counts: make([]int64, len(h.counts))}
	for i, b := range bounds {
		s.Bounds[i] = b.Seconds()
	}
	s.Sum = time.Duration(h.sum.Load()).Seconds()
	for i := range h.counts {
		s.Counts[i] = h.counts[i].Load()
	}
	return s
}

// Snapshot is a histogram at one moment. It says its bounds itself, since the process
// that reads it may be of another version.
type Snapshot struct {
	// Bounds are the upper bounds of the buckets in seconds, inclusive, ascending.
	Bounds []float64 `json:"le"`
	// Counts are how many durations fell into each bucket, and last those above all
	// bounds.
	Counts []int64 `json:"counts"`
	// Sum is all of them together, in seconds.
	Sum float64 `json:"sum"`
}

// Count is how many durations were observed.
func (s Snapshot) Count() int64 {
	n := int64(0)
	for _, c := range s.Counts {
		n += c
	}
	return n
}

// Since is what was observed after an earlier snapshot of the same histogram; all of it
// if that is of another process.
func (s Snapshot) Since(before Snapshot) Snapshot {
	if len(before.Counts) != len(s.Counts) {
		return s
	}
	d := Snapshot{Bounds: s.Bounds, Counts: make([]int64, len(s.Counts)), Sum: s.Sum - before.Sum}
	for i := range s.Counts {
		if d.Counts[i] = s.Counts[i] - before.Counts[i]; d.Counts[i] < 0 {
			return s
		}
	}
	return d
}

// Add is two histograms in one. Those with other bounds cannot be: the first stands.
func (s Snapshot) Add(t Snapshot) Snapshot {
	switch {
	case len(s.Counts) == 0:
		return t
	case len(t.Counts) != len(s.Counts):
		return s
	}
	sum := Snapshot{Bounds: s.Bounds, Counts: make([]int64, len(s.Counts)), Sum: s.Sum + t.Sum}
	for i := range s.Counts {
		sum.Counts[i] = s.Counts[i] + t.Counts[i]
	}
	return sum
}

// Quantile is the duration that a share q, from 0 to 1, of all did not exceed, taken
// from within its bucket in proportion; the last bound if it is beyond that. ok is false
// if nothing was observed.
func (s Snapshot) Quantile(q float64) (d time.Duration, ok bool) {
	total := s.Count()
	if total == 0 || len(s.Counts) != len(s.Bounds)+1 {
		return 0, false
	}
	rank, below, from := q*float64(total), 0.0, 0.0
	for i, to := range s.Bounds {
		n := float64(s.Counts[i])
		if n > 0 && below+n >= rank {
			return seconds(from + (to-from)*max(rank-below, 0)/n), true
		}
		below += n
		from = to
	}
	return seconds(from), true
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
