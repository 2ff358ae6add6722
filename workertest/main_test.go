package workertest_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/worker"
	"github.com/gatebus/gatebus/workertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// door lets clients in with what their query says, and echoes.
func door(_ context.Context, ev *worker.Event) error {
	if ev.Kind != worker.Open {
		ev.Reply(ev.Data)
		return nil
	}
	info, err := ev.OpenInfo()
	if err != nil {
		return err
	}
	q, err := url.ParseQuery(info.Query)
	if err != nil {
		return err
	}
	a := worker.Admission{UID: q.Get("uid"), Groups: q["group"], Others: worker.Others(q.Get("others"))}
	if s := q.Get("session"); s != "" {
		a.Session = json.RawMessage(s)
	}
	return ev.Accept(a)
}

func start(t *testing.T, gateways int) *workertest.Cluster {
	t.Helper()
	return workertest.Start(t, workertest.Options{Handlers: []worker.Handler{worker.HandlerFunc(door), worker.HandlerFunc(door)}, Gateways: gateways})
}

func at(gateway int, query url.Values) workertest.Request {
	return workertest.Request{Gateway: gateway, Path: "/?" + query.Encode()}
}

// TestEcho is the smallest use of the package.
func TestEcho(t *testing.T) {
	c := start(t, 1)
	cl := c.Dial(workertest.Request{})
	cl.Send("hello")
	cl.Expect("hello")
	cl.SendBinary([]byte{0, 0xff})
	if f := cl.Receive(); f != (workertest.Frame{Kind: worker.Binary, Data: "\x00\xff"}) {
		t.Errorf("got %v", f)
	}
	if info, err := c.Cluster().Client(cl.ID()).Info(t.Context()); err != nil || info.Open.Path != "/" {
		t.Errorf("%+v, %v", info, err)
	}
	cl.Close()
	c.Eventually("the client has gone", func() bool {
		n, err := c.Cluster().CountClients(t.Context())
		return err == nil && n == 0
	})
}

// One uid, one connection, whatever gateway it comes to.
func TestOthersAtOpen(t *testing.T) {
	c := start(t, 3)
	who := func(others worker.Others) url.Values { return url.Values{"uid": {"ann"}, "others": {string(others)}} }
	first := c.Dial(at(0, who(worker.RefuseOthers)))
	for gw := range 3 {
		var refused *workertest.RefusedError
		if _, err := c.TryDial(at(gw, who(worker.RefuseOthers))); !errors.As(err, &refused) || refused.Status != 409 {
			t.Fatalf("a second one at gateway %d: %v", gw, err)
		}
	}
	second := c.Dial(at(1, who(worker.ReplaceOthers)))
	if code, reason := first.Closed(); code != 4003 || reason != "replaced by another connection" {
		t.Errorf("the first was closed with %d %q", code, reason)
	}
	third := c.Dial(at(1, who(worker.ReplaceOthers))) // of the same gateway
	if code, _ := second.Closed(); code != 4003 {
		t.Errorf("the second was closed with %d", code)
	}
	fourth := c.Dial(at(2, who(worker.AllowOthers)))
	if n, err := c.Cluster().CountUIDClients(t.Context(), "ann", "bob"); err != nil || n[0] != 2 || n[1] != 0 {
		t.Errorf("%v, %v", n, err)
	}
	third.Send("x")
	third.Expect("x")
	fourth.Send("y")
	fourth.Expect("y")
}

