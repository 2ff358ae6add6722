package worker

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/internal/latency"
)

// gates is a handler that notes what it begins, and ends it when told to.
type gates struct {
	mu    sync.Mutex
	begun []string
	end   map[string]chan struct{}
}

func (g *gates) handle(_ context.Context, ev *Event) error {
	name := string(ev.Data)
	g.mu.Lock()
	g.begun = append(g.begun, name)
	if g.end == nil {
		g.end = map[string]chan struct{}{}
	}
	ch := make(chan struct{})
	g.end[name] = ch
	g.mu.Unlock()
	<-ch
	ev.Reply(ev.Data)
	return nil
}

// let ends the handling of these.
func (g *gates) let(names ...string) {
	synctest.Wait()
	g.mu.Lock()
	for _, n := range names {
		close(g.end[n])
	}
	g.mu.Unlock()
	synctest.Wait()
}

// has are those begun since last asked.
func (g *gates) has() string {
	synctest.Wait()
	g.mu.Lock()
	defer g.mu.Unlock()
	s := strings.Join(g.begun, " ")
	g.begun = nil
	return s
}

// direct sends an event to the worker alone, as the address of its latest link
// is now.
func (g *fakeGateway) direct(client, data string, delivery int) {
	g.f.t.Helper()
	g.directAt(g.link().address(), client, data, delivery)
}

func (g *fakeGateway) directAt(at bus.WorkerAddress, client, data string, delivery int) {
	g.f.t.Helper()
	g.seq++
	g.sendEvent(bus.Event{
		Gateway: g.name, At: at, Kind: Text, Client: bus.ClientID(client), Seq: g.seq, Delivery: delivery, Data: []byte(data),
	})
}

// asks asks the worker what it holds and returns its answers.
func (g *fakeGateway) asks() string {
	g.f.t.Helper()
	conn := g.bus.Connect()
	defer conn.Close()
	var events []string
	sub, err := conn.Subscribe(func(m *bus.Msg) {
		var h struct {
			Connection bus.ConnID
			Events     []string
		}
		if err := json.Unmarshal(m.Data, &h); err != nil {
			g.f.t.Error(err)
		}
		if want := g.link().conn.ID(); h.Connection != want {
			g.f.t.Errorf("it says it is connection %d, and is %d", h.Connection, want)
		}
		events = append(events, "["+strings.Join(h.Events, " ")+"]")
	}, bus.HeldSubjects(g.name))
	if err != nil {
		g.f.t.Fatal(err)
	}
	if err := conn.Publish(&bus.Msg{Subject: bus.AskSubject(g.name), Reply: bus.HeldSubject(g.name, 1)}); err != nil {
		g.f.t.Fatal(err)
	}
	synctest.Wait()
	if err := sub.Drain(g.f.t.Context()); err != nil {
		g.f.t.Fatal(err)
	}
	return strings.Join(events, " ")
}

// Events for the worker alone come one at a time and in order for each client,
// and side by side for different ones.
func TestDirect(t *testing.T) {
	var h gates
	inBubble(t, Config{}, h.handle, func(t *testing.T, f *fixture) {
		g := f.gateway("g1", 1)
		for i := range 3 {
			g.direct("g1-1-1", fmt.Sprint("a", i), 1)
			g.direct("g1-1-2", fmt.Sprint("b", i), 1)
		}
		first := h.has()
		if first != "a0 b0" && first != "b0 a0" {
			t.Fatalf("begun: %s", first)
		}
		equal(t, "held", g.asks(), "[g1-1-1.1 g1-1-2.2 g1-1-1.3 g1-1-2.4 g1-1-1.5 g1-1-2.6]")
		h.let("a0")
		equal(t, "next of one", h.has(), "a1")
		h.let("a1")
		h.let("a2", "b0")
		h.let("b1")
		equal(t, "then", h.has(), "a2 b1 b2")
		equal(t, "held", g.asks(), "[g1-1-2.6]")
		h.let("b2")
		equal(t, "answers", strings.Count(g.got(), "|"), 5)
		equal(t, "nothing held", g.asks(), "[]")
		l := g.link()
		lanes := func() int {
			l.mu.Lock()
			defer l.mu.Unlock()
			return len(l.lanes)
		}
		equal(t, "lanes", lanes(), 2)
		time.Sleep(2*sweepInterval + time.Second)
		equal(t, "lanes later", lanes(), 0)
		f.w.crew.mu.Lock()
		defer f.w.crew.mu.Unlock()
		equal(t, "goroutines kept", len(f.w.crew.parked), 0)
	})
}

