package workertest_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/worker"
	"github.com/gatebus/gatebus/workertest"
)

// model is a cluster, and what it must be like by the simplest rules: a list of
// clients.
type model struct {
	t       *testing.T
	rng     *rand.Rand
	c       *workertest.Cluster
	clients []*member
	trace   []string
}

// member is a client as it must be.
type member struct {
	conn    *workertest.Client
	id      bus.ClientID
	gateway int
	uid     string
	groups  map[string]bool
	session map[string]any // nil: none
	version uint64
	frames  []string // that it is to get
}

// The names are few, so that they meet, and as bad as they can be.
var (
	uids   = []string{"0", "a.b", "*", "ann", "größe 😀", strings.Repeat("x", bus.MaxToken), "%2E"}
	groups = []string{">", "room 1", "0", "a,b", "\x00", "nobody's", strings.Repeat("ü", bus.MaxToken/2)}
	keys   = []string{"", "k", "a.b", "😀", "null"}
)

const (
	modelSteps    = 250
	modelGateways = 3
)

// TestModel does what comes to its mind through the API and checks all that can be
// asked against the model.
func TestModel(t *testing.T) {
	seed := rand.Uint64()
	for i := range uint64(3) {
		t.Run(strconv.FormatUint(seed+i, 10), func(t *testing.T) {
			m := &model{t: t, rng: rand.New(rand.NewPCG(seed+i, 0)), c: start(t, modelGateways)}
			defer func() {
				if t.Failed() {
					t.Logf("the last steps:\n%s", strings.Join(m.trace[max(0, len(m.trace)-30):], "\n"))
				}
			}()
			for range modelSteps {
				m.step()
				if m.rng.IntN(4) == 0 {
					m.check()
				}
				if t.Failed() {
					return
				}
			}
			m.check()
			m.received()
		})
	}
}

func (m *model) note(format string, args ...any) {
	m.trace = append(m.trace, fmt.Sprintf(format, args...))
}

func pick[T any](m *model, of []T) T { return of[m.rng.IntN(len(of))] }

// some are a few of them, maybe none, maybe one twice.
func some[T any](m *model, of []T) (chosen []T) {
	for range m.rng.IntN(4) {
		chosen = append(chosen, pick(m, of))
	}
	return chosen
}

func (m *model) must(what string, err error) {
	m.t.Helper()
	if err != nil {
		m.t.Errorf("%s: %v", what, err)
	}
}

func (m *model) step() {
	if len(m.clients) == 0 || m.rng.IntN(100) < 12 && len(m.clients) < 25 {
		m.dial()
		return
	}
	c := pick(m, m.clients)
	api, ctx := m.c.Cluster().Client(c.id), m.t.Context()
	switch m.rng.IntN(15) {
	case 0:
		m.note("%s leaves", c.id)
		m.receive(c) // what is on its way to one that leaves does not arrive
		c.conn.Close()
		m.gone(c)
	case 1:
		m.close(c)
	case 2, 3:
		m.bind(c)
	case 4:
		m.note("%s is unbound", c.id)
		m.must("unbind", api.Unbind(ctx))
		c.uid = ""
	case 5:
		names := append(some(m, groups), pick(m, groups))
		m.note("%s joins %q", c.id, names)
		m.must("join", api.Join(ctx, names...))
		c.join(names)
	case 6:
		names := append(some(m, groups), pick(m, groups))
		m.note("%s leaves %q", c.id, names)
		m.must("leave", api.Leave(ctx, names...))
		for _, g := range names {
			delete(c.groups, g)
		}
	case 7:
		m.many()
	case 8:
		g := pick(m, groups)
		m.note("%q is dissolved", g)
		n, err := m.c.Cluster().Dissolve(ctx, g)
		m.must("dissolve", err)
		m.equal("dissolved", n, len(m.where(func(c *member) bool { return c.groups[g] })))
		for _, c := range m.clients {
			delete(c.groups, g)
		}
	case 9, 10:
		m.session(c)
	default:
		m.push()
	}
}

