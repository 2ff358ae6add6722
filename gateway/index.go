package gateway

import (
	"maps"
	"slices"
	"sync"

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

	mu      sync.RWMutex
	clients map[uint64]*client // by the number in their ids
	uids    members
	groups  members
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

func newIndex(g bus.GatewayID, epoch bus.Epoch, changed func(bus.Scope, string, bool)) *index {
	return &index{
		gateway: g, epoch: epoch, changed: changed,
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

// bind gives a client its uid and groups, as the reply to its open event said.
// A client that was removed meanwhile stays out.
func (x *index) bind(c *client, uid string, groups []string) {
	if uid == "" && len(groups) == 0 {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.clients[c.number] != c {
		return
	}
	if uid != "" {
		c.uid = uid
		if x.uids.add(uid, c) {
			x.changed(bus.ToUID, uid, true)
		}
	}
	for _, name := range groups {
		c.groups = append(c.groups, name)
		if x.groups.add(name, c) {
			x.changed(bus.ToGroup, name, true)
		}
	}
}

func (x *index) remove(c *client) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.clients[c.number] != c {
		return
	}
	delete(x.clients, c.number)
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
func (x *index) each(t bus.Target, fn func(*client)) {
	x.mu.RLock()
	defer x.mu.RUnlock()
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