// They wait for their turn where the concurrency is limited; those of the group
// are handed back after a moment.
func TestDirectConcurrency(t *testing.T) {
	var h gates
	inBubble(t, Config{Concurrency: 2}, h.handle, func(t *testing.T, f *fixture) {
		g := f.gateway("g1", 1)
		for i := range 4 {
			g.direct(fmt.Sprintf("g1-1-%d", i), fmt.Sprint(i), 1)
			synctest.Wait()
		}
		equal(t, "begun", h.has(), "0 1")
		g.send(Text, "shared")
		synctest.Wait()
		equal(t, "at first", g.got(), "")
		equal(t, "held", f.w.Stats().Working, 5)
		time.Sleep(2 * patience)
		synctest.Wait()
		equal(t, "handed back", g.got(), "busy")
		equal(t, "held", f.w.Stats().Working, 4)
		h.let("1")
		equal(t, "next", h.has(), "2")
		h.let("0", "2")
		equal(t, "next", h.has(), "3")
		h.let("3")
		g.send(Text, "shared")
		equal(t, "room", h.has(), "shared")
		h.let("shared")
	})
}

// What was meant for a connection that is no more is handed back.
func TestDirectToFormerConnection(t *testing.T) {
	var h gates
	inBubble(t, Config{}, h.handle, func(t *testing.T, f *fixture) {
		g := f.gateway("g1", 1)
		at := bus.NewWorkerAddress(f.w.instance, g.link().conn.ID()+1)
		g.directAt(at, "g1-1-1", "x", 1)
		synctest.Wait()
		equal(t, "reply", g.got(), "busy")
		equal(t, "begun", h.has(), "")
		equal(t, "held", g.asks(), "[]")
	})
}

// A worker that drains takes no more, finishes what waits, and tells until it is
// gone what it holds.
func TestDirectDrain(t *testing.T) {
	var h gates
	inBubble(t, Config{}, h.handle, func(t *testing.T, f *fixture) {
		g := f.gateway("g1", 1)
		g.direct("g1-1-1", "a", 1)
		g.direct("g1-1-1", "b", 1)
		equal(t, "begun", h.has(), "a")
		stopped := make(chan struct{})
		go func() { f.stop(); close(stopped) }()
		synctest.Wait()
		g.direct("g1-1-1", "c", 1)
		synctest.Wait()
		equal(t, "the next one", g.got(), "no responders")
		equal(t, "held", g.asks(), "[g1-1-1.1 g1-1-1.2]")
		h.let("a")
		equal(t, "begun", h.has(), "b")
		h.let("b")
		<-stopped
		equal(t, "answers", g.got(), "a | b")
		if f.err != nil {
			t.Error(f.err)
		}
	})
}

// A redelivery of an event that is in work here is not handled twice.
func TestRedeliveryOfWhatIsInWork(t *testing.T) {
	var h gates
	inBubble(t, Config{}, h.handle, func(t *testing.T, f *fixture) {
		g := f.gateway("g1", 1)
		ev := bus.Event{Gateway: "g1", Group: "default", Kind: Text, Client: "g1-1-1", Seq: 1, Delivery: 1, Data: []byte("x")}
		g.sendEvent(ev)
		equal(t, "begun", h.has(), "x")
		ev.Delivery = 2
		g.sendEvent(ev)
		synctest.Wait()
		equal(t, "it is in work", g.got(), "working")
		equal(t, "begun", h.has(), "")
		h.let("x")
		equal(t, "answered once", g.got(), "x")
		g.sendEvent(ev)
		equal(t, "a later one is new", h.has(), "x")
		h.let("x")
	})
}

