package worker

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/internal/batch"
	"github.com/gatebus/gatebus/internal/deadline"
	"github.com/gatebus/gatebus/internal/latency"
)

// errExit is the failure of a handler that neither returned nor panicked.
var errExit = errors.New("worker: the handler ended its goroutine (runtime.Goexit)")

// job is one event from when it was taken until it is answered.
type job struct {
	// set at construction
	link   *link
	event  bus.Event
	reply  string    // the subject; "" for an event of a batch
	client uint64    // the number in the client's id
	epoch  bus.Epoch // of the gateway, in the client's id too
	// queued says that the event waits for its turn behind the client's others,
	// follows that it does so if the one before it was taken here.
	queued, follows bool
	// patient says that there was no room for the event when it came, set when it is
	// taken: it waits for that, though not for long.
	patient bool
	lane    *lane         // of the client, set when it is held
	took    time.Duration // of its handler, set when that is done; 0: nobody has looked

	// guarded by link.mu
	next     *job // of the client
	started  bool // it does not wait for its turn any more
	node     deadline.Node[*job]
	answered bool // its answer is on its way: no more signs of progress
}

func (j *job) id() bus.EventID { return bus.EventID{Client: j.event.Client, Seq: j.event.Seq} }

// receive takes one message of a gateway: an event, or the question which ones
// are held. It does not block.
func (l *link) receive(m *bus.Msg) {
	var err error
	switch {
	case m.Subject == l.ask:
		l.tellHeld(m)
	case bus.IsNames(m.Subject):
		err = l.names.receive(m, l.member.Epoch, l.address())
	case bus.IsBatch(m.Subject):
		err = l.receiveBatch(m)
	default:
		var ev bus.Event
		if ev, err = bus.ParseEvent(m); err == nil {
			_, epoch, client, _ := ev.Client.Parts() // 0, if a gateway of another make names its clients otherwise
			l.begin(&job{link: l, event: ev, epoch: epoch, client: client, reply: m.Reply, queued: ev.At != ""}, l.address(), time.Now())
		}
	}
	if err != nil {
		l.log.Warn("a message is no event; it is ignored", "subject", m.Subject, "err", err)
	}
}

// receiveBatch takes the events of a batch.
func (l *link) receiveBatch(m *bus.Msg) error {
	g, at, err := bus.ParseBatchSubject(m.Subject)
	if err != nil {
		return err
	}
	epoch, rest, err := bus.BatchEpoch(m.Data)
	if err != nil {
		return err
	}
	traces := bus.BatchTracesOf(m)
	address, now := l.address(), time.Now()
	defer l.w.crew.send() // for what take brings
	for len(rest) > 0 {
		var e bus.BatchEvent
		if e, rest, err = bus.NextEvent(rest); err != nil {
			return err
		}
		var t *bus.Trace
		if traces != nil {
			t = traces.Take(&e)
		}
		l.begin(&job{
			link: l, client: e.Client, epoch: epoch, queued: e.Queue, follows: e.Follow,
			event: bus.Event{
				Gateway: g, At: at, Kind: e.Kind, Client: bus.NewClientID(g, epoch, e.Client), Seq: e.Seq,
				Delivery: e.Delivery, UID: e.UID, Session: e.Session, State: e.State, Trace: t, Data: e.Data,
			},
		}, address, now)
	}
	return nil
}

// begin takes an event that has come now, when address was that of the link, or hands it
// back.
func (l *link) begin(j *job, address bus.WorkerAddress, now time.Time) {
	j.node.Value = j
	switch ev := &j.event; {
	case ev.At != "" && ev.At != address:
		// Meant for a connection that is no more: what was sent before on it may
		// be lost, so this one must wait its turn elsewhere.
		l.handBack(j)
	case j.follows && !l.tookBefore(j):
		l.handBack(j)
	case ev.Delivery > 1 && l.renew(j):
		// The gateway gave up too early; the one that is at it will answer.
		l.answer(j, &bus.Reply{Status: bus.Working})
	case !l.take(j, now):
		l.handBack(j)
	}
}

// handBack gives an event back, and with it those that follow.
func (l *link) handBack(j *job) {
	l.mu.Lock()
	if ln := l.lanes[j.owner()]; ln != nil {
		ln.taken = 0
	}
	l.mu.Unlock()
	l.w.count.busy.Add(1)
	l.answer(j, &bus.Reply{Status: bus.Busy})
}

// address is by what the gateway can reach this worker alone.
func (l *link) address() bus.WorkerAddress { return bus.NewWorkerAddress(l.w.instance, l.conn.ID()) }

