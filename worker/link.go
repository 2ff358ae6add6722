package worker

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/internal/deadline"
	"github.com/gatebus/gatebus/register"
)

const (
	// defaultAckWait is taken for a gateway that does not say how patient it
	// is: that of gateway.DefaultConfig, less for caution.
	defaultAckWait = time.Second
	// progressShare of a gateway's patience passes before it is told that an
	// event is still worked on; two such messages can be lost.
	progressShare = 3
	// warnInterval is how often a gateway that cannot be reached is worth a
	// line in the log.
	warnInterval = 10 * time.Second
)

// link is the worker's connection to the bus of one life of one gateway. Its
// goroutine, run, opens and closes it.
type link struct {
	// set at construction
	w      *Worker
	member register.Member
	log    *slog.Logger
	every  time.Duration // between two signs of progress
	warn   *rate.Sometimes
	jobs   *tally        // events in work
	joined chan struct{} // closed when joining the queue group is over
	stop   func()        // ends run; set before it starts

	// written once, by open under mu; what is done for an event comes after
	conn bus.Conn         // nil: not yet
	sub  bus.Subscription // nil: not yet, or it could not be had

	mu      sync.Mutex
	up      bool // the connection said so last
	heard   bool // an event came since: it is up, said or not
	gone    bool // the registers do not know the gateway any more
	leaving bool // the queue group is not to be joined any more
	work    deadline.List[*job]
}

func newLink(w *Worker, m register.Member) *link {
	wait := time.Duration(m.AckWait) * time.Millisecond
	if wait <= 0 {
		wait = defaultAckWait
	}
	return &link{
		w: w, member: m, every: wait / progressShare,
		warn: &rate.Sometimes{First: 1, Interval: warnInterval},
		log:  w.log.With("gateway", m.Name, "address", m.Address),
		jobs: newTally(0), joined: make(chan struct{}),
	}
}

func (l *link) gateway() bus.GatewayID { return bus.GatewayID(l.member.Name) }

// run opens the link and serves it until ctx ends; then it is closed after what
// was answered is sent. An error means that it could not be opened.
func (l *link) run(ctx context.Context) error {
	opened, err := l.open(ctx)
	if err != nil || !opened {
		return err
	}
	l.progress(ctx)
	if l.isUp() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
		defer cancel()
		if err := l.conn.Flush(end); err != nil {
			l.log.Warn("answers may be lost; their events will be given out again", "err", err)
		}
	}
	l.conn.Close()
	return nil
}

// open connects and joins the queue group. It takes seconds if the gateway
// accepts the connection and then says nothing; it gives up, without an error,
// if the link is no longer wanted by then.
func (l *link) open(ctx context.Context) (opened bool, err error) {
	defer close(l.joined)
	conn, err := l.w.dial(l)
	if err != nil {
		return false, err
	}
	l.mu.Lock()
	wanted := !l.leaving && ctx.Err() == nil
	if wanted {
		l.conn = conn // before the first event, whose handler may send
	}
	l.mu.Unlock()
	if !wanted {
		conn.Close()
		return false, nil
	}
	sub, err := conn.QueueSubscribe(bus.EventSubjects(l.gateway(), l.w.cfg.Group), l.w.cfg.Group, l.receive)
	if err != nil {
		conn.Close()
		return false, err
	}
	l.mu.Lock()
	l.sub = sub
	l.mu.Unlock()
	return true, nil
}

// status is told by the connection when it goes up or down.
func (l *link) status(up bool, cause error) {
	l.mu.Lock()
	was := l.up
	l.up, l.heard = up, false
	gone := l.gone
	l.mu.Unlock()
	switch {
	case up && !was:
		l.log.Info("linked to gateway")
	case !up && was && gone:
		l.log.Info("link to gateway ends: it has left")
	case !up && was:
		l.log.Warn("link to gateway is down", "err", cause)
	case !up:
		l.warn.Do(func() { l.log.Warn("gateway cannot be reached; trying on", "err", cause) })
	}
	if gone && !up {
		l.w.nudge()
	}
}

// over tells whether the link has no future: the gateway is off the registers'
// tables and does not answer either.
func (l *link) over() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.gone && !l.up
}

func (l *link) setGone(gone bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.gone = gone
}

func (l *link) isUp() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.up
}

// reach is the connection, for something that does not answer an event. An
// error, which wraps ErrNoGateway, says that it is down: to try all the same
// could block for as long as an attempt to connect takes.
func (l *link) reach() (bus.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn == nil || !l.up && !l.heard {
		return nil, fmt.Errorf("%w %s: the link is down", ErrNoGateway, l.member.Name)
	}
	return l.conn, nil
}

// progress tells the gateway of every event that takes long, until ctx ends.
func (l *link) progress(ctx context.Context) {
	// A new event is due no earlier than every from now, so sleeping until the
	// oldest is due, or for every, misses none.
	timer := time.NewTimer(l.every)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			timer.Reset(l.tell())
		}
	}
}

// tell sends the signs of progress that are due, and returns when to come
// again.
func (l *link) tell() time.Duration {
	for {
		now := time.Now()
		l.mu.Lock()
		n := l.work.Front()
		if n == nil {
			l.mu.Unlock()
			return l.every
		}
		if wait := n.Due().Sub(now); wait > 0 {
			l.mu.Unlock()
			return wait
		}
		l.work.Push(n, now.Add(l.every))
		j := n.Value
		l.mu.Unlock()
		l.answer(j, &bus.Reply{Status: bus.Working})
	}
}

// leave leaves the queue group, be the connection up or down: it must not be
// joined again when it is back. What the gateway had sent is still handled.
func (l *link) leave(ctx context.Context) {
	l.mu.Lock()
	l.leaving = true
	conn := l.conn
	l.mu.Unlock()
	if conn == nil {
		return // open gives up
	}
	select {
	case <-l.joined:
	case <-ctx.Done():
		return
	}
	if l.sub == nil {
		return
	}
	if err := l.sub.Drain(ctx); err != nil {
		l.log.Warn("the link did not drain; events it held will be given out again", "err", err)
	}
}

// retire ends a link that another one has taken the place of: what it got is
// still answered, unless ctx ends before.
func (l *link) retire(ctx context.Context) {
	defer l.stop()
	leave, cancel := context.WithTimeout(ctx, lastWords)
	defer cancel()
	l.leave(leave)
	select {
	case <-l.jobs.close():
	case <-ctx.Done():
	}
}
