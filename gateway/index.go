package gateway

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/gatebus/gatebus/bus"
)

// index finds clients by id, uid and group.
type index struct {
	// set at construction
	gateway bus.GatewayID
	epoch   bus.Epoch
	// changed is told when a uid or group has its first client, or had its last
	// one; with the index locked, which it must not come back to.
	changed func(scope bus.Scope, name string, present bool)
	// removed is told that a client is gone, likewise.
	removed func(*client)

	mu      sync.RWMutex
	clients map[uint64]*client // by the number in their ids
	uids    members
	groups  members

	present atomic.Int64 // clients that are online
}

// presence is where a client is in its life; it never goes back.
type presence struct{ atomic.Int32 }

const (
	connecting int32 = iota
	online           // a worker has accepted it
	offline          // its end has begun
)

func (p *presence) online() bool  { return p.Load() == online }
func (p *presence) offline() bool { return p.Load() == offline }

// online notes that a client was accepted.
func (x *index) online(c *client) {
	if c.presence.CompareAndSwap(connecting, online) {
		x.present.Add(1)
	}
}

// offline notes that the end of a client has begun: it is found no more, though its
// last events are still to be handled.
func (x *index) offline(c *client) {
	if c.presence.Swap(offline) == online {
		x.present.Add(-1)
	}
}

// members are sets of clients by name; a name without clients does not stand.
type members map[string]map[*client]struct{}

// add tells whether the name is a new one.
func (m members) add(name string, c *client) (first bool) {
	set := m[name]
	if first = set == nil; first {
		set = map[*client]struct{}{}
		m[name] = set
	}
	set[c] = struct{}{}
	return first
}

// remove tells whether the name has gone with the client.
func (m members) remove(name string, c *client) (last bool) {
	if set := m[name]; set != nil {
		delete(set, c)
		if last = len(set) == 0; last {
			delete(m, name)
		}
	}
	return last
}

func newIndex(g bus.GatewayID, epoch bus.Epoch, changed func(bus.Scope, string, bool), removed func(*client)) *index {
	return &index{
		gateway: g, epoch: epoch, changed: changed, removed: removed,
		clients: map[uint64]*client{}, uids: members{}, groups: members{},
	}
}

func (x *index) membersOf(scope bus.Scope) members {
	if scope == bus.ToUID {
		return x.uids
	}
	return x.groups
}

// namesLocked are the uids, or the groups, that clients have.
func (x *index) namesLocked(scope bus.Scope) []string {
	return slices.Collect(maps.Keys(x.membersOf(scope)))
}

func (x *index) hasLocked(scope bus.Scope, name string) bool {
	_, ok := x.membersOf(scope)[name]
	return ok
}

func (x *index) len() int {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return len(x.clients)
}

// names is how many uids and groups have clients.
func (x *index) names() (uids, groups int) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return len(x.uids), len(x.groups)
}

func (x *index) get(id bus.ClientID) *client {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.getLocked(id)
}

func (x *index) getLocked(id bus.ClientID) *client {
	g, epoch, n, err := id.Parts()
	if err != nil || g != x.gateway || epoch != x.epoch {
		return nil
	}
	return x.clients[n]
}

// number finds a client by the number in its id.
func (x *index) number(n uint64) *client {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.clients[n]
}

func (x *index) add(c *client) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.clients[c.number] = c
}

func (x *index) remove(c *client) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.clients[c.number] != c {
		return
	}
	delete(x.clients, c.number)
	x.removed(c)
	if c.uid != "" && x.uids.remove(c.uid, c) {
		x.changed(bus.ToUID, c.uid, false)
	}
	for _, name := range c.groups {
		if x.groups.remove(name, c) {
			x.changed(bus.ToGroup, name, false)
		}
	}
}

// each calls fn for every client that a push goes to, each once. fn is called
// with the index locked: it must not come back to it.
func (x *index) each(t bus.Target, names []string, fn func(*client)) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	x.eachLocked(t, names, fn)
}

func (x *index) eachLocked(t bus.Target, names []string, fn func(*client)) {
	switch t.Scope {
	case bus.ToClient:
		if c := x.getLocked(bus.ClientID(t.Name)); c != nil {
			fn(c)
		}
	case bus.ToUID:
		for c := range x.uids[t.Name] {
			fn(c)
		}
	case bus.ToGroup:
		for c := range x.groups[t.Name] {
			fn(c)
		}
	case bus.ToAll:
		for _, c := range x.clients {
			fn(c)
		}
	case bus.ToClients, bus.ToUIDs, bus.ToGroups:
		met := map[*client]struct{}{}
		for _, name := range names {
			x.eachLocked(bus.Target{Scope: t.Scope.One(), Name: name}, nil, func(c *client) {
				if _, again := met[c]; !again {
					met[c] = struct{}{}
					fn(c)
				}
			})
		}
	}
}

// all is a snapshot of the clients.
func (x *index) all() []*client {
	x.mu.RLock()
	defer x.mu.RUnlock()
	cs := make([]*client, 0, len(x.clients))
	for _, c := range x.clients {
		cs = append(cs, c)
	}
	return cs
}
