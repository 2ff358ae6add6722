package parity_test

import (
	"encoding/json"
	"slices"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/worker"
)

// What sends, closes, and changes what a client has.
var _ = row(map[string]func(*pond){
	"sendToAll": func(p *pond) {
		p.must(p.cluster.SendAll(worker.Text, []byte("hi")))
		p.gets("hi", p.all...)
	},
	"sendToAll_client_ids": func(p *pond) {
		p.must(p.cluster.SendClients(ids(p.ann1, p.guest), worker.Text, []byte("hi")))
		p.gets("hi", p.ann1, p.guest)
	},
	"sendToAll_exclude": func(p *pond) {
		p.must(p.cluster.SendAll(worker.Text, []byte("hi"), p.ann1.id, p.guest.id))
		p.gets("hi", p.ann2, p.bob)
	},
	"sendToClient": func(p *pond) {
		p.must(p.cluster.Client(p.bob.id).Send(worker.Text, []byte("hi")))
		p.gets("hi", p.bob)
	},
	"sendToCurrentClient": func(p *pond) {
		p.bob.Send("send me")
		p.bob.Expect("one")
		p.bob.Expect("two") // the answer, after what was sent before
	},
	"sendToUid": func(p *pond) {
		p.must(p.cluster.SendUID("ann", worker.Text, []byte("hi")))
		p.gets("hi", p.ann1, p.ann2)
	},
	"sendToUid_several": func(p *pond) {
		p.must(p.cluster.SendUIDs([]string{"ann", "bob", "nobody", "ann"}, worker.Text, []byte("hi"), p.ann2.id))
		p.gets("hi", p.ann1, p.bob)
	},
	"sendToGroup": func(p *pond) {
		p.must(p.cluster.SendGroup("blue", worker.Text, []byte("hi")))
		p.gets("hi", p.ann2, p.bob)
	},
	"sendToGroup_several": func(p *pond) {
		p.must(p.cluster.SendGroups([]string{"blue", "red"}, worker.Text, []byte("hi")))
		p.gets("hi", p.ann1, p.ann2, p.bob)
	},
	"sendToGroup_exclude": func(p *pond) {
		p.must(p.cluster.SendGroup("red", worker.Text, []byte("hi"), p.ann1.id))
		p.gets("hi", p.ann2)
	},
	"closeClient": func(p *pond) {
		is(p, true)(p.cluster.Client(p.bob.id).Close(p.Context(), 4100, "enough"))
		p.closed(p.bob, 4100, "enough")
		is(p, false)(p.cluster.Client(p.bob.id).Close(p.Context(), 4100, "enough"))
	},
	"closeClient_message": func(p *pond) {
		is(p, true)(p.cluster.Client(p.bob.id).CloseWith(p.Context(), worker.CloseOptions{Kind: worker.Text, Last: []byte("bye")}))
		p.bob.Expect("bye")
		p.closed(p.bob, 4002, "")
	},
	"closeCurrentClient": func(p *pond) {
		p.bob.Send("close me")
		p.bob.Expect("bye")
		p.closed(p.bob, 4100, "as you said")
	},
	"destoryClient": func(p *pond) {
		is(p, true)(p.cluster.Client(p.bob.id).CloseWith(p.Context(), worker.CloseOptions{Abort: true}))
		p.closed(p.bob, 1006, "")
	},
	"destoryCurrentClient": func(p *pond) {
		p.bob.Send("destroy me")
		p.closed(p.bob, 1006, "")
	},
	"bindUid": func(p *pond) {
		p.must(p.cluster.Client(p.guest.id).Bind(p.Context(), "ann", worker.AllowOthers))
		p.must(p.cluster.Client(p.bob.id).Bind(p.Context(), "carl", worker.AllowOthers)) // and bob no more
		p.lists(worker.ClientsQuery{UIDs: []string{"ann"}}, p.ann1, p.ann2, p.guest)
		p.names(p.cluster.UIDs(p.Context(), worker.NamesQuery{}), worker.NameCount{Name: "ann", Clients: 3}, worker.NameCount{Name: "carl", Clients: 1})
	},
	"unbindUid": func(p *pond) {
		p.must(p.cluster.Client(p.ann1.id).Unbind(p.Context()))
		p.lists(worker.ClientsQuery{UIDs: []string{"ann"}}, p.ann2)
	},
	"joinGroup": func(p *pond) {
		p.must(p.cluster.Client(p.guest.id).Join(p.Context(), "red", "green"))
		p.lists(worker.ClientsQuery{Group: "red"}, p.ann1, p.ann2, p.guest)
		p.lists(worker.ClientsQuery{Group: "green"}, p.guest)
	},
	"leaveGroup": func(p *pond) {
		p.must(p.cluster.Client(p.ann2.id).Leave(p.Context(), "red"))
		p.lists(worker.ClientsQuery{Group: "red"}, p.ann1)
		p.lists(worker.ClientsQuery{Group: "blue"}, p.ann2, p.bob)
	},
	"ungroup": func(p *pond) {
		is(p, 2)(p.cluster.Dissolve(p.Context(), "red"))
		p.lists(worker.ClientsQuery{Group: "red"})
		p.names(p.cluster.Groups(p.Context(), worker.NamesQuery{}), worker.NameCount{Name: "blue", Clients: 2})
	},
	"setSession": func(p *pond) {
		p.must(p.cluster.Client(p.bob.id).SetSession(p.Context(), json.RawMessage(`{"n":7}`)))
		p.bob.Send("count") // the handler sees it
		p.bob.Expect("7")
	},
	"updateSession": func(p *pond) {
		bob := p.cluster.Client(p.bob.id)
		p.must(bob.MergeSession(p.Context(), json.RawMessage(`{"deep":{"a":1}}`)))
		p.must(bob.MergeSession(p.Context(), json.RawMessage(`{"deep":{"b":2}}`)))
		p.session(bob, `{"deep":{"a":1,"b":2},"n":3}`)
	},
	"getSession": func(p *pond) {
		p.session(p.cluster.Client(p.ann2.id), `{"n":2}`)
		p.session(p.cluster.Client(p.guest.id), "")
		gone := p.gone(p.bob)
		_, err := p.cluster.Client(gone).Session(p.Context())
		p.noClient(err)
	},
	"session_is_written_back": func(p *pond) {
		for _, n := range []string{"3", "4", "5"} { // through any worker
			p.bob.Send("count")
			p.bob.Expect(n)
		}
		p.session(p.cluster.Client(p.bob.id), `{"n":6}`)
	},
	"GatewayClient": func(p *pond) { // p.cluster is no worker of the group
		is(p, 4)(p.cluster.Push(p.Context(), bus.Push{Target: bus.Target{Scope: bus.ToAll}, Kind: worker.Text, Data: []byte("hi")}))
		p.gets("hi", p.all...)
	},
})

func (p *pond) session(c worker.Client, want string) {
	p.Helper()
	s, err := c.Session(p.Context())
	if err != nil || string(s.Data) != want {
		p.Errorf("session %s, %v, want %s", s.Data, err, want)
	}
}

func (p *pond) closed(m *member, code int, reason string) {
	p.Helper()
	if c, r := m.Closed(); c != code || r != reason && c != 1006 {
		p.Errorf("closed with %d %q, want %d %q", c, r, code, reason)
	}
}

// gone has a client leave.
func (p *pond) gone(m *member) bus.ClientID {
	p.Helper()
	m.Close()
	p.c.Eventually("the client is gone", func() bool {
		online, err := p.cluster.Client(m.id).Online(p.Context())
		return err == nil && !online
	})
	p.all = slices.DeleteFunc(p.all, func(o *member) bool { return o == m })
	return m.id
}
