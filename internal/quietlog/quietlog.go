// Package quietlog takes what a server of net/http has to say about its clients: bad
// requests, TLS that is none, connections that break. That is their doing, and anybody who
// reaches a port could fill the log with it, so it is logged at debug. A panic of a
// handler, from which net/http recovers and of which it tells in the same way, is a
// mistake of this program: it is logged as an error.
package quietlog

import (
	"context"
	"log"
	"log/slog"
	"strings"
)

// New is the ErrorLog of a server.
func New(l *slog.Logger) *log.Logger { return log.New(writer{l}, "", 0) }

// panics is how a line begins that tells of a panic.
const panics = "http: panic serving "

type writer struct{ log *slog.Logger }

// Write logs a line, or more that belong together. It never fails.
func (w writer) Write(b []byte) (int, error) {
	text, level := strings.TrimSpace(string(b)), slog.LevelDebug
	if strings.HasPrefix(text, panics) {
		level = slog.LevelError
	}
	w.log.Log(context.Background(), level, text)
	return len(b), nil
}
