package bench

import (
	"errors"
	"math"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/gatebus/gatebus/internal/bench/report"
)

// Every member gets every push; the raw server has none under way at the end.
func TestFanout(t *testing.T) {
	for _, inFlight := range []int{1, 16} {
		o := short(Fanout, "")
		o.InFlight = inFlight
		r, hist, err := fanout(t.Context(), &o, raw(t), testMeter())
		if err != nil {
			t.Fatal(err)
		}
		f := r.Figures
		if r.Faults.Sum() != 0 || f[report.Deliveries] == 0 || math.Abs(f[report.Pushes]*float64(o.Clients)-f[report.Deliveries]) > 0.01 {
			t.Errorf("in flight %d: %v, %+v", inFlight, f, r.Faults)
		}
		if hist.TotalCount() != int64(f[report.Messages]) {
			t.Errorf("in flight %d: %d latencies of %v deliveries", inFlight, hist.TotalCount(), f[report.Messages])
		}
	}
}

// badPusher pushes what members do not expect.
type badPusher struct {
	pusher
	change func(n int, payload []byte)
	n      int
}

func (p *badPusher) push(payload []byte) error {
	p.change(p.n, payload)
	p.n++
	return p.pusher.push(payload)
}

func TestMemberNoticesFaults(t *testing.T) {
	for name, change := range map[string]func(int, []byte){
		"order": func(n int, payload []byte) {
			if n == 3 {
				copy(payload[nameDigits:], "00000001")
			}
		},
		"wrong": func(n int, payload []byte) {
			if n == 3 {
				payload[len(payload)-1]++
			}
		},
	} {
		o := short(Fanout, "")
		o.InFlight = 8
		s := raw(t)
		s.wrap = func(p pusher) pusher { return &badPusher{pusher: p, change: change} }
		r, _, err := fanout(t.Context(), &o, s, testMeter())
		if err == nil && r.Faults.Order+r.Faults.Wrong == 0 {
			t.Errorf("%s: nothing is noticed: %+v", name, r)
		}
	}
}

func TestConnect(t *testing.T) {
	r, err := once(t, short(Connect, serve(t, echo)))
	if err != nil {
		t.Fatal(err)
	}
	if r.Figures[report.Connects] == 0 || r.Figures[report.P50] == 0 {
		t.Errorf("%v", r.Figures)
	}
}

func TestIdle(t *testing.T) {
	o := short(Idle, serve(t, echo))
	o.PIDs = []int{os.Getpid()}
	r, err := once(t, o)
	if err != nil {
		t.Fatal(err)
	}
	_, measured := r.Figures[report.PerIdle]
	if measured != (runtime.GOOS == "linux") || measured != (r.Figures[report.Memory] > 0) {
		t.Errorf("%v", r.Figures)
	}
}

// A connection that is not left alone is no idle one.
func TestIdleIsBroken(t *testing.T) {
	for name, end := range map[string]func(*websocket.Conn) error{
		"closed": func(*websocket.Conn) error { return errors.New("enough") },
	} {
		o := short(Idle, serveOpen(t, end))
		r, err := once(t, o)
		if !errors.Is(err, ErrFaults) || r.Faults.Broken == 0 {
			t.Errorf("%s: %v, %+v", name, err, r.Faults)
		}
	}
}

func TestProcesses(t *testing.T) {
	if runtime.GOOS != "linux" {
		_, err := Processes{os.Getpid()}.CPU()
		if !errors.Is(err, ErrNoProcessTable) {
			t.Errorf("got %v", err)
		}
		return
	}
	self := Processes{os.Getpid()}
	before, err := self.CPU()
	if err != nil {
		t.Fatal(err)
	}
	for start := time.Now(); time.Since(start) < 10*time.Second; {
		now, err := self.CPU()
		if err != nil {
			t.Fatal(err)
		}
		if now-before >= 5*tick {
			break
		}
	}
	after, err := self.CPU()
	if own := ownCPU(); err != nil || after <= before || after > own+5*tick || after < own-5*tick {
		t.Errorf("%v before, %v after %v; the process itself says %v", before, after, err, own)
	}
	memory, err := self.Memory()
	if err != nil || memory < 1<<20 || memory > 1<<40 {
		t.Errorf("%d bytes, %v", memory, err)
	}
	if _, err := (Processes{1 << 30}).CPU(); err == nil {
		t.Error("a process that is not there has CPU time")
	}
}

func TestCPUTicks(t *testing.T) {
	for _, tt := range []struct {
		stat string
		want int64
	}{
		{"12 (gate bus) 1) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14", 23},
		{"12 (gatebus) S 1 2 3", -1},
		{"", -1},
	} {
		got, err := cpuTicks([]byte(tt.stat))
		if (err == nil) != (tt.want >= 0) || err == nil && got != tt.want {
			t.Errorf("%q: %d, %v; want %d", tt.stat, got, err, tt.want)
		}
	}
}
