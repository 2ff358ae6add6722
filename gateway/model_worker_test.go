package gateway

import (
	"slices"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/bus/membus"
)

// modelEvent is an event that a worker holds.
type modelEvent struct {
	bus.Event
	lane bool // it came for the worker alone
	safe bool // the worker was there and awake ever since
}

// modelWorker does what the SDK does (worker/job.go), and has happen to it what
// happens to workers.
type modelWorker struct {
	m        *model
	instance string
	conn     *membus.Conn
	sub      bus.Subscription
	cut      bool // the connection is down
	dead     bool
	frozen   bool
	leaving  bool
	full     bool // hands back what comes for the group
	dense    bool // takes batches
	// taken is the newest event of each client that was taken on this
	// connection, and not handed back since.
	taken map[bus.ClientID]uint64
	inbox []*bus.Msg // what came while it was frozen
	held  []*modelEvent
}

// connect makes a connection, or another one after it was cut off.
func (w *modelWorker) connect() {
	conn := w.m.f.bus.Connect()
	w.conn, w.cut, w.leaving, w.taken = conn, false, false, map[bus.ClientID]uint64{}
	subjects := []string{bus.DirectSubjects("g1", w.instance), bus.AskSubject("g1")}
	if w.dense {
		subjects = append(subjects, bus.BatchSubjects("g1", w.instance))
	}
	var err error
	w.sub, err = conn.QueueSubscribe(bus.EventSubjects("g1", "default"), "default", func(msg *bus.Msg) {
		w.m.mu.Lock()
		defer w.m.mu.Unlock()
		switch {
		case w.dead:
		case w.frozen:
			w.inbox = append(w.inbox, msg)
		default:
			w.receive(msg, conn == w.conn && !w.cut)
		}
	}, subjects...)
	if err != nil {
		w.m.t.Fatal(err)
	}
}

func (w *modelWorker) address() bus.WorkerAddress {
	return bus.NewWorkerAddress(w.instance, w.conn.ID())
}

// publish fails on a connection that is down: it may have been cut by the
// gateway, too.
func (w *modelWorker) publish(msg *bus.Msg) {
	if w.conn.Publish(msg) != nil {
		w.cutOff()
	}
}

// cutOff is for a connection that is down.
func (w *modelWorker) cutOff() {
	w.cut = true
	for _, e := range w.held {
		e.safe = false
	}
}

func (w *modelWorker) reply(ev *bus.Event, r *bus.Reply) {
	_, _, number, err := ev.Client.Parts()
	if err != nil {
		w.m.t.Error(err)
	}
	if w.dense && ev.At == w.address() {
		b := bus.BatchReply{Client: number, Seq: ev.Seq, Reply: *r}
		w.publish(&bus.Msg{Subject: bus.RepliesSubject("g1", ev.At), Data: b.Append(bus.BeginBatch(nil, w.m.f.gw.epoch))})
		return
	}
	msg := r.Msg(ev.Kind, bus.ReplySubject("g1", ev.Client, ev.Seq))
	switch {
	case r.Status == bus.Busy && ev.At != "":
		bus.NameWorker(msg, ev.At)
	case r.Status == bus.Done && ev.Sticky:
		bus.NameWorker(msg, w.address())
	}
	w.publish(msg)
}

// receive takes a message; fresh is one that was sent just now, on a connection
// that is up.
func (w *modelWorker) receive(msg *bus.Msg, fresh bool) {
	if msg.Subject == bus.AskSubject("g1") {
		h := bus.Held{Connection: w.conn.ID()}
		for _, e := range w.held {
			if e.At != "" && e.At != w.address() {
				continue // to be handed back
			}
			h.Events = append(h.Events, bus.EventID{Client: e.Client, Seq: e.Seq})
		}
		for _, part := range h.Msgs(msg.Reply) {
			w.publish(part)
		}
		return
	}
	if !bus.IsBatch(msg.Subject) {
		ev, err := bus.ParseEvent(msg)
		if err != nil {
			w.m.t.Error(err)
		} else {
			w.take(ev, ev.At != "", false, fresh)
		}
		return
	}
	_, at, err := bus.ParseBatchSubject(msg.Subject)
	_, rest, errEpoch := bus.BatchEpoch(msg.Data)
	if errEpoch != nil {
		w.m.t.Error(errEpoch)
	}
	for err == nil && len(rest) > 0 {
		var e bus.BatchEvent
		if e, rest, err = bus.NextEvent(rest); err == nil {
			w.take(bus.Event{
				Gateway: "g1", At: at, Kind: e.Kind, Client: bus.NewClientID("g1", w.m.f.gw.epoch, e.Client), Seq: e.Seq, Delivery: e.Delivery, Data: e.Data,
			}, e.Queue, e.Follow, fresh)
		}
	}
	if err != nil {
		w.m.t.Error(err)
	}
}

// take takes an event or hands it back: queued is one for this worker alone,
// follows one that is if the one before it was taken here.
func (w *modelWorker) take(ev bus.Event, queued, follows, fresh bool) {
	same := func(e *modelEvent) bool { return e.Client == ev.Client && e.Seq == ev.Seq }
	switch {
	case ev.At != "" && ev.At != w.address(), follows && w.taken[ev.Client] != ev.Seq-1:
		w.m.note("%s hands back %s.%d at once", w.instance, ev.Client, ev.Seq)
		delete(w.taken, ev.Client)
		w.reply(&ev, &bus.Reply{Status: bus.Busy})
		return
	case ev.Delivery > 1 && slices.ContainsFunc(w.held, same):
		e := w.held[slices.IndexFunc(w.held, same)]
		e.At, e.Sticky, e.safe = ev.At, ev.Sticky, fresh
		w.taken[ev.Client] = ev.Seq
		w.reply(&ev, &bus.Reply{Status: bus.Working})
		return
	case !queued && !follows && w.full:
		w.m.note("%s hands back %s.%d at once", w.instance, ev.Client, ev.Seq)
		delete(w.taken, ev.Client)
		w.reply(&ev, &bus.Reply{Status: bus.Busy})
		return
	}
	w.m.note("%s gets %s.%d %.9s, delivery %d, at %q", w.instance, ev.Client, ev.Seq, ev.Data, ev.Delivery, ev.At)
	for _, o := range w.m.workers {
		for _, e := range o.held {
			if fresh && same(e) && e.safe {
				w.m.t.Errorf("%s gets %s.%d, and %s has it", w.instance, ev.Client, ev.Seq, o.instance)
			}
		}
	}
	w.taken[ev.Client] = ev.Seq
	w.held = append(w.held, &modelEvent{ev, ev.At != "", fresh})
}

// answer answers one of the events that are in work, or hands it back: of a
// client's events for this worker alone that is the first.
func (w *modelWorker) answer(i int) {
	e := w.held[i]
	if e.lane {
		i = slices.IndexFunc(w.held, func(o *modelEvent) bool { return o.Client == e.Client && o.lane })
		e = w.held[i]
	}
	if e.At != "" && e.At != w.address() {
		w.m.note("%s hands back %s.%d", w.instance, e.Client, e.Seq)
		delete(w.taken, e.Client)
		w.reply(&e.Event, &bus.Reply{Status: bus.Busy})
	} else {
		w.m.note("%s answers %s.%d", w.instance, e.Client, e.Seq)
		w.reply(&e.Event, echo(e.Event))
	}
	w.held = slices.Delete(w.held, i, i+1)
}

func (w *modelWorker) thaw() {
	inbox := w.inbox
	w.frozen, w.inbox = false, nil
	for _, msg := range inbox {
		w.receive(msg, false)
	}
}
