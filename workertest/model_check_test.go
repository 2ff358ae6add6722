package workertest_test

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/worker"
)

// check asks for all that can be asked for.
func (m *model) check() {
	ctx, api := m.t.Context(), m.c.Cluster()
	n, err := api.CountClients(ctx)
	m.must("count", err)
	m.equal("clients", n, len(m.clients))

	byUID, byGroup := map[string]int{}, map[string]int{}
	for _, c := range m.clients {
		if c.uid != "" {
			byUID[c.uid]++
		}
		for g := range c.groups {
			byGroup[g]++
		}
	}
	m.names("uids", api.UIDs(ctx, worker.NamesQuery{Page: 1 + m.rng.IntN(3)}), byUID)
	m.names("groups", api.Groups(ctx, worker.NamesQuery{Page: 1 + m.rng.IntN(3)}), byGroup)
	n, err = api.CountUIDs(ctx, "")
	m.must("count uids", err)
	m.equal("count uids", n, len(byUID))
	n, err = api.CountGroups(ctx)
	m.must("count groups", err)
	m.equal("count groups", n, len(byGroup))
	counts, err := api.CountUIDClients(ctx, uids...)
	m.must("count of uids", err)
	for i, uid := range uids {
		m.equal("clients of "+uid, counts[i], byUID[uid])
	}
	counts, err = api.CountGroupClients(ctx, groups...)
	m.must("count of groups", err)
	for i, g := range groups {
		m.equal("clients in "+g, counts[i], byGroup[g])
	}

	m.list(worker.ClientsQuery{}, func(*member) bool { return true })
	group := pick(m, groups)
	m.list(worker.ClientsQuery{Group: group}, func(c *member) bool { return c.groups[group] })
	some := append(some(m, uids), pick(m, uids))
	m.list(worker.ClientsQuery{UIDs: some}, func(c *member) bool { return slices.Contains(some, c.uid) })
	inGroup := map[string]int{}
	for _, c := range m.clients {
		if c.uid != "" && c.groups[group] {
			inGroup[c.uid]++
		}
	}
	m.names("uids of "+group, api.UIDs(ctx, worker.NamesQuery{Group: group, Page: 1}), inGroup)
	n, err = api.CountUIDs(ctx, group)
	m.must("count uids of a group", err)
	m.equal("count uids of "+group, n, len(inGroup))

	if len(m.clients) > 0 {
		c := pick(m, m.clients)
		info, err := api.Client(c.id).Info(ctx)
		m.must("info", err)
		m.described(c, &info)
		s, err := api.Client(c.id).Session(ctx)
		m.must("session", err)
		m.equal("session", s.Version, c.version)
		online, err := api.Online(ctx, c.id, "g1-1-1", "g9-1-1")
		m.must("online", err)
		m.equal("online", online, []bool{true, false, false})
	}
}

func (m *model) names(what string, list func(func(worker.NameCount, error) bool), want map[string]int) {
	m.t.Helper()
	got, last := map[string]int{}, ""
	for n, err := range list {
		m.must(what, err)
		if n.Name <= last && len(got) > 0 {
			m.t.Errorf("%s: %q comes after %q", what, n.Name, last)
		}
		got[n.Name], last = n.Clients, n.Name
	}
	m.equal(what, got, want)
}

// list lists clients from a random one on, in pages of a random size.
func (m *model) list(q worker.ClientsQuery, holds func(*member) bool) {
	m.t.Helper()
	q.Fields = []string{worker.FieldUID, worker.FieldGroups, worker.FieldSession, worker.FieldOpen}
	q.Page = 1 + m.rng.IntN(5)
	want := map[bus.ClientID]*member{}
	if len(m.clients) > 0 && m.rng.IntN(2) == 0 {
		q.After = pick(m, m.clients).id
	}
	for _, c := range m.where(holds) {
		if q.After == "" || after(c.id, q.After) {
			want[c.id] = c
		}
	}
	last := bus.ClientID("")
	for info, err := range m.c.Cluster().Clients(m.t.Context(), q) {
		m.must("list", err)
		c := want[info.Client]
		if c == nil || last != "" && !after(info.Client, last) {
			m.t.Errorf("%+v: %s is listed after %q", q, info.Client, last)
			return
		}
		delete(want, info.Client)
		last = info.Client
		m.described(c, &info)
	}
	for id := range want {
		m.t.Errorf("%+v: %s is not listed", q, id)
	}
}

func after(a, b bus.ClientID) bool {
	ga, _, na, _ := a.Parts()
	gb, _, nb, _ := b.Parts()
	return ga > gb || ga == gb && na > nb
}

func (m *model) described(c *member, info *worker.ClientInfo) {
	m.t.Helper()
	m.equal("uid", info.UID, c.uid)
	got := slices.Sorted(slices.Values(info.Groups))
	if want := slices.Sorted(maps.Keys(c.groups)); !slices.Equal(got, want) {
		m.t.Errorf("%s is in %q, want %q", c.id, got, want)
	}
	m.equal("version of the session of "+string(c.id), info.Version, c.version)
	var session any
	if len(info.Session) > 0 {
		d := json.NewDecoder(strings.NewReader(string(info.Session)))
		d.UseNumber()
		m.must("session", d.Decode(&session))
	}
	var want any
	if c.session != nil {
		want = c.session
	}
	if marshal(session) != marshal(want) {
		m.t.Errorf("session of %s: %s, want %s", c.id, marshal(session), marshal(want))
	}
	if info.Open == nil || info.Open.Client != c.id || info.Connected.IsZero() {
		m.t.Errorf("%s: it asked for %+v at %v", c.id, info.Open, info.Connected)
	}
}
