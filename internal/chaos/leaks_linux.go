package chaos

import (
	"context"
	"fmt"
	"time"

	"github.com/gatebus/gatebus/internal/chaos/ledger"
	"github.com/gatebus/gatebus/internal/testbed"
)

// What a process may have more at the end than one of its role had before the
// first client. What the Go runtime keeps of the memory for the next load is not
// a leak; a leak of 100 bytes a frame is more than this in ten minutes.
const (
	moreFiles      = 8
	moreGoroutines = 10
	moreMemory     = 96 << 20
	// raceMemory is how many times that it is for a binary with the race detector,
	// whose shadow of the memory ever used is resident and never given back: 5 to
	// 10 times the memory, says https://go.dev/doc/articles/race_detector.
	raceMemory = 5
	// leakPatience is how long it may take: a client that fell silent is closed
	// after ping_interval and pong_timeout, 40 s.
	leakPatience = 60 * time.Second
	// leakGlance is how long it is waited for when something is broken already.
	leakGlance = 5 * time.Second
)

// measure is what all processes have of the system, by name.
func (r *harness) measure(ctx context.Context) (map[string]usage, error) {
	all := map[string]usage{}
	for _, n := range r.cluster.nodes {
		u, err := n.usage(ctx)
		if err != nil {
			return nil, err
		}
		all[n.name] = u
	}
	return all, nil
}

// checkLeaks waits until all processes are as they were before the first client.
func (r *harness) checkLeaks(ctx context.Context) {
	patience := leakPatience
	if _, broken := r.history.all(); len(broken) > 0 && !r.cfg.KeepGoing {
		patience = leakGlance
	}
	soon, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	left := map[string]string{}
	for {
		for _, n := range r.cluster.nodes {
			if what := r.leaks(soon, n); what != "" {
				left[n.name] = what
			} else {
				delete(left, n.name)
			}
		}
		if len(left) == 0 || !wait(soon, 250*time.Millisecond) {
			break
		}
	}
	if ctx.Err() != nil {
		return
	}
	for name, what := range left {
		r.history.violated(ledger.Leaked, name, "%s, %v after the last client has left", what, patience)
	}
	var err error
	if r.final, err = r.measure(ctx); err != nil {
		r.history.violated(ledger.Leaked, "processes", "%v", err)
	}
	r.sampleOnce(ctx)
}

// leaks is what a process has more than before the first client; "" if nothing.
func (r *harness) leaks(ctx context.Context, n *node) string {
	was := r.baseline[n.name]
	allowed := was.Memory + moreMemory
	if testbed.RaceEnabled {
		allowed = was.Memory + raceMemory*moreMemory
	}
	is, err := n.usage(ctx)
	if err != nil {
		return err.Error()
	}
	f, err := n.stats(ctx)
	if err != nil {
		return err.Error()
	}
	switch g, w := f.Gateway, f.Worker; {
	case g.Clients != 0 || g.Waiting != 0:
		return fmt.Sprintf("%d clients and %d waiting events are left", g.Clients, g.Waiting)
	case w.Working != 0:
		return fmt.Sprintf("%d events are still in work", w.Working)
	case is.Files > was.Files+moreFiles:
		return fmt.Sprintf("%d files are open, %d were", is.Files, was.Files)
	case is.Goroutines > was.Goroutines+moreGoroutines:
		return fmt.Sprintf("%d goroutines run, %d did", is.Goroutines, was.Goroutines)
	case is.Memory > allowed:
		return fmt.Sprintf("%d MB are resident, %d were", is.Memory>>20, was.Memory>>20)
	}
	return ""
}
