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
	more    chan struct{} // closed when there is more
	// trouble begins with the first line by which the Go runtime, or a server of
	// net/http, says that the program is broken. It is kept when lines no longer are.
	trouble []string
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
		if len(o.trouble) > 0 && len(o.trouble) < troubleLines || len(o.trouble) == 0 && fatal.Match(line) {
			o.trouble = append(o.trouble, string(line))
		}
		o.partial = bytes.Clone(rest)
	}
	if n := len(o.lines) - maxLogLines; n > 0 {
		o.lines = o.lines[n:]
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

// troubleLines is how much is kept of what such a line begins.
const troubleLines = 60

// fatal are the lines by which the Go runtime says that a program is broken, and those
// by which a server of net/http does that has recovered from it.
var fatal = regexp.MustCompile(`^(panic: |fatal error: |WARNING: DATA RACE|SIGSEGV|unexpected fault address)|http: panic serving `)

// broken is the part of the output where the program is said to be broken; empty if it
// is not.
func (o *output) broken() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return strings.Join(o.trouble, "\n")
}