func (c *member) join(names []string) {
	for _, g := range names {
		c.groups[g] = true
	}
}

func (m *model) where(holds func(*member) bool) (cs []*member) {
	for _, c := range m.clients {
		if holds(c) {
			cs = append(cs, c)
		}
	}
	return cs
}

// gone waits until the cluster agrees that clients are gone.
func (m *model) gone(cs ...*member) {
	m.t.Helper()
	for _, c := range cs {
		c.conn.Closed()
		if got := frames(c.conn.Pending()); !slices.Equal(got, c.frames) {
			m.t.Errorf("%s got %q, want %q", c.id, got, c.frames)
		}
		m.clients = slices.DeleteFunc(m.clients, func(o *member) bool { return o == c })
		m.c.Eventually(string(c.id)+" is gone", func() bool {
			online, err := m.c.Cluster().Client(c.id).Online(m.t.Context())
			return err == nil && !online
		})
	}
}

func frames(fs []workertest.Frame) (texts []string) {
	for _, f := range fs {
		texts = append(texts, f.Data)
	}
	return texts
}

func (m *model) dial() {
	c := &member{gateway: m.rng.IntN(modelGateways), groups: map[string]bool{}}
	q := url.Values{"group": some(m, groups)}
	if m.rng.IntN(2) == 0 {
		c.uid = pick(m, uids)
		q.Set("uid", c.uid)
		q.Set("others", string(pick(m, []worker.Others{worker.AllowOthers, worker.RefuseOthers, worker.ReplaceOthers})))
	}
	if m.rng.IntN(2) == 0 {
		c.session, c.version = m.object(0), 1
		q.Set("session", marshal(c.session))
	}
	rivals := m.rivals(c)
	m.note("dial g%d %v", c.gateway+1, q)
	conn, err := m.c.TryDial(at(c.gateway, q))
	if q.Get("others") == string(worker.RefuseOthers) && len(rivals) > 0 {
		var refused *workertest.RefusedError
		if !errors.As(err, &refused) || refused.Status != 409 {
			m.t.Errorf("the uid %q is taken, and: %v", c.uid, err)
		}
		return
	}
	if err != nil {
		m.t.Errorf("dial: %v", err)
		return
	}
	if q.Get("others") == string(worker.ReplaceOthers) {
		m.gone(rivals...)
	}
	c.conn = conn
	c.join(q["group"])
	c.id = conn.ID()
	m.clients = append(m.clients, c)
	m.note("it is %s", c.id)
}

func (m *model) rivals(c *member) []*member {
	return m.where(func(o *member) bool { return o != c && c.uid != "" && o.uid == c.uid })
}

func (m *model) bind(c *member) {
	uid, others := pick(m, uids), pick(m, []worker.Others{worker.AllowOthers, worker.RefuseOthers, worker.ReplaceOthers})
	rivals := m.where(func(o *member) bool { return o != c && o.uid == uid })
	m.note("bind %s to %q, %q", c.id, uid, others)
	err := m.c.Cluster().Client(c.id).Bind(m.t.Context(), uid, others)
	if others == worker.RefuseOthers && len(rivals) > 0 {
		if !errors.Is(err, worker.ErrUIDTaken) {
			m.t.Errorf("the uid %q is taken, and: %v", uid, err)
		}
		return
	}
	m.must("bind", err)
	c.uid = uid
	if others == worker.ReplaceOthers {
		m.gone(rivals...)
	}
}

// selector is whom a command is about, and who that is.
func (m *model) selector() (s worker.Selector, meant []*member) {
	var holds func(*member) bool
	switch m.rng.IntN(4) {
	case 0:
		s.UID = pick(m, uids)
		holds = func(c *member) bool { return c.uid == s.UID }
	case 1:
		s.Group = pick(m, groups)
		holds = func(c *member) bool { return c.groups[s.Group] }
	case 2:
		for _, c := range append(some(m, m.clients), pick(m, m.clients)) {
			s.Clients = append(s.Clients, c.id)
		}
		holds = func(c *member) bool { return slices.Contains(s.Clients, c.id) }
	default:
		s.All = true
		holds = func(*member) bool { return true }
	}
	for _, c := range some(m, m.clients) {
		s.Except = append(s.Except, c.id)
	}
	return s, m.where(func(c *member) bool { return holds(c) && !slices.Contains(s.Except, c.id) })
}

