// Package parity_test has a test for each thing that users of GatewayWorker have, named
// as they know it. docs/coming-from-gatewayworker.md says which test shows what; the
// test of that page is here too.
package parity_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/internal/testbed"
	"github.com/gatebus/gatebus/worker"
	"github.com/gatebus/gatebus/workertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(testbed.Main(m)) }

// rows are the tests of TestParity, by the names that the page has.
var rows = map[string]func(*pond){}

// row adds rows.
func row(all map[string]func(*pond)) bool {
	for name, fn := range all {
		if rows[name] != nil {
			panic("two rows are called " + name)
		}
		rows[name] = fn
	}
	return true
}

// TestParity tries every row in a pond of its own.
func TestParity(t *testing.T) {
	for name, fn := range rows {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fn(newPond(t))
		})
	}
}

// pond is two gateways, two workers, and four clients on them.
type pond struct {
	*testing.T
	c       *workertest.Cluster
	cluster *worker.Cluster // as of a program that is no worker
	handler *handler
	all     []*member
	// ann is there twice, on both gateways, and in the groups red, and red and blue;
	// bob is in blue; the guest has neither uid nor group nor session.
	ann1, ann2, bob, guest *member
}

// member is a client.
type member struct {
	*workertest.Client
	id bus.ClientID
}

// handler is a handler that does what clients say, and notes what it is told.
type handler struct {
	mu    sync.Mutex
	notes []string
	enter chan struct{} // what waits in a handler that hangs
	leave chan struct{}
}

func newPond(t *testing.T) *pond {
	p := &pond{T: t, handler: &handler{enter: make(chan struct{}), leave: make(chan struct{})}}
	p.c = workertest.Start(t, workertest.Options{Handlers: []worker.Handler{p.handler, p.handler}, Gateways: 2})
	p.cluster = p.c.Cluster()
	p.ann1 = p.dial(0, "uid=ann&group=red&session="+url.QueryEscape(`{"n":1}`))
	p.ann2 = p.dial(1, "uid=ann&group=red&group=blue&session="+url.QueryEscape(`{"n":2}`))
	p.bob = p.dial(0, "uid=bob&group=blue&session="+url.QueryEscape(`{"n":3}`))
	p.guest = p.dial(1, "")
	return p
}

func (p *pond) dial(gateway int, query string) *member {
	p.Helper()
	m := &member{Client: p.c.Dial(workertest.Request{Gateway: gateway, Path: "/pond?" + query})}
	m.id = m.ID()
	p.all = append(p.all, m)
	return m
}

func (h *handler) note(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.notes = append(h.notes, fmt.Sprintf(format, args...))
}

// has tells whether there is such a note.
func (h *handler) has(note string) func() bool {
	return func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		return slices.Contains(h.notes, note)
	}
}

func (h *handler) Start(context.Context, *worker.Cluster) error {
	h.note("start")
	return nil
}
func (h *handler) Stop(context.Context) { h.note("stop") }
func (h *handler) GatewayConnected(_ context.Context, g worker.GatewayLink) {
	h.note("connected %s", g.Gateway)
}
func (h *handler) GatewayGone(_ context.Context, g worker.GatewayLink) { h.note("gone %s", g.Gateway) }

func (h *handler) Handle(ctx context.Context, ev *worker.Event) error {
	h.note("%v %s", ev.Kind, ev.Client.ID())
	switch ev.Kind {
	case worker.Open:
		return h.open(ev)
	case worker.Text:
		return h.text(ctx, ev, string(ev.Data))
	case worker.Binary:
		ev.Reply(ev.Data)
	}
	return nil
}

func (h *handler) open(ev *worker.Event) error {
	info, err := ev.OpenInfo()
	if err != nil {
		return err
	}
	q, err := url.ParseQuery(info.Query)
	if err != nil {
		return err
	}
	if q.Has("reject") {
		ev.Reject(402, "pay first")
		return nil
	}
	return ev.Accept(worker.Admission{UID: q.Get("uid"), Groups: q["group"], Session: json.RawMessage(q.Get("session"))})
}

