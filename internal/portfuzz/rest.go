package portfuzz

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"time"

	"github.com/gatebus/gatebus/internal/testbed"
)

// Usage is what a process has of the machine, as it says itself.
type Usage struct {
	Files, Goroutines int
	// Live is the memory that was in use after a garbage collection, Resident what
	// the system has given, both in bytes.
	Live, Resident int64
	// Clients is how many clients a gateway has.
	Clients int
}

// What a process may have more at a rest than after the warm-up, guests' comings and
// goings included.
const (
	moreFiles      = 24
	moreGoroutines = 40
	moreLive       = 4 << 20
	moreResident   = 64 << 20
	// raceTimes is how many times that it is with the race detector, whose shadow of
	// the memory ever used is never given back.
	raceTimes = 6
	// restPatience is how long what the actors left may take to go: an event that
	// nobody answers is given up after max_deliver times ack_wait, 10 s, a silent
	// connection of NATS after three pings of 5 s, one of HTTP after a minute.
	restPatience = 80 * time.Second
	// settle is how long a rest is at least, in a long run: what all of them show is as
	// old then, and can be compared.
	settle = 20 * time.Second
)

var figure = regexp.MustCompile(`(?m)^(go_goroutines|process_open_fds|process_resident_memory_bytes|go_memstats_heap_alloc_bytes|gatebus_gateway_connections) (\S+)$`)

// usage asks a process, after a garbage collection.
func (h *hosting) usage(ctx context.Context, p *testbed.Process) (u Usage, err error) {
	addr := h.stage.admins[p.Name]
	if _, err := h.get(ctx, addr, "/debug/pprof/heap?gc=1"); err != nil {
		return u, fmt.Errorf("%s: %w", p.Name, err)
	}
	body, err := h.get(ctx, addr, "/metrics")
	if err != nil {
		return u, fmt.Errorf("%s: %w", p.Name, err)
	}
	for _, m := range figure.FindAllStringSubmatch(string(body), -1) {
		v, err := strconv.ParseFloat(m[2], 64)
		if err != nil {
			return u, fmt.Errorf("%s: %s: %w", p.Name, m[0], err)
		}
		switch m[1] {
		case "go_goroutines":
			u.Goroutines = int(v)
		case "process_open_fds":
			u.Files = int(v)
		case "process_resident_memory_bytes":
			u.Resident = int64(v)
		case "go_memstats_heap_alloc_bytes":
			u.Live = int64(v)
		case "gatebus_gateway_connections":
			u.Clients = int(v)
		}
	}
	if u.Goroutines == 0 || u.Live == 0 {
		return u, fmt.Errorf("%s: its figures say nothing", p.Name)
	}
	return u, nil
}

// rest waits until each process has no more than after the warm-up, and for settle at
// least; what still has more then is a fault.
func (h *hosting) rest(ctx context.Context, before []map[string]Usage, settle time.Duration) map[string]Usage {
	began := time.Now()
	all := map[string]Usage{}
	for ctx.Err() == nil {
		left := ""
		for _, p := range h.stage.processes {
			u, err := h.usage(ctx, p)
			if err != nil {
				left = err.Error()
				break
			}
			was, known := all[p.Name]
			if len(before) > 0 {
				was, known = before[0][p.Name], true
			}
			all[p.Name] = u
			if !known {
				left = "nothing is known yet"
			} else if what := grown(was, u); what != "" {
				left = p.Name + ": " + what
			}
		}
		switch over := time.Since(began); {
		case left == "" && over >= settle:
			return all
		case over > restPatience:
			h.harmed("rest", "%v after the last attempt, %s", over.Round(time.Second), left)
			return all
		}
		wait(ctx, 500*time.Millisecond)
	}
	return all
}

// grown is what a process has more than it had; "" if nothing that counts.
func grown(was, is Usage) string {
	times := int64(1)
	if testbed.RaceEnabled {
		times = raceTimes
	}
	switch {
	case is.Files > was.Files+moreFiles:
		return fmt.Sprintf("%d files are open, %d were", is.Files, was.Files)
	case is.Goroutines > was.Goroutines+moreGoroutines:
		return fmt.Sprintf("%d goroutines run, %d did", is.Goroutines, was.Goroutines)
	case is.Clients > was.Clients+moreFiles:
		return fmt.Sprintf("%d clients are there, %d were", is.Clients, was.Clients)
	case is.Live > was.Live+moreLive*times:
		return fmt.Sprintf("%d KB are in use, %d were", is.Live>>10, was.Live>>10)
	case is.Resident > was.Resident+moreResident*times:
		return fmt.Sprintf("%d MB are resident, %d were", is.Resident>>20, was.Resident>>20)
	}
	return ""
}
