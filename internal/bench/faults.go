package bench

import (
	"errors"
	"fmt"
	"sync"

	"github.com/gatebus/gatebus/internal/bench/report"
)

// ErrFaults is wrapped by the error of a bench that was given wrong answers,
// missed some, or lost connections. Its report is complete.
var ErrFaults = errors.New("the servers did not do what they should")

// maxExamples is how many faults of a round are told in words.
const maxExamples = 5

// faults counts what must not be, from any goroutine.
type faults struct {
	mu  sync.Mutex
	sum report.Faults
}

func (f *faults) example(format string, args ...any) {
	if len(f.sum.Examples) < maxExamples {
		f.sum.Examples = append(f.sum.Examples, fmt.Sprintf(format, args...))
	}
}

// wrong counts an answer that is not what was sent.
func (f *faults) wrong(client int, got, want []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sum.Wrong++
	f.example("client %d got %.60q, want %.60q", client, got, want)
}

// order counts an answer that comes when another one is due.
func (f *faults) order(client int, got, want uint32) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sum.Order++
	f.example("client %d got number %d, want %d", client, got, want)
}

// missing counts answers that have not come in time.
func (f *faults) missing(client int, n uint32) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sum.Missing += int64(n)
	f.example("client %d waits for %d answers, %v after the end", client, n, grace)
}

// broken counts a connection that failed.
func (f *faults) broken(client int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sum.Broken++
	f.example("client %d: %v", client, err)
}

func (f *faults) get() report.Faults {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.sum
}
