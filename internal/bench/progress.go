package bench

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// quiet is how often a line is written where nobody looks on.
const quiet = 5 * time.Second

// Progress shows how far a bench is.
type Progress struct {
	w    io.Writer
	live bool // one line, written over and over
	last Status
	said time.Time
	wide int // of the line that stands there
}

// NewProgress writes to w; live if that is a terminal.
func NewProgress(w io.Writer, live bool) *Progress { return &Progress{w: w, live: live} }

// Show shows a status. What cannot be written is not worth an error.
func (p *Progress) Show(s Status) {
	begins := s.Title != p.last.Title || s.Side != p.last.Side || s.Round != p.last.Round || s.Phase != p.last.Phase
	if s.Title != p.last.Title {
		p.Done()
		fmt.Fprintln(p.w, s.Title)
	}
	p.last = s
	line := "  " + s.line()
	if p.live {
		fmt.Fprintf(p.w, "\r%s%s", line, strings.Repeat(" ", max(0, p.wide-len(line))))
		p.wide = len(line)
		return
	}
	ends := s.Total > 0 && s.Elapsed >= s.Total
	if begins {
		p.said = time.Now() // a line with figures will come
	}
	if !ends && time.Since(p.said) < quiet {
		return
	}
	p.said = time.Now()
	fmt.Fprintln(p.w, line)
}

// Done ends the line.
func (p *Progress) Done() {
	if p.live && p.wide > 0 {
		fmt.Fprintf(p.w, "\r%s\r", strings.Repeat(" ", p.wide))
		p.wide = 0
	}
}

// line says it in a line.
func (s *Status) line() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-7s", s.Side)
	if s.Rounds > 0 {
		fmt.Fprintf(&b, "  round %d/%d", s.Round, s.Rounds)
	}
	fmt.Fprintf(&b, "  %-10s", s.Phase)
	if s.Total > 0 {
		fmt.Fprintf(&b, "  %4.1f of %v", s.Elapsed.Seconds(), s.Total)
	}
	if s.Rate > 0 {
		fmt.Fprintf(&b, "  %8.0f/s", s.Rate)
	}
	if s.P50 > 0 {
		fmt.Fprintf(&b, "  p50 %v  p99 %v", round(s.P50), round(s.P99))
	}
	return b.String()
}

// round leaves three digits or so of a latency.
func round(d time.Duration) time.Duration {
	switch {
	case d > time.Second:
		return d.Round(10 * time.Millisecond)
	case d > 10*time.Millisecond:
		return d.Round(100 * time.Microsecond)
	}
	return d.Round(time.Microsecond)
}
