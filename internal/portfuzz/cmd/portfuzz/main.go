// Command portfuzz runs gatebus as real processes, throws garbage at each of their ports,
// and fails if anybody is harmed. See the documentation of package portfuzz.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"sync"
	"syscall"

	"github.com/gatebus/gatebus/internal/portfuzz"
	"github.com/gatebus/gatebus/internal/testbed"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	ok, err := run(ctx, os.Args[1:])
	switch {
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "portfuzz:", err)
		os.Exit(1)
	case !ok:
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) (ok bool, err error) {
	cfg := portfuzz.DefaultConfig()
	f := flag.NewFlagSet("portfuzz", flag.ContinueOnError)
	f.Uint64Var(&cfg.Seed, "seed", cfg.Seed, "makes the attempts; the same one makes the same ones")
	f.DurationVar(&cfg.Length, "for", cfg.Length, "how long attempts are made")
	f.IntVar(&cfg.Rate, "rate", cfg.Rate, "how many attempts begin in a second")
	f.DurationVar(&cfg.Patience, "patience", cfg.Patience, "how long who behaves may wait for an answer")
	f.Uint64Var(&cfg.From, "from", 0, "number of the first attempt of each actor")
	f.StringVar(&cfg.Logs, "logs", "", "directory for the processes' logs when somebody is harmed for the first time")
	only := f.String("only", "", "beginnings of actors' names, with commas, such as front/main,r1; the others do nothing")
	if err := f.Parse(args); err != nil {
		return false, err
	}
	if *only != "" {
		cfg.Only = strings.Split(*only, ",")
	}
	t := &harness{log: log.New(os.Stderr, "", log.Ltime|log.Lmicroseconds)}
	cfg.Logf = t.Logf
	t.Logf("seed %d for %v", cfg.Seed, cfg.Length)
	var report *portfuzz.Report
	done := make(chan struct{})
	go func() { // which Fatalf ends
		defer close(done)
		defer t.cleanUp()
		if report, err = portfuzz.Run(ctx, t, cfg); err != nil || !report.OK() {
			t.Errorf("the logs follow") // which is what has them shown
		}
	}()
	<-done
	if report != nil {
		report.Write(os.Stdout)
	}
	err = errors.Join(err, testbed.CleanUp())
	return report != nil && report.OK() && !t.Failed(), err
}

// harness is what testbed needs of a test.
type harness struct {
	log *log.Logger

	mu       sync.Mutex
	failed   bool
	cleanups []func()
}

func (t *harness) Helper()                         {}
func (t *harness) Name() string                    { return "portfuzz" }
func (t *harness) Logf(format string, args ...any) { t.log.Printf(format, args...) }

func (t *harness) Errorf(format string, args ...any) {
	t.Logf(format, args...)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.failed = true
}

func (t *harness) Fatalf(format string, args ...any) {
	t.Errorf(format, args...)
	runtime.Goexit()
}

func (t *harness) Failed() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.failed
}

func (t *harness) Cleanup(fn func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.cleanups = append(t.cleanups, fn)
}

func (t *harness) cleanUp() {
	for i := len(t.cleanups) - 1; i >= 0; i-- {
		t.cleanups[i]()
	}
}
