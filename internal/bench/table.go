package bench

import (
	"strconv"
	"time"

	"github.com/gatebus/gatebus/internal/bench/report"
)

// Row is one bench of the table that a change to gatebus is judged by.
type Row struct {
	Name    string
	Options Options
	Targets []report.Target
}

// Table is that table, with what is asked of each figure; "raw" in a target is
// the baseline of the same run. A measured time other than 0 replaces the
// defaults, and so do rounds, but not those of idle connections.
func Table(measured time.Duration, rounds int) []Row {
	row := func(name string, k Kind, change func(*Options), targets ...report.Target) Row {
		o := DefaultOptions(k)
		o.Baseline = true
		if change != nil {
			change(&o)
		}
		if measured > 0 {
			o.For = measured
		}
		if rounds > 0 && k != Idle {
			o.Rounds = rounds
		}
		return Row{name, o, targets}
	}
	most := func(metric string, limit float64) report.Target {
		return report.Target{Metric: metric, Ratio: true, Limit: limit}
	}
	// What changes with the number of clients, workers and gateways: less time for
	// each, since there are many.
	scale := func(name string, k Kind, change func(*Options)) Row {
		return row(name, k, func(o *Options) {
			o.For, o.Rounds = 5*time.Second, 2
			change(o)
		})
	}
	clients := func(n int) Row {
		return scale("clients-"+strconv.Itoa(n), Echo, func(o *Options) { o.Clients = n })
	}
	workers := func(n int) Row {
		return scale("workers-"+strconv.Itoa(n), Echo, func(o *Options) { o.Workers = n })
	}
	// A push to one user, whose client is at one of so many gateways.
	gateways := func(n int) Row {
		return scale("gateways-"+strconv.Itoa(n), Fanout, func(o *Options) {
			o.Scope, o.Clients, o.InFlight, o.SDK, o.Baseline = ScopeUID, 1, 32, true, false
			o.Gateways, o.Holding = n, 1
		})
	}
	return []Row{
		row("echo-500", Echo, nil,
			report.Target{Metric: report.Rate, Ratio: true, Least: true, Limit: 0.9},
			most(report.CPU, 1.25), most(report.P99, 1.1)),
		row("echo-500-window-8", Echo, func(o *Options) { o.Window = 8 }),
		row("echo-1", Echo, func(o *Options) { o.Clients = 1 }, most(report.P50, 2.5)),
		row("echo-1-relayed", Echo, func(o *Options) { o.Clients, o.Relayed = 1, true }),
		row("idle", Idle, nil, report.Target{Metric: report.PerIdle, Limit: 5}),
		row("fanout", Fanout, nil, most(report.CPU, 1.1)),
		row("fanout-16", Fanout, func(o *Options) { o.InFlight = 16 }, report.Target{Metric: report.CPU, Limit: 4.5}),
		row("connect", Connect, nil),
		clients(100), clients(5_000), clients(15_000),
		workers(4), workers(16),
		gateways(1), gateways(4), gateways(16),
	}
}
