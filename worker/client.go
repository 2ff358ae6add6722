package worker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/gatebus/gatebus/bus"
)

// ErrNoGateway says that the worker has no link to the gateway of a client, or
// that it is down.
var ErrNoGateway = errors.New("no link to the gateway")

// Client is one connected client, of whatever gateway. It may be kept and used
// by any goroutine, after its events too.
type Client struct {
	id      bus.ClientID
	cluster *Cluster
	// heard is whether there was an event of it: its names were told before that.
	heard bool
}

// ID names the connection, for ever.
func (c Client) ID() bus.ClientID { return c.id }

// Send sends the client a frame, Text or Binary. nil means that the frame is on
// its way, not that it arrived: the client may be gone. An error that wraps
// [ErrNoGateway] says that the client cannot be reached from here now.
func (c Client) Send(kind Kind, data []byte) error {
	p := bus.Push{Target: bus.Target{Scope: bus.ToClient, Name: string(c.id)}, Kind: kind, Data: data}
	l, err := c.cluster.linkOf(c.id)
	if err != nil {
		return err
	}
	m, err := p.Msg(l.gateway())
	if err != nil {
		return fmt.Errorf("worker: send to %s: %w", c.id, err)
	}
	if !c.heard { // it may have come in just now, with names that frames were sent to
		l.names.release()
	}
	if err := c.cluster.w.publish(l, m); err != nil {
		return fmt.Errorf("worker: send to %s: %w", c.id, err)
	}
	return nil
}

// Close closes the client with a close code (1000, or an application's own,
// 4100 to 4999; 0 means 4002) and a reason of at most 123 bytes. It tells
// whether the client was there.
func (c Client) Close(ctx context.Context, code int, reason string) (bool, error) {
	return c.CloseWith(ctx, CloseOptions{Code: code, Reason: reason})
}

// Cluster is every gateway that a worker has a link to. It may be used by any
// goroutine.
//
// Sends to many are at most once: they fail only if what is to be sent is
// wrong. A gateway whose link is down is left out, and counted in
// [Stats].Unreached: that it does not hear of a frame is nothing that a
// handler could do something about, and no reason to close its own client.
//
// With several gateways, what is sent to a uid or a group goes only to those that
// have such clients, as they say. A frame that is for none of a gateway's is kept until
// the gateway has said, some milliseconds later at most, that there was none when it was
// sent: however the sender has learned of a client, it reaches it. What one goroutine
// sends to a client arrives in that order, whatever name it goes by, with one exception:
// after a frame to a name that somebody else gives the client in that moment, and no other
// one of its gateway has, one to a name that one had before may be there first.
type Cluster struct{ w *Worker }

// Client is the handle of a client by its id. The client need not exist.
func (c *Cluster) Client(id bus.ClientID) Client { return Client{id: id, cluster: c} }

// SendAll sends every client a frame, but for those excepted.
func (c *Cluster) SendAll(kind Kind, data []byte, except ...bus.ClientID) error {
	return c.push(bus.Push{Target: bus.Target{Scope: bus.ToAll}, Kind: kind, Data: data, Except: except})
}

// SendUID sends every client of the uid a frame, but for those excepted.
func (c *Cluster) SendUID(uid string, kind Kind, data []byte, except ...bus.ClientID) error {
	return c.push(bus.Push{Target: bus.Target{Scope: bus.ToUID, Name: uid}, Kind: kind, Data: data, Except: except})
}

// SendGroup sends every client in the group a frame, but for those excepted.
func (c *Cluster) SendGroup(group string, kind Kind, data []byte, except ...bus.ClientID) error {
	return c.push(bus.Push{Target: bus.Target{Scope: bus.ToGroup, Name: group}, Kind: kind, Data: data, Except: except})
}

// SendClients sends each of the clients a frame. All of them go in one message to a
// gateway, some ten thousand at most: with more, the error wraps bus.ErrTooLarge.
func (c *Cluster) SendClients(ids []bus.ClientID, kind Kind, data []byte) error {
	return c.push(bus.Push{Target: bus.Target{Scope: bus.ToClients}, Names: namesOf(ids), Kind: kind, Data: data})
}

func namesOf(ids []bus.ClientID) []string {
	names := make([]string, len(ids))
	for i, id := range ids {
		names[i] = string(id)
	}
	return names
}

// SendUIDs sends every client of the uids a frame, once, but for those excepted. As
// for how many there can be, it is like SendClients.
func (c *Cluster) SendUIDs(uids []string, kind Kind, data []byte, except ...bus.ClientID) error {
	return c.push(bus.Push{Target: bus.Target{Scope: bus.ToUIDs}, Names: uids, Kind: kind, Data: data, Except: except})
}

