package worker

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/internal/batch"
	"github.com/gatebus/gatebus/internal/deadline"
	"github.com/gatebus/gatebus/internal/running"
	"github.com/gatebus/gatebus/register"
)

const (
	// defaultAckWait is taken for a gateway that does not say how patient it
	// is: that of gateway.DefaultConfig, less for caution.
	defaultAckWait = time.Second
	// progressShare of a gateway's patience passes before it is told that an
	// event is still worked on; two such messages can be lost.
	progressShare = 3
	// sweepInterval is how often clients are forgotten that had nothing here in
	// the meantime. An event that follows one from before then is handed back,
	// which costs it a round trip; it comes within milliseconds, though.
	sweepInterval = 5 * time.Second
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
	jobs   *tally // events held
	names  names
	ask    string // where the gateway asks what is held
	shared string // the events of the group
	direct string // the events for this worker alone
	dense  string // the same and those of the group, in batches
	// replies to events that came in batches
	replies *batch.Batcher
	senders running.Group // of replies
	joined  chan struct{} // closed when joining the queue group is over
	reached chan struct{} // closed when the link is up for the first time
	upOnce  sync.Once
	handled atomic.Int64 // events
	stop    func()       // ends run; set before it starts

	// written once, by open under mu; what is done for an event comes after
	conn bus.Conn         // nil: not yet
	sub  bus.Subscription // nil: not yet, or it could not be had

	mu      sync.Mutex
	up      bool // the connection said so last
	heard   bool // an event came since: it is up, said or not
	watched bool // watchGone runs
	deaf    bool // the gateway is not on its bus, which is not its own
	gone    bool // the registers do not know the gateway any more
	old     bool // another link has taken its place; told to be gone
	leaving bool // the queue group is not to be joined any more
	stale   bool // the login has changed since, and the link has not been renewed
	work    deadline.List[*job]
	lanes   map[owner]*lane
}

func newLink(w *Worker, m register.Member) *link {
	wait := time.Duration(m.AckWait) * time.Millisecond
	if wait <= 0 {
		wait = defaultAckWait
	}
	g := bus.GatewayID(m.Name)
	l := &link{
		w: w, member: m, every: wait / progressShare,
		ask: bus.AskSubject(g), shared: bus.EventSubjects(g, w.cfg.Group), direct: bus.DirectSubjects(g, w.instance),
		dense: bus.BatchSubjects(g, w.instance),
		lanes: map[owner]*lane{},
		warn:  &rate.Sometimes{First: 1, Interval: warnInterval},
		log:   w.log.With("gateway", m.Name, "address", m.Address),
		jobs:  newTally(0), joined: make(chan struct{}), reached: make(chan struct{}),
	}
	l.replies = batch.New(l.send, l.senders.Go, nil)
	l.names.publish = func(m *bus.Msg) { _ = w.publish(l, m) } // which counts an error
	l.names.check = func(on bus.ConnID, request uint64) *bus.Msg {
		r := bus.NamesRequest{Worker: bus.NewWorkerAddress(w.instance, on), Request: request, Changes: true}
		return r.Msg(g)
	}
	l.names.spared = func(pushes int) { w.count.spared.Add(int64(pushes)) }
	return l
}

func (l *link) gateway() bus.GatewayID { return bus.GatewayID(l.member.Name) }

// run opens the link and serves it until ctx ends; then it is closed after what
// was answered is sent. An error means that it could not be opened.
func (l *link) run(ctx context.Context) error {
	defer l.senders.Wait()
	opened, err := l.open(ctx)
	if err != nil || !opened {
		return err
	}
	l.progress(ctx)
	l.names.forget() // what is kept goes out, and nothing is kept from now on
	l.replies.Flush()
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
	login := l.w.login.Load()
	conn, err := l.w.dial(l)
	if err != nil {
		return false, err
	}
	l.mu.Lock()
	wanted := !l.leaving && ctx.Err() == nil
	if wanted {
		l.conn = conn // before the first event, whose handler may send
		l.reachedLocked()
	}
	l.mu.Unlock()
	if !wanted {
		conn.Close()
		return false, nil
	}
	if now := l.w.login.Load(); now.Public != login.Public {
		l.logInAnew()
	}
	sub, err := l.subscribe(conn)
	if err != nil {
		conn.Close()
		return false, err
	}
	l.mu.Lock()
	l.sub = sub
	l.mu.Unlock()
	l.greet()
	l.askNames()
	return true, nil
}

