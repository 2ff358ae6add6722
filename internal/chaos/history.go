package chaos

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gatebus/gatebus/internal/chaos/ledger"
)

// Violation is a promise that was not kept.
type Violation struct {
	Broken ledger.Broken `json:"broken"`
	Who    string        `json:"who"`
	Text   string        `json:"text"`
	At     time.Duration `json:"at_ns"`  // since the start of the schedule
	Faults []string      `json:"faults"` // that were going on, or were healed shortly before
}

func (v Violation) String() string {
	during := "no fault"
	if len(v.Faults) > 0 {
		during = strings.Join(v.Faults, ", ")
	}
	return fmt.Sprintf("%8.3fs %s: %s: %s (during %s)", v.At.Seconds(), v.Broken, v.Who, v.Text, during)
}

const (
	// maxViolations is how many are kept; the others are only counted.
	maxViolations = 200
	// echoes is how long after its end a fault is named in violations.
	echoes = 5 * time.Second
)

// episode is a fault that was carried out.
type episode struct {
	Fault
	began, ended time.Duration // ended is 0 while it goes on
}

// span is a time in which a process was to stop.
type span struct{ from, to time.Duration } // to is 0 as long as it has not ended

// history is what was done to the processes, and which promises were broken. All
// times are of ledger.Clock.
type history struct {
	logf   func(format string, args ...any)
	broken chan struct{} // closed at the first violation

	mu         sync.Mutex
	start      time.Duration
	episodes   []*episode
	killed     map[string][]time.Duration // by process
	stopped    map[string][]*span
	violations []Violation
	count      map[ledger.Broken]int
}

func newHistory(logf func(string, ...any)) *history {
	return &history{
		logf: logf, broken: make(chan struct{}), start: ledger.Clock(),
		killed: map[string][]time.Duration{}, stopped: map[string][]*span{},
		count: map[ledger.Broken]int{},
	}
}

// begin makes now the start of the schedule.
func (h *history) begin() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.start = ledger.Clock()
}

// since is the time of the schedule.
func (h *history) since(at time.Duration) time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	return at - h.start
}

func (h *history) faultBegins(f Fault) *episode {
	e := &episode{Fault: f, began: ledger.Clock()}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.episodes = append(h.episodes, e)
	return e
}

func (h *history) faultEnds(e *episode) {
	h.mu.Lock()
	defer h.mu.Unlock()
	e.ended = ledger.Clock()
}

// kill notes that a process is about to be killed.
func (h *history) kill(process string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.killed[process] = append(h.killed[process], ledger.Clock())
}

// stop notes that a process is about to be told to stop; ended is to be called when it
// has ended.
func (h *history) stop(process string) (ended func()) {
	s := &span{from: ledger.Clock()}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stopped[process] = append(h.stopped[process], s)
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		s.to = ledger.Clock()
	}
}

// wasKilled tells whether a process was killed between the two times.
func (h *history) wasKilled(process string, from, to time.Duration) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.ContainsFunc(h.killed[process], func(t time.Duration) bool { return from <= t && t <= to })
}

// wasStopped tells whether it was to stop at any moment between the two times.
func (h *history) wasStopped(process string, from, to time.Duration) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.ContainsFunc(h.stopped[process], func(s *span) bool { return s.from <= to && (s.to == 0 || from <= s.to) })
}

// violated notes a violation of just now.
func (h *history) violated(b ledger.Broken, who, format string, args ...any) {
	h.violatedAt(ledger.Clock(), b, who, format, args...)
}

func (h *history) violatedAt(at time.Duration, b ledger.Broken, who, format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	v := Violation{Broken: b, Who: who, Text: fmt.Sprintf(format, args...), At: at - h.start}
	for _, e := range h.episodes {
		if e.began <= at && (e.ended == 0 || at < e.ended+echoes) {
			v.Faults = append(v.Faults, e.String())
		}
	}
	if h.count[b]++; len(h.violations) == 0 {
		close(h.broken)
	}
	if len(h.violations) < maxViolations {
		h.violations = append(h.violations, v)
		h.logf("VIOLATION %v", v)
	}
}

// all are the violations kept, and how many there were of each sort.
func (h *history) all() ([]Violation, map[ledger.Broken]int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.violations, h.count
}

// carriedOut are the faults that were.
func (h *history) carriedOut() []episode {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := make([]episode, len(h.episodes))
	for i, e := range h.episodes {
		all[i] = *e
	}
	return all
}