// SendGroups sends every client in one or more of the groups a frame, once, but for
// those excepted. As for how many there can be, it is like SendClients.
func (c *Cluster) SendGroups(groups []string, kind Kind, data []byte, except ...bus.ClientID) error {
	return c.push(bus.Push{Target: bus.Target{Scope: bus.ToGroups}, Names: groups, Kind: kind, Data: data, Except: except})
}

// Push sends a frame and says in how many clients' queues it stands. It asks every
// gateway, also those that have not said that they have such clients: who sees that a
// client is there, in whatever way, reaches it. The error may be a *PartialError.
func (c *Cluster) Push(ctx context.Context, p bus.Push) (clients int, err error) {
	messages, err := c.messages(p)
	if err != nil {
		return 0, err
	}
	var links []*link
	for _, l := range c.sorted() {
		if messages[l] != nil {
			links = append(links, l)
		}
	}
	answers, err := c.each(ctx, links, func(l *link) *bus.Msg { return messages[l] })
	for _, a := range answers {
		clients += a.Clients
		if a.Clients > 0 { // a push that is not counted will reach them too
			switch p.Target.Scope {
			case bus.ToUID:
				a.link.names.expect(p.Target.Name, nil)
			case bus.ToGroup:
				a.link.names.expect("", []string{p.Target.Name})
			}
		}
	}
	return clients, err
}

// push publishes a frame on all links.
func (c *Cluster) push(p bus.Push) error {
	messages, err := c.messages(p)
	if err != nil {
		return err
	}
	var (
		wrong error
		own   *bus.Push // p, with what the caller may change
	)
	for l, m := range messages {
		if !l.names.may(&p) {
			if own == nil {
				own = new(p)
				own.Data, own.Names = bytes.Clone(p.Data), slices.Clone(p.Names)
			}
			if l.names.keep(own, &bus.Msg{Subject: m.Subject, Header: m.Header, Data: own.Data}) {
				continue
			}
		}
		switch p.Target.Scope {
		case bus.ToAll, bus.ToClients:
			l.names.release()
		case bus.ToUIDs, bus.ToGroups:
			l.names.releaseFor(&p)
		}
		if err := c.w.publish(l, m); errors.Is(err, bus.ErrTooLarge) {
			wrong = fmt.Errorf("worker: send: %w", err)
		}
	}
	return wrong
}

// messages are what is to be published on each link.
func (c *Cluster) messages(p bus.Push) (map[*link]*bus.Msg, error) {
	all, err := p.Msg(bus.AllGateways) // the subject aside, it is mostly the same for all
	if err != nil {
		return nil, fmt.Errorf("worker: send: %w", err)
	}
	if id := bus.ClientID(p.Target.Name); p.Target.Scope == bus.ToClient {
		if _, _, _, err := id.Parts(); err != nil {
			return nil, fmt.Errorf("worker: send: %w", err)
		}
	}
	messages := map[*link]*bus.Msg{}
	for _, l := range c.w.allLinks() {
		own, m := p, all
		if p.Target.Scope == bus.ToClients {
			own.Names = slices.DeleteFunc(slices.Clone(p.Names), func(id string) bool { return !l.has(bus.ClientID(id)) })
			if len(own.Names) == 0 {
				continue
			}
			if m, err = own.Msg(l.gateway()); err != nil {
				return nil, fmt.Errorf("worker: send: %w", err)
			}
		}
		if p.Target.Scope == bus.ToClient && !l.has(bus.ClientID(p.Target.Name)) {
			continue
		}
		subject, err := bus.PushSubject(l.gateway(), p.Target)
		if err != nil {
			return nil, fmt.Errorf("worker: send: %w", err)
		}
		messages[l] = &bus.Msg{Subject: subject, Header: m.Header, Data: m.Data}
	}
	return messages, nil
}

// has tells whether a client is, or was, one of the gateway's.
func (l *link) has(id bus.ClientID) bool {
	g, epoch, _, err := id.Parts()
	return err == nil && l.key() == linkKey{g, epoch}
}

// publish publishes on a link. An error wraps ErrNoGateway, and is counted, or
// bus.ErrTooLarge.
func (w *Worker) publish(l *link, m *bus.Msg) error {
	conn, err := l.reach()
	if err == nil {
		if err = conn.Publish(m); err == nil || errors.Is(err, bus.ErrTooLarge) {
			return err
		}
		err = fmt.Errorf("%w %s: %w", ErrNoGateway, l.gateway(), err)
	}
	w.count.unreached.Add(1)
	return err
}

// linkOf is the link to the gateway that a client is connected to.
func (c *Cluster) linkOf(id bus.ClientID) (*link, error) {
	g, epoch, _, err := id.Parts()
	if err != nil {
		return nil, err
	}
	if l := c.w.link(g, epoch); l != nil {
		return l, nil
	}
	return nil, fmt.Errorf("worker: client %s: %w %s", id, ErrNoGateway, g)
}
