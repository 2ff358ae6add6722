package membus

import (
	"context"
	"sync"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/internal/pump"
)

var _ bus.Server = (*Bus)(nil)

// watcher is one OnConnection call. Calls come one at a time on its goroutine,
// as those of a server do, never on that of whoever disconnects.
type watcher struct {
	pump *pump.Pump[change]
}

// change is a connection that was made or has ended.
type change struct {
	id bus.ConnID
	up bool
	n  uint64 // tells them apart
}

func (b *Bus) tellLocked(id bus.ConnID, up bool) {
	for w := range b.watchers {
		w.pump.C <- change{id, up, b.inbox.Add(1)}
	}
}

// Subscriptions implements bus.Server.
func (b *Bus) Subscriptions(subject string) ([]bus.ServerSubscription, error) {
	var tokens []string
	if subject != "" {
		var err error
		if tokens, err = split(subject, false); err != nil {
			return nil, err
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	var subs []bus.ServerSubscription
	for _, s := range b.subs {
		for _, p := range s.parts {
			if subject == "" && !p.leaving || p.covers(tokens) {
				subs = append(subs, bus.ServerSubscription{Conn: s.conn.id, Subject: p.subject, Queue: p.queue})
			}
		}
	}
	return subs, nil
}

// ClientName implements bus.Server: connections in memory have no names.
func (b *Bus) ClientName(bus.ConnID) string { return "" }

// Disconnect implements bus.Server. The connection is not made anew: it is down
// until it is closed.
func (b *Bus) Disconnect(id bus.ConnID) error {
	b.mu.Lock()
	c := b.conns[id]
	b.mu.Unlock()
	if c != nil {
		b.disconnect(c)
	}
	return nil
}

// disconnect takes a connection off, once, and tells the watchers.
func (b *Bus) disconnect(c *Conn) {
	b.mu.Lock()
	c.cut = true
	_, there := b.conns[c.id]
	delete(b.conns, c.id)
	b.mu.Unlock()
	b.remove(func(s *subscription) bool { return s.conn == c })
	if !there {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tellLocked(c.id, false)
}

// OnConnection implements bus.Server.
func (b *Bus) OnConnection(fn func(id bus.ConnID, up bool)) (stop func(), err error) {
	w := &watcher{pump: pump.New[change](buffer)}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { w.pump.Run(ctx, func(c change) { fn(c.id, c.up) }) })
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.watchers == nil {
		b.watchers = map[*watcher]struct{}{}
	}
	b.watchers[w] = struct{}{}
	return func() {
		b.mu.Lock()
		delete(b.watchers, w)
		b.mu.Unlock()
		cancel()
		running.Wait()
	}, nil
}