// A worker names itself where it is asked to, in its final answer.
func TestNamesItself(t *testing.T) {
	h := func(_ context.Context, ev *Event) error {
		if string(ev.Data) == "slow" {
			time.Sleep(1500 * time.Millisecond)
		}
		ev.Reply(ev.Data)
		return nil
	}
	inBubble(t, Config{}, h, func(t *testing.T, f *fixture) {
		g := f.gateway("g1", 1)
		var names []string
		conn := g.bus.Connect()
		defer conn.Close()
		if _, err := conn.Subscribe(func(m *bus.Msg) {
			at, err := bus.WorkerOf(m)
			if err != nil {
				t.Error(err)
			}
			names = append(names, string(m.Data)+"@"+string(at))
		}, bus.ReplySubjects("g1")); err != nil {
			t.Fatal(err)
		}
		for i, data := range []string{"slow", "plain"} {
			g.sendEvent(bus.Event{
				Gateway: "g1", Group: "default", Kind: Text, Client: bus.NewClientID("g1", 1, uint64(i)), Seq: 1,
				Delivery: 1, Data: []byte(data), Sticky: data == "slow",
			})
			time.Sleep(2 * time.Second)
		}
		synctest.Wait()
		equal(t, "names", strings.Join(names, " "), "@ slow@"+string(g.link().address())+" plain@")
	})
}

// batch sends events to the worker in one batch, as an address.
func (g *fakeGateway) batch(at bus.WorkerAddress, events ...bus.BatchEvent) {
	g.f.t.Helper()
	data := bus.BeginBatch(nil, g.epoch)
	for i := range events {
		events[i].Kind, events[i].Delivery = cmp.Or(events[i].Kind, Text), max(events[i].Delivery, 1)
		data = events[i].Append(data)
	}
	if err := g.conn.Publish(&bus.Msg{Subject: bus.BatchSubject(g.name, at), Data: data}); err != nil {
		g.f.t.Fatal(err)
	}
}

// batched collects what the worker answers in batches, as "client.seq=data" or
// "client.seq:status".
func (g *fakeGateway) batched() (got func() string) {
	return g.collect(func(r *bus.BatchReply) string {
		if r.Status != bus.Done {
			return fmt.Sprintf("%d.%d:%d", r.Client, r.Seq, r.Status)
		}
		return fmt.Sprintf("%d.%d=%s", r.Client, r.Seq, r.Data)
	})
}

// collect collects what the worker answers in batches, in words.
func (g *fakeGateway) collect(word func(*bus.BatchReply) string) (got func() string) {
	g.f.t.Helper()
	var mu sync.Mutex
	var words []string
	conn := g.bus.Connect()
	g.f.t.Cleanup(conn.Close)
	if _, err := conn.Subscribe(func(m *bus.Msg) {
		_, rest, err := bus.BatchEpoch(m.Data)
		if err != nil {
			g.f.t.Error(err)
		}
		for len(rest) > 0 {
			r, left, err := bus.NextReply(rest)
			if err != nil {
				g.f.t.Error(err)
				return
			}
			mu.Lock()
			words, rest = append(words, word(&r)), left
			mu.Unlock()
		}
	}, bus.RepliesSubjects(g.name)); err != nil {
		g.f.t.Fatal(err)
	}
	return func() string {
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		s := strings.Join(words, " ")
		words = nil
		return s
	}
}