// take takes an event, and starts it when those of its client before it are done.
// One that is sent here for those before it waits for its turn among all; any
// other waits for room for a moment only, and then goes back.
func (l *link) take(j *job, now time.Time) bool {
	if !l.jobs.begin() {
		return false
	}
	all := l.w.jobs
	switch waits := j.queued || j.follows; {
	case waits && all.take(), !waits && all.begin():
	case !waits && all.takeBriefly():
		j.patient = true
	default:
		l.jobs.done()
		return false
	}
	alone, held := l.hold(j, now)
	if !held {
		l.jobs.done()
		all.off(0) // it is one that waits
		return false
	}
	switch waits := j.queued || j.follows || j.patient; {
	case !alone:
	case !waits && j.reply == "":
		l.w.crew.bring(j) // there may be more in the batch
	default:
		l.start(j)
	}
	return true
}

// start has the event handled, at once if there is room for it already.
func (l *link) start(j *job) {
	switch {
	case j.queued || j.follows:
		l.w.jobs.start(j)
	case j.patient:
		l.w.jobs.startSoon(j)
	default:
		j.start()
	}
}

// start implements waiter: there is room for the event.
func (j *job) start() { j.link.w.crew.do(j) }

// giveUp implements waiter: another worker may have room. The events that came here to
// follow this one go back with it.
func (j *job) giveUp() {
	l := j.link
	l.mu.Lock()
	j.lane.last, j.lane.taken = nil, 0
	for n := j; n != nil; n = n.next {
		n.answered = true
	}
	l.mu.Unlock()
	for n := j; n != nil; n = n.next {
		l.w.count.busy.Add(1)
		_ = l.answer(n, &bus.Reply{Status: bus.Busy}) // if it is lost, the gateway asks what is held
		l.mu.Lock()
		n.node.Remove()
		l.mu.Unlock()
		l.jobs.done()
		if n != j { // which the tally has taken off
			l.w.jobs.off(0)
		}
	}
}

// do has the event handled.
func (j *job) do() {
	if j.queued || j.follows || j.patient {
		j.runDirect()
	} else {
		j.run()
	}
}

// runDirect is run for an event that may have waited here.
func (j *job) runDirect() {
	l := j.link
	l.mu.Lock()
	j.started = true
	stale := j.event.At != "" && j.event.At != l.address()
	j.answered = stale
	l.mu.Unlock()
	if stale {
		// The connection was lost meanwhile, and with it maybe what was sent
		// before this one.
		defer j.over()
		l.handBack(j)
		return
	}
	j.run()
}

// owner is a client, among those of all lives of a gateway.
type owner struct {
	epoch bus.Epoch
	n     uint64
}

func (j *job) owner() owner { return owner{j.epoch, j.client} }

// lane is a client's events here, in order. The first of them is in work, or
// about to be.
type lane struct {
	last  *job              // nil: there are none
	taken uint64            // the number of the newest that was taken; 0: it was handed back
	at    bus.WorkerAddress // by which that was sent
	idle  bool              // none was there since the last sweep
	// What this worker has changed while there were events here, and its number: an
	// event that has a lower one was sent before.
	uid, session           string
	uidState, sessionState uint64
}

// laneOfLocked is the lane of a client that has events here, nil of another.
func (l *link) laneOfLocked(id bus.ClientID) *lane {
	_, epoch, n, _ := id.Parts()
	return l.lanes[owner{epoch, n}]
}

// tookUID notes that the client was given a uid by this worker.
func (l *link) tookUID(id bus.ClientID, uid string, state uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if ln := l.laneOfLocked(id); ln != nil && state > ln.uidState {
		ln.uid, ln.uidState = uid, state
	}
}

// tookSession notes that the client was given a session by this worker.
func (l *link) tookSession(id bus.ClientID, session string, state uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if ln := l.laneOfLocked(id); ln != nil && state > ln.sessionState {
		ln.session, ln.sessionState = session, state
	}
}

// stateNow is the uid and session of the event's client, as far as is known here.
func (j *job) stateNow() (uid, session string) {
	l, ln := j.link, j.lane
	uid, session = j.event.UID, j.event.Session
	l.mu.Lock()
	defer l.mu.Unlock()
	if ln.uidState > j.event.State {
		uid = ln.uid
	}
	if ln.sessionState > j.event.State {
		session = ln.session
	}
	return uid, session
}

// tookBefore tells whether the event before j was taken here, as far as is
// remembered.
func (l *link) tookBefore(j *job) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	ln := l.lanes[j.owner()]
	return ln != nil && ln.tookBefore(j)
}

// tookBefore tells whether the event before j is the newest that was taken, and came the
// same way.
func (ln *lane) tookBefore(j *job) bool { return ln.taken == j.event.Seq-1 && ln.at == j.event.At }

