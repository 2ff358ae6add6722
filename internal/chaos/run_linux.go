package chaos

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/gatebus/gatebus/internal/chaos/ledger"
)

// Config says what to run.
type Config struct {
	// Shape is how many processes. Network and Disk are switched off if they
	// cannot be had, which the report tells.
	Shape Shape
	Seed  uint64
	// Length is that of the schedule.
	Length  time.Duration
	Clients int
	// Every is the time between two frames of a client, about.
	Every time.Duration
	// Patience is how long a frame may be unanswered: as long as the gateway holds
	// events, and longer than each fault.
	Patience time.Duration
	// KeepGoing goes on after a violation.
	KeepGoing bool
	// Gatebus is the path of a gatebus; empty means to build one.
	Gatebus string
	// Logf tells what goes on, a line at a time, from any goroutine.
	Logf func(format string, args ...any)
}

// DefaultConfig is the run that the promises are measured with.
func DefaultConfig() Config {
	return Config{
		Shape:   Shape{Registers: 2, Gateways: 2, Workers: 4, Network: true, Disk: true, Clock: true},
		Length:  10 * time.Minute,
		Clients: 500, Every: 200 * time.Millisecond, Patience: 30 * time.Second,
	}
}

// grace is how long a run goes on after its first violation, to see what else
// comes of the same cause.
const grace = 2 * time.Second

// Run runs the harness. An error means that it could not: what it found is in the
// report. When ctx ends, it ends early, and everything that it has made is
// removed.
func Run(ctx context.Context, cfg Config) (_ *Report, err error) {
	r := &harness{cfg: cfg, history: newHistory(cfg.Logf), samples: map[sampleKey]figures{}}
	defer func() { err = errors.Join(err, r.remove()) }()
	if err := r.prepare(); err != nil {
		return nil, err
	}
	if err := r.cluster.start(ctx); err != nil {
		return nil, err
	}
	if r.baseline, err = r.measure(ctx); err != nil {
		return nil, err
	}
	loadErr := r.underLoad(ctx)
	if loadErr == nil && ctx.Err() == nil {
		r.checkLeaks(ctx)
	}
	r.cluster.stop()
	if loadErr != nil {
		return nil, loadErr
	}
	if err := r.checkRecords(); err != nil {
		return nil, err
	}
	r.checkLogs()
	r.checkSum(ctx)
	return r.report(), context.Cause(ctx)
}

// harness is one run.
type harness struct {
	cfg     Config
	history *history
	missing []string // what the run has to do without
	dir     string
	disk    *disk
	net     *network
	cluster *cluster
	load    *load
	plan    []Fault

	baseline map[string]usage // by process
	final    map[string]usage

	events, again int // of the records

	mu      sync.Mutex
	samples map[sampleKey]figures // the last of each life
}

type sampleKey struct {
	name string
	pid  int
}

// prepare builds the binaries, and makes the network and the directories.
func (r *harness) prepare() (err error) {
	r.dir, err = os.MkdirTemp("", fmt.Sprintf("%s%d-", dirPrefix, os.Getpid()))
	if err != nil {
		return fmt.Errorf("chaos: %w", err)
	}
	for _, sub := range []string{"records", "clocks"} {
		if err := os.Mkdir(filepath.Join(r.dir, sub), 0o700); err != nil {
			return fmt.Errorf("chaos: %w", err)
		}
	}
	shape := &r.cfg.Shape
	if r.disk, err = newDisk(filepath.Join(r.dir, "logs")); err != nil {
		return err
	}
	if shape.Disk && !r.disk.mounted {
		r.without("full disks: a file system for the logs needs root")
		shape.Disk = false
	}
	if shape.Network {
		if err := networkMissing(); err != nil {
			r.without("hosts of their own, cuts and lost packets: " + err.Error())
			shape.Network = false
		} else if r.net, err = newNetwork(shape.names()); err != nil {
			return err
		}
	}
	bin, err := build(r.dir, r.cfg.Gatebus, shape.Clock)
	if err != nil {
		return err
	}
	r.cluster, err = layOut(*shape, r.history, r.net, bin, r.dir, r.disk.dir)
	r.plan = Plan(r.cfg.Seed, *shape, r.cfg.Length)
	return err
}

// without notes what the run has to do without.
func (r *harness) without(what string) {
	r.missing = append(r.missing, what)
	r.cfg.Logf("runs without %s", what)
}

// remove takes away all that was made. The directory stays, with logs and
// records, if a promise was broken.
func (r *harness) remove() error {
	var errs []error
	if r.cluster != nil {
		r.cluster.kill()
		r.cluster.stopProxies()
	}
	if r.net != nil {
		errs = append(errs, r.net.remove())
	}
	_, broken := r.history.all()
	if r.disk != nil {
		if len(broken) > 0 && r.disk.mounted {
			errs = append(errs, r.disk.save(filepath.Join(r.dir, "saved-logs")))
		}
		errs = append(errs, r.disk.remove())
	}
	if len(broken) > 0 {
		r.cfg.Logf("logs and records are in %s", r.dir)
	} else if r.dir != "" {
		errs = append(errs, os.RemoveAll(r.dir))
	}
	return errors.Join(errs...)
}

