package chaos

import (
	"slices"
	"testing"
	"time"
)

var fullShape = Shape{Registers: 2, Gateways: 2, Workers: 4, Network: true, Disk: true, Clock: true}

func TestPlanIsOfTheSeed(t *testing.T) {
	a, b := Plan(7, fullShape, 5*time.Minute), Plan(7, fullShape, 5*time.Minute)
	if !slices.EqualFunc(a, b, func(a, b Fault) bool { return a.Line() == b.Line() }) {
		t.Error("one seed gives two schedules")
	}
	if c := Plan(8, fullShape, 5*time.Minute); slices.EqualFunc(a, c, func(a, b Fault) bool { return a.Line() == b.Line() }) {
		t.Error("two seeds give one schedule")
	}
}

func TestPlanHasEachKind(t *testing.T) {
	for seed := range uint64(10) {
		count := map[Kind]int{}
		for _, f := range Plan(seed, fullShape, 10*time.Minute) {
			count[f.Kind]++
		}
		for _, k := range kindSpecs {
			if count[k.kind] < 2 {
				t.Errorf("seed %d: %d times %s", seed, count[k.kind], k.kind)
			}
		}
	}
}

func TestPlanHasOnlyWhatCanBe(t *testing.T) {
	shape := Shape{Registers: 1, Gateways: 1, Workers: 1}
	for _, f := range Plan(1, shape, 10*time.Minute) {
		if slices.Contains([]Kind{CutHosts, LosePackets, IsolateWorker, FillDisk, StepClock, FreezeWorker}, f.Kind) {
			t.Errorf("%v", f)
		}
	}
	shape.Only = []Kind{KillWorker}
	plan := Plan(1, shape, time.Minute)
	if len(plan) == 0 || slices.ContainsFunc(plan, func(f Fault) bool { return f.Kind != KillWorker }) {
		t.Errorf("%v", plan)
	}
}

// All faults are healed in time, few go on at once, and the kinds that cost the
// most when a promise is broken come first.
func TestPlanIsBounded(t *testing.T) {
	for seed := range uint64(50) {
		length := time.Minute + time.Duration(seed)*time.Second
		plan := Plan(seed, fullShape, length)
		if plan[0].At > 2*time.Second || plan[0].Kind != KillWorker {
			t.Errorf("seed %d begins with %s", seed, plan[0].Line())
		}
		for i, f := range plan {
			if f.At+f.For > length || f.N != i+1 {
				t.Errorf("seed %d, %v: %s", seed, length, f.Line())
			}
			if i > 0 && f.At < plan[i-1].At {
				t.Errorf("seed %d: %s after %s", seed, f.Line(), plan[i-1].Line())
			}
			if n := len(activeAt(plan, f.At, 0)); n > maxActive {
				t.Errorf("seed %d: %d faults at %v", seed, n, f.At)
			}
		}
	}
}

// activeAt are the faults that go on at a time, or have not been over for margin.
func activeAt(plan []Fault, at, margin time.Duration) (active []Fault) {
	for _, f := range plan {
		if f.At <= at && at < f.At+f.For+margin {
			active = append(active, f)
		}
	}
	return active
}

// At each moment each gateway has a worker that is there, reached, and not
// frozen, unless all are killed for less than the gateway holds events; few in a row are
// silent; and one gateway at most is down or frozen.
func TestPlanHasOnlyWhatThePromisesCover(t *testing.T) {
	const hold = 30 * time.Second
	for seed := range uint64(30) {
		plan := Plan(seed, fullShape, 5*time.Minute)
		for _, f := range plan {
			if slices.Contains([]Kind{FreezeWorker, FreezeGateway, CutHosts, IsolateWorker}, f.Kind) && f.For > 10*time.Second {
				t.Errorf("seed %d: %s: clients are taken for gone", seed, f.Line())
			}
			if f.Kind == KillAllWorkers && f.For > hold/2 {
				t.Errorf("seed %d: %s: longer than events are held", seed, f.Line())
			}
			active := activeAt(plan, f.At, time.Second)
			if gateways := slices.DeleteFunc(slices.Clone(active), func(f Fault) bool { return !f.hitsGateway() }); len(gateways) > 1 {
				t.Errorf("seed %d: %v", seed, gateways)
			}
			for _, g := range fullShape.of('g') {
				if !covered(active, g) {
					t.Errorf("seed %d: at %v, %s: %v", seed, f.At, g, active)
				}
			}
		}
	}
}

// covered says it again, without the words of the planner.
func covered(active []Fault, gateway string) bool {
	there := map[string]bool{"w1": true, "w2": true, "w3": true, "w4": true}
	silent := 0
	for _, f := range active {
		switch f.Kind {
		case KillAllWorkers:
			return len(there) == 4 // whatever else goes on leaves the workers alone
		case FreezeWorker, IsolateWorker:
			silent++
			fallthrough
		case KillWorker, StopWorker:
			delete(there, f.Targets[0])
		case CutHosts, LosePackets:
			if slices.Contains(f.Targets, gateway) && f.Targets[0][0] == 'w' {
				silent++
				delete(there, f.Targets[0])
			}
		}
	}
	return len(there) > 0 && silent <= 2
}
