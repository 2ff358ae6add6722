package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gatebus/gatebus/bus"
)

// closePatience is how long [Client.Close] waits if its context has no deadline.
const closePatience = 5 * time.Second

// ErrNoGateway says that the worker has no link to the gateway of a client, or
// that it is down.
var ErrNoGateway = errors.New("no link to the gateway")

// Client is one connected client, of whatever gateway. It may be kept and used
// by any goroutine, after its events too.
type Client struct {
	id      bus.ClientID
	cluster *Cluster
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
	if err := c.cluster.publish(l, m); err != nil {
		return fmt.Errorf("worker: send to %s: %w", c.id, err)
	}
	return nil
}

// Close closes the client with a close code (1000, or an application's own,
// 4100 to 4999; 0 means 4002) and a reason of at most 123 bytes. It tells
// whether the client was there.
func (c Client) Close(ctx context.Context, code int, reason string) (bool, error) {
	l, err := c.cluster.linkOf(c.id)
	if err != nil {
		return false, err
	}
	m, err := bus.CloseRequest{Client: c.id, Code: bus.CloseCode(code), Reason: reason}.Msg(l.gateway())
	if err != nil {
		return false, err
	}
	conn, err := l.reach()
	if err != nil {
		return false, fmt.Errorf("worker: close %s: %w", c.id, err)
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, closePatience, fmt.Errorf("no answer in %v", closePatience))
		defer cancel()
	}
	answer, err := conn.Request(ctx, m)
	if err != nil {
		return false, fmt.Errorf("worker: close %s: %w", c.id, err)
	}
	r, err := bus.ParseResult(answer.Data)
	if err == nil && r.Error != "" {
		err = errors.New(r.Error)
	}
	if err != nil {
		return false, fmt.Errorf("worker: close %s: %w", c.id, err)
	}
	return r.Clients > 0, nil
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
// have said that they have such clients. They say so before they hand on the first
// event of a client that was given one, and a worker knows of what it has given
// itself. A worker that learns of a client in another way, past all gateways, may
// be faster than that.
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

// push publishes a frame on all links.
func (c *Cluster) push(p bus.Push) error {
	m, err := p.Msg(bus.AllGateways) // the subject aside, it is the same for all
	if err != nil {
		return fmt.Errorf("worker: send: %w", err)
	}
	var wrong error
	for _, l := range c.w.allLinks() {
		if !l.names.may(p.Target) {
			c.w.count.spared.Add(1)
			continue
		}
		subject, err := bus.PushSubject(l.gateway(), p.Target)
		if err != nil {
			return fmt.Errorf("worker: send: %w", err)
		}
		err = c.publish(l, &bus.Msg{Subject: subject, Header: m.Header, Data: m.Data})
		if errors.Is(err, bus.ErrTooLarge) {
			wrong = fmt.Errorf("worker: send: %w", err)
		}
	}
	return wrong
}

// publish publishes on a link. An error wraps ErrNoGateway, and is counted, or
// bus.ErrTooLarge.
func (c *Cluster) publish(l *link, m *bus.Msg) error {
	conn, err := l.reach()
	if err == nil {
		if err = conn.Publish(m); err == nil || errors.Is(err, bus.ErrTooLarge) {
			return err
		}
		err = fmt.Errorf("%w %s: %w", ErrNoGateway, l.gateway(), err)
	}
	c.w.count.unreached.Add(1)
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
