package chaos

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/gatebus/gatebus/gateway"
	"github.com/gatebus/gatebus/internal/chaos/ledger"
)

// Report is what a run came to. Durations are in nanoseconds.
type Report struct {
	Seed    uint64        `json:"seed"`
	Length  time.Duration `json:"length_ns"`
	Shape   Shape         `json:"shape"`
	Clients int           `json:"clients"`
	Missing []string      `json:"missing"` // what the run had to do without

	Sent        int64          `json:"sent"` // frames
	Answered    int64          `json:"answered"`
	Excused     map[string]int `json:"excused"` // unanswered frames, by reason
	Connections int64          `json:"connections"`
	Refused     int64          `json:"refused"` // handshakes
	Closes      map[int]int    `json:"closes"`  // connections by close code; 1006 is none
	Events      int            `json:"events"`  // that workers have recorded
	Again       int            `json:"again"`   // handlings of an event that had one before

	Faults     map[Kind]int          `json:"faults"`
	Recoveries map[Kind]Recovery     `json:"recoveries"`
	Answer     Times                 `json:"answer"` // without the handler's own time
	Gateway    gateway.Stats         `json:"gateway"`
	Baseline   map[string]usage      `json:"baseline"`
	Final      map[string]usage      `json:"final"`
	Broken     map[ledger.Broken]int `json:"broken"`
	Violations []Violation           `json:"violations"`
}

// Times are of a number of durations.
type Times struct {
	N    int64         `json:"n"`
	P50  time.Duration `json:"p50_ns"`
	P99  time.Duration `json:"p99_ns"`
	Most time.Duration `json:"max_ns"`
}

// Recovery is how long events took that were out while a fault was, from when
// both were, for those that took 100 ms or more beside their handler's time. With
// faults that overlap, the others' are among them.
type Recovery struct {
	Faults int `json:"faults"`
	Times
}

// OK tells whether all promises were kept.
func (r *Report) OK() bool { return len(r.Violations) == 0 }

// recoverFrom are the kinds of faults that cost events time.
var recoverFrom = []Kind{KillWorker, StopWorker, FreezeWorker, KillAllWorkers, FreezeGateway, CutHosts, IsolateWorker, LosePackets}

// recoveries are the times of the slow answers by kind of fault.
func recoveries(episodes []episode, answers []slow) map[Kind]Recovery {
	slices.SortFunc(answers, func(a, b slow) int { return cmp.Compare(a.done, b.done) })
	all := map[Kind]Recovery{}
	times := map[Kind]*histogram{}
	for _, e := range episodes {
		if !slices.Contains(recoverFrom, e.Kind) {
			continue
		}
		h := times[e.Kind]
		if h == nil {
			h = &histogram{}
			times[e.Kind] = h
		}
		i, _ := slices.BinarySearchFunc(answers, e.began, func(s slow, at time.Duration) int { return cmp.Compare(s.done, at) })
		for _, s := range answers[i:] {
			if s.turn <= e.ended && e.concerns(s.gateway) {
				if took := s.done - max(s.turn, e.began) - s.work; took > 0 {
					h.add(took)
				}
			}
		}
		r := all[e.Kind]
		r.Faults++
		r.Times = h.times()
		all[e.Kind] = r
	}
	return all
}

// concerns tells whether the fault can cost the gateway's events time.
func (e *episode) concerns(gateway string) bool {
	return e.Kind != CutHosts && e.Kind != LosePackets && e.Kind != FreezeGateway || slices.Contains(e.Targets, gateway)
}

func (h *histogram) times() Times {
	return Times{N: h.n, P50: h.quantile(0.5), P99: h.quantile(0.99), Most: h.most}
}

// sum adds up the counters of all lives of all gateways.
func (r *harness) sum() gateway.Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	var t gateway.Stats
	for _, f := range r.samples {
		s := f.Gateway
		for _, c := range []struct{ to, from *int64 }{
			{&t.Accepted, &s.Accepted}, {&t.Refused, &s.Refused}, {&t.EventsIn, &s.EventsIn}, {&t.Answered, &s.Answered},
			{&t.FramesOut, &s.FramesOut}, {&t.Redelivery, &s.Redelivery}, {&t.Busy, &s.Busy}, {&t.LateReply, &s.LateReply},
			{&t.BadReply, &s.BadReply}, {&t.BadRequest, &s.BadRequest}, {&t.DroppedPoison, &s.DroppedPoison},
			{&t.DroppedHold, &s.DroppedHold}, {&t.DroppedClosing, &s.DroppedClosing}, {&t.DroppedBus, &s.DroppedBus},
			{&t.ClosedSlow, &s.ClosedSlow}, {&t.ClosedSilent, &s.ClosedSilent},
		} {
			*c.to += *c.from
		}
	}
	return t
}