// Of many that come at the same moment, one stays.
func TestReplaceAtOnce(t *testing.T) {
	c := start(t, 3)
	const n = 12
	dialed := make(chan *workertest.Client, n)
	for i := range n {
		go func() {
			cl, err := c.TryDial(at(i%3, url.Values{"uid": {"ann"}, "others": {"replace"}}))
			if err != nil { // closed again before it was let in
				cl = nil
			}
			dialed <- cl
		}()
	}
	var clients []*workertest.Client
	for range n {
		if cl := <-dialed; cl != nil {
			clients = append(clients, cl)
		}
	}
	c.Eventually("one is left", func() bool {
		counts, err := c.Cluster().CountUIDClients(t.Context(), "ann")
		return err == nil && counts[0] == 1
	})
	if m, err := c.Cluster().Push(t.Context(), bus.Push{Target: bus.Target{Scope: bus.ToUID, Name: "ann"}, Kind: worker.Text, Data: []byte("you")}); m != 1 || err != nil {
		t.Fatalf("pushed to %d, %v", m, err)
	}
	var left *workertest.Client
	for _, cl := range clients {
		for _, f := range await(t, cl) {
			if left != nil || f.Data != "you" {
				t.Errorf("a second one got %q", f.Data)
			}
			left = cl
		}
	}
	if left == nil {
		t.Error("nobody got the frame")
	}
}

// await waits until a client has a frame, or has ended.
func await(t *testing.T, cl *workertest.Client) []workertest.Frame {
	t.Helper()
	for {
		if fs := cl.Pending(); len(fs) > 0 {
			return fs
		}
		select {
		case <-cl.Ended():
			return cl.Pending()
		case <-time.After(time.Millisecond):
		}
		if t.Context().Err() != nil {
			return nil
		}
	}
}

// waitForStalled is how long a test waits for a gateway that does not answer.
const waitForStalled = 200 * time.Millisecond

// What does not answer is named, and what the others say is there.
func TestPartial(t *testing.T) {
	c := start(t, 3)
	for gw := range 3 {
		c.Dial(at(gw, url.Values{"uid": {"u" + string(rune('0'+gw))}, "group": {"room"}}))
	}
	cluster := c.Cluster()
	missing := func(what string, err error) {
		t.Helper()
		var partial *worker.PartialError
		if !errors.As(err, &partial) || len(partial.Missing) != 1 || !errors.Is(partial.Missing["g2"], context.DeadlineExceeded) {
			t.Errorf("%s: %v", what, err)
		} else if !strings.Contains(err.Error(), "a gateway did not answer: g2: ") {
			t.Errorf("%s: the error says %q", what, err)
		}
	}
	c.Stall(1, true)
	ctx := func() context.Context {
		ctx, cancel := context.WithTimeout(t.Context(), waitForStalled)
		t.Cleanup(cancel)
		return ctx
	}
	n, err := cluster.CountClients(ctx())
	if missing("count", err); n != 2 {
		t.Errorf("counted %d", n)
	}
	counts, err := cluster.CountGroupClients(ctx(), "room", "nobody's")
	if missing("counts", err); counts[0] != 2 || counts[1] != 0 {
		t.Errorf("counted %v", counts)
	}
	n, err = cluster.Push(ctx(), bus.Push{Target: bus.Target{Scope: bus.ToGroup, Name: "room"}, Kind: worker.Text})
	if missing("push", err); n != 2 {
		t.Errorf("pushed to %d", n)
	}
	n, err = cluster.Join(ctx(), worker.Selector{Group: "room"}, "attic")
	if missing("join", err); n != 2 {
		t.Errorf("%d have joined", n)
	}
	var uids []string
	var last error
	for u, err := range cluster.UIDs(ctx(), worker.NamesQuery{}) {
		if last = err; err == nil {
			uids = append(uids, u.Name)
		}
	}
	if missing("uids", last); strings.Join(uids, " ") != "u0 u2" {
		t.Errorf("listed %q", uids)
	}
	clients := 0
	for _, err := range cluster.Clients(ctx(), worker.ClientsQuery{}) {
		if last = err; err == nil {
			clients++
		}
	}
	if missing("clients", last); clients != 2 {
		t.Errorf("listed %d clients", clients)
	}
	_, err = cluster.CountUIDs(ctx(), "")
	missing("count uids", err)

	c.Stall(1, false)
	if n, err := cluster.CountUIDs(t.Context(), "room"); n != 3 || err != nil {
		t.Errorf("afterwards: %d, %v", n, err)
	}
}
