package embedded

import (
	"context"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/gatebus/gatebus/internal/keys"
)

// LevelTrace is the level of NATS's own debug lines, several for each
// connection. They are made only if the handler is enabled for it when the
// server starts. Messages are never logged.
const LevelTrace = slog.LevelDebug - 4

// logger is what NATS logs to. NATS calls it with its own locks held.
type logger struct {
	log *slog.Logger

	mu     sync.Mutex
	fatal  []error
	quotas [len(warnings)]quota // by text of warnings
}

func newLogger(log *slog.Logger) *logger {
	l := &logger{log: log}
	for i := range l.quotas {
		l.quotas[i].limiter = rate.NewLimiter(rate.Every(warnEvery), warnBurst)
	}
	return l
}

// What peers do wrong they may do many times a second, for ever: of each kind
// of warning, warnBurst lines come at once, then one every warnEvery, which says
// how many were left out.
const (
	warnEvery = 10 * time.Second
	warnBurst = 5
)

type quota struct {
	limiter *rate.Limiter
	leftOut int
}

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
var warnings = [...]string{
	"Slow Consumer",
	"authentication error",
	"authentication timeout",
	"Publish Violation",
	"Subscription Violation",
	"TLS handshake error",
	"parser ERROR",
	"read error:",
	"Error trying to connect to route",
}

// routePassword is what stands in the URL of a route.
var routePassword = regexp.MustCompile(keys.RouteUser + ":[^@]*@")

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
	// What NATS says of a route that it is told to give up has its password.
	msg := routePassword.ReplaceAllString(fmt.Sprintf(format, v...), keys.RouteUser+":***@")
	for i, text := range warnings {
		if strings.Contains(msg, text) {
			l.warn(i, msg)
			return
		}
	}
	l.log.Log(context.Background(), level, msg)
}

// warn logs a line with the text i of warnings, within its quota.
func (l *logger) warn(i int, msg string) {
	l.mu.Lock()
	q := &l.quotas[i]
	if !q.limiter.Allow() {
		q.leftOut++
		l.mu.Unlock()
		return
	}
	var attrs []any
	if q.leftOut > 0 {
		attrs = []any{"left_out", q.leftOut}
	}
	q.leftOut = 0
	l.mu.Unlock()
	l.log.Warn(msg, attrs...)
}

func (l *logger) print(level slog.Level, format string, v []any) {
	ctx := context.Background()
	if l.log.Enabled(ctx, level) {
		l.log.Log(ctx, level, fmt.Sprintf(format, v...))
	}
}
