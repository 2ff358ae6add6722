package testbed

import (
	"bytes"
	"regexp"
	"strings"
	"sync"
)

// maxLogLines is how much of a process's output is kept: the newest lines.
const maxLogLines = 20_000

// output keeps what a process writes, by line, and tells who waits for more.
type output struct {
	mu      sync.Mutex
	partial []byte
	lines   []string
	dropped int           // lines no longer kept
	more    chan struct{} // closed when there is more
}

func newOutput() *output { return &output{more: make(chan struct{})} }

// Write takes in output. It never fails.
func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.partial = append(o.partial, b...)
	for {
		line, rest, ok := bytes.Cut(o.partial, []byte("\n"))
		if !ok {
			break
		}
		o.lines = append(o.lines, string(line))
		o.partial = bytes.Clone(rest)
	}
	if n := len(o.lines) - maxLogLines; n > 0 {
		o.lines = o.lines[n:]
		o.dropped += n
	}
	close(o.more)
	o.more = make(chan struct{})
	return len(b), nil
}

// find returns the first line that re matches and its submatches, and a channel
// that is closed when looking again is worth it.
func (o *output) find(re *regexp.Regexp) (match []string, more <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, line := range o.lines {
		if m := re.FindStringSubmatch(line); m != nil {
			return m, o.more
		}
	}
	return nil, o.more
}

// tail is the last n lines, and what has no line end yet.
func (o *output) tail(n int) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	lines := o.lines[max(0, len(o.lines)-n):]
	text := strings.Join(lines, "\n")
	if len(o.partial) > 0 {
		text += "\n" + string(o.partial)
	}
	return text
}

// fatal are the lines by which the Go runtime says that a program is broken.
var fatal = regexp.MustCompile(`^(panic: |fatal error: |WARNING: DATA RACE|SIGSEGV|unexpected fault address)`)

// broken is the part of the output where the Go runtime says that the program
// is broken; empty if it does not.
func (o *output) broken() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	for i, line := range o.lines {
		if fatal.MatchString(line) {
			return strings.Join(o.lines[i:min(len(o.lines), i+60)], "\n")
		}
	}
	return ""
}
