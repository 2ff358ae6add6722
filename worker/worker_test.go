package worker

import (
	"context"
	"encoding/json"
	"errors"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/register"
)

func TestHandle(t *testing.T) {
	type result struct {
		name string
		kind Kind
		do   func(ev *Event) error
		want string
	}
	cases := []result{
		{"nothing", Text, func(*Event) error { return nil }, ""},
		{"reply", Text, func(ev *Event) error { ev.Reply([]byte("yes")); return nil }, "yes"},
		{"last reply counts", Text, func(ev *Event) error { ev.Reply([]byte("a")); ev.Reply([]byte("b")); return nil }, "b"},
		{"empty reply", Text, func(ev *Event) error { ev.Reply(nil); return nil }, "text:"},
		{"reply to binary", Binary, func(ev *Event) error { ev.Reply([]byte{0xff}); return nil }, "\xff"},
		{"other kind", Text, func(ev *Event) error { ev.ReplyAs(Binary, []byte{0xff}); return nil }, "binary:\xff"},
		{"not UTF-8", Text, func(ev *Event) error { ev.Reply([]byte{0xff}); return nil }, "close 1011 handler failed"},
		{"error", Text, func(*Event) error { return errors.New("oops") }, "close 1011 handler failed"},
		{"error after a reply", Text, func(ev *Event) error { ev.Reply([]byte("a")); return errors.New("oops") }, "close 1011 handler failed"},
		{"panic", Text, func(*Event) error { panic("oops") }, "close 1011 handler failed"},
		{"close", Text, func(ev *Event) error { ev.CloseClient(4100, "bye"); return nil }, "close 4100 bye"},
		{"close with a last frame", Text, func(ev *Event) error { ev.Reply([]byte("last")); ev.CloseClient(4100, "bye"); return nil }, "text:close 4100 bye last"},
		{"close with a code that may not be sent", Text, func(ev *Event) error { ev.CloseClient(1006, ""); return nil }, "close 1011 handler failed"},
		{"accept", Open, func(*Event) error { return nil }, ""},
		{"accept with more", Open, func(ev *Event) error { return ev.Accept(Admission{UID: "u", Groups: []string{"g"}}) }, `{"uid":"u","groups":["g"]}`},
		{"reply to open", Open, func(ev *Event) error { ev.Reply([]byte("hi")); return nil }, ""},
		{"reject", Open, func(ev *Event) error { ev.Reject(403, "no"); return nil }, "reject 403 no"},
		{"reject with a status that is none", Open, func(ev *Event) error { ev.Reject(200, "no"); return nil }, "reject 500 handler failed"},
		{"error at open", Open, func(*Event) error { return errors.New("oops") }, "reject 500 handler failed"},
		{"panic at open", Open, func(*Event) error { panic("oops") }, "reject 500 handler failed"},
		{"reject a frame", Text, func(ev *Event) error { ev.Reject(403, "no"); return nil }, "close 1011 handler failed"},
		{"reject a close", Close, func(ev *Event) error { ev.Reject(403, "no"); return nil }, "close 1011 handler failed"},
		{"reply as no frame", Text, func(ev *Event) error { ev.ReplyAs(Open, nil); return nil }, "close 1011 handler failed"},
		{"reply as a frame to open", Open, func(ev *Event) error { ev.ReplyAs(Text, []byte("hi")); return nil }, ""},
		{"close without a code", Text, func(ev *Event) error { ev.CloseClient(0, ""); return nil }, "close 4002"},
		{"exit", Text, func(*Event) error { runtime.Goexit(); return nil }, "close 1011 handler failed"},
		{"exit at open", Open, func(*Event) error { runtime.Goexit(); return nil }, "reject 500 handler failed"},
		{"accept a uid that cannot be", Open, func(ev *Event) error { return ev.Accept(Admission{UID: strings.Repeat("x", 257)}) }, "reject 500 handler failed"},
		{"accept a frame", Text, func(ev *Event) error { return ev.Accept(Admission{}) }, "close 1011 handler failed"},
		{"close event", Close, func(ev *Event) error { ev.Reply([]byte("x")); return nil }, ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			h := func(_ context.Context, ev *Event) error { return c.do(ev) }
			inBubble(t, Config{}, h, func(t *testing.T, f *fixture) {
				g := f.gateway("g1", 1)
				g.send(c.kind, "data")
				synctest.Wait()
				equal(t, "reply", g.got(), c.want)
				s := f.w.Stats()
				equal(t, "handled", s.Handled, 1)
				failed := strings.Contains(c.want, "handler failed")
				equal(t, "failed", s.Failed == 1, failed)
				equal(t, "said so", strings.Contains(f.log.String(), "handler failed"), failed)
			})
		})
	}
}

