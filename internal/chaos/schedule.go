package chaos

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// Kind says what a fault does.
type Kind string

// The kinds of faults. Kill is SIGKILL, stop is SIGTERM, freeze is SIGSTOP and
// then SIGCONT; who was killed or stopped is started again when the fault ends.
const (
	KillWorker      Kind = "kill-worker"
	StopWorker      Kind = "stop-worker"
	FreezeWorker    Kind = "freeze-worker"
	KillAllWorkers  Kind = "kill-all-workers"
	KillGateway     Kind = "kill-gateway"
	StopGateway     Kind = "stop-gateway"
	FreezeGateway   Kind = "freeze-gateway"
	KillRegister    Kind = "kill-register"
	StopRegister    Kind = "stop-register"
	FreezeRegister  Kind = "freeze-register"
	KillRegisters   Kind = "kill-all-registers"
	RollingRestart  Kind = "rolling-restart"   // all, one after the other
	CutHosts        Kind = "cut-hosts"         // no packet between two hosts
	LosePackets     Kind = "lose-packets"      // Amount percent between two hosts
	IsolateWorker   Kind = "isolate-worker"    // no packet between a worker and anybody
	DelayClients    Kind = "delay-clients"     // Amount milliseconds each way
	ThrottleClients Kind = "throttle-clients"  // Amount KB a second each way, of each connection
	HalfOpen        Kind = "half-open-clients" // connections that nothing comes through any more
	DelayBus        Kind = "delay-bus"         // Amount milliseconds between workers and a gateway
	ThrottleBus     Kind = "throttle-bus"      // Amount KB a second likewise
	FillDisk        Kind = "fill-log-disk"
	StepClock       Kind = "step-clock" // Amount seconds, and back at the end
)

// Clients is the name of the host of the clients, as a target of CutHosts.
const Clients = "clients"

// Shape is what the schedule is made for.
type Shape struct {
	Registers, Gateways, Workers int
	// Network says that hosts can be cut off from each other, Disk that the disk
	// of the logs can be filled, and Clock that the processes' clocks can be set.
	Network, Disk, Clock bool
	// Only, if not empty, leaves out all other kinds.
	Only []Kind
}

// Fault is one entry of a schedule. It begins At after the start and is healed
// For later.
type Fault struct {
	N       int // from 1
	Kind    Kind
	At, For time.Duration
	Targets []string // names of processes, which are also those of their hosts
	Amount  int
}

func (f Fault) String() string {
	s := fmt.Sprintf("#%d %s", f.N, f.Kind)
	if len(f.Targets) > 0 {
		s += " " + strings.Join(f.Targets, " ")
	}
	if f.Amount != 0 {
		s += fmt.Sprintf(" (%d)", f.Amount)
	}
	return s
}

// Line is the fault with its times.
func (f Fault) Line() string {
	return fmt.Sprintf("%8.1fs for %5.1fs  %v", f.At.Seconds(), f.For.Seconds(), f)
}

// The bounds of the schedule.
const (
	// maxActive is how many faults go on at the same time.
	maxActive = 3
	// maxSwallowed is how often one event can be lost on its way before it is
	// given out once more, in swallowing: max_deliver is 5, and ack_wait 2 s.
	maxSwallowed = 4
	swallowing   = 10 * time.Second
	// aftermath is how long a fault counts after it is healed: a process that
	// was started is linked again by then, silence has been noticed.
	aftermath = 4 * time.Second
	// restartTime is what one process takes in a rolling restart: a gateway
	// drains its clients and the next ones wait until it is back.
	restartTime = 5 * time.Second
	firstFault  = time.Second
	// A worker that is frozen for longer than ack_wait, and not so long that it
	// is taken for gone, answers late what others have answered: every other
	// freeze is such a one.
	briefFreeze, briefFreezeMax = 2200 * time.Millisecond, 2900 * time.Millisecond
	// delayTwice is a delay of a bus, each way in milliseconds, with which every
	// event is given out twice, and answered late.
	delayTwice = 1050
)

// kindSpec bounds the faults of one kind.
type kindSpec struct {
	kind              Kind
	shortest, longest time.Duration
	amounts           []int
}

