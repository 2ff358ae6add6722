package e2e_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/internal/testbed"
	"github.com/gatebus/gatebus/internal/testbed/otherversion"
	"github.com/gatebus/gatebus/worker"
)

// today is the version of the tree.
const today = ""

// speaking has the processes of a cluster that are started from now on speak as a
// version does.
func speaking(t *testing.T, c *testbed.Cluster, version string) {
	t.Helper()
	c.Path, c.Env = "", nil
	if version != today {
		path, err := testbed.OtherVersion()
		must(t, err)
		c.Path, c.Env = path, []string{otherversion.Env + "=" + version}
	}
}

// rolling is a cluster under load whose processes are replaced.
type rolling struct {
	t       *testing.T
	cluster *testbed.Cluster
	members map[string]*testbed.Process
	load    *testbed.Load
	app     *worker.Connection // of the version of the tree, all the time
	past    []*testbed.Process
	moves   int // of the clients, to a new gateway
}

const rollingClients = 10

// startRolling starts two registers, two gateways and two workers of a version.
func startRolling(t *testing.T, version string) *rolling {
	t.Helper()
	c := testbed.NewCluster(t, 2)
	speaking(t, c, version)
	r := &rolling{t: t, cluster: c, members: map[string]*testbed.Process{
		"r1": c.Register(0), "r2": c.Register(1), "g1": c.Gateway("g1", "tracing.endpoint=http://127.0.0.1:1", "tracing.sample=1"), "g2": c.Gateway("g2"), "w1": c.Worker("w1"), "w2": c.Worker("w2"),
	}}
	for _, p := range r.members {
		must(t, testbed.WaitReady(soon(t), p))
	}
	r.linked()
	app, err := worker.Connect(soon(t), worker.Config{Registers: strings.Split(c.URLs(), ","), Secret: testbed.Secret})
	must(t, err)
	t.Cleanup(app.Close)
	r.app = app
	r.load = testbed.StartLoad(t, rollingClients, testbed.Numbered{Every: 20 * time.Millisecond, Window: 4, Reconnect: true}, ws(t, r.members["g1"]), ws(t, r.members["g2"]))
	must(t, r.load.WaitConnected(soon(t), rollingClients))
	return r
}

// linked waits until the workers are linked to both gateways.
func (r *rolling) linked() {
	r.t.Helper()
	for _, w := range []string{"w1", "w2"} {
		must(r.t, awaitLinks(r.t, r.members[w], 2))
	}
}

// to replaces members, one after the other as docs/operations.md says, by such of a
// version, with everybody at work.
func (r *rolling) to(version string, names ...string) {
	t := r.t
	t.Helper()
	for _, name := range names {
		old := r.members[name]
		r.understood(old)
		must(t, old.Signal(sigterm))
		exits(t, old, 0)
		speaking(t, r.cluster, version)
		spec := old.Spec
		spec.Path, spec.Env = r.cluster.Path, r.cluster.Env
		r.members[name], r.past = testbed.Start(t, spec), append(r.past, old)
		must(t, testbed.WaitReady(soon(t), r.members[name]))
		r.linked()
		if name[0] == 'g' {
			r.moves += rollingClients / 2
			must(t, r.load.WaitConnected(soon(t), rollingClients+r.moves))
		}
		must(t, r.load.WaitMore(soon(t), 2*rollingClients))
	}
}

// reach checks that what a program does with clients reaches them on each gateway: who
// has a uid is found by what the gateways tell of names.
func (r *rolling) reach() {
	t := r.t
	t.Helper()
	for _, g := range []string{"g1", "g2"} {
		c := dial(t, ws(t, r.members[g])+"of-"+g)
		echoes(t, c, "hello")
		var found []worker.ClientInfo
		for info, err := range r.app.Clients(soon(t), worker.ClientsQuery{Fields: []string{bus.FieldOpen}}) {
			must(t, err)
			if info.Open.Path == "/of-"+g {
				found = append(found, info)
			}
		}
		if len(found) != 1 {
			t.Fatalf("%d clients are found, want one: %+v", len(found), found)
		}
		must(t, r.app.Client(found[0].Client).Bind(soon(t), "user", worker.AllowOthers))
		must(t, r.app.SendUID("user", worker.Text, []byte("for you")))
		reads(t, c, "for you")
		must(t, c.Close())
		must(t, testbed.Poll(soon(t), func() error { // the next one has the uid alone
			n, err := r.app.CountUIDClients(t.Context(), "user")
			if err == nil && n[0] > 0 {
				err = errNotYet
			}
			return err
		}))
	}
}

