package gateway

import (
	"errors"
	"fmt"
	"strings"

	"github.com/gatebus/gatebus/bus"
)

// deliver handles one message from a bus: a reply of a worker, a push or a
// command. Messages of one subscription come one at a time; it never blocks.
func (g *Gateway) deliver(conn bus.Conn, m *bus.Msg) {
	switch {
	case strings.HasPrefix(m.Subject, g.outs):
		_, id, seq, err := bus.ParseReplySubject(m.Subject)
		if err != nil {
			g.badRequest(m, err)
			return
		}
		if c := g.index.get(id); c != nil {
			defer g.streams.Cork().Uncork()
			c.answer(seq, m)
		} else {
			g.late(bus.IsNoResponders(m) || m.Header.Get(bus.HeaderStatus) == "working")
		}
	case bus.IsReplies(m.Subject):
		if err := g.replies(m); err != nil {
			g.badRequest(m, err)
		}
	case bus.IsHeld(m.Subject):
		if g.dispatch.census != nil {
			g.dispatch.census.heard(m)
		}
	case m.Subject == bus.TapsSubject:
		if err := g.tap.heard(m); err != nil {
			g.badRequest(m, err)
		}
	case bus.IsPush(m.Subject):
		if conn == g.conn { // what comes over the registers is seen there
			g.tap.message(m)
		}
		span := g.tracer.request(m, "push")
		corked := g.streams.Cork()
		n, err := g.push(m)
		corked.Uncork() // an answer may have to wait for a connection
		span.end(err)
		g.result(conn, m, reached(n), err)
	case bus.IsCommand(m.Subject):
		if conn == g.conn {
			g.tap.message(m)
		}
		if isQuery(m.Subject) {
			select {
			case g.queries <- query{conn, m}:
			default:
				g.result(conn, m, bus.Answer{}, errBusy)
			}
			return
		}
		a, err := g.command(m)
		g.result(conn, m, a, err)
	}
}

// replies handles a batch of replies, or that nobody was there for one of
// events.
func (g *Gateway) replies(m *bus.Msg) error {
	if bus.IsNoResponders(m) {
		to, number, err := bus.ParseBatchReplySubject(m.Subject)
		if err == nil {
			g.roster.bounced(to, number)
		}
		return err
	}
	from, err := bus.ParseRepliesSubject(m.Subject)
	if err != nil {
		return err
	}
	defer g.streams.Cork().Uncork()
	epoch, rest, err := bus.BatchEpoch(m.Data)
	if err != nil {
		return err
	}
	if epoch != g.epoch {
		g.late(false) // to a former life: its clients are gone
		return nil
	}
	for len(rest) > 0 {
		var r bus.BatchReply
		if r, rest, err = bus.NextReply(rest); err != nil {
			return err
		}
		if c := g.index.number(r.Client); c != nil {
			c.reply(&r, from, m.Subject)
		} else {
			g.late(r.Status == bus.Working)
		}
	}
	return nil
}

// late counts an answer to what is answered already. A sign of progress that
// crossed the answer on its way is none, nor is what the server says.
func (g *Gateway) late(no bool) {
	if !no {
		g.count.lateReply.Add(1)
	}
}

// push puts a frame into the queues of the clients that it is for, and says how
// many there are.
func (g *Gateway) push(m *bus.Msg) (clients int, err error) {
	p, err := bus.ParsePush(m)
	if err != nil {
		return 0, err
	}
	var f struct { // together, as what escapes
		frame
		wire  wire          // that it is prepared for
		forms [wires][]byte // prepared, for those that were needed
	}
	f.frame, f.wire = frame{kind: p.Kind, data: p.Data}, wires
	except := make(map[bus.ClientID]struct{}, len(p.Except))
	for _, id := range p.Except {
		except[id] = struct{}{}
	}
	var gone []*client
	g.index.each(p.Target, p.Names, func(c *client) {
		if _, ok := except[c.id]; ok {
			return
		}
		if w := c.listener.wire; w != f.wire && p.Target.Scope != bus.ToClient {
			if f.forms[w] == nil { // this is the first client that needs it
				f.forms[w] = w.prepare(f.kind, f.data)
			}
			f.wire, f.prepared = w, f.forms[w]
		}
		c.mu.Lock()
		// A client that no worker has accepted yet is reached only by its id.
		if (c.accepted || p.Target.Scope == bus.ToClient) && c.pushLocked(f.frame) {
			clients++
		}
		if c.goneLocked() {
			gone = append(gone, c)
		}
		c.mu.Unlock()
	})
	for _, c := range gone {
		g.index.remove(c)
	}
	g.count.pushes.add(string(p.Target.Scope))
	g.count.sent(clients, len(p.Data))
	return clients, nil
}

// result answers a push or command, if an answer is asked for. What is wrong
// with one that wants no answer can only be logged.
func (g *Gateway) result(conn bus.Conn, m *bus.Msg, a bus.Answer, err error) {
	a.Gateway = g.name
	if err != nil {
		a.Error, a.Code = err.Error(), codeOf(err)
		if !refused(err) {
			g.badRequest(m, err)
		}
	}
	if m.Reply == "" {
		return
	}
	if bus.IsProtocol(m.Reply) { // the gateway may publish there; who asks perhaps not
		g.badRequest(m, errReplySubject)
		return
	}
	answer := a.Msg(m.Reply)
	err = conn.Publish(answer)
	if errors.Is(err, bus.ErrTooLarge) { // who asks is not to wait for nothing
		r := bus.Result{Gateway: g.name, Code: bus.CodeLimit, Error: fmt.Sprintf("gateway: an answer of %d bytes, which is more than one message can have", len(answer.Data))}
		err = conn.Publish(r.Msg(m.Reply))
	}
	if err != nil && !errors.Is(err, bus.ErrClosed) {
		g.warn.Do(func() { g.log.Warn("cannot answer a request", "subject", m.Subject, "err", err) })
	}
}

// errReplySubject says that a request wants to be answered where events, pushes or
// commands go.
var errReplySubject = errors.New("its reply subject is one of the protocol's own")

func (g *Gateway) badRequest(m *bus.Msg, err error) {
	g.count.badRequest.Add(1)
	g.warn.Do(func() { g.log.Warn("a message breaks the protocol; it is ignored", "subject", m.Subject, "err", err) })
}
