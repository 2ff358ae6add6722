package worker

import (
	"context"
	"errors"
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

// link is the worker's connection to the bus of one life of one gateway.
type link struct {
	// set at construction
	w      *Worker
	member register.Member
	log    *slog.Logger
	every  time.Duration // between two signs of progress
	warn   *rate.Sometimes

	conn bus.Conn         // set by open
	sub  bus.Subscription // set by open
	jobs sync.WaitGroup   // events in work

	mu   sync.Mutex
	up   bool
	down bool                // it was down once: whoever is there now may be another life
	gone bool                // the registers do not know the gateway any more
	work deadline.List[*job] // in progress, by when the gateway is told so
}

// job is one event while it is handled.
type job struct {
	link  *link
	event bus.Event
	reply string
	node  deadline.Node[*job] // guarded by link.mu
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
	}
}

func (l *link) gateway() bus.GatewayID { return bus.GatewayID(l.member.Name) }

// open connects and joins the queue group. It does not wait for the gateway.
func (l *link) open() error {
	conn, err := l.w.dial(l)
	if err != nil {
		return err
	}
	l.conn = conn
	sub, err := conn.QueueSubscribe(bus.EventSubjects(l.gateway(), l.w.cfg.Group), l.w.cfg.Group, l.receive)
	if err != nil {
		conn.Close()
		return err
	}
	l.sub = sub
	return nil
}

// status is told by the connection when it goes up or down.
func (l *link) status(up bool, cause error) {
	l.mu.Lock()
	was := l.up
	l.up = up
	l.down = l.down || !up
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

// mayBeElsewhere tells whether the link leads, or may come to lead, to another
// life of the gateway: it is not up, or was not at some time.
func (l *link) mayBeElsewhere() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.up || l.down
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

// receive takes one event, or hands it back. It does not block.
func (l *link) receive(m *bus.Msg) {
	ev, err := bus.ParseEvent(m)
	if err != nil {
		l.log.Warn("a message is no event; it is ignored", "subject", m.Subject, "err", err)
		return
	}
	select {
	case l.w.slots <- struct{}{}:
	default:
		l.w.count.busy.Add(1)
		l.answer(ev.Kind, m.Reply, &bus.Reply{Status: bus.Busy})
		return
	}
	j := &job{link: l, event: ev, reply: m.Reply}
	j.node.Value = j
	l.mu.Lock()
	l.work.Push(&j.node, time.Now().Add(l.every))
	l.mu.Unlock()
	l.jobs.Add(1)
	l.w.jobs.Go(func() {
		defer l.jobs.Done()
		defer func() { <-l.w.slots }()
		r := l.w.handle(j)
		l.mu.Lock()
		j.node.Remove()
		l.mu.Unlock()
		l.answer(ev.Kind, j.reply, &r)
	})
}

// answer publishes the reply to an event. If it cannot, the gateway gives the
// event out again.
func (l *link) answer(kind bus.Kind, subject string, r *bus.Reply) {
	if err := l.conn.Publish(r.Msg(kind, subject)); err != nil && !errors.Is(err, bus.ErrClosed) {
		l.w.count.unsent.Add(1)
		l.log.Debug("an answer is lost; the event will come again", "subject", subject, "err", err)
	}
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
		l.answer(j.event.Kind, j.reply, &bus.Reply{Status: bus.Working})
	}
}

// leave leaves the queue group; what the gateway had sent is still handled.
func (l *link) leave(ctx context.Context) {
	if !l.isUp() {
		return // the gateway knows of no member here
	}
	if err := l.sub.Drain(ctx); err != nil {
		l.log.Warn("the link did not drain; events it held will be given out again", "err", err)
	}
}

// retire ends a link that another one has taken the place of: what it got is
// still answered, unless ctx ends before.
func (l *link) retire(ctx context.Context) {
	l.log.Info("gateway has restarted; old link closed")
	if l.isUp() {
		l.leave(ctx)
		answered := make(chan struct{})
		go func() { // joined by answered, or by the worker's end
			l.jobs.Wait()
			close(answered)
		}()
		select {
		case <-answered:
		case <-ctx.Done():
		}
	}
	l.close(ctx)
}

// close ends the link after what was answered is sent.
func (l *link) close(ctx context.Context) {
	if l.isUp() {
		if err := l.conn.Flush(ctx); err != nil {
			l.log.Warn("answers may be lost; their events will be given out again", "err", err)
		}
	}
	l.conn.Close()
}
