package pump_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatebus/gatebus/internal/bubble"
	"github.com/gatebus/gatebus/internal/pump"
)

func TestMain(m *testing.M) { bubble.Main(m) }

// fill puts 0 to n-1 into the pump and tells how many did not fit.
func fill(p *pump.Pump[int], n int) (dropped int) {
	for i := range n {
		select {
		case p.C <- i:
		default:
			dropped++
		}
	}
	return dropped
}

func upTo(n int) []int {
	s := make([]int, n)
	for i := range s {
		s[i] = i
	}
	return s
}

func isDone(p *pump.Pump[int]) bool {
	select {
	case <-p.Done():
		return true
	default:
		return false
	}
}

func TestOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pump.New[int](100)
		var got []int
		go p.Run(t.Context(), func(i int) { got = append(got, i) })
		fill(p, 100)
		synctest.Wait()
		if !slices.Equal(got, upTo(100)) {
			t.Errorf("got %v", got)
		}
		if isDone(p) {
			t.Error("done before Drain")
		}
		p.Drain()
		<-p.Done()
	})
}

func TestBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pump.New[int](10)
		entered, release := make(chan struct{}), make(chan struct{})
		var got []int
		go p.Run(t.Context(), func(i int) {
			if got = append(got, i); len(got) == 1 {
				close(entered)
				<-release
			}
		})
		p.C <- 0
		<-entered
		// One is in the callback, ten fit, five do not.
		if dropped := fill(p, 15); dropped != 5 {
			t.Errorf("%d did not fit, want 5", dropped)
		}
		close(release)
		p.Drain()
		<-p.Done()
		if want := append([]int{0}, upTo(10)...); !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}

// TestDrain checks that all that was put in before Drain is handled before
// Done, one at a time.
func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pump.New[int](10)
		fill(p, 10)
		p.Drain()
		p.Drain() // again is fine
		var got []int
		go p.Run(t.Context(), func(i int) {
			time.Sleep(time.Second)
			got = append(got, i)
		})
		start := time.Now()
		<-p.Done()
		if !slices.Equal(got, upTo(10)) || time.Since(start) != 10*time.Second {
			t.Errorf("got %v after %v", got, time.Since(start))
		}
		if !p.Drained() {
			t.Error("not drained")
		}
	})
}

// TestStop checks that what is left is dropped once stop has ended, in a drain
// as well as without.
func TestStop(t *testing.T) {
	for name, drain := range map[string]bool{"running": false, "draining": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				stop, cancel := context.WithCancel(t.Context())
				p := pump.New[int](1000)
				fill(p, 1000)
				if drain {
					p.Drain()
				}
				calls, late := 0, 0
				go p.Run(stop, func(int) {
					if calls++; calls == 10 {
						cancel()
					} else if calls > 10 {
						late++
					}
				})
				<-p.Done()
				// Run may choose a value over stop a few times, not for long.
				if late > 100 {
					t.Errorf("%d values after stop", late)
				}
				if p.Drained() {
					t.Error("drained, but values are left")
				}
			})
		})
	}
}

// TestStopIdle checks that an idle pump ends with stop.
func TestStopIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stop, cancel := context.WithCancel(t.Context())
		p := pump.New[int](1)
		go p.Run(stop, func(int) { t.Error("called") })
		synctest.Wait()
		cancel()
		<-p.Done()
		if p.Drained() {
			t.Error("drained, but it was stopped")
		}
	})
}
