package gateway

import (
	"cmp"
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"slices"

	"github.com/gatebus/gatebus/bus"
)

// glance is how much of the index is looked at before others have it in between.
const glance = 1024

// slowly is what all is of the index, which is locked for reading, and lets others
// have it from time to time: what comes or goes meanwhile may be among it or not, all
// else is once.
func slowly[T any](x *index, all iter.Seq[T]) iter.Seq[T] {
	return func(yield func(T) bool) {
		n := 0
		for v := range all {
			if n++; n%glance == 0 {
				x.mu.RUnlock()
				x.mu.RLock()
			}
			if !yield(v) {
				return
			}
		}
	}
}

// pageBytes is about how much of a list is told at once.
const pageBytes = 512 << 10

func (g *Gateway) info(r bus.InfoRequest) (a bus.Answer, err error) {
	x := g.index
	x.mu.RLock()
	defer x.mu.RUnlock()
	c := x.getLocked(r.Client)
	if c == nil || c.presence.offline() {
		return a, nil
	}
	info, _, err := x.describeLocked(c, []string{bus.FieldUID, bus.FieldGroups, bus.FieldSession, bus.FieldOpen})
	if err != nil {
		return a, err
	}
	a.Clients, a.Items = 1, []bus.ClientInfo{info}
	return a, nil
}

// jsonSize is how many bytes a text has in JSON, at most.
func jsonSize(s string) (n int) {
	for i := range len(s) {
		switch b := s[i]; {
		case b < ' ', b == 0xe2: // \u0001; of three bytes that begin with 0xe2, \u2028
			n += 6
		case b == '"', b == '\\':
			n += 2
		default:
			n++
		}
	}
	return n
}

// describeLocked tells the fields of a client, and about how many bytes they are.
func (x *index) describeLocked(c *client, fields []string) (info bus.ClientInfo, size int, err error) {
	info.Client = c.id
	size = 64 + len(c.id)
	for _, f := range fields {
		switch f {
		case bus.FieldUID:
			info.UID = c.uid
			size += jsonSize(c.uid)
		case bus.FieldGroups:
			info.Groups = slices.Clone(c.groups)
			for _, name := range c.groups {
				size += jsonSize(name) + 3
			}
		case bus.FieldSession:
			c.mu.Lock()
			session, version, _ := c.given.sessionOf()
			c.mu.Unlock()
			if info.Version = version; session != "" {
				info.Session = json.RawMessage(session)
			}
			size += len(session)
		case bus.FieldOpen:
			info.Open, info.Connected = new(bus.OpenInfo), c.connected.UTC()
			if err := json.Unmarshal(c.open, info.Open); err != nil {
				return info, 0, fmt.Errorf("gateway: what %s asked for: %w", c.id, err)
			}
			size += len(c.open)
		}
	}
	return info, size, nil
}

func (g *Gateway) countOf(r bus.CountRequest) (a bus.Answer, err error) {
	x := g.index
	x.mu.RLock()
	defer x.mu.RUnlock()
	switch {
	case len(r.Clients) > 0:
		for _, id := range r.Clients {
			n := 0
			if c := x.getLocked(id); c != nil && c.presence.online() {
				n = 1
			}
			a.Counts = append(a.Counts, n)
		}
	case len(r.UIDs) > 0:
		for _, uid := range r.UIDs {
			a.Counts = append(a.Counts, x.countSetLocked(x.uids[uid], r.Claims))
		}
	case len(r.Groups) > 0:
		for _, name := range r.Groups {
			a.Counts = append(a.Counts, x.countSetLocked(x.groups[name], false))
		}
	default:
		n := x.countLocked(&r)
		a.Count = &n
	}
	return a, nil
}

// countLocked is how many clients, uids or groups there are, in a group if one is named.
func (x *index) countLocked(r *bus.CountRequest) (n int) {
	switch {
	case r.Of == bus.OfClients && r.Group != "":
		return x.countSetLocked(x.groups[r.Group], false)
	case r.Of == bus.OfClients:
		return int(x.present.Load())
	case r.Group != "":
		return len(x.uidsOfLocked(r.Group))
	}
	for range x.presentLocked(x.namesOf(r.Of)) {
		n++
	}
	return n
}

// countSetLocked is how many of the clients are online, with claims also how many may
// yet be.
func (x *index) countSetLocked(set map[*client]struct{}, claims bool) (n int) {
	for c := range slowly(x, maps.Keys(set)) {
		if c.presence.online() || claims && !c.presence.offline() {
			n++
		}
	}
	return n
}

// namesOf are the uids or the groups.
func (x *index) namesOf(o bus.Of) members {
	if o == bus.OfUIDs {
		return x.uids
	}
	return x.groups
}

// presentLocked are the names that have a client online.
func (x *index) presentLocked(m members) iter.Seq[string] {
	return func(yield func(string) bool) {
		for name := range slowly(x, maps.Keys(m)) {
			if anyOnline(m[name]) && !yield(name) {
				return
			}
		}
	}
}

