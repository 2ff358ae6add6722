package testbed

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Load is many [Numbered] clients at the same time.
type Load struct {
	// set at construction
	cancel  context.CancelCauseFunc
	stop    chan struct{}
	stopped sync.Once
	done    chan struct{} // closed when all have ended
	failed  chan struct{} // closed when one has failed

	mu        sync.Mutex
	connected int
	answered  int
	more      chan struct{} // closed when somebody waits and a number has changed
	waiting   bool
	total     Total
	errs      []error
}

// Total is what all clients of a load came to.
type Total struct {
	Clients  int
	Sent     int
	Answered int
	Connects int
	Closes   map[int]int // clients by close code
	Slowest  time.Duration
	Took     time.Duration
}

// maxErrors is how many clients' errors a load reports.
const maxErrors = 5

// StartLoad starts so many clients, each a copy of what like says, with a name
// of its own, on one of the URLs in turn. If the test ends before the load, the
// load is cut off.
func StartLoad(tb TB, clients int, like Numbered, urls ...string) *Load {
	tb.Helper()
	if len(urls) == 0 {
		tb.Fatalf("testbed: a load needs a URL")
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	l := &Load{
		cancel: cancel,
		stop:   make(chan struct{}), done: make(chan struct{}), failed: make(chan struct{}),
		more:  make(chan struct{}),
		total: Total{Clients: clients, Closes: map[int]int{}},
	}
	start := time.Now()
	var wg sync.WaitGroup
	for i := range clients {
		n := like
		n.URL, n.Name, n.Stop = urls[i%len(urls)], fmt.Sprintf("c%d", i), l.stop
		n.OnConnect = func() { l.count(&l.connected) }
		n.OnAnswer = func() { l.count(&l.answered) }
		wg.Go(func() { l.ended(n.Run(ctx)) })
	}
	go func() {
		wg.Wait()
		l.mu.Lock()
		l.total.Took = time.Since(start)
		l.mu.Unlock()
		cancel(nil)
		close(l.done)
	}()
	tb.Cleanup(func() {
		l.cancel(errors.New("the test has ended"))
		<-l.done
	})
	return l
}

func (l *Load) count(n *int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	*n++
	if l.waiting {
		l.waiting = false
		close(l.more)
		l.more = make(chan struct{})
	}
}

func (l *Load) ended(t Tally, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.total.Sent += t.Sent
	l.total.Answered += t.Answered
	l.total.Connects += t.Connects
	l.total.Slowest = max(l.total.Slowest, t.Slowest)
	if err == nil {
		l.total.Closes[t.Close]++
		return
	}
	if len(l.errs) == 0 {
		close(l.failed)
	}
	l.errs = append(l.errs, err)
}

// Answered is how many numbers were answered so far.
func (l *Load) Answered() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.answered
}

// WaitConnected waits until so many connections were made.
func (l *Load) WaitConnected(ctx context.Context, n int) error {
	return l.await(ctx, "connections", &l.connected, n)
}

// WaitAnswered waits until so many numbers were answered in all.
func (l *Load) WaitAnswered(ctx context.Context, n int) error {
	return l.await(ctx, "answers", &l.answered, n)
}

// WaitMore waits until so many more numbers were answered.
func (l *Load) WaitMore(ctx context.Context, n int) error {
	return l.WaitAnswered(ctx, l.Answered()+n)
}

func (l *Load) await(ctx context.Context, what string, n *int, want int) error {
	for {
		l.mu.Lock()
		have, more := *n, l.more
		l.waiting = true
		l.mu.Unlock()
		if have >= want {
			return nil
		}
		var err error
		select {
		case <-more:
			continue
		case <-l.failed:
			err = l.err()
		case <-l.done:
			if l.err() == nil && l.read(n) >= want {
				return nil
			}
			err = errors.Join(errors.New("the load is over"), l.err())
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
		return fmt.Errorf("testbed: %d %s of %d: %w", have, what, want, err)
	}
}

func (l *Load) read(n *int) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return *n
}

func (l *Load) err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.errs); n > maxErrors {
		return fmt.Errorf("%d clients failed, among them:\n%w", n, errors.Join(l.errs[:maxErrors]...))
	}
	return errors.Join(l.errs...)
}

// Wait waits until all clients have ended by themselves, and returns what they
// came to. An error of a client ends the wait at once.
func (l *Load) Wait(ctx context.Context) (Total, error) {
	var err error
	select {
	case <-l.done:
		err = l.err()
	case <-l.failed:
		err = l.err()
	case <-ctx.Done():
		err = fmt.Errorf("testbed: the load goes on: %w", context.Cause(ctx))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.total, err
}

// Finish has the clients send no more, and waits until all have the answers
// they are owed and are gone.
func (l *Load) Finish(ctx context.Context) (Total, error) {
	l.stopped.Do(func() { close(l.stop) })
	return l.Wait(ctx)
}
