package bench

import (
	"context"
	"errors"
	"fmt"

	hdr "github.com/HdrHistogram/hdrhistogram-go"

	"github.com/gatebus/gatebus/internal/bench/report"
)

// loads are the kinds of load, one round of each.
var loads = map[Kind]func(context.Context, *Options, *side, *meter) (report.Round, *hdr.Histogram, error){
	Echo: func(ctx context.Context, o *Options, s *side, m *meter) (report.Round, *hdr.Histogram, error) {
		if o.Rate > 0 {
			return openLoop(ctx, o, s, m)
		}
		return closedLoop(ctx, o, s, m)
	},
	Fanout:  fanout,
	Connect: connect,
	Idle:    idle,
}

// Run measures. It ends with ctx, after the servers that it has started. The
// bench that it returns is complete if the error is nil or wraps [ErrFaults].
func Run(ctx context.Context, o Options) (report.Bench, error) {
	b := report.Bench{Name: string(o.Kind), Kind: string(o.Kind), Title: o.Title(), Command: o.Command()}
	if err := o.Validate(); err != nil {
		return b, err
	}
	if err := checkFiles(o.connections()); err != nil {
		return b, err
	}
	if o.Show == nil {
		o.Show = func(Status) {}
	}
	r := &run{options: &o, sides: map[string]*side{}, sum: map[string]*hdr.Histogram{}}
	defer r.stop()
	names := []string{sideGatebus}
	switch {
	case o.Relayed:
		names = append(names, sideRelayed)
	case o.Baseline:
		names = append(names, sideRaw)
	}
	for _, name := range names {
		b.Sides = append(b.Sides, report.Side{Name: name})
	}
	for n := range o.Rounds {
		for i := range b.Sides {
			if err := r.round(ctx, n, &b.Sides[i]); err != nil {
				return b, fmt.Errorf("%s, round %d: %w", b.Sides[i].Name, n+1, err)
			}
		}
	}
	for i := range b.Sides {
		if h := r.sum[b.Sides[i].Name]; h != nil {
			b.Sides[i].Curve = curve(h)
		}
	}
	b.Notes = o.notes()
	b.Complete()
	if f := b.Faults(); f.Sum() > 0 {
		return b, fmt.Errorf("%w: %d wrong answers, %d out of order, %d missing, %d broken connections", ErrFaults, f.Wrong, f.Order, f.Missing, f.Broken)
	}
	return b, nil
}

// run is a bench while it runs.
type run struct {
	options *Options
	sides   map[string]*side          // that run, by name
	sum     map[string]*hdr.Histogram // of all rounds of a side
}

// round measures a side once.
func (r *run) round(ctx context.Context, n int, into *report.Side) error {
	o := r.options
	s, err := r.side(ctx, into.Name)
	if err != nil {
		return err
	}
	m := &meter{pids: s.pids, show: o.Show, status: Status{Title: o.Title(), Side: s.name, Round: n + 1, Rounds: o.Rounds}}
	round, hist, err := loads[o.Kind](ctx, o, s, m)
	if err = errors.Join(err, s.check()); err != nil {
		return err
	}
	into.Rounds = append(into.Rounds, round)
	if hist != nil {
		if r.sum[s.name] == nil {
			r.sum[s.name] = newHistogram()
		}
		r.sum[s.name].Merge(hist)
	}
	if o.Kind == Idle { // its memory would not be that of a new server
		s.stop()
		delete(r.sides, s.name)
	}
	return nil
}

// side is the side with a name, started if it does not run.
func (r *run) side(ctx context.Context, name string) (*side, error) {
	if s := r.sides[name]; s != nil {
		return s, nil
	}
	r.options.Show(Status{Title: r.options.Title(), Side: name, Phase: "starting"})
	s, err := startSide(ctx, name, r.options)
	if err == nil {
		r.sides[name] = s
	}
	return s, err
}

func (r *run) stop() {
	for _, s := range r.sides {
		s.stop()
	}
}

// notes say what a reader of the figures must know.
func (o *Options) notes() []string {
	var notes []string
	if len(o.URLs) > 0 && len(o.PIDs) == 0 {
		notes = append(notes, "CPU time and memory of the server were not measured: give its processes with --pid.")
	} else if !hasProcesses() {
		notes = append(notes, "CPU time and memory were not measured: "+ErrNoProcessTable.Error()+".")
	}
	if o.Rate > 0 {
		notes = append(notes, "Latency counts from when a frame was due; \"sent late\" is how much of that was the generator's.")
	}
	if o.Kind == Fanout {
		notes = append(notes, "A push is in flight until every member has read it.")
	}
	return notes
}