// subscribe has the link hear of what is for this worker; of one without a handler,
// only which uids and groups there are.
func (l *link) subscribe(conn bus.Conn) (bus.Subscription, error) {
	names := bus.NamesSubjects(l.gateway(), l.w.instance)
	if l.w.handler == nil {
		return conn.Subscribe(l.receive, names...)
	}
	return conn.QueueSubscribe(l.shared, l.w.cfg.Group, l.receive, append(names, l.direct, l.dense, l.ask)...)
}

// askNames asks the gateway which uids and groups its clients have, if it is not
// the only one and that is not known.
func (l *link) askNames() {
	l.mu.Lock()
	conn, sub, up := l.conn, l.sub, l.up || l.heard
	l.mu.Unlock()
	if conn == nil || sub == nil || !up || !l.w.several() {
		return
	}
	id, lost := conn.ID(), sub.Dropped()
	if l.names.asked(id, lost) {
		return
	}
	r := bus.NamesRequest{Worker: bus.NewWorkerAddress(l.w.instance, id), Request: l.names.ask(id, lost)}
	if err := conn.Publish(r.Msg(l.gateway())); err != nil {
		l.names.forget()
		l.log.Debug("cannot ask a gateway for the names of its clients; pushes go there anyway", "err", err)
	}
}

// greet has the gateway see at once who has come or left, not with its next
// look.
func (l *link) greet() {
	if l.w.handler == nil {
		return
	}
	if err := l.conn.Publish(bus.Hello{Worker: l.address(), Protocol: l.w.self.Protocol}.Msg(l.gateway())); err != nil {
		l.log.Debug("cannot greet the gateway; it will see by itself", "err", err)
	}
}

// status is told by the connection when it goes up or down.
func (l *link) status(up bool, cause error) {
	l.mu.Lock()
	was := l.up
	l.up, l.heard = up, false
	l.reachedLocked()
	gone, conn := l.gone, l.conn
	if up != was && !l.old {
		l.w.watch.tell(l, up) // with the lock, to be in order with replaced
	}
	l.mu.Unlock()
	if !up {
		l.names.forget()
	}
	switch {
	case up && !was:
		l.log.Info("linked to gateway")
		if conn != nil { // else open does
			l.greet()
			l.askNames()
		}
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
	return l.gone && (!l.up || l.deaf)
}

// logInAnew has the link do so, if it is one that can. That of a gateway that the registers
// do not know, such as one that drains, would end by it: it waits until they do.
func (l *link) logInAnew() {
	l.mu.Lock()
	conn := l.conn
	l.stale = l.gone
	gone := l.gone
	l.mu.Unlock()
	if c, ok := conn.(interface{ Renew() }); ok && !gone {
		c.Renew()
	}
}

// replaced notes that another link takes the place of this one: whatever becomes of its
// connection, who wants to know is told that it is gone.
func (l *link) replaced() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.up && !l.old {
		l.w.watch.tell(l, false)
	}
	l.old = true
}

func (l *link) setGone(gone bool) {
	l.mu.Lock()
	l.gone, l.deaf = gone, false
	stale := l.stale && !gone
	l.mu.Unlock()
	if stale {
		l.logInAnew()
	}
}

// isUp tells whether the link can be used.
func (l *link) isUp() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.up && l.conn != nil && !l.deaf
}

// reachedLocked tells who waits for it that the link can be used.
func (l *link) reachedLocked() {
	if l.up && l.conn != nil {
		l.upOnce.Do(func() { close(l.reached) })
	}
}

// reach is the connection, for something that does not answer an event. An
// error, which wraps ErrNoGateway, says that it is down: to try all the same
// could block for as long as an attempt to connect takes.
func (l *link) reach() (bus.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn == nil || !l.up && !l.heard || l.deaf {
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
	sweep := time.NewTicker(sweepInterval)
	defer sweep.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-sweep.C:
			l.sweep()
			l.w.crew.trim()
			l.names.sweep(now)
			l.askNames() // in case something was lost
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
		j, answered := n.Value, n.Value.answered
		l.mu.Unlock()
		if !answered {
			l.answer(j, &bus.Reply{Status: bus.Working})
		}
	}
}

// leave takes no more events, be the connection up or down: the queue group
// must not be joined again when it is back. What the gateway had sent is still
// handled, and what is held is told as long as the link is there.
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
	if l.sub == nil || l.w.handler == nil {
		return
	}
	if err := l.sub.Drain(ctx, l.shared, l.direct, l.dense); err != nil {
		l.log.Warn("the link did not drain; events it held will be given out again", "err", err)
	}
	l.greet()
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
