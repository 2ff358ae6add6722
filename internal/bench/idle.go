package bench

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"

	"github.com/gatebus/gatebus/internal/bench/report"
)

// idle is a round of connections that do nothing.
func idle(ctx context.Context, o *Options, s *side, m *meter) (report.Round, *hdr.Histogram, error) {
	before, err := m.sample()
	if err != nil {
		return report.Round{}, nil, err
	}
	conns, err := connectAll(ctx, o.Clients, s.targets, m)
	if err != nil {
		return report.Round{}, nil, err
	}
	var (
		faults  faults
		over    atomic.Bool
		running sync.WaitGroup
	)
	for i, c := range conns {
		running.Go(func() {
			for { // pings are answered
				if _, data, err := c.Next(); err == nil {
					faults.wrong(i, data, nil)
				} else {
					if !over.Load() {
						faults.broken(i, err)
					}
					return
				}
			}
		})
	}
	round, err := m.watch(ctx, ended(&running), before, o)
	over.Store(true)
	for _, c := range conns {
		expectWithin(c, 0)
	}
	if err != nil {
		conns.abort()
	}
	running.Wait()
	if errors.Is(err, errOver) {
		err = nil
	}
	if err != nil {
		return round, nil, err
	}
	pings := 0
	for _, c := range conns {
		pings += c.Pings()
	}
	round.Figures[report.Pings] = float64(pings)
	round.Faults = faults.get()
	conns.leave()
	return round, nil, nil
}

// watch looks at the memory of servers that settle, and at the CPU time that
// idle connections take.
func (m *meter) watch(ctx context.Context, over <-chan struct{}, before sample, o *Options) (report.Round, error) {
	round := report.Round{Figures: report.Figures{report.Messages: float64(o.Clients)}}
	var passed time.Duration
	look := func(at, _ time.Duration) error {
		m.status.Rate, m.status.P50, m.status.P99 = 0, 0, 0
		now, err := m.sample()
		if now.ok {
			round.Series = append(round.Series, report.Point{At: (passed + at).Seconds(), Memory: float64(now.memory) / (1 << 20)})
		}
		return err
	}
	m.phase("settling", o.Settle)
	if err := m.intervals(ctx, over, o.Settle, look); err != nil {
		return round, err
	}
	passed = o.Settle
	from, err := m.sample()
	if err != nil {
		return round, err
	}
	start := time.Now()
	m.phase("measuring", o.For)
	if err := m.intervals(ctx, over, o.For, look); err != nil {
		return round, err
	}
	to, err := m.sample()
	if err != nil || !to.ok {
		return round, err
	}
	round.Figures[report.Memory] = float64(to.memory) / (1 << 20)
	round.Figures[report.PerIdle] = float64(to.memory-before.memory) / (1 << 10) / float64(o.Clients)
	round.Figures[report.Busy] = 100 * (to.cpu - from.cpu).Seconds() / time.Since(start).Seconds()
	return round, nil
}