// underLoad carries out the schedule with clients there, and waits until they
// have what they are owed.
func (r *harness) underLoad(ctx context.Context) error {
	r.load = newLoad(r.history, r.cfg.Seed, r.cfg.Clients, r.cfg.Every, r.cfg.Patience, r.cluster.doors)
	clients, leave := context.WithCancel(context.WithoutCancel(ctx))
	defer leave()
	var tasks sync.WaitGroup
	defer tasks.Wait()
	gone := make(chan struct{})
	tasks.Go(func() { r.load.run(clients); close(gone) })
	tasks.Go(func() { r.sample(clients) })

	r.history.begin()
	for _, f := range r.plan {
		r.cfg.Logf("%s", f.Line())
	}
	faults, heal := context.WithCancel(ctx)
	defer heal()
	if !r.cfg.KeepGoing {
		tasks.Go(func() {
			select {
			case <-r.history.broken:
				wait(faults, grace)
				heal()
			case <-faults.Done():
			}
		})
	}
	i := &inflictor{r.cluster, r.history, r.disk, r.dir, r.cfg.Logf}
	err := i.run(faults, r.plan)
	if err == nil {
		wait(faults, time.Until(time.Now().Add(r.cfg.Length-r.history.since(ledger.Clock()))))
	}
	heal()
	// Whoever is still owed something gets it, or is reported by then.
	r.load.stop()
	timer := time.NewTimer(r.cfg.Patience + 5*time.Second)
	defer timer.Stop()
	select {
	case <-gone:
	case <-timer.C:
		r.history.violated(ledger.Lost, "clients", "some have not got what they are owed, %v after the last fault", r.cfg.Patience)
	case <-ctx.Done():
	}
	leave()
	<-gone
	return err
}

// sample reads the figures of all processes every second: those of one that is
// killed are lost.
func (r *harness) sample(ctx context.Context) {
	for wait(ctx, time.Second) {
		r.sampleOnce(ctx)
	}
}

func (r *harness) sampleOnce(ctx context.Context) {
	var wg sync.WaitGroup
	for _, n := range r.cluster.nodes {
		wg.Go(func() {
			pid := n.pid()
			f, err := n.stats(ctx)
			if err != nil {
				return // it is down, or cut off
			}
			r.mu.Lock()
			defer r.mu.Unlock()
			r.samples[sampleKey{n.name, pid}] = f
		})
	}
	wg.Wait()
}

// checkRecords puts together what the workers have recorded.
func (r *harness) checkRecords() error {
	book := ledger.NewBook()
	files, err := filepath.Glob(filepath.Join(r.dir, "records", "*"))
	if err != nil {
		return fmt.Errorf("chaos: %w", err)
	}
	for _, path := range files {
		f, err := os.Open(path)
		if err != nil {
			return fmt.Errorf("chaos: %w", err)
		}
		if err := errors.Join(ledger.ReadRecords(filepath.Base(path), f, book.Add), f.Close()); err != nil {
			return err
		}
	}
	answered := map[string]int{}
	for name, res := range r.load.results {
		answered[name] = res.answered
	}
	var findings []ledger.Finding
	r.events, r.again, findings = book.Verify(ledger.Lives{Answered: answered, Excused: r.closeExcused})
	for _, f := range findings {
		at := f.At
		if at == 0 {
			at = r.load.results[f.Conn].ended
		}
		r.history.violatedAt(at, f.Broken, strings.TrimSpace(f.Conn+" "+f.Client), "%s", f.Text)
	}
	return nil
}

// closeExcused tells whether a gateway was killed before it could tell of the end
// of a client.
func (r *harness) closeExcused(client, conn string, since time.Duration) bool {
	gateway, _, _ := strings.Cut(client, "-")
	return r.history.wasKilled(gateway, since, r.load.results[conn].ended+r.cfg.Patience)
}

// checkSum checks that each frame is answered, or unanswered for a reason; more
// than that is wrong only with this harness.
func (r *harness) checkSum(ctx context.Context) {
	if _, broken := r.history.all(); len(broken) > 0 || ctx.Err() != nil {
		return // which have other reasons
	}
	missing := r.load.sent.Load() - r.load.answered.Load()
	for _, n := range r.load.excused {
		missing -= int64(n)
	}
	if missing > 0 {
		r.history.violated(ledger.Lost, "clients", "%d frames are neither answered nor excused", missing)
	}
}

// checkLogs looks for panics and data races.
func (r *harness) checkLogs() {
	for _, n := range r.cluster.nodes {
		for _, line := range crashes(n.log) {
			r.history.violated(ledger.Ended, n.name, "its log has %q", line)
		}
	}
}