func TestEvent(t *testing.T) {
	var got Event
	h := func(_ context.Context, ev *Event) error { got = *ev; return nil }
	inBubble(t, Config{}, h, func(t *testing.T, f *fixture) {
		g := f.gateway("g1", 1)
		id := bus.NewClientID("g1", 1, 7)
		g.sendEvent(bus.Event{
			Gateway: "g1", Group: "default", Kind: Text, Client: id, Seq: 3,
			Delivery: 2, UID: "ann b", Session: `{"n":1}`, Data: []byte("x"),
		})
		synctest.Wait()
		equal(t, "client", got.Client.ID(), id)
		equal(t, "uid", got.UID, "ann b")
		equal(t, "session", string(got.Session), `{"n":1}`)
		equal(t, "delivery", got.Delivery, 2)
		equal(t, "data", string(got.Data), "x")
		if _, err := got.OpenInfo(); err == nil {
			t.Fatal("a frame has an OpenInfo")
		}

		info, err := json.Marshal(bus.OpenInfo{Client: id, Path: "/p"})
		if err != nil {
			t.Fatal(err)
		}
		g.send(Open, string(info))
		synctest.Wait()
		open, err := got.OpenInfo()
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "path", open.Path, "/p")
		g.send(Close, `{"client":"g1-1-1","code":1006}`)
		synctest.Wait()
		end, err := got.CloseInfo()
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "code", end.Code, bus.CloseAbnormal)
	})
}

// What is no event of the protocol is ignored, and harms nobody.
func TestNoEvent(t *testing.T) {
	h := func(_ context.Context, ev *Event) error { ev.Reply(ev.Data); return nil }
	inBubble(t, Config{}, h, func(t *testing.T, f *fixture) {
		g := f.gateway("g1", 1)
		for _, m := range []*bus.Msg{
			{Subject: "gw.g1.in.default.text"},
			{Subject: "gw.g1.in.default.text", Reply: "somewhere"},
			{Subject: "gw.g1.in.default.video", Reply: "gw.g1.out.g1-1-1.1"},
			{Subject: "gw.g1.in.default.text", Reply: "gw.g1.out.g1-1-1.1", Header: bus.Header{bus.HeaderDelivery: {"x"}}},
		} {
			if err := g.conn.Publish(m); err != nil {
				t.Fatal(err)
			}
		}
		g.send(Text, "a")
		synctest.Wait()
		equal(t, "replies", g.got(), "a")
	})
}

func TestProgress(t *testing.T) {
	h := func(ctx context.Context, ev *Event) error {
		if string(ev.Data) == "slow" {
			time.Sleep(3500 * time.Millisecond)
		}
		ev.Reply(ev.Data)
		return nil
	}
	inBubble(t, Config{}, h, func(t *testing.T, f *fixture) {
		g := f.gateway("g1", 1) // its ack_wait is 3 s
		g.send(Text, "slow")
		time.Sleep(10 * time.Second)
		synctest.Wait()
		equal(t, "signs of life, then the answer", g.got(), "working | working | working | slow")
		g.send(Text, "fast")
		time.Sleep(10 * time.Second)
		synctest.Wait()
		equal(t, "none for a quick one", g.got(), "fast")
	})
}

