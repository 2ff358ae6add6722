package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"

	"github.com/gatebus/gatebus/internal/bench/report"
)

// meter watches one round.
type meter struct {
	status Status
	show   func(Status)
	pids   Processes
}

// window is what was seen in the measured time.
type window struct {
	took    time.Duration
	count   int64
	hist    *hdr.Histogram
	series  []report.Point
	cpu     time.Duration // of the servers
	own     time.Duration // CPU time of this process
	memory  int64         // of the servers, in bytes
	sampled bool          // cpu and memory are known
}

// phase tells what begins now.
func (m *meter) phase(name string, total time.Duration) {
	m.status.Phase, m.status.Total = name, total
	m.status.Elapsed, m.status.Rate, m.status.P50, m.status.P99 = 0, 0, 0, 0
	m.show(m.status)
}

// measure lets the load warm up and then looks at it for a time. It ends early
// when ctx does, or when over is closed: the load has come to an end by itself.
func (m *meter) measure(ctx context.Context, rec *recorder, over <-chan struct{}, warmup, total time.Duration) (*window, error) {
	m.phase("warming up", warmup)
	if err := m.intervals(ctx, over, warmup, func(time.Duration, time.Duration) error {
		m.tick(rec.take())
		return nil
	}); err != nil {
		return nil, err
	}
	w := &window{hist: newHistogram()}
	before, err := m.sample()
	if err != nil {
		return nil, err
	}
	rec.take()
	start := time.Now()
	m.phase("measuring", total)
	err = m.intervals(ctx, over, total, func(at, took time.Duration) error {
		hist, n := rec.take()
		w.hist.Merge(hist)
		w.count += n
		m.tick(hist, n)
		p := report.Point{At: at.Seconds(), Rate: float64(n) / took.Seconds()}
		if hist.TotalCount() > 0 {
			p.P50, p.P99 = quantile(hist, 50), quantile(hist, 99)
		}
		w.series = append(w.series, p)
		return nil
	})
	if err != nil {
		return nil, err
	}
	w.took = time.Since(start)
	after, err := m.sample()
	if err != nil {
		return nil, err
	}
	w.cpu, w.own, w.memory, w.sampled = after.cpu-before.cpu, after.own-before.own, after.memory, after.ok
	return w, nil
}

// tick keeps the figures of an interval for those who watch.
func (m *meter) tick(hist *hdr.Histogram, n int64) {
	m.status.Rate = float64(n) // made a rate by intervals
	m.status.P50, m.status.P99 = 0, 0
	if hist.TotalCount() > 0 {
		m.status.P50 = time.Duration(hist.ValueAtPercentile(50))
		m.status.P99 = time.Duration(hist.ValueAtPercentile(99))
	}
}

// interval is how often figures are taken: each second, or ten times in all.
func interval(total time.Duration) time.Duration {
	return max(min(time.Second, total/10), 10*time.Millisecond)
}

// errOver is why a measurement ends whose load has.
var errOver = errors.New("all clients have failed")

// intervals calls fn at the end of each interval of a time, with how far it is
// and how long the interval was.
func (m *meter) intervals(ctx context.Context, over <-chan struct{}, total time.Duration, fn func(at, took time.Duration) error) error {
	start := time.Now()
	every := interval(total)
	var last time.Duration
	timer := time.NewTimer(0)
	defer timer.Stop()
	<-timer.C
	for last < total {
		timer.Reset(max(0, min(last+every, total)-time.Since(start)))
		select {
		case <-timer.C:
		case <-over:
			return errOver
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		at := time.Since(start)
		if total-at < every/4 { // no short interval at the end
			if left := total - at; left > 0 {
				timer.Reset(left)
				<-timer.C
				at = time.Since(start)
			}
		}
		if err := fn(at, at-last); err != nil {
			return err
		}
		m.status.Elapsed = at
		m.status.Rate /= (at - last).Seconds()
		m.show(m.status)
		last = at
	}
	return nil
}

// sample is what the processes have taken so far.
type sample struct {
	cpu, own time.Duration
	memory   int64
	ok       bool
}

func (m *meter) sample() (s sample, err error) {
	s.own = ownCPU()
	if len(m.pids) == 0 {
		return s, nil
	}
	if s.cpu, err = m.pids.CPU(); errors.Is(err, ErrNoProcessTable) {
		return s, nil
	}
	if err == nil {
		s.memory, err = m.pids.Memory()
	}
	if err != nil {
		return s, fmt.Errorf("look at the servers: %w", err)
	}
	s.ok = true
	return s, nil
}

// figures are what the window comes to; rate is the metric of its count.
func (w *window) figures(rate string) report.Figures {
	f := report.Figures{
		rate:            float64(w.count) / w.took.Seconds(),
		report.Messages: float64(w.count),
	}
	if w.count > 0 {
		f[report.GeneratorCPU] = micros(w.own) / float64(w.count)
		if w.sampled {
			f[report.CPU] = micros(w.cpu) / float64(w.count)
		}
	}
	if w.sampled {
		f[report.Memory] = float64(w.memory) / (1 << 20)
		f[report.Busy] = 100 * w.cpu.Seconds() / w.took.Seconds()
	}
	if w.hist.TotalCount() > 0 {
		f[report.P50], f[report.P90] = quantile(w.hist, 50), quantile(w.hist, 90)
		f[report.P99], f[report.P999] = quantile(w.hist, 99), quantile(w.hist, 99.9)
		f[report.Max] = micros(time.Duration(w.hist.Max()))
	}
	return f
}

// quantile is a percentile of a histogram in µs.
func quantile(h *hdr.Histogram, p float64) float64 {
	return micros(time.Duration(h.ValueAtPercentile(p)))
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// curve is the latency at percentiles that come closer and closer to 100.
func curve(h *hdr.Histogram) []report.Mark {
	n := h.TotalCount()
	if n == 0 {
		return nil
	}
	var marks []report.Mark
	add := func(p float64) { marks = append(marks, report.Mark{Percentile: p, Latency: quantile(h, p)}) }
	add(1)
	for p := 5.0; p < 90; p += 5 {
		add(p)
	}
	// Ten steps a decade of what is left: 90, 91, … 99, 99.1, … while there
	// are as many values beyond.
	for left := 10.0; left > 100/float64(n) && left > 1e-4; left /= 10 {
		for i := range 9 {
			add(100 - left + left*float64(i)/10)
		}
	}
	return append(marks, report.Mark{Percentile: 100, Latency: micros(time.Duration(h.Max()))})
}