// Events of a batch that follow each other are handled in order, one at a time;
// those of other clients meanwhile.
func TestBatch(t *testing.T) {
	var h gates
	inBubble(t, Config{}, h.handle, func(t *testing.T, f *fixture) {
		g := f.gateway("g1", 1)
		got := g.batched()
		g.batch(g.link().address(),
			bus.BatchEvent{Client: 1, Seq: 5, Data: []byte("a5")}, bus.BatchEvent{Client: 1, Seq: 6, Follow: true, Data: []byte("a6")},
			bus.BatchEvent{Client: 2, Seq: 1, Data: []byte("b1")}, bus.BatchEvent{Client: 1, Seq: 7, Follow: true, Data: []byte("a7")})
		if s := h.has(); s != "a5 b1" && s != "b1 a5" {
			t.Fatalf("begun: %s", s)
		}
		h.let("b1")
		equal(t, "answers", got(), "2.1=b1")
		h.let("a5")
		equal(t, "the next", h.has(), "a6")
		h.let("a6")
		h.let("a7")
		equal(t, "answers", got(), "1.5=a5 1.6=a6 1.7=a7")
	})
}

// What follows an event that was handed back is handed back too, on this
// connection and after it was made anew, however long ago something was taken.
func TestBatchFollowsOnlyWhatWasTaken(t *testing.T) {
	var h gates
	inBubble(t, Config{Concurrency: 1}, h.handle, func(t *testing.T, f *fixture) {
		g, got, at := f.full(&h)
		g.batch(at, bus.BatchEvent{Client: 1, Seq: 1, Data: []byte("a1")}, bus.BatchEvent{Client: 1, Seq: 2, Follow: true, Data: []byte("a2")})
		time.Sleep(2 * patience)
		equal(t, "handed back", got(), "1.1:1 1.2:1")
		h.let("x")
		g.batch(at, bus.BatchEvent{Client: 1, Seq: 2, Follow: true, Data: []byte("a2")})
		equal(t, "still", got(), "9.1=x 1.2:1")
		g.batch(at, bus.BatchEvent{Client: 1, Seq: 1, Data: []byte("a1")}, bus.BatchEvent{Client: 1, Seq: 2, Follow: true, Data: []byte("a2")})
		equal(t, "room", h.has(), "a1")
		h.let("a1")
		h.let("a2")
		equal(t, "answers", got(), "1.1=a1 1.2=a2")
		h.has()

		// The gateway got none of that; 1 comes again and is handed back.
		g.batch(at, bus.BatchEvent{Client: 9, Seq: 2, Data: []byte("y")})
		equal(t, "in work", h.has(), "y")
		g.batch(at, bus.BatchEvent{Client: 1, Seq: 2, Delivery: 2, Data: []byte("a2")}, bus.BatchEvent{Client: 1, Seq: 3, Follow: true, Data: []byte("a3")})
		time.Sleep(2 * patience)
		equal(t, "handed back", got(), "1.2:1 1.3:1")
		h.let("y")

		// On another connection nothing was taken.
		g.batch(at, bus.BatchEvent{Client: 2, Seq: 1, Data: []byte("b1")})
		h.let("b1")
		g.cut()
		l := g.link()
		l.mu.Lock()
		l.conn = anew{l.conn}
		l.mu.Unlock()
		g.mend()
		got()
		g.batch(l.address(), bus.BatchEvent{Client: 2, Seq: 2, Follow: true, Data: []byte("b2")})
		equal(t, "handed back", got(), "2.2:1")
	})
}

// Events that come again while they are here are worked on, those that follow too.
func TestBatchComesAgain(t *testing.T) {
	var h gates
	inBubble(t, Config{}, h.handle, func(t *testing.T, f *fixture) {
		g := f.gateway("g1", 1)
		got, at := g.batched(), g.link().address()
		a1, a2 := bus.BatchEvent{Client: 1, Seq: 1, Data: []byte("a1")}, bus.BatchEvent{Client: 1, Seq: 2, Follow: true, Data: []byte("a2")}
		g.batch(at, a1, a2)
		equal(t, "in work", h.has(), "a1")
		a1.Delivery, a2.Delivery = 2, 2
		g.batch(at, a1, a2)
		equal(t, "again", got(), "1.1:2 1.2:2")
		h.let("a1")
		h.let("a2")
		equal(t, "answers", got(), "1.1=a1 1.2=a2")
	})
}