// understood checks that a member has lost nothing and was at a loss with nothing.
func (r *rolling) understood(p *testbed.Process) {
	r.t.Helper()
	for _, text := range []string{"is no event", "not a message of the protocol", "no worker answered", "handler failed", "speaks another protocol"} {
		if strings.Contains(p.Log(), text) {
			r.t.Errorf("%s has %q in its log:\n%s", p.Name, text, p.Log())
		}
	}
	if p.Name[0] != 'g' {
		return
	}
	if s := gatewayStats(r.t, p); s.BadReply+s.DroppedPoison+s.DroppedHold+s.DroppedBus > 0 {
		r.t.Errorf("%s: %+v", p.Name, s)
	}
}

// Every role of a cluster is replaced, one process after the other and under load: the
// version of the protocol before by this one, this one by the next, and that by this one
// again, of each role one at least. They stand side by side in every combination, and no frame is lost, answered twice,
// or out of order.
func TestRollingUpgrade(t *testing.T) {
	t.Parallel()
	roles := []string{"r1", "r2", "g1", "g2", "w1", "w2"} // as docs/operations.md says
	back := []string{"w1", "g1", "r1"}
	if long {
		back = []string{"w1", "w2", "g1", "g2", "r1", "r2"}
	}
	r := startRolling(t, otherversion.Previous)
	r.reach()
	r.to(today, roles...)
	r.reach()
	r.to(otherversion.Next, roles...)
	r.reach()
	r.to(today, back...)
	r.reach()
	if long {
		r.to(otherversion.Previous, back...)
		r.reach()
	}
	for _, p := range r.members {
		r.understood(p)
	}
	total, err := r.load.Finish(soon(t))
	must(t, err)
	if want := rollingClients + r.moves; total.Connects != want {
		t.Errorf("the clients connected %d times, want %d: at the start, and when their gateway was replaced", total.Connects, want)
	}
}

// A process of another major is refused, by name and with both versions, wherever somebody
// looks; what was there before goes on when it is gone.
func TestOtherMajorIsRefused(t *testing.T) {
	t.Parallel()
	c := testbed.NewCluster(t, 1)
	r1, g1, w1 := c.Register(0), c.Gateway("g1"), c.Worker("w1")
	must(t, testbed.WaitReady(soon(t), r1, g1, w1))
	spec := g1.Spec
	must(t, g1.Signal(sigterm))
	exits(t, g1, 0)
	speaking(t, c, otherversion.Foreign)
	spec.Path, spec.Env = c.Path, c.Env
	g1 = testbed.Start(t, spec) // at the address that the worker knows

	unreadyFor := func(p *testbed.Process, texts ...string) {
		t.Helper()
		must(t, testbed.Poll(soon(t), func() error {
			why, err := p.WaitUnready(soon(t))
			for _, text := range texts {
				if err == nil && !strings.Contains(why, text) {
					err = fmt.Errorf("%s is not ready, but not for %q: %s", p.Name, text, why)
				}
			}
			return err
		}))
	}
	unreadyFor(g1, "register r1 speaks protocol", "1.1", "2.0")
	unreadyFor(w1, "gateway g1 speaks protocol", "1.1", "2.0")
	must(t, testbed.Poll(soon(t), func() error {
		s := statusOf(t, c, 0).Stdout()
		if !strings.Contains(s, "1 member speaks protocol 2.0, which does not go with this one: g1") || !strings.Contains(s, "refused") {
			return fmt.Errorf("the status is\n%s", s)
		}
		return nil
	}))
	says(t, r1, "a member speaks another protocol")
	says(t, g1, "a register does not accept this member")
	says(t, w1, "gateway is not linked to: it speaks another protocol")
	if s := workerStats(t, w1); s.Refused != 1 || s.Links != 0 {
		t.Errorf("%+v", s)
	}

	must(t, g1.Signal(sigterm))
	exits(t, g1, 0)
	spec.Path, spec.Env = "", nil
	g1 = testbed.Start(t, spec)
	must(t, testbed.WaitReady(soon(t), g1, w1))
	echoes(t, dial(t, ws(t, g1)), "hello")
}