func TestConcurrency(t *testing.T) {
	release := make(chan struct{})
	var mu sync.Mutex
	at, most := 0, 0
	h := func(_ context.Context, ev *Event) error {
		mu.Lock()
		at++
		most = max(most, at)
		mu.Unlock()
		if string(ev.Data) == "wait" {
			<-release
		}
		mu.Lock()
		at--
		mu.Unlock()
		return nil
	}
	inBubble(t, Config{Concurrency: 3}, func(ctx context.Context, ev *Event) error { return h(ctx, ev) }, func(t *testing.T, f *fixture) {
		release = make(chan struct{}) // of this bubble
		g := f.gateway("g1", 1)
		for range 5 {
			g.send(Text, "wait")
		}
		time.Sleep(2 * patience)
		synctest.Wait()
		equal(t, "two handed back", g.got(), "busy | busy")
		equal(t, "counted", f.w.Stats().Busy, 2)
		equal(t, "at work", f.w.Stats().Working, 3)
		close(release)
		synctest.Wait()
		g.send(Text, "x")
		synctest.Wait()
		equal(t, "room again", g.got(), " |  |  | ")
		equal(t, "at most", most, 3)
	})
}

// A worker that stops takes no more, answers what it has, and leaves.
func TestDrain(t *testing.T) {
	h := func(_ context.Context, ev *Event) error {
		time.Sleep(4500 * time.Millisecond)
		ev.Reply(ev.Data)
		return nil
	}
	inBubble(t, Config{}, h, func(t *testing.T, f *fixture) {
		g1, g2 := f.gateway("g1", 1), f.gateway("g2", 2)
		g1.send(Text, "a")
		g2.send(Text, "b")
		time.Sleep(500 * time.Millisecond)
		stopped := make(chan struct{})
		start := time.Now()
		go func() { f.stop(); close(stopped) }()
		synctest.Wait()
		g1.send(Text, "late")
		synctest.Wait()
		equal(t, "it has left the queue group", g1.got(), "no responders")
		<-stopped
		equal(t, "took", time.Since(start), 4*time.Second)
		synctest.Wait()
		equal(t, "answered", g1.got()+" "+g2.got(), "working | working | working | working | a working | working | working | working | b")
		if f.err != nil {
			t.Fatal(f.err)
		}
	})
}

func TestDrainIsBounded(t *testing.T) {
	const drain = time.Minute + time.Second/2 // between two signs of progress
	for _, c := range []struct {
		name  string
		heeds bool
		reply string
	}{
		{"a handler that heeds its context", true, "close 1011 handler failed"},
		{"one that does not", false, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			release := func() {}
			var wait func()
			h := func(ctx context.Context, _ *Event) error {
				if c.heeds {
					<-ctx.Done()
					return context.Cause(ctx)
				}
				wait()
				return nil
			}
			inBubble(t, Config{Drain: drain}, h, func(t *testing.T, f *fixture) {
				ch := make(chan struct{})
				wait, release = func() { <-ch }, func() { close(ch) }
				defer release()
				g := f.gateway("g1", 1)
				g.send(Text, "a")
				synctest.Wait()
				start := time.Now()
				f.stop()
				if d := time.Since(start); d < drain || d > drain+2*time.Second {
					t.Fatalf("took %v", d)
				}
				synctest.Wait()
				got := g.got()
				equal(t, "reply", strings.TrimPrefix(got[strings.LastIndex(got, "|")+1:], " "), map[bool]string{true: c.reply, false: "working"}[c.heeds])
				if errors.Is(f.err, ErrUnfinished) == c.heeds {
					t.Fatalf("error: %v", f.err)
				}
			})
		})
	}
}

func TestLinks(t *testing.T) {
	h := func(_ context.Context, ev *Event) error { ev.Reply(ev.Data); return nil }
	inBubble(t, Config{}, h, func(t *testing.T, f *fixture) {
		served := func(what string, g *fakeGateway, want string) {
			t.Helper()
			g.send(Text, "x")
			synctest.Wait()
			equal(t, what, g.got(), want)
		}
		g1 := f.gateway("g1", 1)
		served("at once", g1, "x")

		// The registers lose sight of it: it is served on, and found again.
		g1.vanish()
		time.Sleep(2 * register.Lease)
		synctest.Wait()
		served("while its connection is up", g1, "x")
		equal(t, "links", f.w.Stats().Links, 1)

		// Now the connection breaks too.
		g1.cut()
		equal(t, "links", len(f.w.allLinks()), 0)
		served("no more", g1, "no responders")

		// Another life elsewhere, while the former is cut off from the registers.
		g2 := f.gateway("g2", 2)
		g2.vanish()
		time.Sleep(2 * register.Lease)
		again := f.gatewayAt("elsewhere:8300", "g2", 3)
		served("the new life", again, "x")
		served("the old one too, as long as it is there", g2, "x")
		g2.cut()
		equal(t, "links", len(f.w.allLinks()), 1)
		again.cut()
		again.mend()
		served("a broken connection of a member is kept", again, "x")

		// An orderly goodbye: served until the connection ends.
		again.leave()
		synctest.Wait()
		served("while it closes its clients", again, "x")
		again.cut()
		equal(t, "links", len(f.w.allLinks()), 0)
	})
}

