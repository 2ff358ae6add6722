package gateway

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing/synctest"
	"time"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/bus/membus"
)

// testWorker is a worker as the SDK is one: it can be asked what it holds, and
// takes events for itself alone. It holds every event until told to answer.
type testWorker struct {
	f        *fixture
	instance string
	conn     *membus.Conn
	sub      bus.Subscription

	mu     sync.Mutex
	frozen bool // hears and says nothing
	deaf   bool // drops events
	nobody bool // does not name itself
	name   string
	busy   bool // hands back what comes for it alone
	// limit is how many it holds at most, 0 for any number; batches counts those
	// that came.
	limit, batches int
	tells          time.Duration // how long its handler is at an event; 0: it does not
	traces         []string      // of the batches
	took           []string
	held           []bus.Event
	late           []*bus.Msg // what came while it was frozen
}

// sdk joins the default group, as a worker that takes no batches.
func (f *fixture) sdk(instance string) *testWorker {
	f.t.Helper()
	return f.joinGroup("default", instance, bus.DirectSubjects("g1", instance), bus.AskSubject("g1"))
}

// dense joins the default group, as a worker that takes batches, and is seen by
// the gateway when it returns.
func (f *fixture) dense(instance string) *testWorker {
	f.t.Helper()
	return f.denseIn("default", instance)
}

func (f *fixture) denseIn(group, instance string) *testWorker {
	f.t.Helper()
	w := f.joinGroup(group, instance, bus.DirectSubjects("g1", instance), bus.BatchSubjects("g1", instance), bus.AskSubject("g1"))
	w.publish(&bus.Msg{Subject: bus.CommandSubject("g1", bus.OpHello)})
	synctest.Wait()
	return w
}

func (f *fixture) joinGroup(group, instance string, subjects ...string) *testWorker {
	f.t.Helper()
	w := &testWorker{f: f, instance: instance, conn: f.bus.Connect()}
	var err error
	w.sub, err = w.conn.QueueSubscribe(bus.EventSubjects("g1", group), group, w.receive, subjects...)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(w.conn.Close)
	return w
}

func (w *testWorker) address() bus.WorkerAddress {
	return bus.NewWorkerAddress(w.instance, w.conn.ID())
}

func (w *testWorker) receive(m *bus.Msg) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.frozen:
		w.late = append(w.late, m)
		return
	case m.Subject == bus.AskSubject("g1"):
		h := bus.Held{Connection: w.conn.ID()}
		for _, ev := range w.held {
			h.Events = append(h.Events, bus.EventID{Client: ev.Client, Seq: ev.Seq})
		}
		for _, m := range h.Msgs(m.Reply) {
			w.publish(m)
		}
		return
	case w.deaf:
		return
	}
	if bus.IsBatch(m.Subject) {
		w.receiveBatch(m)
		return
	}
	ev, err := bus.ParseEvent(m)
	if err != nil {
		w.f.t.Error(err)
		return
	}
	if w.busy && ev.At != "" {
		w.publish((&bus.Reply{Status: bus.Busy}).Msg(ev.Kind, m.Reply))
		return
	}
	w.takeLocked(ev, ev.At != "")
}

func (w *testWorker) receiveBatch(m *bus.Msg) {
	w.batches++
	w.traces = append(w.traces, m.Header[bus.HeaderTraces]...)
	_, at, err := bus.ParseBatchSubject(m.Subject)
	_, rest, errEpoch := bus.BatchEpoch(m.Data)
	if errEpoch != nil {
		w.f.t.Error(errEpoch)
	}
	for err == nil && len(rest) > 0 {
		var e bus.BatchEvent
		if e, rest, err = bus.NextEvent(rest); err == nil {
			w.takeLocked(bus.Event{
				Gateway: "g1", At: at, Kind: e.Kind, Client: bus.NewClientID("g1", w.f.gw.epoch, e.Client), Seq: e.Seq,
				Delivery: e.Delivery, UID: e.UID, Session: e.Session, Data: e.Data,
			}, e.Queue || e.Follow)
		}
	}
	if err != nil {
		w.f.t.Error(err)
	}
}

