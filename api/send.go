package api

import (
	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/worker"
)

// Reached is how many clients were reached: the frame stands in their queues, or they
// are as it was asked for.
type Reached struct {
	Clients int `json:"clients"`
	Incomplete
}

func reached(n int, err error) (any, error) { return &Reached{Clients: n}, err }

// Frame is a frame: one of its fields.
type Frame struct {
	Text   *string `json:"text,omitempty"`
	Binary *[]byte `json:"binary,omitempty"` // base64 in JSON
}

// frame is the kind and the payload.
func (f *Frame) frame() (worker.Kind, []byte, error) {
	switch {
	case f.Text != nil && f.Binary != nil:
		return 0, nil, problem(badRequest, "a frame is text or binary, not both")
	case f.Text != nil:
		return worker.Text, []byte(*f.Text), nil
	case f.Binary != nil:
		return worker.Binary, *f.Binary, nil
	}
	return 0, nil, nil
}

// PushRequest is a frame for some clients.
type PushRequest struct {
	To     PushTarget     `json:"to"`
	Except []bus.ClientID `json:"except,omitempty"`
	Frame
}

// PushTarget says whom a push is for: exactly one of its fields is set.
type PushTarget struct {
	All     bool            `json:"all,omitempty"`
	Client  *string         `json:"client,omitempty"`
	Clients *[]bus.ClientID `json:"clients,omitempty"`
	UID     *string         `json:"uid,omitempty"`
	UIDs    *[]string       `json:"uids,omitempty"`
	Group   *string         `json:"group,omitempty"`
	Groups  *[]string       `json:"groups,omitempty"`
}

// target is the same in the terms of the bus.
func (t *PushTarget) target() (target bus.Target, names []string, err error) {
	n := 0
	one := func(scope bus.Scope, name *string) {
		if name != nil {
			n++
			target = bus.Target{Scope: scope, Name: *name}
		}
	}
	several := func(scope bus.Scope, list *[]string) {
		if list != nil {
			n++
			target, names = bus.Target{Scope: scope}, *list
		}
	}
	if t.All {
		n++
		target.Scope = bus.ToAll
	}
	one(bus.ToClient, t.Client)
	one(bus.ToUID, t.UID)
	one(bus.ToGroup, t.Group)
	several(bus.ToUIDs, t.UIDs)
	several(bus.ToGroups, t.Groups)
	if t.Clients != nil {
		ids := make([]string, len(*t.Clients))
		for i, id := range *t.Clients {
			if _, _, _, err := id.Parts(); err != nil {
				return target, nil, err
			}
			ids[i] = string(id)
		}
		several(bus.ToClients, &ids)
	}
	if n != 1 {
		return target, nil, problem(badRequest, "to: say who is meant by one of all, client, clients, uid, uids, group and groups; here are %d of them", n)
	}
	return target, names, nil
}

func push(c *call) (any, error) {
	var r PushRequest
	if err := c.body(&r); err != nil {
		return nil, err
	}
	p := bus.Push{Except: r.Except}
	var err error
	if p.Target, p.Names, err = r.To.target(); err != nil {
		return nil, err
	}
	if p.Kind, p.Data, err = r.frame(); err != nil {
		return nil, err
	}
	if p.Kind == 0 {
		return nil, problem(badRequest, "there is no frame; write text or binary")
	}
	return reached(c.cluster.Push(c.ctx, p))
}

// Selector says which clients are meant: exactly one of its fields is set.
type Selector struct {
	All     bool            `json:"all,omitempty"`
	Client  *bus.ClientID   `json:"client,omitempty"`
	Clients *[]bus.ClientID `json:"clients,omitempty"`
	UID     *string         `json:"uid,omitempty"`
	Group   *string         `json:"group,omitempty"`
}

// selector is the same in the terms of the bus, which finds names that are not there
// no different from empty ones.
func (s *Selector) selector(except []bus.ClientID) (worker.Selector, error) {
	b := worker.Selector{All: s.All, Except: except}
	n := 0
	if s.All {
		n++
	}
	var err error
	if s.Client != nil {
		n++
		b.Client = *s.Client
		_, _, _, err = b.Client.Parts()
	}
	if s.Clients != nil {
		n++
		if b.Clients = *s.Clients; len(b.Clients) == 0 {
			err = problem(badRequest, "to: clients: it names none")
		}
	}
	for _, f := range []struct {
		what     string
		from, to *string
	}{{"uid", s.UID, &b.UID}, {"group", s.Group, &b.Group}} {
		if f.from == nil {
			continue
		}
		n++
		*f.to = *f.from
		if e := bus.CheckToken(*f.from); e != nil {
			err = problem(badRequest, "to: %s: %s", f.what, plain(e))
		}
	}
	if n != 1 {
		err = problem(badRequest, "to: say who is meant by one of all, client, clients, uid and group; here are %d of them", n)
	}
	return b, err
}

// CloseRequest closes clients.
type CloseRequest struct {
	To     Selector       `json:"to"`
	Except []bus.ClientID `json:"except,omitempty"`
	Code   int            `json:"code,omitempty"`
	Reason string         `json:"reason,omitempty"`
	Frame                 // a last one
	Abort  bool           `json:"abort,omitempty"`
}

// options are how clients are closed.
func (r *CloseRequest) options() (o worker.CloseOptions, err error) {
	if r.Code != 0 {
		if err := bus.CheckCloseCode(bus.CloseCode(r.Code)); err != nil {
			return o, problem(badRequest, "code: %s", plain(err))
		}
	}
	o = worker.CloseOptions{Code: r.Code, Reason: r.Reason, Abort: r.Abort}
	o.Kind, o.Last, err = r.frame()
	return o, err
}

func closeClients(c *call) (any, error) {
	var r CloseRequest
	if err := c.body(&r); err != nil {
		return nil, err
	}
	s, err := r.To.selector(r.Except)
	if err != nil {
		return nil, err
	}
	o, err := r.options()
	if err != nil {
		return nil, err
	}
	return reached(c.cluster.Close(c.ctx, s, o))
}

// GroupsRequest has clients join or leave groups.
type GroupsRequest struct {
	To     Selector       `json:"to"`
	Except []bus.ClientID `json:"except,omitempty"`
	Groups []string       `json:"groups"`
}

func join(c *call) (any, error) {
	var r GroupsRequest
	s, err := r.read(c)
	if err != nil {
		return nil, err
	}
	return reached(c.cluster.Join(c.ctx, s, r.Groups...))
}

func leave(c *call) (any, error) {
	var r GroupsRequest
	s, err := r.read(c)
	if err != nil {
		return nil, err
	}
	return reached(c.cluster.Leave(c.ctx, s, r.Groups...))
}

func (r *GroupsRequest) read(c *call) (s worker.Selector, err error) {
	if err = c.body(r); err != nil {
		return s, err
	}
	return r.To.selector(r.Except)
}

// UnbindRequest takes the uids of clients away.
type UnbindRequest struct {
	To     Selector       `json:"to"`
	Except []bus.ClientID `json:"except,omitempty"`
}

func unbind(c *call) (any, error) {
	var r UnbindRequest
	if err := c.body(&r); err != nil {
		return nil, err
	}
	s, err := r.To.selector(r.Except)
	if err != nil {
		return nil, err
	}
	return reached(c.cluster.Unbind(c.ctx, s))
}

func dissolve(c *call) (any, error) { return reached(c.cluster.Dissolve(c.ctx, c.names["group"])) }
