package gateway

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatebus/gatebus/bus"
)

func TestGroupFor(t *testing.T) {
	g := &Gateway{routes: routesOf(map[string]string{
		"/chat": "chat", "/chat/vip": "vip", "/a b": "spaced", "/x/y": "deep",
	})}
	g.live.Store(&Config{Group: "rest"})
	l := &listener{}
	for path, want := range map[string]string{
		"/chat": "chat", "/chat/": "chat", "/chat/room": "chat", "/chat/vip": "vip", "/chat/vip/1": "vip",
		"/chat/vip1": "chat", "/chatter": "rest", "/cha": "rest", "/": "rest", "": "rest", "/Chat": "rest",
		"//chat": "rest", "/../chat": "rest", "/a b/c": "spaced", "/x": "rest", "/x/y/z": "deep",
	} {
		equal(t, path, g.groupFor(l, path), want)
	}
	all := &Gateway{routes: routesOf(map[string]string{"/": "all", "/chat": "chat"})}
	all.live.Store(&Config{Group: "rest"})
	equal(t, "everything else", all.groupFor(l, "/x"), "all")
	own := &listener{cfg: Listener{Group: "own"}}
	equal(t, "of a listener with a group", all.groupFor(own, "/chat"), "own")
	equal(t, "longer", all.groupFor(l, "/chat/x"), "chat")
}

func TestGroups(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Paths = map[string]string{"/b": "b", "/a": "a", "/c": "b", "/d": "default"}
	if got := cfg.Groups(); !slices.Equal(got, []string{"default", "a", "b"}) {
		t.Errorf("%q", got)
	}
}

func TestBadPaths(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Paths = map[string]string{"chat": "a", "/a/": "a", "/b": "no group", "/c?d": "a", "/fine": "a", "": "a"}
	want := []string{
		`paths.: a path begins with /, such as /chat`,
		`paths./a/: write /a: what is below it is meant too`,
		`paths./b: the worker group: `,
		`paths./c?d: a path has no ? and no #; write what is before them`,
		`paths.chat: a path begins with /, such as /chat`,
	}
	got := strings.Split(fmt.Sprint(cfg.Validate()), "\n")
	for i, w := range want {
		if i >= len(got) || !strings.HasPrefix(got[i], w) {
			t.Fatalf("%q\nwant %q", got, want)
		}
	}
	equal(t, "problems", len(got), len(want))
}

// twoGroups sends what is below /chat to the group chat, and has little patience.
func twoGroups(c *Config) {
	c.Paths = map[string]string{"/chat": "chat"}
	c.Hold = 2 * time.Second
}

// Each group gets the events of its paths only, whatever kind of workers it has.
func TestPaths(t *testing.T) {
	inBubble(t, twoGroups, func(t *testing.T, f *fixture) {
		var rest recorder // a plain NATS worker, which takes no batches
		f.worker(func(ev bus.Event) *bus.Reply { rest.add(ev); return echo(ev) })
		chat := f.denseIn("chat", "a")
		done := make(chan *peer)
		go func() { done <- f.dial("/chat/room") }()
		chat.answer()
		a, b := <-done, f.dial("/chatter")
		a.send("1", "2")
		b.send("3")
		equal(t, "chat", chat.has(), "open 1 =2")
		if chat.batches == 0 {
			t.Error("the plain worker of another group keeps this one from batches")
		}
		chat.answer()
		equal(t, "the rest", rest.took(), "open text:3")
		equal(t, "answers", a.got()+", "+b.got(), "1 2, 3")
		_, _ = a.conn.Close(), b.conn.Close()
		chat.answer()
		equal(t, "chat", chat.has(), "close")
		equal(t, "the rest", rest.took(), "close:1006")
		equal(t, "clients", f.gw.index.len(), 0)
	})
}

// A group without a worker is waited for by its own clients only.
func TestPathWithoutWorker(t *testing.T) {
	inBubble(t, twoGroups, func(t *testing.T, f *fixture) {
		var rest recorder
		f.worker(func(ev bus.Event) *bus.Reply { rest.add(ev); return echo(ev) })
		refused := make(chan int)
		go func() {
			_, resp, err := f.tryDial("/chat", nil)
			if err == nil {
				t.Error("let in")
			}
			refused <- resp.StatusCode
		}()
		synctest.Wait()
		equal(t, "waiting", f.gw.Stats().Waiting, 1)
		start := time.Now()
		p := f.dial("/")
		p.send("a")
		synctest.Wait()
		equal(t, "answered", p.got(), "a")
		equal(t, "at once", time.Since(start), 0)
		equal(t, "status", <-refused, 503)
		equal(t, "after hold", time.Since(start).Round(50*time.Millisecond), 2*time.Second)
		p.send("b")
		synctest.Wait()
		equal(t, "answered", p.got(), "b")
		equal(t, "only its own", rest.took(), "open text:a text:b")
	})
}

// A worker that cannot be asked what it holds is in the way of its own group only:
// there ack_wait decides about what was with another one that is gone.
func TestPlainWorkerOfAnotherGroup(t *testing.T) {
	for group, want := range map[string]string{"chat": "1*", "default": ""} {
		t.Run(group, func(t *testing.T) {
			inBubble(t, twoGroups, func(t *testing.T, f *fixture) {
				a := f.dense("a")
				c := f.join(a, 1)
				c[0].send("1")
				equal(t, "a", a.has(), "1")
				f.joinGroup(group, "plain").deaf = true
				time.Sleep(time.Second)
				b := f.dense("b")
				a.conn.Close()
				equal(t, "b, at once", b.has(), want)
				time.Sleep(f.gw.config().AckWait)
				b.answer()
			})
		})
	}
}