var kindSpecs = []kindSpec{
	{KillWorker, 200 * time.Millisecond, 4 * time.Second, nil},
	{StopWorker, 200 * time.Millisecond, 3 * time.Second, nil},
	{FreezeWorker, time.Second, 8 * time.Second, nil},
	{KillAllWorkers, time.Second, 4 * time.Second, nil},
	{KillGateway, 200 * time.Millisecond, 5 * time.Second, nil},
	{StopGateway, 200 * time.Millisecond, 3 * time.Second, nil},
	{FreezeGateway, 500 * time.Millisecond, 6 * time.Second, nil},
	{KillRegister, 500 * time.Millisecond, 8 * time.Second, nil},
	{StopRegister, 500 * time.Millisecond, 5 * time.Second, nil},
	{FreezeRegister, time.Second, 10 * time.Second, nil},
	{KillRegisters, time.Second, 10 * time.Second, nil},
	{RollingRestart, 0, 0, nil}, // as long as it takes
	{CutHosts, time.Second, 8 * time.Second, nil},
	{LosePackets, 2 * time.Second, 8 * time.Second, []int{2, 5, 10, 20}},
	{IsolateWorker, time.Second, 8 * time.Second, nil},
	{DelayClients, 2 * time.Second, 8 * time.Second, []int{20, 100, 300}},
	{ThrottleClients, 2 * time.Second, 8 * time.Second, []int{2, 16}},
	{HalfOpen, 5 * time.Second, 45 * time.Second, nil},
	{DelayBus, 2 * time.Second, 8 * time.Second, []int{5, 50, 200, delayTwice}},
	{ThrottleBus, 2 * time.Second, 8 * time.Second, []int{512, 2048}},
	{FillDisk, 3 * time.Second, 12 * time.Second, nil},
	{StepClock, 2 * time.Second, 10 * time.Second, []int{-86400, -3600, -5, 5, 3600, 86400}},
}

// first are the kinds that a schedule begins with, so that even a short one has
// those that cost the most when a promise is broken.
var first = []Kind{KillWorker, FreezeWorker, StopGateway, KillGateway}

// Plan makes the schedule of a seed: the faults in order of their beginning, all
// healed before length is over. Each kind that the shape allows appears, and
// appears again, as far as there is time.
func Plan(seed uint64, shape Shape, length time.Duration) []Fault {
	p := &planner{rng: rand.New(rand.NewPCG(seed, 0)), shape: shape, length: length}
	round := p.kinds()
	slices.SortStableFunc(round, func(a, b kindSpec) int {
		return rank(a.kind) - rank(b.kind)
	})
	for at := firstFault; at < length; {
		round = slices.DeleteFunc(round, func(k kindSpec) bool { return at+p.least(k) > length })
		if len(round) == 0 {
			if round = p.kinds(); !slices.ContainsFunc(round, func(k kindSpec) bool { return at+p.least(k) <= length }) {
				break
			}
			continue
		}
		i := slices.IndexFunc(round, func(k kindSpec) bool { return p.place(k, at) })
		if i < 0 {
			at += 250 * time.Millisecond
			continue
		}
		round = slices.Delete(round, i, i+1)
		at += p.between(300*time.Millisecond, 3*time.Second)
	}
	return p.faults
}

func rank(k Kind) int {
	if i := slices.Index(first, k); i >= 0 {
		return i
	}
	return len(first)
}

// planner makes one schedule.
type planner struct {
	rng    *rand.Rand
	shape  Shape
	length time.Duration
	faults []Fault
	// freezes of workers so far; the first is a brief one
	freezes int
}

// kinds are the kinds that the shape allows, in random order.
func (p *planner) kinds() []kindSpec {
	var all []kindSpec
	for _, k := range kindSpecs {
		if (len(p.shape.Only) == 0 || slices.Contains(p.shape.Only, k.kind)) && p.possible(k.kind) {
			all = append(all, k)
		}
	}
	p.rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all
}

func (p *planner) possible(k Kind) bool {
	switch k {
	case CutHosts, LosePackets:
		return p.shape.Network
	case IsolateWorker:
		return p.shape.Network && p.shape.Workers > 1
	case FillDisk:
		return p.shape.Disk
	case StepClock:
		return p.shape.Clock
	case FreezeWorker:
		return p.shape.Workers > 1
	}
	return true
}

// least is the shortest time that a fault of this kind takes.
func (p *planner) least(k kindSpec) time.Duration {
	if k.kind == RollingRestart {
		return restartTime * time.Duration(p.shape.Registers+p.shape.Gateways+p.shape.Workers)
	}
	return k.shortest
}

