package parity_test

import (
	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/worker"
)

var (
	ann  = worker.NameCount{Name: "ann", Clients: 2}
	bob  = worker.NameCount{Name: "bob", Clients: 1}
	blue = worker.NameCount{Name: "blue", Clients: 2}
	red  = worker.NameCount{Name: "red", Clients: 2}
)

// What asks.
var _ = row(map[string]func(*pond){
	"isOnline": func(p *pond) {
		is(p, true)(p.cluster.Client(p.guest.id).Online(p.Context()))
		gone := p.gone(p.bob)
		is(p, false)(p.cluster.Client(gone).Online(p.Context()))
		is(p, []bool{true, false, false})(p.cluster.Online(p.Context(), p.ann1.id, gone, "g9-1-1"))
	},
	"isUidOnline": func(p *pond) {
		is(p, []int{2})(p.cluster.CountUIDClients(p.Context(), "ann"))
		is(p, []int{0})(p.cluster.CountUIDClients(p.Context(), "nobody"))
	},
	"isUidsOnline": func(p *pond) {
		is(p, []int{1, 0, 2})(p.cluster.CountUIDClients(p.Context(), "bob", "nobody", "ann"))
	},
	"getClientIdByUid": func(p *pond) {
		p.lists(worker.ClientsQuery{UIDs: []string{"ann"}}, p.ann1, p.ann2)
		p.lists(worker.ClientsQuery{UIDs: []string{"nobody"}})
	},
	"batchGetClientIdByUid": func(p *pond) {
		infos := p.lists(worker.ClientsQuery{UIDs: []string{"ann", "nobody", "bob"}, Fields: []string{worker.FieldUID}}, p.ann1, p.ann2, p.bob)
		if infos[p.ann2.id].UID != "ann" || infos[p.bob.id].UID != "bob" {
			p.Errorf("%v", infos)
		}
	},
	"getUidByClientId": func(p *pond) {
		for m, want := range map[*member]string{p.ann2: "ann", p.guest: ""} {
			info, err := p.cluster.Client(m.id).Info(p.Context())
			is(p, want)(info.UID, err)
		}
		_, err := p.cluster.Client(p.gone(p.bob)).Info(p.Context())
		p.noClient(err)
	},
	"getAllClientSessions": func(p *pond) {
		infos := p.lists(worker.ClientsQuery{Fields: []string{worker.FieldSession}}, p.all...)
		for m, want := range map[*member]string{p.ann1: `{"n":1}`, p.ann2: `{"n":2}`, p.bob: `{"n":3}`, p.guest: ""} {
			is(p, want)(string(infos[m.id].Session), nil)
		}
	},
	"getClientSessionsByGroup": func(p *pond) {
		infos := p.lists(worker.ClientsQuery{Group: "blue", Fields: []string{worker.FieldSession}}, p.ann2, p.bob)
		is(p, `{"n":3}`)(string(infos[p.bob.id].Session), nil)
	},
	"getAllClientIdCount":     func(p *pond) { is(p, 4)(p.cluster.CountClients(p.Context())) },
	"getClientIdCountByGroup": func(p *pond) { is(p, []int{2})(p.cluster.CountGroupClients(p.Context(), "red")) },
	"batchGetClientIdCountByGroup": func(p *pond) {
		is(p, []int{2, 0, 2})(p.cluster.CountGroupClients(p.Context(), "red", "none", "blue"))
	},
	"getAllClientIdList":     func(p *pond) { p.lists(worker.ClientsQuery{}, p.all...) },
	"getClientIdListByGroup": func(p *pond) { p.lists(worker.ClientsQuery{Group: "red"}, p.ann1, p.ann2) },
	"getAllUidList":          func(p *pond) { p.names(p.cluster.UIDs(p.Context(), worker.NamesQuery{}), ann, bob) },
	"getUidListByGroup": func(p *pond) {
		p.names(p.cluster.UIDs(p.Context(), worker.NamesQuery{Group: "red"}), ann)
		p.names(p.cluster.UIDs(p.Context(), worker.NamesQuery{Group: "blue"}), worker.NameCount{Name: "ann", Clients: 1}, bob)
	},
	"getAllUidCount": func(p *pond) { is(p, 2)(p.cluster.CountUIDs(p.Context(), "")) },
	"getUidCountByGroup": func(p *pond) {
		is(p, 1)(p.cluster.CountUIDs(p.Context(), "red"))
		is(p, 2)(p.cluster.CountUIDs(p.Context(), "blue"))
	},
	"getAllGroupIdList": func(p *pond) {
		p.names(p.cluster.Groups(p.Context(), worker.NamesQuery{}), blue, red)
		is(p, 2)(p.cluster.CountGroups(p.Context()))
	},
	"getAllGroupUidList":       func(p *pond) { is(p, map[string]int{"blue": 2, "red": 1})(p.uidsOfGroups()) },
	"getAllGroupUidCount":      func(p *pond) { is(p, map[string]int{"blue": 2, "red": 1})(p.uidsOfGroups()) },
	"getAllGroupClientIdCount": func(p *pond) { p.names(p.cluster.Groups(p.Context(), worker.NamesQuery{}), blue, red) },
	"getAllGroupClientIdList": func(p *pond) { // one pass over all clients, of which each tells its groups
		groups := map[string][]bus.ClientID{}
		for id, info := range p.lists(worker.ClientsQuery{Fields: []string{worker.FieldGroups}}, p.all...) {
			for _, g := range info.Groups {
				groups[g] = append(groups[g], id)
			}
		}
		if len(groups) != 2 || len(groups["red"]) != 2 || len(groups["blue"]) != 2 {
			p.Errorf("%v", groups)
		}
	},
})

// uidsOfGroups are the groups, and how many uids each has.
func (p *pond) uidsOfGroups() (map[string]int, error) {
	all := map[string]int{}
	for g, err := range p.cluster.Groups(p.Context(), worker.NamesQuery{}) {
		if err != nil {
			return nil, err
		}
		for u, err := range p.cluster.UIDs(p.Context(), worker.NamesQuery{Group: g.Name}) {
			if err != nil {
				return nil, err
			}
			if u.Clients > 0 {
				all[g.Name]++
			}
		}
	}
	return all, nil
}
