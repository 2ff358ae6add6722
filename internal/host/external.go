package host

import (
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/internal/admin"
)

// external is the state of the connection to a NATS cluster that gatebus does not run.
type external struct {
	what  string // it is for
	log   *slog.Logger
	urls  string
	conn  atomic.Pointer[bus.NATS] // nil: not made yet
	warn  rate.Sometimes
	state atomic.Pointer[externalState]
}

type externalState struct {
	up    bool
	cause error
}

func newExternal(what string, urls []string, log *slog.Logger) *external {
	e := &external{what: what, urls: strings.Join(urls, ", "), log: log, warn: rate.Sometimes{First: 1, Interval: 10 * time.Second}}
	e.state.Store(&externalState{})
	return e
}

// status takes what the connection says, and tells whether it is back.
func (e *external) status(up bool, cause error) (back bool) {
	before := e.state.Swap(&externalState{up, cause})
	switch {
	case up:
		e.connected()
		return true
	case before.up:
		e.log.Warn("the connection to NATS is lost; trying the other servers", "for", e.what, "servers", e.urls, "err", cause)
	default:
		e.warn.Do(func() {
			e.log.Warn("NATS cannot be reached; trying on", "for", e.what, "servers", e.urls, "err", cause)
		})
	}
	return false
}

// made takes the connection, whose status may have been told before.
func (e *external) made(c *bus.NATS) {
	e.conn.Store(c)
	if e.state.Load().up {
		e.connected()
	}
}

func (e *external) connected() {
	if c := e.conn.Load(); c != nil {
		e.log.Info("connected to NATS", "for", e.what, "server", c.Server())
	}
}

// check is that the connection is up, and the server takes messages of so many bytes.
func (e *external) check(name string, payload int) admin.Check {
	return admin.Check{Name: name, Missing: func() error {
		switch s := e.state.Load(); {
		case s.up:
			if most := e.conn.Load().NATS().MaxPayload(); most < int64(payload) {
				return fmt.Errorf("NATS at %s takes messages of up to %d bytes, and max_frame needs %d; set max_payload there, or a smaller max_frame", e.urls, most, payload)
			}
			return nil
		case s.cause != nil:
			return fmt.Errorf("there is no connection to NATS at %s: %w", e.urls, s.cause)
		default:
			return fmt.Errorf("there is no connection to NATS at %s yet", e.urls)
		}
	}}
}