func anyOnline(set map[*client]struct{}) bool {
	for c := range set {
		if c.presence.online() {
			return true
		}
	}
	return false
}

// uidsOfLocked are the uids of the clients in a group that are online, and how many
// each has there.
func (x *index) uidsOfLocked(group string) map[string]int {
	uids := map[string]int{}
	for c := range slowly(x, maps.Keys(x.groups[group])) {
		if c.uid != "" && c.presence.online() {
			uids[c.uid]++
		}
	}
	return uids
}

func (g *Gateway) list(r bus.ListRequest) (bus.Answer, error) {
	limit := cmp.Or(r.Limit, bus.DefaultPage)
	if r.Of == bus.OfClients {
		return g.index.listClients(&r, limit)
	}
	return g.index.listNames(&r, limit), nil
}

func (x *index) listClients(r *bus.ListRequest, limit int) (a bus.Answer, err error) {
	after := uint64(0)
	if r.After != "" {
		name, epoch, number, err := bus.ClientID(r.After).Parts()
		if err != nil {
			return a, err
		}
		if name != x.gateway || epoch != x.epoch {
			return a, fmt.Errorf("gateway: list after %q: it is no client of this life of the gateway; begin anew", r.After)
		}
		after = number
	}
	x.mu.RLock()
	defer x.mu.RUnlock()
	numbers, more := smallest(func(yield func(uint64) bool) {
		for c := range slowly(x, x.listedLocked(r)) {
			if c.number > after && c.presence.online() && !yield(c.number) {
				return
			}
		}
	}, limit)
	bytes := 0
	for _, n := range numbers {
		c := x.clients[n]
		if c == nil || !c.presence.online() {
			after = n // it has left in between
			continue
		}
		info, size, err := x.describeLocked(c, r.Fields)
		if err != nil {
			return a, err
		}
		if bytes += size; len(a.Items) > 0 && bytes > pageBytes {
			more = true
			break
		}
		a.Items = append(a.Items, info)
		after = n
	}
	if more {
		a.Next = string(bus.NewClientID(x.gateway, x.epoch, after))
	}
	return a, nil
}

// listedLocked are the clients that a list is of, each once.
func (x *index) listedLocked(r *bus.ListRequest) iter.Seq[*client] {
	switch {
	case r.Group != "":
		return maps.Keys(x.groups[r.Group])
	case len(r.UIDs) > 0:
		uids := slices.Compact(slices.Sorted(slices.Values(r.UIDs)))
		return func(yield func(*client) bool) {
			for _, uid := range uids {
				for c := range x.uids[uid] {
					if !yield(c) {
						return
					}
				}
			}
		}
	}
	return maps.Values(x.clients)
}

func (x *index) listNames(r *bus.ListRequest, limit int) (a bus.Answer) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	of := x.namesOf(r.Of)
	all, number := x.presentLocked(of), func(name string) int { return x.countSetLocked(of[name], false) }
	if r.Group != "" {
		in := x.uidsOfLocked(r.Group)
		all, number = maps.Keys(in), func(name string) int { return in[name] }
	}
	names, more := smallest(func(yield func(string) bool) {
		for name := range all {
			if name > r.After && !yield(name) {
				return
			}
		}
	}, limit)
	bytes, last := 0, r.After
	for _, name := range names {
		n := number(name)
		if n == 0 {
			last = name // its clients have left in between
			continue
		}
		if bytes += jsonSize(name) + 32; len(a.Names) > 0 && bytes > pageBytes {
			more = true
			break
		}
		a.Names = append(a.Names, bus.NameCount{Name: name, Clients: n})
		last = name
	}
	if more {
		a.Next = last
	}
	return a
}

// smallest are the k smallest values, in order, and whether there are more. It keeps
// no more than those: a heap with the largest on top.
func smallest[T cmp.Ordered](all iter.Seq[T], k int) (values []T, more bool) {
	for v := range all {
		if len(values) < k {
			values = append(values, v)
			for i := len(values) - 1; i > 0 && values[(i-1)/2] < values[i]; i = (i - 1) / 2 {
				values[i], values[(i-1)/2] = values[(i-1)/2], values[i]
			}
			continue
		}
		more = true
		if v < values[0] {
			values[0] = v
			sink(values)
		}
	}
	slices.Sort(values)
	return values, more
}

// sink puts the first value of a heap in its place.
func sink[T cmp.Ordered](heap []T) {
	for i := 0; ; {
		largest := i
		for _, child := range []int{2*i + 1, 2*i + 2} {
			if child < len(heap) && heap[child] > heap[largest] {
				largest = child
			}
		}
		if largest == i {
			return
		}
		heap[i], heap[largest] = heap[largest], heap[i]
		i = largest
	}
}
