package worker

import (
	"context"
	"errors"
	"fmt"

	"github.com/gatebus/gatebus/bus"
)

// ErrNoGateway says that the worker has no link to the gateway of a client.
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
// its way, not that it arrived: the client may be gone.
func (c Client) Send(kind Kind, data []byte) error {
	return c.cluster.push(bus.Push{Target: bus.Target{Scope: bus.ToClient, Name: string(c.id)}, Kind: kind, Data: data}, c.id)
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
	answer, err := l.conn.Request(ctx, m)
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
type Cluster struct{ w *Worker }

// Client is the handle of a client by its id. The client need not exist.
func (c *Cluster) Client(id bus.ClientID) Client { return Client{id: id, cluster: c} }

// SendAll sends every client a frame, but for those excepted. As with all
// sends, nil means that the frame is on its way to every gateway.
func (c *Cluster) SendAll(kind Kind, data []byte, except ...bus.ClientID) error {
	return c.push(bus.Push{Target: bus.Target{Scope: bus.ToAll}, Kind: kind, Data: data, Except: except}, "")
}

// SendUID sends every client of the uid a frame, but for those excepted.
func (c *Cluster) SendUID(uid string, kind Kind, data []byte, except ...bus.ClientID) error {
	return c.push(bus.Push{Target: bus.Target{Scope: bus.ToUID, Name: uid}, Kind: kind, Data: data, Except: except}, "")
}

// SendGroup sends every client in the group a frame, but for those excepted.
func (c *Cluster) SendGroup(group string, kind Kind, data []byte, except ...bus.ClientID) error {
	return c.push(bus.Push{Target: bus.Target{Scope: bus.ToGroup, Name: group}, Kind: kind, Data: data, Except: except}, "")
}

// push publishes a frame on the link of the client's gateway, or on all links.
func (c *Cluster) push(p bus.Push, id bus.ClientID) error {
	links := c.w.allLinks()
	if id != "" {
		l, err := c.linkOf(id)
		if err != nil {
			return err
		}
		links = []*link{l}
	}
	var errs []error
	for _, l := range links {
		m, err := p.Msg(l.gateway())
		if err != nil {
			return err // wrong for every gateway
		}
		if err := l.conn.Publish(m); err != nil {
			errs = append(errs, fmt.Errorf("worker: send through gateway %s: %w", l.gateway(), err))
		}
	}
	return errors.Join(errs...)
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
