package bench

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/gatebus/gatebus/internal/bench/report"
)

// Every frame that a closed loop sends is answered and, once it is warm, counted.
func TestClosedLoopCounts(t *testing.T) {
	for _, window := range []int{1, 8} {
		var echoed atomic.Int64
		o := short(Echo, serve(t, func(c *websocket.Conn, n int, data []byte) error {
			echoed.Add(1)
			return echo(c, n, data)
		}))
		o.Window, o.Warmup = window, 0
		r, err := once(t, o)
		if err != nil {
			t.Fatal(err)
		}
		// Beyond what is counted there is at most what was under way at its
		// begin and its end.
		counted, all := r.Figures[report.Messages], float64(echoed.Load())
		if counted == 0 || counted > all {
			t.Errorf("window %d: %v messages are counted, %v were echoed", window, counted, all)
		}
		sum := 0.0
		for _, p := range r.Series {
			sum += p.Rate
		}
		if mean, rate := sum/float64(len(r.Series)), r.Figures[report.Rate]; mean < rate/2 || mean > rate*2 {
			t.Errorf("window %d: %v/s in all, but %v/s on average of the intervals", window, rate, mean)
		}
		if r.Figures[report.P50] <= 0 || r.Figures[report.P50] > r.Figures[report.P99] || r.Figures[report.P99] > r.Figures[report.Max] {
			t.Errorf("window %d: %v", window, r.Figures)
		}
	}
}

// The window is what a client may have unanswered.
func TestWindow(t *testing.T) {
	const window = 5
	var mu sync.Mutex
	held := map[*websocket.Conn][][]byte{}
	o := short(Echo, serve(t, func(c *websocket.Conn, n int, data []byte) error {
		mu.Lock()
		defer mu.Unlock()
		// Nothing is answered before the window is full: a smaller one would
		// stand still.
		if held[c] = append(held[c], data); len(held[c]) < window {
			return nil
		}
		for _, d := range held[c] {
			if err := echo(c, n, d); err != nil {
				return err
			}
		}
		held[c] = nil
		return nil
	}))
	o.Window = window
	r, err := once(t, o)
	if err != nil && !errors.Is(err, ErrFaults) {
		t.Fatal(err)
	}
	if f := r.Faults; r.Figures[report.Messages] == 0 || f.Wrong+f.Order+f.Broken > 0 {
		t.Errorf("%+v", r)
	}
}

// A server that stalls once is charged for all that was due meanwhile: with a
// stall of a third of the time, a third of the frames waited. A closed loop of
// one client would have met it once in thousands.
func TestOpenLoopHasNoCoordinatedOmission(t *testing.T) {
	const stall = 300 * time.Millisecond
	var gate sync.Mutex
	var stalled atomic.Bool
	start := time.Now()
	o := short(Echo, serve(t, func(c *websocket.Conn, n int, data []byte) error {
		gate.Lock() // all clients wait
		if time.Since(start) > 400*time.Millisecond && !stalled.Swap(true) {
			<-time.After(stall)
		}
		gate.Unlock()
		return echo(c, n, data)
	}))
	o.Rate, o.For, o.Warmup = 1000, 900*time.Millisecond, 50*time.Millisecond
	r, err := once(t, o)
	if err != nil {
		t.Fatal(err)
	}
	f := r.Figures
	if !stalled.Load() {
		t.Fatal("nothing stalled")
	}
	if least := micros(stall / 2); f[report.P90] < least {
		t.Errorf("p90 is %v µs, want at least %v: of the frames due in %v, a third came %v late or less", f[report.P90], least, o.For, stall)
	}
	if f[report.Max] < micros(stall*9/10) {
		t.Errorf("the slowest took %v µs of a stall of %v", f[report.Max], stall)
	}
}

// An open loop sends as many as are due, no matter how slow the answers are.
func TestOpenLoopKeepsItsRate(t *testing.T) {
	var got atomic.Int64
	o := short(Echo, serve(t, func(c *websocket.Conn, n int, data []byte) error {
		got.Add(1)
		return echo(c, n, data)
	}))
	o.Rate, o.For, o.Warmup = 500, time.Second, 0
	if _, err := once(t, o); err != nil {
		t.Fatal(err)
	}
	if n := got.Load(); n != 500 {
		t.Errorf("%d frames were sent, want 500", n)
	}
}

