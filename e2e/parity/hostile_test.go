package parity_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/gateway"
	"github.com/gatebus/gatebus/internal/testbed"
	"github.com/gatebus/gatebus/worker"
	"github.com/gatebus/gatebus/workertest"
)

// The names that make trouble elsewhere: those that must be carried, and those that
// must be refused.
var (
	carried = []string{
		"0", "a.b", ".", "*", ">", "gw.>", "a b", " ", "\t", "\n", "\r\n", "\x00", "%", "%2E", "%zz", "a,b", "null", `"`, `\`, "/", "~", "+",
		"grüße", "😀", "o\u0308", "\u2028", "\ufffd", "\u202e", strings.Repeat("x", bus.MaxToken), strings.Repeat("ü", bus.MaxToken/2),
	}
	refused = []string{
		"", strings.Repeat("x", bus.MaxToken+1), strings.Repeat("x", 10<<10), "\xff", "a\xc3", "\xed\xa0\x80" /* a surrogate */, "\xc0\x80", /* NUL, too long */
	}
)

// TestHostileNames carries each name faithfully, or refuses it, wherever the SDK takes
// one.
func TestHostileNames(t *testing.T) {
	p := newPond(t)
	for _, name := range carried {
		p.carries(name)
	}
	for _, name := range refused {
		p.refuses(name)
	}
	p.gets("") // nobody got anything of what was refused
}

// carries sees a name through: given at open, seen by a handler, listed, pushed to; and
// given later.
func (p *pond) carries(name string) {
	p.Helper()
	query := url.Values{"uid": {name}, "group": {name}}
	m := p.dial(1, query.Encode())
	m.Send("who am I")
	m.Expect(fmt.Sprintf("/pond [] %s [%s] ", name, name))
	for _, scope := range []bus.Scope{bus.ToUID, bus.ToGroup} {
		is(p, 1)(p.cluster.Push(p.Context(), bus.Push{Target: bus.Target{Scope: scope, Name: name}, Kind: worker.Text, Data: []byte("there")}))
		m.Expect("there")
	}
	for range 2 {
		p.must(p.cluster.SendUID(name, worker.Text, []byte("uid")))
		p.must(p.cluster.SendGroup(name, worker.Text, []byte("group")))
		p.must(p.cluster.SendUIDs([]string{name}, worker.Text, []byte("uids")))
		p.must(p.cluster.SendGroups([]string{name}, worker.Text, []byte("groups")))
		for _, want := range []string{"uid", "group", "uids", "groups"} {
			m.Expect(want)
		}
		one := worker.NameCount{Name: name, Clients: 1}
		if !p.listed(p.cluster.UIDs(p.Context(), worker.NamesQuery{}), one) || !p.listed(p.cluster.Groups(p.Context(), worker.NamesQuery{}), one) {
			p.Errorf("%q is not listed", name)
		}
		p.lists(worker.ClientsQuery{UIDs: []string{name}}, m)
		p.lists(worker.ClientsQuery{Group: name}, m)
		is(p, []int{1})(p.cluster.CountUIDClients(p.Context(), name))
		is(p, []int{1})(p.cluster.CountGroupClients(p.Context(), name))
		// Once more, by what can be done later.
		is(p, 1)(p.cluster.Unbind(p.Context(), worker.Selector{UID: name}))
		is(p, 1)(p.cluster.Dissolve(p.Context(), name))
		c := p.cluster.Client(m.id)
		p.must(c.Bind(p.Context(), name, worker.RefuseOthers))
		p.must(c.Join(p.Context(), name))
		session, err := json.Marshal(map[string]string{name: name})
		p.must(err)
		p.must(c.SetSession(p.Context(), session))
		p.must(c.MergeSession(p.Context(), json.RawMessage(`{"more":1}`)))
		s, err := c.Session(p.Context())
		p.must(err)
		var back map[string]any
		p.must(json.Unmarshal(s.Data, &back))
		if back[name] != name {
			p.Errorf("the session of key %q came back as %s", name, s.Data)
		}
		m.Send("who am I")
		m.Expect(fmt.Sprintf("/pond [] %s [%s] %s", name, name, s.Data))
	}
	p.gone(m)
}

func (p *pond) listed(list func(func(worker.NameCount, error) bool), want worker.NameCount) bool {
	p.Helper()
	found := false
	for n, err := range list {
		p.must(err)
		found = found || n == want
	}
	return found
}

// refuses wants an error from everything that takes the name of a uid or group.
func (p *pond) refuses(name string) {
	p.Helper()
	ctx, c := p.Context(), p.cluster.Client(p.bob.id)
	list := func(q worker.ClientsQuery) error {
		for _, err := range p.cluster.Clients(ctx, q) {
			return err
		}
		return nil
	}
	second := func(_ any, err error) error { return err }
	errs := map[string]error{
		"Bind":              c.Bind(ctx, name, worker.AllowOthers),
		"Join":              c.Join(ctx, "fine", name),
		"Leave":             c.Leave(ctx, name),
		"Dissolve":          second(p.cluster.Dissolve(ctx, name)),
		"SendUID":           p.cluster.SendUID(name, worker.Text, []byte("x")),
		"SendUIDs":          p.cluster.SendUIDs([]string{"bob", name}, worker.Text, []byte("x")),
		"SendGroup":         p.cluster.SendGroup(name, worker.Text, []byte("x")),
		"SendGroups":        p.cluster.SendGroups([]string{"blue", name}, worker.Text, []byte("x")),
		"Push":              second(p.cluster.Push(ctx, bus.Push{Target: bus.Target{Scope: bus.ToUID, Name: name}, Kind: worker.Text})),
		"CountUIDClients":   second(p.cluster.CountUIDClients(ctx, name)),
		"CountGroupClients": second(p.cluster.CountGroupClients(ctx, name)),
		"Clients of a uid":  list(worker.ClientsQuery{UIDs: []string{name}}),
		"Close of a uid":    second(p.cluster.Close(ctx, worker.Selector{UID: name}, worker.CloseOptions{})),
		"Unbind of a group": second(p.cluster.Unbind(ctx, worker.Selector{Group: name})),
		"Accept":            (&worker.Event{Kind: worker.Open}).Accept(worker.Admission{Groups: []string{name}}),
	}
	if name != "" { // where no name means all, or none
		errs["Clients of a group"] = list(worker.ClientsQuery{Group: name})
		errs["Accept of a uid"] = (&worker.Event{Kind: worker.Open}).Accept(worker.Admission{UID: name})
	}
	for what, err := range errs {
		if err == nil {
			p.Errorf("%s takes %.20q", what, name)
		} else if len(err.Error()) > 1000 {
			p.Errorf("%s: an error of %d bytes", what, len(err.Error()))
		}
	}
	for _, what := range []string{"Bind", "Join", "SendUID", "Dissolve"} {
		if err := errs[what]; !errors.Is(err, bus.ErrName) {
			p.Errorf("%s of %.20q: %v, want ErrName", what, name, err)
		}
	}
	if !strings.ContainsRune(name, 'x') && name != "" { // what is no UTF-8
		session := json.RawMessage(`{"` + name + `":1}`)
		if c.SetSession(ctx, session) == nil || c.MergeSession(ctx, session) == nil {
			p.Errorf("a session takes the key %q", name)
		}
	}
	var rejected *workertest.RefusedError
	if _, err := p.c.TryDial(workertest.Request{Path: "/?" + url.Values{"group": {name}}.Encode()}); !errors.As(err, &rejected) {
		p.Errorf("a client is let in to the group %.20q: %v", name, err)
	}
}

// TestHostileWorkerGroups: these names are parts of subjects as they are.
func TestHostileWorkerGroups(t *testing.T) {
	t.Parallel()
	for _, name := range slices.Concat(carried, refused) {
		w, g := worker.Config{Group: name}, gateway.DefaultConfig()
		g.Group = name
		good := name == "0" || name == "null"
		if err := g.Validate(); (err == nil) != good || !good && !strings.Contains(err.Error(), "group: bad name") {
			t.Errorf("gateway: group %.20q: %v", name, err)
		}
		if err := w.Validate(); (err == nil) != (good || name == "") {
			t.Errorf("worker: group %.20q: %v", name, err)
		}
	}
}

// TestHostileNamesPlain: what a plain client can say that no Go program could. Names in
// subjects and headers are tried by the test vectors, too.
func TestHostileNamesPlain(t *testing.T) {
	t.Parallel()
	g := testbed.NewCluster(t, 0).Gateway("g1")
	ctx, cancel := testbed.Soon()
	defer cancel()
	bus, err := g.Addr(ctx, "bus")
	if err != nil {
		t.Fatal(err)
	}
	nc, err := nats.Connect("nats://"+bus, nats.NoReconnect())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if err := testbed.Poll(ctx, func() error { // its bus is there a moment before it is
		_, err := nc.Request("gw.g1.do.count", []byte(`{"of":"clients"}`), testbed.Patience)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{`"\ud800"`, `"\udc00\ud800"`, `"x\ud800x"`, "\"\xff\"", `""`, `"` + strings.Repeat("x", 10<<10) + `"`} {
		for op, request := range map[string]string{
			"bind": `{"client":"g1-1-1","uid":%s}`, "join": `{"all":true,"groups":["fine",%s]}`, "leave": `{"all":true,"groups":[%s]}`,
			"dissolve": `{"group":%s}`, "unbind": `{"uid":%s}`, "close": `{"group":%s}`,
			"count": `{"of":"clients","groups":[%s]}`, "list": `{"of":"clients","uids":[%s]}`,
		} {
			answer, err := nc.Request("gw.g1.do."+op, fmt.Appendf(nil, request, text), testbed.Patience)
			if err != nil {
				t.Fatal(err)
			}
			var r struct{ Error, Code string }
			if err := json.Unmarshal(answer.Data, &r); err != nil || r.Code != "bad_request" || r.Error == "" || len(r.Error) > 500 {
				t.Errorf("%s of %.20s: %.300s", op, text, answer.Data)
			}
		}
	}
	// The same as a session's key: there is no client, but that is not looked at.
	for _, key := range []string{`\ud800`, "\xff"} {
		answer, err := nc.Request("gw.g1.do.session", []byte(`{"client":"g1-1-1","merge":{"a":{"`+key+`":1}}}`), testbed.Patience)
		if err != nil || !strings.Contains(string(answer.Data), `"code":"bad_request"`) {
			t.Errorf("session with the key %q: %s, %v", key, answer.Data, err)
		}
	}
}
