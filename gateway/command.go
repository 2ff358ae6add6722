package gateway

import (
	"context"
	"errors"
	"fmt"

	"go.opentelemetry.io/otel/attribute"

	"github.com/gatebus/gatebus/bus"
)

// errUnknown is the error of an operation that this gateway does not know.
var errUnknown = errors.New("gateway: unknown operation")

// errBusy is the error of a query that has too many before it.
var errBusy = errors.New("gateway: too many counts and lists wait; ask again later")

// maxQueries is how many queries wait for their turn.
const maxQueries = 1024

// query is a question that takes long where there are many clients.
type query struct {
	conn bus.Conn // that it came by
	m    *bus.Msg
}

// isQuery tells whether a command is one that takes long where there are many
// clients, and changes nothing: it need not keep its place among others.
func isQuery(subject string) bool {
	_, op, err := bus.ParseCommandSubject(subject)
	return err == nil && (op == bus.OpCount || op == bus.OpList)
}

// answerQueries answers one query after the other, beside all else, until ctx ends.
func (g *Gateway) answerQueries(ctx context.Context) {
	for {
		select {
		case q := <-g.queries:
			a, err := g.command(q.m)
			g.result(q.conn, q.m, a, err)
		case <-ctx.Done():
			return
		}
	}
}

// command does what a worker asks for.
func (g *Gateway) command(m *bus.Msg) (a bus.Answer, err error) {
	_, op, err := bus.ParseCommandSubject(m.Subject)
	if err != nil {
		return a, err
	}
	g.count.commands.add(op)
	if span := g.tracer.request(m, "command"); span != nil {
		span.span.SetAttributes(attribute.String("gatebus.command", op))
		defer func() { span.end(err) }()
	}
	switch op {
	case bus.OpHello:
		g.roster.nudge()
		a.Protocol = bus.CurrentProtocol()
		err = g.greeted(m)
	case bus.OpNames:
		var r bus.NamesRequest
		if r, err = bus.ParseNamesRequest(m.Data); err == nil {
			g.names.asked(r)
		}
	case bus.OpClose:
		return do(m, g.close)
	case bus.OpBind:
		return do(m, g.bind)
	case bus.OpUnbind:
		return do(m, g.unbind)
	case bus.OpJoin:
		return do(m, g.join)
	case bus.OpLeave:
		return do(m, g.leave)
	case bus.OpDissolve:
		return do(m, g.dissolve)
	case bus.OpSession:
		return do(m, g.session)
	case bus.OpInfo:
		return do(m, g.info)
	case bus.OpCount:
		return do(m, g.countOf)
	case bus.OpList:
		return do(m, g.list)
	default:
		err = fmt.Errorf("%w %q", errUnknown, op)
	}
	return a, err
}

// greeted looks at what a worker says that it speaks. One of another major has no business
// here: it found the gateway by itself, or knew one of its own kind at this address.
func (g *Gateway) greeted(m *bus.Msg) error {
	h, err := bus.ParseHello(m.Data)
	if err != nil {
		return err
	}
	peer := "worker " + string(h.Worker)
	if h.Worker == "" {
		peer = "a worker"
	}
	if err = bus.CurrentProtocol().Check("gateway "+string(g.name), peer, h.Protocol); err == nil {
		return nil
	}
	g.count.otherProtocol.Add(1)
	gone := g.roster.disconnect(h.Worker)
	g.warn.Do(func() {
		g.log.Error("a worker speaks another protocol", "worker", string(h.Worker), "disconnected", gone, "err", err)
	})
	return err
}

// do parses a request and has it done.
func do[R bus.Request](m *bus.Msg, fn func(R) (bus.Answer, error)) (bus.Answer, error) {
	r, err := bus.ParseRequest[R](m.Data)
	if err != nil {
		return bus.Answer{}, err
	}
	return fn(r)
}

// codeOf is the word for an error.
func codeOf(err error) string {
	switch {
	case err == nil:
		return ""
	case errors.Is(err, errUIDTaken):
		return bus.CodeUIDTaken
	case errors.Is(err, errSessionChanged):
		return bus.CodeSessionChanged
	case errors.Is(err, errLimit), errors.Is(err, bus.ErrSessionSize):
		return bus.CodeLimit
	case errors.Is(err, errBusy):
		return bus.CodeBusy
	case errors.Is(err, errUnknown):
		return bus.CodeUnknown
	case isProtocol(err):
		return bus.CodeProtocol
	}
	return bus.CodeBadRequest
}

func isProtocol(err error) bool {
	_, ok := errors.AsType[*bus.ProtocolError](err)
	return ok
}

// refused tells whether an error is an answer like another: the request was right.
func refused(err error) bool {
	return isProtocol(err) || errors.Is(err, errBusy) || errors.Is(err, errUIDTaken) || errors.Is(err, errSessionChanged) || errors.Is(err, errLimit) || errors.Is(err, bus.ErrSessionSize)
}

func reached(n int) bus.Answer { return bus.Answer{Result: bus.Result{Clients: n}} }