// hold notes that the event is not answered yet, unless it is one that follows another
// that was handed back meanwhile. It tells whether it is the only one of its client that
// is here.
func (l *link) hold(j *job, now time.Time) (alone, held bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	ln := l.lanes[j.owner()]
	if j.follows && (ln == nil || !ln.tookBefore(j)) {
		return false, false
	}
	l.heard = true
	l.work.Push(&j.node, now.Add(l.every))
	if ln == nil {
		ln = &lane{}
		l.lanes[j.owner()] = ln
	}
	if alone = ln.last == nil; !alone {
		ln.last.next = j
	}
	j.lane, ln.last, ln.taken, ln.at, ln.idle = ln, j, j.event.Seq, j.event.At, false
	return alone, true
}

// over takes the event off and starts the one behind it.
func (j *job) over() {
	l := j.link
	l.mu.Lock()
	j.node.Remove()
	if j.lane.last == j {
		j.lane.last = nil
	}
	next := j.next
	l.mu.Unlock()
	if next != nil {
		l.start(next)
	}
	l.jobs.done()
	l.w.jobs.done()
}

// sweep forgets the clients that had nothing here since the last sweep.
func (l *link) sweep() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for client, ln := range l.lanes {
		switch {
		case ln.last != nil:
		case ln.idle:
			delete(l.lanes, client)
		default:
			ln.idle = true
		}
	}
}

// renew tells whether the event of a redelivery is here already, in work or
// waiting. One that waits is from now on the one that came again: it keeps its
// place, and is not handed back for the connection that it came on first.
func (l *link) renew(again *job) bool {
	id := again.id()
	l.mu.Lock()
	defer l.mu.Unlock()
	for n := l.work.Front(); n != nil; n = l.work.Next(n) {
		j := n.Value
		if j.id() != id || j.answered {
			continue
		}
		if j.waitsLocked() {
			j.event.At, j.event.Sticky, j.event.Delivery = again.event.At, again.event.Sticky, again.event.Delivery
		}
		j.lane.taken, j.lane.at = j.event.Seq, again.event.At
		return true
	}
	return false
}

// waitsLocked tells whether the job waits for its turn.
func (j *job) waitsLocked() bool { return (j.queued || j.follows || j.patient) && !j.started }

// tellHeld answers the gateway's question. Every event that was sent before the
// question has been received; answers that were given are on their way before
// this one.
func (l *link) tellHeld(m *bus.Msg) {
	held := bus.Held{Connection: l.conn.ID()}
	address := l.address()
	l.mu.Lock()
	for n := l.work.Front(); n != nil; n = l.work.Next(n) {
		// One that waits and came over a connection that is no more will be handed back.
		if j := n.Value; !j.waitsLocked() || j.event.At == address || j.event.At == "" {
			held.Events = append(held.Events, j.id())
		}
	}
	l.mu.Unlock()
	l.replies.Flush() // those of events that are no longer among the held
	for _, answer := range held.Msgs(m.Reply) {
		if err := l.conn.Publish(answer); err != nil {
			l.log.Debug("cannot tell a gateway what is held", "err", err)
			return
		}
	}
}

// run has the event handled and answers it. Whatever the handler does, only
// this event's client can suffer.
func (j *job) run() {
	w := j.link.w
	ev := &Event{
		Kind: j.event.Kind, Data: j.event.Data,
		Client: Client{id: j.event.Client, cluster: w.cluster, heard: true},
		Seq:    j.event.Seq, Delivery: j.event.Delivery,
		Cluster: w.cluster,
	}
	uid, session := j.stateNow()
	if ev.UID = uid; session != "" {
		ev.Session = []byte(session)
	}
	ctx, span := w.handleCtx, (*jobTrace)(nil)
	if j.event.Trace != nil {
		ctx, span = j.trace(ctx)
	}
	err := errExit // stands if the handler does not come back
	var start time.Time
	sampled := latency.Sampled(j.client, j.event.Seq)
	if sampled {
		start = time.Now()
	}
	defer func() {
		if sampled {
			took := max(time.Since(start), 1)
			w.latency.Observe(took)
			if j.event.Kind != Open { // which may have to wait for a uid after its handler
				j.took = took
			}
		}
		if p := recover(); p != nil {
			err = fmt.Errorf("worker: handler panicked: %v\n%s", p, debug.Stack())
		}
		j.finish(ctx, span, ev, err)
	}()
	err = w.handler.Handle(ctx, ev)
}

