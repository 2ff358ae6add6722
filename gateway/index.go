package gateway

import (
	"sync"

	"github.com/gatebus/gatebus/bus"
)

// index finds clients by id, uid and group.
type index struct {
	// set at construction
	gateway bus.GatewayID
	epoch   bus.Epoch

	mu      sync.RWMutex
	clients map[uint64]*client // by the number in their ids
	uids    members
	groups  members
}

// members are sets of clients by name; a name without clients does not stand.
type members map[string]map[*client]struct{}

func (m members) add(name string, c *client) {
	set := m[name]
	if set == nil {
		set = map[*client]struct{}{}
		m[name] = set
	}
	set[c] = struct{}{}
}

func (m members) remove(name string, c *client) {
	if set := m[name]; set != nil {
		delete(set, c)
		if len(set) == 0 {
			delete(m, name)
		}
	}
}

func newIndex(g bus.GatewayID, epoch bus.Epoch) *index {
	return &index{gateway: g, epoch: epoch, clients: map[uint64]*client{}, uids: members{}, groups: members{}}
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
		x.uids.add(uid, c)
	}
	for _, name := range groups {
		c.groups = append(c.groups, name)
		x.groups.add(name, c)
	}
}

func (x *index) remove(c *client) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.clients[c.number] != c {
		return
	}
	delete(x.clients, c.number)
	if c.uid != "" {
		x.uids.remove(c.uid, c)
	}
	for _, name := range c.groups {
		x.groups.remove(name, c)
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
