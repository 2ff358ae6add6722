package embedded

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
)

// LevelTrace is the level of NATS's own debug lines, several for each
// connection. They are made only if the handler is enabled for it when the
// server starts. Messages are never logged.
const LevelTrace = slog.LevelDebug - 4

// logger is what NATS logs to. NATS calls it with its own locks held.
type logger struct {
	log *slog.Logger

	mu    sync.Mutex
	fatal []error
}

func newLogger(log *slog.Logger) *logger { return &logger{log: log} }

func (l *logger) trace() bool { return l.log.Enabled(context.Background(), LevelTrace) }

// fatals returns the fatal errors so far, in order.
func (l *logger) fatals() []error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]error(nil), l.fatal...)
}

// warnings are texts of lines that belong at warn, whatever NATS thinks. Its
// notice of a slow consumer is the only sign that messages were lost. What it
// calls errors below is what one peer did wrong, or that a member of the
// cluster is not up yet.
var warnings = []string{
	"Slow Consumer",
	"authentication error",
	"authentication timeout",
	"parser ERROR",
	"read error:",
	"Error trying to connect to route",
}

func (l *logger) Noticef(format string, v ...any) { l.judge(slog.LevelDebug, format, v) }
func (l *logger) Errorf(format string, v ...any)  { l.judge(slog.LevelError, format, v) }
func (l *logger) Warnf(format string, v ...any)   { l.print(slog.LevelWarn, format, v) }
func (l *logger) Debugf(format string, v ...any)  { l.print(LevelTrace, format, v) }

// Tracef would show messages; it is not enabled.
func (l *logger) Tracef(string, ...any) {}

// Fatalf is called where nats-server, the program, exits. All such calls are
// in its Start, which goes on or returns after them; ours makes them its error.
func (l *logger) Fatalf(format string, v ...any) {
	err := fmt.Errorf(format, v...)
	for _, arg := range v {
		if cause, ok := arg.(error); ok {
			// NATS formats errors with %v and %q, which hides them from
			// errors.Is.
			err = cause
			break
		}
	}
	l.mu.Lock()
	l.fatal = append(l.fatal, err)
	l.mu.Unlock()
}

// judge logs at level, or at warn if the line is one of warnings.
func (l *logger) judge(level slog.Level, format string, v []any) {
	msg := fmt.Sprintf(format, v...)
	for _, text := range warnings {
		if strings.Contains(msg, text) {
			level = slog.LevelWarn
			break
		}
	}
	l.log.Log(context.Background(), level, msg)
}

func (l *logger) print(level slog.Level, format string, v []any) {
	ctx := context.Background()
	if l.log.Enabled(ctx, level) {
		l.log.Log(ctx, level, fmt.Sprintf(format, v...))
	}
}
