package api

import (
	"strings"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/worker"
)

// Clients is a page of a list of clients.
type Clients struct {
	Clients []worker.ClientInfo `json:"clients"`
	// Next is the after of the next page; without it this is the last one.
	Next bus.ClientID `json:"next,omitempty"`
	Incomplete
}

func listClients(c *call) (any, error) {
	q := worker.ClientsQuery{UIDs: c.query["uid"], After: bus.ClientID(c.query.Get("after"))}
	for _, uid := range q.UIDs {
		if err := bus.CheckToken(uid); err != nil {
			return nil, problem(badRequest, "uid: %s", plain(err))
		}
	}
	if c.query.Has("after") {
		if _, _, _, err := q.After.Parts(); err != nil {
			return nil, problem(badRequest, "after: %s", plain(err))
		}
	}
	var err error
	if q.Group, err = c.name("group"); err != nil {
		return nil, err
	}
	if q.Page, err = c.limit(); err != nil {
		return nil, err
	}
	if fields := c.query.Get("fields"); fields != "" {
		q.Fields = strings.Split(fields, ",")
	}
	page, next, err := c.cluster.ClientsPage(c.ctx, q)
	return &Clients{Clients: append([]worker.ClientInfo{}, page...), Next: next}, err
}

// Names is a page of a list of uids or groups.
type Names struct {
	Names []worker.NameCount `json:"names"`
	// Next is the after of the next page; without it this is the last one.
	Next string `json:"next,omitempty"`
	Incomplete
}

func (c *call) namesQuery() (q worker.NamesQuery, err error) {
	if q.Group, err = c.name("group"); err != nil {
		return q, err
	}
	if q.After, err = c.name("after"); err != nil {
		return q, err
	}
	q.Page, err = c.limit()
	return q, err
}

func listUIDs(c *call) (any, error) {
	q, err := c.namesQuery()
	if err != nil {
		return nil, err
	}
	page, next, err := c.cluster.UIDsPage(c.ctx, q)
	return &Names{Names: append([]worker.NameCount{}, page...), Next: next}, err
}

func listGroups(c *call) (any, error) {
	q, err := c.namesQuery()
	if err != nil {
		return nil, err
	}
	page, next, err := c.cluster.GroupsPage(c.ctx, q)
	return &Names{Names: append([]worker.NameCount{}, page...), Next: next}, err
}

// Name is a uid or group, and how many clients have it: none if nobody has.
type Name struct {
	worker.NameCount
	Incomplete
}

func getUID(c *call) (any, error) {
	n, err := c.cluster.CountUIDClients(c.ctx, c.names["uid"])
	return nameOf(c.names["uid"], n, err)
}

func getGroup(c *call) (any, error) {
	n, err := c.cluster.CountGroupClients(c.ctx, c.names["group"])
	return nameOf(c.names["group"], n, err)
}

func nameOf(name string, counts []int, err error) (any, error) {
	a := &Name{NameCount: worker.NameCount{Name: name}}
	for _, n := range counts {
		a.Clients = n
	}
	return a, err
}

// Count is how many there are.
type Count struct {
	Count int `json:"count"`
	Incomplete
}

func count(c *call) (any, error) {
	group, err := c.name("group")
	if err != nil {
		return nil, err
	}
	var a Count
	switch of := c.query.Get("of"); {
	case of == "groups" && group != "":
		return nil, problem(badRequest, "group: it goes with clients and uids, not with groups")
	case of == "groups":
		a.Count, err = c.cluster.CountGroups(c.ctx)
	case of == "uids":
		a.Count, err = c.cluster.CountUIDs(c.ctx, group)
	case of != "clients" && c.query.Has("of"):
		return nil, problem(badRequest, "of: %q is not clients, uids or groups", shorten(of))
	case group != "":
		var n []int
		n, err = c.cluster.CountGroupClients(c.ctx, group)
		for _, n := range n {
			a.Count = n
		}
	default:
		a.Count, err = c.cluster.CountClients(c.ctx)
	}
	return &a, err
}

// CountsRequest asks how many clients each of several has: exactly one field is set.
type CountsRequest struct {
	Clients *[]bus.ClientID `json:"clients,omitempty"` // 1 if it is connected, or 0
	UIDs    *[]string       `json:"uids,omitempty"`
	Groups  *[]string       `json:"groups,omitempty"`
}

// Counts is the answer, in the order of the question.
type Counts struct {
	Counts []worker.NameCount `json:"counts"`
	Incomplete
}

func counts(c *call) (any, error) {
	var r CountsRequest
	if err := c.body(&r); err != nil {
		return nil, err
	}
	var (
		names []string
		n     []int
		err   error
		asked int
	)
	if r.Clients != nil {
		asked++
		for _, id := range *r.Clients {
			names = append(names, string(id))
		}
	}
	for _, list := range []*[]string{r.UIDs, r.Groups} {
		if list != nil {
			asked++
			names = *list
		}
	}
	switch {
	case asked != 1:
		return nil, problem(badRequest, "say what is asked about by one of clients, uids and groups; here are %d of them", asked)
	case r.Clients != nil:
		var online []bool
		online, err = c.cluster.Online(c.ctx, *r.Clients...)
		n = make([]int, len(online))
		for i := range online {
			if online[i] {
				n[i] = 1
			}
		}
	case r.UIDs != nil:
		n, err = c.cluster.CountUIDClients(c.ctx, names...)
	default:
		n, err = c.cluster.CountGroupClients(c.ctx, names...)
	}
	a := Counts{Counts: []worker.NameCount{}}
	for i, name := range names[:min(len(names), len(n))] {
		a.Counts = append(a.Counts, worker.NameCount{Name: name, Clients: n[i]})
	}
	return &a, err
}

// Gateways are the gateways that this process has a link to, by name.
type Gateways struct {
	Gateways []Gateway `json:"gateways"`
}

// Gateway is one of them.
type Gateway struct {
	Gateway bus.GatewayID `json:"gateway"`
	Epoch   bus.Epoch     `json:"epoch"`
	// BusAddress is where its bus is, ClientAddress where its clients connect.
	BusAddress    string `json:"bus_address"`
	ClientAddress string `json:"client_address"`
	// Up tells whether the link is up now.
	Up bool `json:"up"`
}

func listGateways(c *call) (any, error) {
	a := Gateways{Gateways: []Gateway{}}
	for _, l := range c.cluster.Gateways() {
		a.Gateways = append(a.Gateways, Gateway{l.Gateway, l.Epoch, l.Address, l.Clients, l.Up})
	}
	return &a, nil
}