func (r *harness) report() *Report {
	l := r.load
	rep := &Report{
		Seed: r.cfg.Seed, Length: r.cfg.Length, Shape: r.cfg.Shape, Clients: r.cfg.Clients, Missing: r.missing,
		Sent: l.sent.Load(), Answered: l.answered.Load(), Excused: l.excused, Connections: l.connects.Load(), Refused: l.refused.Load(),
		Closes: l.closes, Events: r.events, Again: r.again,
		Faults: map[Kind]int{}, Answer: l.times.times(), Gateway: r.sum(),
		Baseline: r.baseline, Final: r.final,
	}
	episodes := r.history.carriedOut()
	for _, e := range episodes {
		rep.Faults[e.Kind]++
	}
	rep.Recoveries = recoveries(episodes, l.slow)
	rep.Violations, rep.Broken = r.history.all()
	return rep
}

// Replay is the command that carries out the same schedule.
func (r *Report) Replay() string {
	return fmt.Sprintf("just chaos --seed %d --for %v --registers %d --gateways %d --workers %d --clients %d",
		r.Seed, r.Length, r.Shape.Registers, r.Shape.Gateways, r.Shape.Workers, r.Clients)
}

// Write writes the report for people.
func (r *Report) Write(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	line := func(what, format string, args ...any) { fmt.Fprintf(w, what+"\t"+format+"\n", args...) }
	line("run", "seed %d, %v, %d registers, %d gateways, %d workers, %d clients", r.Seed, r.Length, r.Shape.Registers, r.Shape.Gateways, r.Shape.Workers, r.Clients)
	for _, m := range r.Missing {
		line("without", "%s", m)
	}
	line("frames", "%d sent, %d answered", r.Sent, r.Answered)
	for _, why := range slices.Sorted(maps.Keys(r.Excused)) {
		line("excused", "%d frames are unanswered: %s", r.Excused[why], why)
	}
	line("connections", "%d, %d handshakes refused; ended with %v", r.Connections, r.Refused, r.Closes)
	line("answer time", "%v", r.Answer)
	line("handled", "%d events, %d times more than once", r.Events, r.Again)
	g := r.Gateway
	line("gateways", "%d given out again, %d late replies, %d handed back, dropped: %d poison, %d hold, %d closing, %d bus; closed: %d slow, %d silent",
		g.Redelivery, g.LateReply, g.Busy, g.DroppedPoison, g.DroppedHold, g.DroppedClosing, g.DroppedBus, g.ClosedSlow, g.ClosedSilent)
	faults := 0
	for _, k := range slices.Sorted(maps.Keys(r.Faults)) {
		faults += r.Faults[k]
		line("fault", "%3d %s", r.Faults[k], k)
	}
	line("faults", "%3d in all", faults)
	for _, k := range slices.Sorted(maps.Keys(r.Recoveries)) {
		line("recovery", "%s: %v", k, r.Recoveries[k].Times)
	}
	for _, name := range slices.Sorted(maps.Keys(r.Final)) {
		was, is := r.Baseline[name], r.Final[name]
		goroutines := ""
		if is.Goroutines > 0 {
			goroutines = fmt.Sprintf(", goroutines %d, %d", was.Goroutines, is.Goroutines)
		}
		line("before, after", "%s: files %d, %d; memory %d, %d MB%s", name, was.Files, is.Files, was.Memory>>20, is.Memory>>20, goroutines)
	}
	for _, v := range r.Violations {
		line("violation", "%s", strings.ReplaceAll(v.String(), "\n", "\n\t"))
	}
	if r.OK() {
		line("result", "nothing lost, nothing reordered, nothing duplicated")
	} else {
		line("result", "BROKEN: %v", r.Broken)
		line("again", "%s", r.Replay())
	}
	return w.Flush()
}

func (t Times) String() string {
	if t.N == 0 {
		return "none"
	}
	return fmt.Sprintf("%d: p50 %v, p99 %v, max %v", t.N, t.P50.Round(time.Microsecond*10), t.P99.Round(time.Microsecond*10), t.Most.Round(time.Millisecond))
}