func (m *model) many() {
	s, meant := m.selector()
	g := pick(m, groups)
	var n int
	var err error
	switch m.rng.IntN(4) {
	case 0:
		m.note("%+v join %q", s, g)
		n, err = m.c.Cluster().Join(m.t.Context(), s, g)
		for _, c := range meant {
			c.groups[g] = true
		}
	case 1:
		m.note("%+v leave %q", s, g)
		n, err = m.c.Cluster().Leave(m.t.Context(), s, g)
		for _, c := range meant {
			delete(c.groups, g)
		}
	case 2:
		m.note("%+v are unbound", s)
		n, err = m.c.Cluster().Unbind(m.t.Context(), s)
		for _, c := range meant {
			c.uid = ""
		}
	default:
		if len(meant) > 5 {
			return
		}
		m.note("%+v are closed", s)
		n, err = m.c.Cluster().Close(m.t.Context(), s, worker.CloseOptions{Kind: worker.Text, Last: []byte("bye"), Code: 4100})
		for _, c := range meant {
			c.frames = append(c.frames, "bye")
		}
		m.gone(meant...)
	}
	m.must("many", err)
	m.equal("many", n, len(meant))
}

func (m *model) close(c *member) {
	m.note("%s is closed", c.id)
	there, err := m.c.Cluster().Client(c.id).CloseWith(m.t.Context(), worker.CloseOptions{Code: 4444, Reason: "x", Kind: worker.Text, Last: []byte("last")})
	m.must("close", err)
	m.equal("there", there, true)
	c.frames = append(c.frames, "last")
	if code, reason := c.conn.Closed(); code != 4444 || reason != "x" {
		m.t.Errorf("closed with %d %q", code, reason)
	}
	m.gone(c)
	for what, err := range map[string]error{
		"join":    m.c.Cluster().Client(c.id).Join(m.t.Context(), "g"),
		"bind":    m.c.Cluster().Client(c.id).Bind(m.t.Context(), "u", worker.AllowOthers),
		"session": m.c.Cluster().Client(c.id).SetSession(m.t.Context(), nil),
	} {
		if !errors.Is(err, worker.ErrNoClient) {
			m.t.Errorf("%s of one that is gone: %v", what, err)
		}
	}
}

// object is JSON, of which numbers stay what they are.
func (m *model) object(depth int) map[string]any {
	o := map[string]any{}
	for range m.rng.IntN(4) {
		switch m.rng.IntN(4 - depth) {
		case 0:
			o[pick(m, keys)] = json.Number(strconv.FormatUint(m.rng.Uint64(), 10))
		case 1:
			o[pick(m, keys)] = "<ö&\u2028>"
		case 2:
			o[pick(m, keys)] = []any{nil, true}
		default:
			o[pick(m, keys)] = m.object(depth + 1)
		}
	}
	return o
}

func marshal(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(data)
}

// merge is RFC 7396, as its text says it.
func merge(target, patch any) any {
	p, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	t, ok := target.(map[string]any)
	if !ok {
		t = map[string]any{}
	}
	t = maps.Clone(t)
	for k, v := range p {
		if v == nil {
			delete(t, k)
		} else {
			t[k] = merge(t[k], v)
		}
	}
	return t
}