// selected calls fn for each of the clients that are meant and whose end has not
// begun, once, with the index locked by the caller.
func (x *index) selectedLocked(s *bus.Selector, fn func(*client)) {
	except := make(map[bus.ClientID]struct{}, len(s.Except))
	for _, id := range s.Except {
		except[id] = struct{}{}
	}
	call := func(c *client) {
		if _, out := except[c.id]; !out && !c.presence.offline() {
			fn(c)
		}
	}
	switch {
	case s.Client != "":
		x.eachLocked(bus.Target{Scope: bus.ToClient, Name: string(s.Client)}, nil, call)
	case len(s.Clients) > 0:
		names := make([]string, len(s.Clients))
		for i, id := range s.Clients {
			names[i] = string(id)
		}
		x.eachLocked(bus.Target{Scope: bus.ToClients}, names, call)
	case s.UID != "":
		x.eachLocked(bus.Target{Scope: bus.ToUID, Name: s.UID}, nil, call)
	case s.Group != "":
		x.eachLocked(bus.Target{Scope: bus.ToGroup, Name: s.Group}, nil, call)
	case s.All:
		x.eachLocked(bus.Target{Scope: bus.ToAll}, nil, call)
	}
}

// selected are the clients that are meant and whose end has not begun.
func (x *index) selected(s *bus.Selector) (cs []*client) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	x.selectedLocked(s, func(c *client) { cs = append(cs, c) })
	return cs
}

func (g *Gateway) close(r bus.CloseRequest) (a bus.Answer, err error) {
	end := closing{r.Code, bus.TrimReason(r.Reason)}
	if end.code == 0 {
		end.code = bus.CloseKicked
	}
	kind, data, last := r.Frame()
	for _, c := range g.index.selected(&r.Selector) {
		if r.Before != nil && (bus.Claim{Client: c.id, At: g.index.claimOf(c)}).After(*r.Before) {
			a.Later++
			continue
		}
		if !r.Abort && last {
			c.mu.Lock()
			if c.pushLocked(frame{kind: kind, data: data}) {
				g.count.sent(1, len(data))
			}
			c.unlockAndTidy()
		}
		if c.closeBy(end, r.Abort) {
			a.Clients++
		}
	}
	return a, nil
}

func (x *index) claimOf(c *client) int64 {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return c.claim
}

// closeBy closes the client, with abort without a word to the peer; it tells whether
// its end had not begun.
func (c *client) closeBy(end closing, abort bool) bool {
	c.mu.Lock()
	defer c.unlockAndTidy()
	if c.ending {
		return false
	}
	if !abort {
		c.closeNowLocked(end)
		return true
	}
	c.gw.count.droppedClosing.Add(int64(c.lane.clear(false)))
	c.out.drop()
	c.endLocked(end)
	if c.cut = true; c.conn != nil { // else it is on its way
		c.conn.abortLocked()
	}
	return true
}

func (g *Gateway) bind(r bus.BindRequest) (a bus.Answer, err error) {
	c := g.index.get(r.Client)
	if c == nil || c.presence.offline() {
		return a, nil
	}
	claim, state, rivals, err := g.index.bind(c, r.UID, r.Others)
	if err != nil || claim.Client == "" {
		return a, err
	}
	g.names.flush()
	end := closing{r.Code, bus.TrimReason(r.Reason)}
	if end.code == 0 {
		end.code = bus.CloseReplaced
	}
	if end.reason == "" {
		end.reason = replacedReason
	}
	closeAll(rivals, end)
	a.Clients, a.Claim, a.State = 1, &claim, state
	return a, nil
}

func (g *Gateway) unbind(r bus.UnbindRequest) (a bus.Answer, err error) {
	x := g.index
	defer g.names.flush()
	x.mu.Lock() // to the end: who gets another uid meanwhile keeps it
	defer x.mu.Unlock()
	var meant []*client
	x.selectedLocked(&r.Selector, func(c *client) { meant = append(meant, c) })
	for _, c := range meant {
		if a.State, err = x.renameLocked(c, ""); err != nil {
			return a, err
		}
		a.Clients++
	}
	return a, nil
}

// change has fn change the groups of the clients that are meant, unless check finds
// for one of them that it cannot be.
func (g *Gateway) change(s *bus.Selector, check func(*client) error, fn func(*client)) (a bus.Answer, err error) {
	x := g.index
	x.mu.Lock()
	var meant []*client
	x.selectedLocked(s, func(c *client) {
		meant = append(meant, c)
		err = errors.Join(err, check(c))
	})
	if err == nil {
		for _, c := range meant {
			fn(c)
		}
		a.Clients = len(meant)
	}
	x.mu.Unlock()
	g.names.flush()
	return a, err
}

func (g *Gateway) join(r bus.JoinRequest) (bus.Answer, error) {
	return g.change(&r.Selector, func(c *client) error { return g.index.roomLocked(c, r.Groups) }, func(c *client) {
		for _, name := range r.Groups {
			g.index.joinLocked(c, name)
		}
	})
}

func (g *Gateway) leave(r bus.LeaveRequest) (bus.Answer, error) {
	return g.change(&r.Selector, func(*client) error { return nil }, func(c *client) {
		for _, name := range r.Groups {
			g.index.leaveLocked(c, name)
		}
	})
}

func (g *Gateway) dissolve(r bus.DissolveRequest) (bus.Answer, error) {
	return g.change(&bus.Selector{Group: r.Group}, func(*client) error { return nil }, func(c *client) {
		g.index.leaveLocked(c, r.Group)
	})
}

func (g *Gateway) session(r bus.SessionRequest) (a bus.Answer, err error) {
	c := g.index.get(r.Client)
	if c == nil || c.presence.offline() {
		return a, nil
	}
	now, err := c.changeSession(&r)
	session, version, state := now.sessionOf()
	a.Clients, a.Version, a.State = 1, version, state
	if session != "" {
		a.Session = []byte(session)
	}
	return a, err
}
