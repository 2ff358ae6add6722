package worker

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatebus/gatebus/bus"
)

// tell has a gateway say which uids (u…) and groups (g…) there are: to the worker
// that has asked, by its request, or as changes, "-" in front for gone, to all. At
// the end of what it tells one worker stands ".".
func (g *fakeGateway) tell(r bus.NamesRequest, epoch bus.Epoch, names string) {
	g.f.t.Helper()
	data, subject := bus.BeginBatch(nil, epoch), bus.NamesSubject(g.name)
	if r.Worker != "" {
		data, subject = bus.BeginNames(data, r.Request), bus.NamesFor(g.name, r.Worker)
	}
	for name := range strings.FieldsSeq(names) {
		name, gone := strings.CutPrefix(name, "-")
		switch name[0] {
		case '.':
			data = bus.AppendNamesEnd(data)
		case 'u':
			data = bus.NameChange{Target: bus.Target{Scope: bus.ToUID, Name: name}, Present: !gone}.Append(data)
		case 'g':
			data = bus.NameChange{Target: bus.Target{Scope: bus.ToGroup, Name: name}, Present: !gone}.Append(data)
		}
	}
	if err := g.conn.Publish(&bus.Msg{Subject: subject, Data: data}); err != nil {
		g.f.t.Fatal(err)
	}
	synctest.Wait()
}

// changes tells all workers.
func (g *fakeGateway) changes(names string) { g.tell(bus.NamesRequest{}, g.epoch, names) }

// request is what was asked last; it fails if that was not asked n times in all.
func (g *fakeGateway) request(n int) (r bus.NamesRequest) {
	g.f.t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.asked) != n {
		g.f.t.Fatalf("%s was asked %d times, want %d", g.name, len(g.asked), n)
	}
	if n > 0 {
		r = g.asked[n-1]
	}
	return r
}

// gets tells whether pushes to a uid, a group and all come to the gateway.
func (f *fixture) gets(g *fakeGateway, uid, group string) string {
	f.t.Helper()
	g.pushed() // of what was looked at before
	c := f.w.Cluster()
	for _, send := range []func() error{
		func() error { return c.SendUID(uid, Text, nil) },
		func() error { return c.SendGroup(group, Text, nil) },
		func() error {
			time.Sleep(2 * checkInterval) // it is known by then whom the others were for
			synctest.Wait()
			return c.SendAll(Text, nil)
		},
	} {
		if err := send(); err != nil {
			f.t.Fatal(err)
		}
	}
	synctest.Wait()
	return strings.NewReplacer("push.", "", "=", "", " | ", " ").Replace(g.pushed())
}

// A push to a uid or group goes only to the gateways that have it, as soon as all
// is known, and until then to all.
func TestNames(t *testing.T) {
	inBubble(t, Config{}, func(context.Context, *Event) error { return nil }, func(t *testing.T, f *fixture) {
		g1 := f.gateway("g1", 1)
		g1.request(0) // the only one: it gets everything anyway
		g2 := f.gateway("g2", 2)
		r1, r2 := g1.request(1), g2.request(1)
		g1.changes("u9") // before what there is
		g1.tell(r1, 1, "u1 g1")
		equal(t, "not all is known", f.gets(g1, "u2", "g2"), "uid.u2 group.g2 all")
		g1.tell(r1, 1, "u3 .")
		equal(t, "a name that is not there", f.gets(g1, "u2", "g2"), "all")
		equal(t, "where nothing is known", f.gets(g2, "u2", "g2"), "uid.u2 group.g2 all")
		equal(t, "counted", f.w.Stats().Spared, 4)
		equal(t, "names", f.gets(g1, "u1", "g1"), "uid.u1 group.g1 all")
		equal(t, "of another part", f.gets(g1, "u3", "u1"), "uid.u3 all")
		equal(t, "of a change before", f.gets(g1, "u9", "g9"), "uid.u9 all")
		g1.changes("-u1 g2")
		equal(t, "changes", f.gets(g1, "u1", "g2"), "group.g2 all")
		g2.tell(r2, 2, ".")
		equal(t, "a gateway with nobody", f.gets(g2, "u1", "g1"), "all")
		equal(t, "joined", f.w.Stats().Links, 2)
	})
}

