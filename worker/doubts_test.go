package worker

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatebus/gatebus/bus"
)

// doubtful is a cluster of two gateways, of which the first has told that it has nobody;
// it does not say whether there were changes.
func doubtful(t *testing.T, fn func(f *fixture, g *fakeGateway)) {
	t.Helper()
	inBubble(t, Config{}, func(context.Context, *Event) error { return nil }, func(t *testing.T, f *fixture) {
		g, _ := f.gateway("g1", 1), f.gateway("g2", 2)
		g.tell(g.request(1), 1, ".")
		g.muted(true)
		fn(f, g)
	})
}

func (g *fakeGateway) muted(mute bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.mute = mute
}

// sends sends a text to uids (u…) and groups (g…), several with commas between.
func (f *fixture) sends(texts ...string) {
	f.t.Helper()
	for _, text := range texts {
		c, data := f.w.Cluster(), []byte(text)
		to, _, _ := strings.Cut(text, "=")
		names := strings.Split(to, ",")
		var err error
		switch uid := to[0] == 'u'; {
		case uid && len(names) > 1:
			err = c.SendUIDs(names, Text, data)
		case uid:
			err = c.SendUID(to, Text, data)
		case len(names) > 1:
			err = c.SendGroups(names, Text, data)
		default:
			err = c.SendGroup(to, Text, data)
		}
		if err != nil {
			f.t.Fatal(err)
		}
		copy(data, "********") // it is the caller's again
		clear(names)
	}
	synctest.Wait()
}

// came are the texts that came to the gateway.
func (g *fakeGateway) came() string {
	var texts []string
	for p := range strings.SplitSeq(g.pushed(), " | ") {
		_, text, _ := strings.Cut(p, "=")
		texts = append(texts, text)
	}
	return strings.Join(texts, " ")
}

// A frame for a client that the gateway has not told of, because that is on its way,
// comes there once it has, and before those that are sent later.
func TestDoubts(t *testing.T) {
	doubtful(t, func(f *fixture, g *fakeGateway) {
		f.sends("u1=a", "u2=b", "u3,u1=c", "g1=d", "g3,g1=e")
		equal(t, "kept", g.came(), "")
		g.changes("u1 u9")
		equal(t, "as one appeared", g.came(), "u1=a u2=b u3,u1=c")
		f.sends("u1=f")
		equal(t, "as it is known", g.came(), "u1=f")
		g.changes("g1")
		equal(t, "as another one appeared", g.came(), "g1=d g3,g1=e")
		equal(t, "spared", f.w.Stats().Spared, 0)
	})
}

// Once the gateway has said that there was nobody, what was sent before it was asked is
// not kept for whom it may be for later.
func TestDoubtsDecided(t *testing.T) {
	doubtful(t, func(f *fixture, g *fakeGateway) {
		r := g.request(1)
		f.sends("u1=a")         // is asked for
		f.sends("u1=b", "u2=c") // after that
		g.tell(r, 1, ".")
		equal(t, "decided", f.w.Stats().Spared, 1)
		g.changes("u1")
		equal(t, "of what was sent since then", g.came(), "u1=b")
		time.Sleep(50 * time.Millisecond) // as the documentation says
		synctest.Wait()
		g.tell(r, 1, ".")
		equal(t, "decided, too", f.w.Stats().Spared, 2)
		g.changes("u2")
		equal(t, "later", g.came(), "")
	})
}

// How often a gateway is asked does not grow with what is sent.
func TestDoubtsAreChecked(t *testing.T) {
	doubtful(t, func(f *fixture, g *fakeGateway) {
		g.muted(false)
		for i := range 1000 {
			f.sends(fmt.Sprintf("u%d=x", i))
			time.Sleep(checkInterval / 100)
		}
		time.Sleep(checkInterval)
		synctest.Wait()
		equal(t, "spared", f.w.Stats().Spared, 1000)
		if g.mu.Lock(); g.checked > 12 {
			t.Errorf("asked %d times in ten intervals", g.checked)
		}
		g.mu.Unlock()
		equal(t, "came", g.came(), "")
	})
}

// With much to be decided a gateway is asked sooner: nothing goes there for want of room.
func TestDoubtsAreCheckedSooner(t *testing.T) {
	doubtful(t, func(f *fixture, g *fakeGateway) {
		g.muted(false)
		for i := range 3 * maxDoubts {
			f.sends(fmt.Sprintf("u%d=x", i))
		}
		time.Sleep(2 * checkInterval) // the rest is decided
		f.sends("u=x")                // is asked for at once
		f.sends("u=" + strings.Repeat("x", maxDoubtful/2))
		f.sends("u=" + strings.Repeat("x", maxDoubtful*2/3))
		equal(t, "came", len(g.came()), 0)
		equal(t, "spared", f.w.Stats().Spared, 3*maxDoubts+3)
	})
}

