package worker

import (
	"context"
	"errors"
	"time"

	"github.com/gatebus/gatebus/bus"
)

// goneInterval is how often a gateway that is off the tables is looked for on the bus
// that it shares with others, and how long it is waited for.
const goneInterval = time.Second

// watchGone finds out whether a gateway that the registers have lost is still there,
// until ctx ends or the registers know it again: on a bus that is not its own the
// connection is up whatever has become of it. The cluster says at once if nobody is
// subscribed to the gateway's subjects any more; then the link is over.
func (l *link) watchGone(ctx context.Context) {
	l.mu.Lock()
	twice := l.watched
	l.watched = true
	l.mu.Unlock()
	if twice {
		return
	}
	tick := time.NewTicker(goneInterval)
	defer tick.Stop()
	for l.lookForGateway(ctx) {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
	l.w.nudge()
}

// lookForGateway tells whether to look again.
func (l *link) lookForGateway(ctx context.Context) (again bool) {
	l.mu.Lock()
	conn := l.conn
	l.watched = l.gone && !l.deaf && !l.old
	again = l.watched
	l.mu.Unlock()
	if !again || conn == nil {
		return again
	}
	ctx, cancel := context.WithTimeout(ctx, goneInterval)
	defer cancel()
	_, err := conn.Request(ctx, &bus.Msg{Subject: bus.CommandSubject(l.gateway(), bus.OpHello)})
	if !errors.Is(err, bus.ErrNoResponders) {
		return !errors.Is(err, bus.ErrClosed)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.deaf = l.gone // or the registers know it again
	l.watched = false
	return false
}
