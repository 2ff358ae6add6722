package worker

import (
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/internal/deadline"
)

// errExit is the failure of a handler that neither returned nor panicked.
var errExit = errors.New("worker: the handler ended its goroutine (runtime.Goexit)")

// job is one event while it is handled.
type job struct {
	// set at construction
	link  *link
	event bus.Event
	reply string // the subject

	node deadline.Node[*job] // guarded by link.mu
}

// receive takes one event, or hands it back. It does not block.
func (l *link) receive(m *bus.Msg) {
	ev, err := bus.ParseEvent(m)
	if err != nil {
		l.log.Warn("a message is no event; it is ignored", "subject", m.Subject, "err", err)
		return
	}
	j := &job{link: l, event: ev, reply: m.Reply}
	if !l.take(j) {
		l.w.count.busy.Add(1)
		l.answer(j, &bus.Reply{Status: bus.Busy})
		return
	}
	go j.run() // joined by the tallies, unless the handler never returns
}

// take counts the event as in work, if there is room for one more.
func (l *link) take(j *job) bool {
	if !l.w.jobs.add() {
		return false
	}
	if !l.jobs.add() {
		l.w.jobs.done()
		return false
	}
	j.node.Value = j
	l.mu.Lock()
	defer l.mu.Unlock()
	l.heard = true
	l.work.Push(&j.node, time.Now().Add(l.every))
	return true
}

// run has the event handled and answers it. Whatever the handler does, only
// this event's client can suffer.
func (j *job) run() {
	w := j.link.w
	ev := &Event{
		Kind: j.event.Kind, Data: j.event.Data,
		Client: w.cluster.Client(j.event.Client),
		UID:    j.event.UID, Delivery: j.event.Delivery,
		Cluster: w.cluster,
	}
	if j.event.Session != "" {
		ev.Session = []byte(j.event.Session)
	}
	err := errExit // stands if the handler does not come back
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("worker: handler panicked: %v\n%s", p, debug.Stack())
		}
		j.finish(ev, err)
	}()
	err = w.handler.Handle(w.handleCtx, ev)
}

// finish answers the event after its handler.
func (j *job) finish(ev *Event, err error) {
	l, w := j.link, j.link.w
	defer w.jobs.done()
	defer l.jobs.done()
	if err == nil {
		err = ev.checkReply()
	}
	w.count.handled.Add(1)
	reply := ev.reply
	if err != nil {
		reply = w.failed(j, err)
	}
	l.mu.Lock()
	j.node.Remove()
	l.mu.Unlock()
	if err := l.answer(j, &reply); errors.Is(err, bus.ErrTooLarge) {
		reply = w.failed(j, err)
		l.answer(j, &reply)
	}
}

// failed counts and logs the failure of an event, and is the answer to it.
func (w *Worker) failed(j *job, err error) bus.Reply {
	w.count.failed.Add(1)
	w.log.Error("handler failed; the client is closed",
		"client", j.event.Client, "kind", j.event.Kind.String(), "err", err)
	const reason = "handler failed"
	if j.event.Kind == Open {
		return bus.Reply{Status: bus.Rejected, Code: 500, Reason: reason}
	}
	return bus.Reply{Status: bus.Closed, Code: int(bus.CloseHandlerFailed), Reason: reason}
}

// answer publishes a reply to an event. If it cannot, the gateway gives the
// event out again; only a reply that is too large would be so for ever.
func (l *link) answer(j *job, r *bus.Reply) error {
	err := l.conn.Publish(r.Msg(j.event.Kind, j.reply))
	if err != nil && !errors.Is(err, bus.ErrClosed) && !errors.Is(err, bus.ErrTooLarge) {
		l.w.count.unsent.Add(1)
		l.log.Debug("an answer is lost; the event will come again", "subject", j.reply, "err", err)
	}
	return err
}