func TestFaultsAreCounted(t *testing.T) {
	var first sync.Map // the first frame of a connection
	for _, tt := range []struct {
		name   string
		answer func(c *websocket.Conn, n int, data []byte) error
		count  func(report.Faults) int64
		says   string
	}{
		{"another payload", func(c *websocket.Conn, n int, data []byte) error {
			if n == 3 {
				data[len(data)-1] ^= 1
			}
			return echo(c, n, data)
		}, func(f report.Faults) int64 { return f.Wrong }, "want"},
		{"another's", func(c *websocket.Conn, n int, data []byte) error {
			if n == 3 {
				data[0] ^= 1
			}
			return echo(c, n, data)
		}, func(f report.Faults) int64 { return f.Wrong }, "want"},
		{"another kind", func(c *websocket.Conn, n int, data []byte) error {
			if n == 3 {
				return c.WriteMessage(websocket.BinaryMessage, data)
			}
			return echo(c, n, data)
		}, func(f report.Faults) int64 { return f.Wrong }, "want"},
		{"never sent", func(c *websocket.Conn, n int, data []byte) error {
			if n == 3 {
				copy(data[nameDigits:], "00ffffff")
			}
			return echo(c, n, data)
		}, func(f report.Faults) int64 { return f.Wrong }, "want"},
		{"twice", func(c *websocket.Conn, n int, data []byte) error {
			if n == 3 {
				_ = echo(c, n, data)
			}
			return echo(c, n, data)
		}, func(f report.Faults) int64 { return f.Order }, "got number 3, want 4"},
		{"swapped", func(c *websocket.Conn, n int, data []byte) error {
			if n == 3 {
				first.Store(c, data)
				return nil
			}
			if err := echo(c, n, data); err != nil || n != 4 {
				return err
			}
			held, _ := first.Load(c)
			return echo(c, n, held.([]byte))
		}, func(f report.Faults) int64 { return f.Order }, "got number 4, want 3"},
		{"cut off", func(c *websocket.Conn, n int, data []byte) error {
			if n == 3 {
				return errors.New("enough")
			}
			return echo(c, n, data)
		}, func(f report.Faults) int64 { return f.Broken }, "client"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, rate := range []float64{0, 1000} {
				o := short(Echo, serve(t, tt.answer))
				if o.Rate = rate; rate == 0 {
					o.Window = 4
				}
				r, err := once(t, o)
				if !errors.Is(err, ErrFaults) {
					t.Errorf("rate %v: %v, want that it fails for faults", rate, err)
				}
				if n := tt.count(r.Faults); n == 0 || r.Faults.Sum() > 2*int64(o.Clients) {
					t.Errorf("rate %v: %+v", rate, r.Faults)
				}
				if s := strings.Join(r.Faults.Examples, "\n"); !strings.Contains(s, tt.says) {
					t.Errorf("rate %v: it says %q, want %q", rate, s, tt.says)
				}
			}
		})
	}
}

func TestRefusedClients(t *testing.T) {
	o := short(Echo, "ws://127.0.0.1:1/")
	if _, err := Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), "connect client") {
		t.Errorf("got %v", err)
	}
}

// A bench that is interrupted ends at once.
func TestInterrupted(t *testing.T) {
	for _, rate := range []float64{0, 100} {
		ctx, cancel := context.WithCancelCause(t.Context())
		why := errors.New("interrupted")
		o := short(Echo, serve(t, echo))
		o.For, o.Rate = time.Hour, rate
		o.Show = func(s Status) {
			if s.Phase == "warming up" && s.Elapsed > 0 {
				cancel(why)
			}
		}
		if _, err := Run(ctx, o); !errors.Is(err, why) {
			t.Errorf("rate %v: %v, want %v", rate, err, why)
		}
	}
}