// What comes before something in a batch that is no event is handled; the rest is nothing.
func TestBatchBreaksOff(t *testing.T) {
	h := func(_ context.Context, ev *Event) error { ev.Reply(ev.Data); return nil }
	inBubble(t, Config{}, h, func(t *testing.T, f *fixture) {
		g := f.gateway("g1", 1)
		got := g.batched()
		first := bus.BatchEvent{Kind: Text, Client: 1, Seq: 1, Delivery: 1, Data: []byte("a")}
		data := append(first.Append(bus.BeginBatch(nil, g.epoch)), "no event"...)
		if err := g.conn.Publish(&bus.Msg{Subject: bus.BatchSubject(g.name, g.link().address()), Data: data}); err != nil {
			t.Fatal(err)
		}
		equal(t, "answers", got(), "1.1=a")
		if !strings.Contains(f.log.String(), "a message is no event") {
			t.Errorf("nothing is said of it: %s", f.log.String())
		}
	})
}

// Of one event in some a gateway is told how long the handler was at it, with the answer
// and not before.
func TestBatchTellsHowLong(t *testing.T) {
	h := func(_ context.Context, ev *Event) error {
		time.Sleep(5 * time.Second)
		if string(ev.Data) == "bad" {
			return errors.New("bad")
		}
		return nil
	}
	inBubble(t, Config{}, h, func(t *testing.T, f *fixture) {
		g := f.gateway("g1", 1)
		got := g.collect(func(r *bus.BatchReply) string { return fmt.Sprintf("%d:%s", r.Status, r.Took) })
		for _, c := range []struct {
			kind       bus.Kind
			data, last string
		}{{Text, "good", "0:5s"}, {Text, "bad", "3:5s"}, {Open, "{}", "0:0s"}} {
			events := make([]bus.BatchEvent, latency.Every)
			for i := range events {
				events[i] = bus.BatchEvent{Kind: c.kind, Client: uint64(i) + 1, Seq: 1, Data: []byte(c.data)}
			}
			g.batch(g.link().address(), events...)
			time.Sleep(4 * time.Second)
			if s := strings.ReplaceAll(got(), "2:0s", ""); strings.TrimSpace(s) != "" {
				t.Errorf("while it is at it: %s", s)
			}
			time.Sleep(2 * time.Second)
			words := strings.Fields(strings.ReplaceAll(got(), "2:0s", ""))
			slices.Sort(words)
			status, _, _ := strings.Cut(c.last, ":")
			want := slices.Repeat([]string{status + ":0s"}, latency.Every)
			want[latency.Every-1] = c.last
			equal(t, c.data, strings.Join(words, " "), strings.Join(want, " "))
		}
	})
}

// A gateway that was restarted may be served over a link that was made to its
// former life: clients are those that it says, and so are the answers.
func TestBatchOfAnotherLife(t *testing.T) {
	var clients []string
	h := func(_ context.Context, ev *Event) error {
		clients = append(clients, string(ev.Client.ID()))
		ev.Reply(ev.Data)
		return nil
	}
	inBubble(t, Config{}, h, func(t *testing.T, f *fixture) {
		g := f.gateway("g1", 1)
		var epochs []bus.Epoch
		conn := g.bus.Connect()
		defer conn.Close()
		if _, err := conn.Subscribe(func(m *bus.Msg) {
			epoch, _, err := bus.BatchEpoch(m.Data)
			if err != nil {
				t.Error(err)
			}
			epochs = append(epochs, epoch)
		}, bus.RepliesSubjects("g1")); err != nil {
			t.Fatal(err)
		}
		g.batch(g.link().address(), bus.BatchEvent{Client: 7, Seq: 1, Data: []byte("x")})
		synctest.Wait()
		g.epoch = 2
		g.batch(g.link().address(), bus.BatchEvent{Client: 7, Seq: 1, Data: []byte("y")})
		synctest.Wait()
		equal(t, "clients", strings.Join(clients, " "), string(bus.NewClientID("g1", 1, 7)+" "+bus.NewClientID("g1", 2, 7)))
		equal(t, "answers", fmt.Sprint(epochs), fmt.Sprint([]bus.Epoch{1, 2}))
	})
}
