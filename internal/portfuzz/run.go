package portfuzz

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/time/rate"

	"github.com/gatebus/gatebus/internal/testbed"
)

// Config says what to run.
type Config struct {
	// Seed makes the attempts.
	Seed uint64
	// Length is how long attempts are made, rests aside. From 1s.
	Length time.Duration
	// Rate is how many attempts begin in a second, of all actors. From 1.
	Rate int
	// Only are beginnings of the names of actors; the others do nothing. Empty: all do.
	Only []string
	// From is the number of the first attempt of each actor.
	From uint64
	// Patience is how long who behaves may wait for an answer. From 1s.
	Patience time.Duration
	// Logs is a directory where the newest lines of the processes' logs are put when
	// somebody is harmed for the first time; empty: nowhere.
	Logs string
	// Logf tells what goes on, a line at a time, from any goroutine.
	Logf func(format string, args ...any)
}

// DefaultConfig is the run that the promise is measured with.
func DefaultConfig() Config {
	return Config{Seed: rand.Uint64N(1e6), Length: 10 * time.Minute, Rate: 300, Patience: 15 * time.Second}
}

// Report is what has come of a run.
type Report struct {
	Seed     uint64
	Attempts int64
	// Unheard are the actors for whom nobody was ever there, by name.
	Unheard []string
	// Frames is how many frames guests got back; Asked how many requests were answered
	// beside; Slowest how long a frame took at most.
	Frames, Asked int64
	Slowest       time.Duration
	// Rests are what the processes had of the machine at each rest: after the warm-up,
	// in the middle, at the end.
	Rests []map[string]Usage
	// Broken is what must not be; empty if all is well.
	Broken []string
}

// OK tells whether nothing was broken.
func (r *Report) OK() bool { return len(r.Broken) == 0 }

// Run runs the harness. An error means that it could not: what it found is in the report.
// When ctx ends, it ends early, and everything that it has started is ended by the
// cleanups of tb.
func Run(ctx context.Context, tb testbed.TB, cfg Config) (*Report, error) {
	if cfg.Length < time.Second || cfg.Rate < 1 || cfg.Patience < time.Second {
		return nil, errors.New("portfuzz: length and patience are from 1s, the rate from 1")
	}
	s, err := start(ctx, tb)
	if err != nil {
		return nil, err
	}
	c := &company{seed: cfg.Seed, actors: s.actors(cfg.Only), limit: rate.NewLimiter(rate.Limit(cfg.Rate), 1)}
	if len(c.actors) == 0 {
		return nil, fmt.Errorf("portfuzz: no actor's name begins with one of %q", cfg.Only)
	}
	for _, a := range c.actors {
		a.number.Store(cfg.From)
	}
	h := &hosting{
		stage: s, patience: cfg.Patience, logf: cfg.Logf, recent: c.newest, logs: cfg.Logs,
		client: &http.Client{Timeout: cfg.Patience, Transport: &http.Transport{DisableKeepAlives: true}},
	}
	r := &Report{Seed: cfg.Seed}
	behave, leave := context.WithCancel(ctx)
	defer leave()
	var guests sync.WaitGroup
	guests.Go(func() { h.serve(behave) })
	warm := cfg.Length / 6
	for _, length := range []time.Duration{warm, (cfg.Length - warm) / 2, (cfg.Length - warm) / 2} {
		cfg.Logf("%d actors for %v", len(c.actors), length.Round(time.Second))
		act, stop := context.WithTimeout(ctx, length)
		c.play(act)
		stop()
		r.Rests = append(r.Rests, h.rest(ctx, r.Rests, min(settle, warm)))
	}
	leave()
	guests.Wait()
	h.stop(ctx)
	r.Attempts, r.Frames, r.Asked, r.Slowest, r.Broken = c.made.Load(), h.frames, h.asked, h.slowest, h.broken
	for _, a := range c.actors {
		if made := a.number.Load() - cfg.From; made > 0 && a.deaf.Load() == made {
			r.Unheard = append(r.Unheard, a.name)
		}
	}
	if ctx.Err() != nil {
		return r, context.Cause(ctx)
	}
	return r, nil
}

// stopPatience is how long a process may take to stop.
const stopPatience = 40 * time.Second

// stop tells the processes to stop, gateways first, for they have events for the workers,
// and sees that they do so in order.
func (h *hosting) stop(ctx context.Context) {
	if ctx.Err() != nil {
		return // the cleanups end them
	}
	s := h.stage
	for _, wave := range [][]*testbed.Process{s.gateways, s.workers, s.registers} {
		soon, cancel := context.WithTimeout(ctx, stopPatience)
		var wg sync.WaitGroup
		for _, p := range wave {
			wg.Go(func() { h.stopOne(soon, p) })
		}
		wg.Wait()
		cancel()
	}
}

func (h *hosting) stopOne(ctx context.Context, p *testbed.Process) {
	if err := p.Signal(syscall.SIGTERM); err != nil {
		if !errors.Is(err, os.ErrProcessDone) { // which was told
			h.harmed(p.Name, "%v", err)
		}
		return
	}
	switch exit, err := p.Wait(ctx); {
	case err != nil:
		h.harmed(p.Name, "told to stop: %v", err)
	case exit.Code != 0:
		h.harmed(p.Name, "told to stop, it ended with %v", exit)
	}
}