func (p *planner) between(low, high time.Duration) time.Duration {
	if high <= low {
		return low
	}
	return (low + time.Duration(p.rng.Int64N(int64(high-low)))).Round(10 * time.Millisecond)
}

// place puts a fault of this kind at this time, if one of a few tries is allowed.
func (p *planner) place(k kindSpec, at time.Duration) bool {
	for range 4 {
		least := p.least(k)
		if k.kind == FreezeWorker && p.length-at >= briefFreezeMax && (p.freezes == 0 || p.rng.IntN(2) == 0) {
			least, k.longest = briefFreeze, briefFreezeMax
		}
		f := Fault{
			N: len(p.faults) + 1, Kind: k.kind, At: at,
			For:     p.between(least, max(least, min(k.longest, p.length-at))),
			Targets: p.targets(k.kind),
		}
		if len(k.amounts) > 0 {
			f.Amount = k.amounts[p.rng.IntN(len(k.amounts))]
		}
		if f.At+f.For <= p.length && p.allowed(f) {
			if f.Kind == FreezeWorker {
				p.freezes++
			}
			p.faults = append(p.faults, f)
			return true
		}
	}
	return false
}

func name(role byte, i int) string { return fmt.Sprintf("%c%d", role, i+1) }

// names are those of all processes of the shape, registers first.
func (s Shape) names() []string {
	return slices.Concat(s.of('r'), s.of('g'), s.of('w'))
}

// of are the names of the processes of a role: r, g or w.
func (s Shape) of(role byte) []string {
	n := map[byte]int{'r': s.Registers, 'g': s.Gateways, 'w': s.Workers}[role]
	names := make([]string, n)
	for i := range names {
		names[i] = name(role, i)
	}
	return names
}

func (p *planner) targets(k Kind) []string {
	one := func(role byte) []string {
		all := p.shape.of(role)
		return []string{all[p.rng.IntN(len(all))]}
	}
	switch k {
	case KillWorker, StopWorker, FreezeWorker, IsolateWorker:
		return one('w')
	case KillGateway, StopGateway, FreezeGateway, DelayClients, ThrottleClients, HalfOpen:
		return one('g')
	case DelayBus, ThrottleBus: // the gateway whose bus is behind a proxy
		return p.shape.of('g')[p.shape.Gateways-1:]
	case KillRegister, StopRegister, FreezeRegister:
		return one('r')
	case KillRegisters:
		return p.shape.of('r')
	case KillAllWorkers:
		return p.shape.of('w')
	case StepClock:
		all := p.shape.names()
		return []string{all[p.rng.IntN(len(all))]}
	case CutHosts, LosePackets:
		return p.pair()
	}
	return nil
}

// pair are two hosts that talk with each other.
func (p *planner) pair() []string {
	r, g, w := p.shape.of('r'), p.shape.of('g'), p.shape.of('w')
	any := func(names []string) string { return names[p.rng.IntN(len(names))] }
	switch n := p.rng.IntN(10); {
	case n < 4:
		return []string{any(w), any(g)}
	case n < 6:
		return []string{Clients, any(g)}
	case n < 7:
		return []string{any(r), any(g)}
	case n < 8 || len(r) < 2:
		return []string{any(r), any(w)}
	}
	p.rng.Shuffle(len(r), func(i, j int) { r[i], r[j] = r[j], r[i] })
	return r[:2]
}

// allowed tells whether the promises cover the fault together with those that
// are planned.
func (p *planner) allowed(f Fault) bool {
	together := []Fault{f} // those that overlap with f, aftermath included
	active := 1
	for _, other := range p.faults {
		if other.At+other.For+aftermath <= f.At || f.At+f.For+aftermath <= other.At {
			continue
		}
		if other.At+other.For > f.At {
			active++
		}
		if other.Kind == f.Kind && f.Kind != CutHosts && slices.Equal(other.Targets, f.Targets) || conflict(f, other) || conflict(other, f) {
			return false
		}
		together = append(together, other)
	}
	return active <= maxActive && p.served(together) && !p.swallowed(f)
}

