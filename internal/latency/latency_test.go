package latency

import (
	"encoding/json"
	"reflect"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestObserve(t *testing.T) {
	var h Histogram
	for _, d := range []time.Duration{-time.Second, 0, 100 * time.Microsecond} { // a bound is in its bucket
		h.Observe(d)
	}
	h.Observe(100*time.Microsecond + 1)
	h.Observe(30 * time.Second)
	h.Observe(time.Hour)
	s := h.Snapshot()
	want := make([]int64, len(bounds)+1)
	want[0], want[1], want[len(bounds)-1], want[len(bounds)] = 3, 1, 1, 1
	if !reflect.DeepEqual(s.Counts, want) {
		t.Errorf("counts %v, want %v", s.Counts, want)
	}
	if s.Count() != 6 || s.Sum < 3630 || s.Sum > 3630.001 {
		t.Errorf("%d durations, %v s", s.Count(), s.Sum)
	}
	for i := 1; i < len(bounds); i++ {
		if bounds[i] <= bounds[i-1] {
			t.Errorf("bound %v follows %v", bounds[i], bounds[i-1])
		}
	}
}

func TestQuantile(t *testing.T) {
	if _, ok := (Snapshot{}).Quantile(0.5); ok {
		t.Error("nothing was observed, and it has a median")
	}
	var h Histogram
	for range 90 {
		h.Observe(800 * time.Microsecond) // 500 µs to 1 ms
	}
	before := h.Snapshot()
	for range 10 {
		h.Observe(40 * time.Millisecond) // 25 to 50 ms
	}
	s := h.Snapshot()
	for _, c := range []struct {
		s    Snapshot
		q    float64
		want time.Duration
	}{
		{s, 0.45, 750 * time.Microsecond},
		{s, 0.9, time.Millisecond},
		{s, 0.95, 37500 * time.Microsecond},
		{s, 1, 50 * time.Millisecond},
		{s.Since(before), 0.5, 37500 * time.Microsecond},
		{before.Add(s.Since(before)), 0.45, 750 * time.Microsecond},
	} {
		got, ok := c.s.Quantile(c.q)
		if !ok || (got-c.want).Abs() > time.Microsecond {
			t.Errorf("quantile %v: %v, want %v", c.q, got, c.want)
		}
	}
	h = Histogram{}
	h.Observe(time.Hour)
	if got, _ := h.Snapshot().Quantile(0.5); got != 30*time.Second {
		t.Errorf("beyond all bounds: %v", got)
	}
}

// What is asked of another process may have started anew, or be of another version.
func TestSinceAnother(t *testing.T) {
	var old, young Histogram
	old.Observe(time.Second)
	old.Observe(time.Second)
	young.Observe(time.Second)
	if got := young.Snapshot().Since(old.Snapshot()); got.Count() != 1 {
		t.Errorf("after a restart: %v", got)
	}
	if got := young.Snapshot().Since(Snapshot{}); got.Count() != 1 {
		t.Errorf("since nothing: %v", got)
	}
	if got := (Snapshot{}).Add(young.Snapshot()); got.Count() != 1 {
		t.Errorf("added to nothing: %v", got)
	}
	other := Snapshot{Bounds: []float64{1}, Counts: []int64{0, 5}}
	if got := young.Snapshot().Add(other); got.Count() != 1 {
		t.Errorf("other bounds were added: %v", got)
	}
	data, err := json.Marshal(young.Snapshot())
	if err != nil {
		t.Fatal(err)
	}
	var back Snapshot
	if err := json.Unmarshal(data, &back); err != nil || !reflect.DeepEqual(back, young.Snapshot()) {
		t.Errorf("%s: %v, %v", data, back, err)
	}
}

// Whatever the clients do, about one event of Every is observed.
func TestSampled(t *testing.T) {
	for _, c := range []struct{ clients, events uint64 }{{1, 1600}, {1600, 1}, {40, 40}, {16, 100}} {
		n := uint64(0)
		for client := range c.clients {
			for seq := range c.events {
				if Sampled(client+1, seq+1) {
					n++
				}
			}
		}
		if all := c.clients * c.events; n*Every < all*9/10 || n*Every > all*11/10 {
			t.Errorf("%d clients with %d events each: %d observed", c.clients, c.events, n)
		}
	}
}

func TestConcurrent(t *testing.T) {
	var (
		h  Histogram
		wg sync.WaitGroup
	)
	for range 4 {
		wg.Go(func() {
			for range 1000 {
				h.Observe(time.Millisecond)
				h.Snapshot()
			}
		})
	}
	wg.Wait()
	if s := h.Snapshot(); s.Count() != 4000 || s.Sum < 3.99 || s.Sum > 4.01 {
		t.Errorf("%d durations, %v s", s.Count(), s.Sum)
	}
}

func BenchmarkObserve(b *testing.B) {
	var h Histogram
	for b.Loop() {
		h.Observe(3 * time.Millisecond)
	}
}
