package embedded

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/gatebus/gatebus/bus"
)

// unsubscribeTimeout bounds the wait for the subscriptions of a connection that
// has ended to be gone. NATS takes them off in the same moment, on another
// goroutine than the one that sends the event.
const unsubscribeTimeout = time.Second

var _ bus.Server = (*Server)(nil)

// Subscriptions implements [bus.Server] for the connections of [Account] on this
// server, in process and over TCP.
func (s *Server) Subscriptions(subject string) ([]bus.ServerSubscription, error) {
	details, err := s.subscriptions(subject)
	if err != nil {
		return nil, fmt.Errorf("embedded: subscriptions of %s: %w", subject, err)
	}
	subs := make([]bus.ServerSubscription, 0, len(details))
	for _, d := range details {
		if !strings.HasPrefix(d.Subject, "$") { // the server's own
			subs = append(subs, bus.ServerSubscription{Conn: bus.ConnID(d.Cid), Subject: d.Subject, Queue: d.Queue})
		}
	}
	return subs, nil
}

// ClientName implements [bus.Server].
func (s *Server) ClientName(id bus.ConnID) string {
	nats, err := s.running()
	if err != nil {
		return ""
	}
	if c := nats.GetClient(uint64(id)); c != nil {
		return c.GetName()
	}
	return ""
}

// subscriptions are those that cover the subject; all of them if it is empty.
func (s *Server) subscriptions(subject string) ([]server.SubDetail, error) {
	nats, err := s.running()
	if err != nil {
		return nil, err
	}
	z, err := nats.Subsz(&server.SubszOptions{
		Subscriptions: true, Account: Account, Test: subject, Limit: math.MaxInt,
	})
	if err != nil {
		return nil, err
	}
	return z.Subs, nil
}

// Disconnect implements [bus.Server].
func (s *Server) Disconnect(id bus.ConnID) error {
	nats, err := s.running()
	if err != nil {
		return fmt.Errorf("embedded: disconnect: %w", err)
	}
	_ = nats.DisconnectClientByID(uint64(id)) // fails only if it is gone
	return nil
}

// OnConnection implements [bus.Server]. The events of [Server.OnClient] may be
// a moment ahead of the end of the subscriptions; these are not.
func (s *Server) OnConnection(fn func(id bus.ConnID, up bool)) (stop func(), err error) {
	ctx, cancel := context.WithCancel(s.ctx)
	stopEvents, err := s.OnClient(func(ev ClientEvent) {
		up := ev.Kind == ClientConnected
		if !up {
			s.awaitUnsubscribed(ctx, bus.ConnID(ev.ID))
		}
		fn(bus.ConnID(ev.ID), up)
	})
	if err != nil {
		cancel()
		return nil, err
	}
	return func() { cancel(); stopEvents() }, nil
}

// awaitUnsubscribed returns when a connection that ends has no subscription
// left.
func (s *Server) awaitUnsubscribed(ctx context.Context, id bus.ConnID) {
	// A connection whose writer has failed is ended by its reader, which may
	// not have noticed yet.
	_ = s.Disconnect(id)
	ctx, cancel := context.WithTimeout(ctx, unsubscribeTimeout)
	defer cancel()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for s.subscribed(id) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (s *Server) subscribed(id bus.ConnID) bool {
	subs, err := s.subscriptions("")
	if err != nil {
		return false
	}
	for _, sub := range subs {
		if sub.Cid == uint64(id) {
			return true
		}
	}
	return false
}