// conflict tells whether a fault must not overlap with the other.
func conflict(f, other Fault) bool {
	if f.Kind == RollingRestart || f.Kind == KillAllWorkers {
		return !slices.Contains([]Kind{FillDisk, DelayClients, ThrottleClients, HalfOpen}, other.Kind)
	}
	// One gateway at a time, so that clients have somewhere to go; and nobody
	// who is down needs the registers that are.
	if f.hitsGateway() && other.hitsGateway() {
		return true
	}
	if f.hitsRegister() {
		return other.hitsRegister() || other.restarts()
	}
	// Two faults of one process, or of its connections, would heal each other.
	return f.actsOnProcess() && other.actsOnProcess() && slices.ContainsFunc(f.Targets, func(t string) bool { return slices.Contains(other.Targets, t) }) ||
		f.actsOnBus() && other.actsOnBus() || f.actsOnClients() && other.actsOnClients()
}

func (f Fault) any(role byte) bool {
	return slices.ContainsFunc(f.Targets, func(t string) bool { return t[0] == role && t != Clients })
}

func (f Fault) hitsGateway() bool {
	return f.Kind == KillGateway || f.Kind == StopGateway || f.Kind == FreezeGateway || f.actsOnNetwork() && f.Targets[0] == Clients
}

func (f Fault) hitsRegister() bool {
	return f.any('r') && (f.actsOnProcess() || f.actsOnNetwork())
}

// restarts tells whether a gateway or worker starts anew with the fault.
func (f Fault) restarts() bool {
	return slices.Contains([]Kind{KillWorker, StopWorker, KillAllWorkers, KillGateway, StopGateway, RollingRestart}, f.Kind)
}

func (f Fault) actsOnNetwork() bool {
	return f.Kind == CutHosts || f.Kind == LosePackets || f.Kind == IsolateWorker
}

func (f Fault) actsOnBus() bool { return f.Kind == DelayBus || f.Kind == ThrottleBus }

func (f Fault) actsOnClients() bool {
	return f.Kind == DelayClients || f.Kind == ThrottleClients
}

func (f Fault) actsOnProcess() bool {
	return !f.actsOnNetwork() && !f.actsOnBus() && !f.actsOnClients() && f.Kind != HalfOpen && f.Kind != FillDisk && f.Kind != StepClock
}

// silences tells whether a gateway hears nothing, or not all, from a worker while
// the fault lasts, and takes it for being there.
func (f Fault) silences(worker, gateway string) bool {
	switch f.Kind {
	case FreezeWorker, IsolateWorker:
		return f.Targets[0] == worker
	case CutHosts, LosePackets:
		return slices.Contains(f.Targets, worker) && slices.Contains(f.Targets, gateway)
	}
	return false
}

// swallows is how often the fault can have an event of the gateway lost on its
// way. A silent worker is known to be after 3 s, and can be given an event twice
// until then.
func (f Fault) swallows(gateway string) int {
	switch f.Kind {
	case KillWorker, KillAllWorkers:
		return 1
	case FreezeGateway:
		if f.Targets[0] == gateway {
			return 1
		}
	case FreezeWorker, IsolateWorker:
		return 2
	case DelayBus:
		if f.Amount == delayTwice && f.Targets[0] == gateway {
			return 2
		}
	case CutHosts, LosePackets:
		if f.any('w') && slices.Contains(f.Targets, gateway) {
			return 2
		}
	}
	return 0
}

// removes tells whether a worker is not there while the fault lasts. One that
// cannot reach a register is, but may not be again once it is restarted.
func (f Fault) removes(worker string) bool {
	return (f.Kind == KillWorker || f.Kind == StopWorker) && f.Targets[0] == worker
}

// served tells whether each gateway has a worker throughout these faults, taken
// as if all of them were at the same time.
func (p *planner) served(faults []Fault) bool {
	if p.shape.Workers == 1 {
		return true // it may well be killed: events are held
	}
	for _, g := range p.shape.of('g') {
		if !slices.ContainsFunc(p.shape.of('w'), func(w string) bool {
			return !slices.ContainsFunc(faults, func(f Fault) bool { return f.silences(w, g) || f.removes(w) })
		}) {
			return false
		}
	}
	return true
}

// swallowed tells whether an event could be lost on its way too often, with this
// fault and those before it.
func (p *planner) swallowed(f Fault) bool {
	for _, g := range p.shape.of('g') {
		n := f.swallows(g)
		for _, other := range p.faults {
			if max(other.At+swallowing, other.At+other.For+aftermath) > f.At {
				n += other.swallows(g)
			}
		}
		if n > maxSwallowed {
			return true
		}
	}
	return false
}
