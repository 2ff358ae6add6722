package worker

import (
	"context"
	"errors"
	"time"

	"github.com/gatebus/gatebus/bus"
)

const (
	// goneInterval is how often a gateway that is off the tables is looked for on the
	// bus that it shares with others, and how long it is waited for.
	goneInterval = time.Second
	// goneTries is how many times it may not answer in a row.
	goneTries = 3
)

// watchGone finds out whether a gateway that the registers have lost is still there,
// until ctx ends or the registers know it again: on a bus that is not its own the
// connection is up whatever has become of it. The link is over if the cluster says that
// nobody is subscribed to the gateway's subjects, or if, as somebody looks on there,
// nobody answers.
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
	for silent := 0; l.lookForGateway(ctx, &silent); {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
	l.w.nudge()
}

// lookForGateway tells whether to look again. silent counts the tries without an answer.
func (l *link) lookForGateway(ctx context.Context, silent *int) (again bool) {
	l.mu.Lock()
	conn := l.conn
	l.watched = l.gone && !l.deaf && !l.old
	again = l.watched
	l.mu.Unlock()
	if !again || conn == nil {
		return again
	}
	one, cancel := context.WithTimeout(ctx, goneInterval)
	defer cancel()
	_, err := conn.Request(one, &bus.Msg{Subject: bus.CommandSubject(l.gateway(), bus.OpHello)})
	switch {
	case err == nil:
		*silent = 0
		return true
	case errors.Is(err, bus.ErrClosed) || ctx.Err() != nil:
		return false
	case errors.Is(err, context.DeadlineExceeded):
		if *silent++; *silent < goneTries {
			return true
		}
	case !errors.Is(err, bus.ErrNoResponders):
		return true // the connection is down for now
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.deaf = l.gone // or the registers know it again
	l.watched = false
	return false
}