// finish answers the event after its handler, and ends its span, if it has one.
func (j *job) finish(ctx context.Context, span *jobTrace, ev *Event, err error) {
	l, w := j.link, j.link.w
	// It is held until its answer is on its way: a gateway that asks would give
	// it to another worker.
	defer j.over()
	if err == nil {
		err = ev.checkReply()
	}
	if err == nil {
		err = j.claim(ctx, ev)
	}
	w.count.handled.Add(1)
	reply := ev.reply
	if err != nil {
		reply = w.failed(j, err)
	}
	if span != nil {
		span.end(&reply, err)
	}
	if j.event.Kind == Open && reply.Status == 0 {
		l.names.expect(ev.admitted.UID, ev.admitted.Groups) // before a push from here that follows
	}
	l.mu.Lock()
	j.answered = true
	l.mu.Unlock()
	l.handled.Add(1)
	if err := l.answer(j, &reply); errors.Is(err, bus.ErrTooLarge) {
		reply = w.failed(j, err)
		l.answer(j, &reply)
	}
}

// claim has the client of an open event get its uid, if that is not to be shared.
func (j *job) claim(ctx context.Context, ev *Event) error {
	a, w := &ev.admitted, j.link.w
	if j.event.Kind != Open || ev.reply.Status != bus.Done || a.UID == "" || a.Others == AllowOthers {
		return nil
	}
	_, _, err := ev.Client.bind(ctx, a.UID, a.Others)
	var missing *PartialError
	switch {
	case errors.Is(err, ErrUIDTaken):
		ev.reply = bus.Reply{Status: bus.Rejected, Code: 409, Reason: "the uid is taken"}
	case errors.Is(err, ErrNoClient): // it has left: the gateway knows
	case errors.As(err, &missing) && a.Others == ReplaceOthers:
		w.log.Warn("other clients of a uid may stay", "client", j.event.Client, "uid", a.UID, "err", err)
	case err != nil:
		w.log.Warn("a client is refused: its uid cannot be claimed", "client", j.event.Client, "uid", a.UID, "err", err)
		ev.reply = bus.Reply{Status: bus.Rejected, Code: 503, Reason: "the uid cannot be claimed now"}
	}
	return nil
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

// maxBatched is the largest reply that goes into a batch, in bytes: with it, a
// batch is still below what any server takes.
const maxBatched = 4 * batch.Size

// answer publishes a reply to an event. If it cannot, the gateway gives the
// event out again; only a reply that is too large would be so for ever.
func (l *link) answer(j *job, r *bus.Reply) error {
	// That something sent to a former connection is handed back is said with its
	// address: another worker may have it by now.
	stale := r.Status == bus.Busy && j.event.At != "" && (j.reply != "" || j.event.At != l.address())
	if j.reply == "" && len(r.Data) <= maxBatched && !stale && l.batchReply(j, r) {
		return nil
	}
	reply := j.reply
	if reply == "" {
		l.w.crew.send() // what its batch has brought does not wait for Publish, which may wait
		reply = bus.ReplySubject(l.gateway(), j.event.Client, j.event.Seq)
	}
	m := r.Msg(j.event.Kind, reply)
	switch {
	case stale:
		bus.NameWorker(m, j.event.At)
	case j.event.Sticky && r.Status != bus.Busy && r.Status != bus.Working:
		bus.NameWorker(m, l.address())
	}
	err := l.conn.Publish(m)
	l.unsent(m.Subject, 1, err)
	return err
}

// batchReply puts a reply into a batch; false if that is about another life of
// the gateway.
func (l *link) batchReply(j *job, r *bus.Reply) bool {
	data := l.replies.Begin()
	if len(data) == 0 {
		data = bus.BeginBatch(data, j.epoch)
	}
	epoch, _, err := bus.BatchEpoch(data)
	if err != nil || epoch != j.epoch {
		l.replies.End(data)
		return false
	}
	final := r.Status != bus.Busy && r.Status != bus.Working // of the handler's goroutine
	b := bus.BatchReply{Client: j.client, Seq: j.event.Seq, Reply: *r}
	if final {
		b.Took = j.took
	}
	if data = b.Append(data); final && !l.w.crew.busy() { // else there will be more for the batch, or no time
		l.replies.EndAndSend(data)
	} else {
		l.replies.End(data)
	}
	return true
}

// send publishes a batch of replies.
func (l *link) send(b batch.Batch) {
	m := &bus.Msg{Subject: bus.RepliesSubject(l.gateway(), l.address()), Data: b.Data}
	l.unsent(m.Subject, b.Parts, l.conn.Publish(m))
}

// unsent counts replies that could not be published.
func (l *link) unsent(subject string, replies int, err error) {
	if err != nil && !errors.Is(err, bus.ErrClosed) && !errors.Is(err, bus.ErrTooLarge) {
		l.w.count.unsent.Add(int64(replies))
		l.log.Debug("answers are lost; their events will come again", "subject", subject, "answers", replies, "err", err)
	}
}