// takeLocked takes an event: alone is one that came for this worker alone.
func (w *testWorker) takeLocked(ev bus.Event, alone bool) {
	if w.limit > 0 && len(w.held) >= w.limit {
		w.reply(ev, &bus.Reply{Status: bus.Busy})
		return
	}
	word := ev.Kind.String()
	if ev.Kind.Frame() {
		word = string(ev.Data)
	}
	if ev.Delivery > 1 {
		word += strings.Repeat("*", ev.Delivery-1)
	}
	if alone {
		word = "=" + word
	}
	w.took = append(w.took, word)
	w.held = append(w.held, ev)
}

// reply answers in the form that the event came in.
func (w *testWorker) reply(ev bus.Event, r *bus.Reply) {
	if _, _, n, err := ev.Client.Parts(); err == nil && w.batches > 0 && ev.At != "" {
		b := bus.BatchReply{Client: n, Seq: ev.Seq, Took: w.tells, Reply: *r}
		w.publish(&bus.Msg{Subject: bus.RepliesSubject("g1", ev.At), Data: b.Append(bus.BeginBatch(nil, w.f.gw.epoch))})
		return
	}
	m := r.Msg(ev.Kind, bus.ReplySubject("g1", ev.Client, ev.Seq))
	switch {
	case !ev.Sticky || w.nobody || r.Status == bus.Busy:
	case w.name != "":
		m.Header = bus.Header{bus.HeaderWorker: {w.name}}
	default:
		bus.NameWorker(m, w.address())
	}
	w.publish(m)
}

// publish is called on a connection that may be cut.
func (w *testWorker) publish(m *bus.Msg) { _ = w.conn.Publish(m) }

// has are the events it got since last asked: "=" before what was for it
// alone, a star for each redelivery.
func (w *testWorker) has() string {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	s := strings.Join(w.took, " ")
	w.took = nil
	return s
}

// answer answers what it holds: the events at these places, or all in order.
func (w *testWorker) answer(places ...int) {
	synctest.Wait()
	w.mu.Lock()
	held := w.held
	var rest []bus.Event
	if len(places) > 0 {
		held = nil
		for _, i := range places {
			held = append(held, w.held[i])
			w.held[i].Client = ""
		}
		for _, ev := range w.held {
			if ev.Client != "" {
				rest = append(rest, ev)
			}
		}
	}
	w.held = rest
	for _, ev := range held {
		w.reply(ev, echo(ev))
	}
	w.mu.Unlock()
	synctest.Wait()
}

// set changes how it behaves.
func (w *testWorker) set(change func(*testWorker)) {
	w.mu.Lock()
	change(w)
	w.mu.Unlock()
}

// thaw has it go on with what came while it was frozen.
func (w *testWorker) thaw() {
	w.mu.Lock()
	late := w.late
	w.frozen, w.late = false, nil
	w.mu.Unlock()
	for _, m := range late {
		w.receive(m)
	}
}

// leave takes no more events, as a worker that drains; it still tells what it
// holds.
func (w *testWorker) leave() {
	w.f.t.Helper()
	if err := w.sub.Drain(context.Background(), bus.EventSubjects("g1", "default"), bus.DirectSubjects("g1", w.instance), bus.BatchSubjects("g1", w.instance)); err != nil {
		w.f.t.Fatal(err)
	}
}

// join dials so many clients, whose open events the only worker answers.
func (f *fixture) join(w *testWorker, clients int) []*peer {
	f.t.Helper()
	done := make(chan *peer)
	var peers []*peer
	for range clients {
		go func() { done <- f.dial("/") }()
		w.answer()
		peers = append(peers, <-done)
	}
	w.has()
	return peers
}

// frames are "1 2 3 …" from first to last.
func frames(first, last int) string {
	var s []string
	for i := first; i <= last; i++ {
		s = append(s, fmt.Sprint(i))
	}
	return strings.Join(s, " ")
}