// What cannot be decided goes there: no answer comes, nothing is sure any more, too much
// is kept, an answer is wanted to what comes after it, or the worker stops.
func TestDoubtsGoThere(t *testing.T) {
	for what, then := range map[string]func(f *fixture, g *fakeGateway){
		"no answer": func(f *fixture, g *fakeGateway) {
			time.Sleep(2 * sweepInterval)
			synctest.Wait()
			g.request(2)
		},
		"changes were lost":  func(_ *fixture, g *fakeGateway) { g.changes(".") },
		"another connection": func(_ *fixture, g *fakeGateway) { g.mend(); g.link().names.forget() },
		"to the client":      func(f *fixture, g *fakeGateway) { _ = f.w.Cluster().Client("g1-1-7").Send(Text, []byte("x")) },
		"to clients": func(f *fixture, g *fakeGateway) {
			_ = f.w.Cluster().SendClients([]bus.ClientID{"g1-1-7"}, Text, []byte("x"))
		},
		"to all":              func(f *fixture, g *fakeGateway) { _ = f.w.Cluster().SendAll(Text, []byte("x")) },
		"the worker stops":    func(f *fixture, _ *fakeGateway) { f.stop() },
		"a push with answers": func(f *fixture, _ *fakeGateway) { _, _ = f.w.Cluster().Push(f.t.Context(), push("u5")) },
		"many bytes":          func(f *fixture, _ *fakeGateway) { f.sends("u5=" + strings.Repeat("x", maxDoubtful)) },
		"many": func(f *fixture, _ *fakeGateway) {
			for range maxDoubts - 1 {
				f.sends("u5=x")
			}
		},
	} {
		t.Run(what, func(t *testing.T) {
			doubtful(t, func(f *fixture, g *fakeGateway) {
				f.sends("u1=a", "g1=b")
				equal(t, "kept", g.came(), "")
				then(f, g)
				synctest.Wait()
				if came := g.came(); !strings.HasPrefix(came, "u1=a g1=b") {
					t.Errorf("came %.100q", came)
				}
			})
		})
	}
}

func push(uid string) bus.Push {
	return bus.Push{Target: bus.Target{Scope: bus.ToUID, Name: uid}, Kind: Text}
}

// An answer that comes after changes were lost is no knowledge.
func TestDoubtsAnsweredLate(t *testing.T) {
	doubtful(t, func(f *fixture, g *fakeGateway) {
		f.sends("u1=a")
		g.changes(".")
		g.tell(g.request(1), 1, ".")
		equal(t, "came", g.came(), "u1=a")
		f.sends("u1=b")
		equal(t, "nothing is sure", g.came(), "u1=b")
	})
}

// What goes to the client of an event, whose names were told before it, does not have
// anything sent that is for nobody.
func TestDoubtsStayForWhoWasHeard(t *testing.T) {
	inBubble(t, Config{}, func(_ context.Context, ev *Event) error {
		return ev.Client.Send(Text, []byte("you=b"))
	}, func(t *testing.T, f *fixture) {
		g, _ := f.gateway("g1", 1), f.gateway("g2", 2)
		g.tell(g.request(1), 1, ".")
		g.muted(true)
		f.sends("u1=a")
		g.send(Text, "hello")
		synctest.Wait()
		equal(t, "came", g.came(), "you=b")
	})
}

// Of frames to one name, those that are for others as well do not overtake the ones before.
func TestDoubtsKeepTheirOrder(t *testing.T) {
	doubtful(t, func(f *fixture, g *fakeGateway) {
		g.changes("u1")
		f.sends("u2=a", "u1,u2=b")
		equal(t, "one for a name that is known, too", g.came(), "u2=a u1,u2=b")
		f.sends("u3=c", "u4,u3=d")
		g.changes("u4")
		equal(t, "as one of the names appeared", g.came(), "u3=c u4,u3=d")
		f.sends("g5=e", "u5=f")
		g.changes("u5")
		g.changes("g5")
		equal(t, "a client that has come in with both", g.came(), "g5=e u5=f")
	})
}

// What is kept is bounded, whatever it consists of.
func TestDoubtsOfManyNames(t *testing.T) {
	doubtful(t, func(f *fixture, g *fakeGateway) {
		for range 3 {
			f.sends(strings.Repeat("u"+strings.Repeat("x", 99)+",", maxDoubtful/500) + "u=x")
		}
		if came := strings.Count(g.came(), "u=x"); came < 2 {
			t.Errorf("%d came: names do not count for what is kept", came)
		}
	})
}

// A link that has ended keeps nothing: who is not reached is counted.
func TestDoubtsAfterTheEnd(t *testing.T) {
	doubtful(t, func(f *fixture, _ *fakeGateway) {
		f.stop()
		f.sends("u1=a", "u1=b")
		equal(t, "unreached, of two gateways", f.w.Stats().Unreached, 4)
	})
}
