package testbed

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"
)

// Patience bounds each wait for something that must happen. It is long because
// machines that run tests are busy; nothing takes this long unless it is broken.
const Patience = 30 * time.Second

// TB is the part of testing.TB that this package needs, so that a harness that
// is no test can use it too.
type TB interface {
	Helper()
	Name() string
	Cleanup(func())
	Failed() bool
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// Main wraps a *testing.M: what Run returns includes whether all processes
// are gone, and the built binary is removed.
//
//	func TestMain(m *testing.M) { goleak.VerifyTestMain(testbed.Main(m)) }
func Main(m interface{ Run() int }) interface{ Run() int } { return main{m} }

type main struct{ m interface{ Run() int } }

func (m main) Run() int {
	code := m.m.Run()
	if err := CleanUp(); err != nil {
		fmt.Fprintf(os.Stderr, "testbed: %v\n", err)
		code = max(code, 1)
	}
	return code
}

// CleanUp removes what was built and kills every process that is still there. Its
// error names those.
func CleanUp() error {
	running.mu.Lock()
	left := make([]*Process, 0, len(running.processes))
	for p := range running.processes {
		left = append(left, p)
	}
	running.mu.Unlock()
	var errs []error
	for _, p := range left {
		errs = append(errs, fmt.Errorf("%s (process %d) was left running", p.Name, p.Pid()))
		p.end()
	}
	return errors.Join(append(errs, removeBuilt())...)
}

// running are the processes that have not ended.
var running = struct {
	mu        sync.Mutex
	processes map[*Process]struct{}
}{processes: map[*Process]struct{}{}}

// Poll calls fn every few milliseconds until it returns nil, for what cannot be
// waited for otherwise. When ctx ends first, its error is the last one of fn.
func Poll(ctx context.Context, fn func() error) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		err := fn()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w (%w)", err, context.Cause(ctx))
		case <-tick.C:
		}
	}
}

// Soon is a context that ends after Patience.
func Soon() (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(context.Background(), Patience, fmt.Errorf("not within %v", Patience))
}
