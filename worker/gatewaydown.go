package worker

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/register"
)

// GatewayDownHandler is what a [Handler] also is that keeps state about clients
// outside of them: in a database, say, who is online. When a gateway is killed,
// or its host is lost, its clients have no close events; instead, one worker of
// each group is told. A gateway that is stopped in order has said all before.
//
// The news comes at least once: again, to whichever worker of the group, if
// GatewayDown returns an error or panics, or the worker dies; after a pause that
// grows, for about half an hour. GatewayDown may take as long as it needs, up to
// an hour, and counts against Concurrency. ctx ends when the worker has no more time to
// stop.
//
// It comes some 7 s after a gateway was last heard, or 2 s after it is back, so
// its clients may have connected to others before: clean up by the id of the
// connection ([GatewayDown.Had]), not by who it was. While a worker still
// reaches the gateway, which then is only cut off from the registers, it is not
// told; see package register for what else can go wrong.
type GatewayDownHandler interface {
	GatewayDown(ctx context.Context, down GatewayDown) error
}

// GatewayDown is a life of a gateway that ended without a goodbye. There will
// never be another one of this name and epoch.
type GatewayDown struct {
	Gateway bus.GatewayID
	Epoch   bus.Epoch
}

// Had tells whether a client was connected to the gateway in that life.
func (d GatewayDown) Had(id bus.ClientID) bool {
	g, epoch, _, err := id.Parts()
	return err == nil && g == d.Gateway && epoch == d.Epoch
}

// downWatch gives the news of dead gateways to a handler.
type downWatch struct {
	// set at construction
	w       *Worker
	handler GatewayDownHandler
	conn    bus.Conn        // to the registers
	end     context.Context // of the worker: nobody is waited for any more

	sub bus.Subscription // set before the worker is a member
}

// watchDown joins the queue group of those that are told of dead gateways, if
// the handler wants to know.
func (w *Worker) watchDown(end context.Context, registers bus.Conn) (*downWatch, error) {
	h, ok := w.handler.(GatewayDownHandler)
	if !ok {
		return nil, nil
	}
	d := &downWatch{w: w, handler: h, conn: registers, end: end}
	sub, err := registers.QueueSubscribe(register.DownSubject(w.cfg.Group), w.cfg.Group, d.receive)
	if err != nil {
		return nil, fmt.Errorf("worker: %w", err)
	}
	d.sub = sub
	return d, nil
}

// leave leaves the queue group. What was received before is handled.
func (d *downWatch) leave(ctx context.Context) {
	if d == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, lastWords)
	defer cancel()
	if err := d.sub.Drain(ctx); err != nil {
		d.w.log.Warn("the news of a dead gateway may be given out again", "err", err)
	}
}

// receive takes one message, or hands it back. It does not block.
func (d *downWatch) receive(m *bus.Msg) {
	w := d.w
	news, err := register.ParseGatewayDown(m)
	if err == nil && m.Reply == "" {
		err = errors.New("worker: it has no reply subject")
	}
	if err != nil {
		w.log.Warn("a message is no news of a gateway; it is ignored", "subject", m.Subject, "err", err)
		return
	}
	down := GatewayDown{news.Gateway, news.Epoch}
	if w.reaches(down) {
		w.log.Info("the registers have lost a gateway that is linked; it is not down", "gateway", down.Gateway)
		d.answer(m.Reply, &bus.Reply{Status: bus.Busy})
		return
	}
	if !w.jobs.begin() {
		w.count.busy.Add(1)
		d.answer(m.Reply, &bus.Reply{Status: bus.Busy})
		return
	}
	d.answer(m.Reply, &bus.Reply{Status: bus.Working}) // every register knows
	go d.run(m.Reply, down)                            // joined by the tally
}

// reaches tells whether the link to that life of the gateway is up.
func (w *Worker) reaches(down GatewayDown) bool {
	l := w.link(down.Gateway, down.Epoch)
	if l == nil {
		return false
	}
	_, err := l.reach()
	return err == nil
}

// run has the news handled and answers it.
func (d *downWatch) run(reply string, down GatewayDown) {
	defer d.w.jobs.done()
	done := make(chan error, 1)
	go func() { // leaves only a handler behind that does not heed its context
		err := errExit // stands if the handler does not come back
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("worker: handler panicked: %v\n%s", p, debug.Stack())
			}
			done <- err
		}()
		err = d.handler.GatewayDown(d.w.handleCtx, down)
	}()
	tick := time.NewTicker(register.DownAckWait / progressShare)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			d.finish(reply, down, err)
			return
		case <-tick.C:
			d.answer(reply, &bus.Reply{Status: bus.Working})
		case <-d.end.Done():
			return
		}
	}
}

// finish answers the news after its handler.
func (d *downWatch) finish(reply string, down GatewayDown, err error) {
	w := d.w
	w.count.downs.Add(1)
	r := &bus.Reply{}
	if err != nil {
		w.count.downsFailed.Add(1)
		w.log.Error("handler failed over a dead gateway; a worker of the group is told again",
			"gateway", down.Gateway, "epoch", down.Epoch.String(), "err", err)
		r = &bus.Reply{Status: bus.Rejected, Code: 500, Reason: "handler failed"}
	}
	d.answer(reply, r)
	// The worker may be about to end, and the connection with it.
	ctx, cancel := context.WithTimeout(d.end, time.Second)
	defer cancel()
	if err := d.conn.Flush(ctx); err != nil {
		w.log.Debug("an answer may be lost; the news will come again", "subject", reply, "err", err)
	}
}

// answer publishes a reply. If it cannot, the registers ask again.
func (d *downWatch) answer(reply string, r *bus.Reply) {
	if err := d.conn.Publish(r.Msg(bus.Open, reply)); err != nil && !errors.Is(err, bus.ErrClosed) {
		d.w.count.unsent.Add(1)
		d.w.log.Debug("an answer is lost; the news will come again", "subject", reply, "err", err)
	}
}