// text does what a client says.
func (h *handler) text(ctx context.Context, ev *worker.Event, text string) error {
	switch text {
	case "send me":
		if err := ev.Client.Send(worker.Text, []byte("one")); err != nil {
			return err
		}
		ev.Reply([]byte("two"))
	case "close me":
		ev.Reply([]byte("bye"))
		ev.CloseClient(4100, "as you said")
	case "destroy me":
		_, err := ev.Client.CloseWith(ctx, worker.CloseOptions{Abort: true})
		return err
	case "who am I":
		info, err := ev.Client.Info(ctx)
		if err != nil {
			return err
		}
		ev.Reply(fmt.Appendf(nil, "%s %s %s %s %s", info.Open.Path, info.Open.Headers["X-Who"], ev.UID, info.Groups, ev.Session))
	case "count":
		var s struct{ N int }
		if err := json.Unmarshal(ev.Session, &s); err != nil {
			return err
		}
		ev.Reply(fmt.Append(nil, s.N))
		return ev.Client.MergeSession(ctx, json.RawMessage(fmt.Sprintf(`{"n":%d}`, s.N+1)))
	case "panic":
		panic("as the client said")
	case "hang":
		h.enter <- struct{}{}
		<-h.leave
	default:
		ev.Reply(ev.Data)
	}
	return nil
}

// must fails the test unless err is nil.
func (p *pond) must(err error) {
	p.Helper()
	if err != nil {
		p.Fatal(err)
	}
}

// gets fails the test unless these clients got the text, once, and nobody anything
// else.
func (p *pond) gets(text string, who ...*member) {
	p.Helper()
	for i, m := range p.all {
		// From here, as what was pushed: so it comes after that.
		p.must(p.cluster.Client(m.id).Send(worker.Text, []byte("end")))
		var got []string
		for f := m.Receive(); f.Data != "end"; f = m.Receive() {
			got = append(got, f.Data)
		}
		var want []string
		if slices.Contains(who, m) {
			want = []string{text}
		}
		if !slices.Equal(got, want) {
			p.Errorf("client %d got %q, want %q", i, got, want)
		}
	}
}

// ids are the ids of clients, as a list has them: by their gateways.
func ids(who ...*member) (all []bus.ClientID) {
	for _, m := range who {
		all = append(all, m.id)
	}
	slices.SortFunc(all, func(a, b bus.ClientID) int { return strings.Compare(string(a), string(b)) })
	return all
}

// lists fails the test unless these clients are listed; it returns them.
func (p *pond) lists(q worker.ClientsQuery, who ...*member) (infos map[bus.ClientID]worker.ClientInfo) {
	p.Helper()
	infos = map[bus.ClientID]worker.ClientInfo{}
	var got []bus.ClientID
	for info, err := range p.cluster.Clients(p.Context(), q) {
		p.must(err)
		got = append(got, info.Client)
		infos[info.Client] = info
	}
	slices.Sort(got)
	if want := ids(who...); !slices.Equal(got, want) {
		p.Errorf("listed %q, want %q", got, want)
	}
	return infos
}

// names fails the test unless a list has these names and how many clients each has.
func (p *pond) names(list iter.Seq2[worker.NameCount, error], want ...worker.NameCount) {
	p.Helper()
	var got []worker.NameCount
	for n, err := range list {
		p.must(err)
		got = append(got, n)
	}
	if !slices.Equal(got, want) {
		p.Errorf("listed %v, want %v", got, want)
	}
}

// is fails the test unless got is want.
func is[T any](p *pond, want T) func(got T, err error) {
	return func(got T, err error) {
		p.Helper()
		if g, w := fmt.Sprint(got), fmt.Sprint(want); err != nil || g != w {
			p.Errorf("got %s, %v, want %s", g, err, w)
		}
	}
}

// noClient fails the test unless err says that the client is gone.
func (p *pond) noClient(err error) {
	p.Helper()
	if !errors.Is(err, worker.ErrNoClient) {
		p.Errorf("%v, want ErrNoClient", err)
	}
}