// What is known is of one connection and one life of a gateway: with another, it is
// asked anew, and pushes go there until all is known.
func TestNamesAnew(t *testing.T) {
	inBubble(t, Config{}, func(context.Context, *Event) error { return nil }, func(t *testing.T, f *fixture) {
		g, _ := f.gateway("g1", 1), f.gateway("g2", 2)
		first := g.request(1)
		g.tell(first, 1, ".")
		equal(t, "known", f.gets(g, "u1", "g1"), "all")
		g.cut()
		g.mend()
		second := g.request(2)
		equal(t, "the connection was broken", f.gets(g, "u1", "g1"), "uid.u1 group.g1 all")
		g.tell(first, 1, ".")
		equal(t, "the answer to the former request", f.gets(g, "u1", "g1"), "uid.u1 group.g1 all")
		g.tell(bus.NamesRequest{Worker: second.Worker + "0", Request: second.Request}, 1, ".")
		equal(t, "an answer to another connection", f.gets(g, "u1", "g1"), "uid.u1 group.g1 all")
		g.tell(second, 1, ".")
		equal(t, "known again", f.gets(g, "u1", "g1"), "all")
		g.tell(bus.NamesRequest{}, 9, "u5")
		equal(t, "another life", f.gets(g, "u1", "g1"), "uid.u1 group.g1 all")
		g.changes("u5")
		equal(t, "nothing is known of it", f.gets(g, "u1", "g1"), "uid.u1 group.g1 all")
	})
}

// A gateway that was cut off from a bus that is not its own says that changes were lost.
func TestNamesLost(t *testing.T) {
	inBubble(t, Config{}, func(context.Context, *Event) error { return nil }, func(t *testing.T, f *fixture) {
		g, _ := f.gateway("g1", 1), f.gateway("g2", 2)
		g.tell(g.request(1), 1, ".")
		equal(t, "known", f.gets(g, "u1", "g1"), "all")
		g.changes(".")
		equal(t, "not sure any more", f.gets(g, "u1", "g1"), "uid.u1 group.g1 all")
		time.Sleep(sweepInterval)
		synctest.Wait()
		g.tell(g.request(2), 1, ".")
		equal(t, "known again", f.gets(g, "u1", "g1"), "all")
	})
}

// What does not follow the protocol is no reason to send less.
func TestBadNames(t *testing.T) {
	inBubble(t, Config{}, func(context.Context, *Event) error { return nil }, func(t *testing.T, f *fixture) {
		g, _ := f.gateway("g1", 1), f.gateway("g2", 2)
		g.tell(g.request(1), 1, ".")
		equal(t, "known", f.gets(g, "u1", "g1"), "all")
		if err := g.conn.Publish(&bus.Msg{Subject: bus.NamesSubject(g.name), Data: []byte{1, 77}}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		equal(t, "nothing is sure", f.gets(g, "u1", "g1"), "uid.u1 group.g1 all")
		if !strings.Contains(f.log.String(), "a message is no event") {
			t.Error(f.log)
		}
	})
}

// A worker knows what it has given a client itself, before the gateway says so, and
// does not believe that for ever.
func TestExpectedNames(t *testing.T) {
	inBubble(t, Config{}, func(_ context.Context, ev *Event) error {
		if ev.Kind == Open {
			return ev.Accept(Admission{UID: "u7", Groups: []string{"g7", "g8"}})
		}
		return nil
	}, func(t *testing.T, f *fixture) {
		g, other := f.gateway("g1", 1), f.gateway("g2", 2)
		g.tell(g.request(1), 1, ".")
		other.tell(other.request(1), 2, ".")
		equal(t, "known", f.gets(g, "u7", "g7"), "all")
		g.send(Open, "{}")
		synctest.Wait()
		equal(t, "given", f.gets(g, "u7", "g8"), "uid.u7 group.g8 all")
		equal(t, "elsewhere", f.gets(other, "u7", "g8"), "all")
		time.Sleep(expectFor + 2*sweepInterval)
		synctest.Wait()
		equal(t, "but nobody came", f.gets(g, "u7", "g8"), "all")
	})
}

// A name that a gateway has told of in an answer is expected there also if that comes
// while the gateway tells which names there are.
func TestHeardWhileTold(t *testing.T) {
	inBubble(t, Config{}, func(context.Context, *Event) error { return nil }, func(t *testing.T, f *fixture) {
		g, _ := f.gateway("g1", 1), f.gateway("g2", 2)
		r := g.request(1)
		g.link().told(bus.ListRequest{Of: bus.OfUIDs}, &bus.Answer{Names: []bus.NameCount{{Name: "u7", Clients: 1}}})
		g.tell(r, 1, ".") // of before; that there is u7 comes later
		equal(t, "in an answer", f.gets(g, "u7", "g7"), "uid.u7 all")
	})
}