func TestAllRegistersGone(t *testing.T) {
	h := func(_ context.Context, ev *Event) error { ev.Reply(ev.Data); return nil }
	inBubble(t, Config{}, h, func(t *testing.T, f *fixture) {
		g := f.gateway("g1", 1)
		equal(t, "joined", f.w.Joined(), true)
		f.w.members.Status(false, errors.New("gone"))
		g.vanish()
		time.Sleep(time.Hour)
		synctest.Wait()
		g.send(Text, "x")
		synctest.Wait()
		equal(t, "served", g.got(), "x")
	})
}

func TestSends(t *testing.T) {
	inBubble(t, Config{}, func(context.Context, *Event) error { return nil }, func(t *testing.T, f *fixture) {
		g1, g2 := f.gateway("g1", 1), f.gateway("g2", 2)
		a, b := bus.NewClientID("g1", 1, 1), bus.NewClientID("g2", 2, 1)
		c := f.w.Cluster()
		for _, err := range []error{
			c.Client(a).Send(Text, []byte("1")),
			c.SendAll(Text, []byte("2"), b),
			c.SendUID("ann b", Text, []byte("3")),
			c.SendGroup("room.1", Binary, []byte("4")),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		equal(t, "on g1", g1.pushed(), "push.client.g1-1-1=1 | push.all=2 | push.uid.ann%20b=3 | push.group.room%2E1=4")
		equal(t, "on g2", g2.pushed(), "push.all=2 | push.uid.ann%20b=3 | push.group.room%2E1=4")

		ok, err := c.Client(b).Close(t.Context(), 4100, "bye")
		if err != nil || !ok {
			t.Fatal(ok, err)
		}
		equal(t, "close", g2.pushed(), `do.close={"client":"g2-2-1","code":4100,"reason":"bye"}`)

		for what, err := range map[string]error{
			"not UTF-8":     c.SendAll(Text, []byte{0xff}),
			"empty uid":     c.SendUID("", Text, nil),
			"no frame kind": c.SendAll(Close, nil),
			"bad id":        c.Client("x").Send(Text, nil),
			"bad except":    c.SendAll(Text, nil, "x"),
		} {
			if err == nil {
				t.Errorf("%s: no error", what)
			}
		}
		for _, id := range []bus.ClientID{bus.NewClientID("g9", 1, 1), bus.NewClientID("g1", 9, 1)} {
			if err := c.Client(id).Send(Text, nil); !errors.Is(err, ErrNoGateway) {
				t.Errorf("client of a gateway that is not there: %v", err)
			}
		}
		if _, err := c.Client(a).Close(t.Context(), 1006, ""); err == nil {
			t.Error("a close code that may not be sent is accepted")
		}
		equal(t, "nothing was sent of that", g1.pushed()+g2.pushed(), "")
	})
}

func TestNewChecks(t *testing.T) {
	h := HandlerFunc(func(context.Context, *Event) error { return nil })
	for what, cfg := range map[string]Config{
		"name":         {Name: "a.b"},
		"group":        {Group: "*"},
		"concurrency":  {Concurrency: -1},
		"drain":        {Drain: -1},
		"no unit":      {Drain: 30},
		"blank secret": {Secret: " short          "},
		"short secret": {Secret: "short"},
	} {
		if _, err := New(cfg, h); err == nil {
			t.Errorf("%s: accepted", what)
		}
	}
	if _, err := New(Config{}, nil); err == nil {
		t.Error("no handler: accepted")
	}
	a, err := New(Config{}, h)
	if err != nil {
		t.Fatal(err)
	}
	b, err := New(Config{}, h)
	if err != nil {
		t.Fatal(err)
	}
	if a.Name() == b.Name() || a.Name() == "" {
		t.Errorf("made-up names: %q and %q", a.Name(), b.Name())
	}
}