func (m *model) session(c *member) {
	api, ctx := m.c.Cluster().Client(c.id), m.t.Context()
	before, next := marshal(c.session), m.object(0)
	switch m.rng.IntN(4) {
	case 0:
		m.note("session of %s: set %s", c.id, marshal(next))
		m.must("set", api.SetSession(ctx, json.RawMessage(marshal(next))))
	case 1:
		if m.rng.IntN(2) == 0 {
			next[pick(m, keys)] = nil
		}
		m.note("session of %s: merge %s", c.id, marshal(next))
		m.must("merge", api.MergeSession(ctx, json.RawMessage(marshal(next))))
		var target any
		if c.session != nil {
			target = c.session
		}
		next = merge(target, next).(map[string]any)
	case 2:
		m.note("session of %s: if version %d, %s", c.id, c.version, marshal(next))
		if s, err := api.SetSessionIf(ctx, c.version+1, json.RawMessage(`1`)); !errors.Is(err, worker.ErrSessionChanged) || s.Version != c.version {
			m.t.Errorf("of another version: %+v, %v", s, err)
		}
		_, err := api.SetSessionIf(ctx, c.version, json.RawMessage(marshal(next)))
		m.must("set if", err)
	default:
		m.note("session of %s: none", c.id)
		m.must("set", api.SetSession(ctx, nil))
		next = nil
	}
	c.session = next
	if marshal(next) != before {
		c.version++
	}
}

// push sends a frame to some, and notes who is to get it.
func (m *model) push() {
	p := bus.Push{Kind: worker.Text, Data: []byte(strconv.Itoa(len(m.trace)))}
	var holds func(*member) bool
	switch m.rng.IntN(7) {
	case 0:
		p.Target = bus.Target{Scope: bus.ToClient, Name: string(pick(m, m.clients).id)}
		holds = func(c *member) bool { return string(c.id) == p.Target.Name }
	case 1:
		p.Target = bus.Target{Scope: bus.ToUID, Name: pick(m, uids)}
		holds = func(c *member) bool { return c.uid == p.Target.Name }
	case 2:
		p.Target = bus.Target{Scope: bus.ToGroup, Name: pick(m, groups)}
		holds = func(c *member) bool { return c.groups[p.Target.Name] }
	case 3:
		p.Target, p.Names = bus.Target{Scope: bus.ToUIDs}, append(some(m, uids), pick(m, uids))
		holds = func(c *member) bool { return slices.Contains(p.Names, c.uid) }
	case 4:
		p.Target, p.Names = bus.Target{Scope: bus.ToGroups}, append(some(m, groups), pick(m, groups))
		holds = func(c *member) bool {
			return slices.ContainsFunc(p.Names, func(g string) bool { return c.groups[g] })
		}
	case 5:
		p.Target = bus.Target{Scope: bus.ToClients}
		for _, c := range append(some(m, m.clients), pick(m, m.clients)) {
			p.Names = append(p.Names, string(c.id))
		}
		holds = func(c *member) bool { return slices.Contains(p.Names, string(c.id)) }
	default:
		p.Target = bus.Target{Scope: bus.ToAll}
		holds = func(*member) bool { return true }
	}
	for _, c := range some(m, m.clients) {
		p.Except = append(p.Except, c.id)
	}
	meant := m.where(func(c *member) bool { return holds(c) && !slices.Contains(p.Except, c.id) })
	m.note("push %s to %v %q but %v", p.Data, p.Target, p.Names, p.Except)
	n, err := m.c.Cluster().Push(m.t.Context(), p)
	m.must("push", err)
	m.equal("pushed", n, len(meant))
	for _, c := range meant {
		c.frames = append(c.frames, string(p.Data))
	}
}

func (m *model) equal(what string, got, want any) {
	m.t.Helper()
	if !reflect.DeepEqual(got, want) {
		m.t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// received checks what every client has got.
func (m *model) received() {
	for _, c := range m.clients {
		m.receive(c)
		c.conn.Send("end")
		c.conn.Expect("end")
	}
}

// receive checks what a client has got so far.
func (m *model) receive(c *member) {
	for i, want := range c.frames {
		if f := c.conn.Receive(); f.Data != want {
			m.t.Errorf("%s got %q as its frame %d, want %q", c.id, f.Data, i, want)
			break
		}
	}
	c.frames = nil
}
