package register

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/bus/membus"
)

// cluster is a set of registers that hear the same messages, on a bus in
// memory, and the members that talk to them.
type cluster struct {
	t   *testing.T
	bus membus.Bus
}

// start runs fn until the returned stop, or the end of the test.
func start(t *testing.T, fn func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- fn(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("run: %v", err)
			}
		})
	}
	t.Cleanup(stop)
	return stop
}

func (c *cluster) register(name string) (*Server, func()) {
	conn := c.bus.Connect()
	s := NewServer(Member{Role: RoleRegister, Name: name}, conn, slog.New(slog.DiscardHandler))
	stop := start(c.t, s.Run)
	synctest.Wait()
	return s, func() { stop(); conn.Close() }
}

// node is a member that keeps what it was told.
type node struct {
	*Client
	conn  *membus.Conn
	leave func()
	log   *strings.Builder

	mu      sync.Mutex
	changes []string
}

func (n *node) told() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	cs := n.changes
	n.changes = nil
	return cs
}

func (c *cluster) join(m Member, watch ...Role) *node {
	n := &node{conn: c.bus.Connect(), log: &strings.Builder{}}
	if m.Address == "" {
		m.Address = m.Name + ":1"
	}
	client, err := NewClient(ClientConfig{
		Self: m, Watch: watch, Registers: []string{"nats://a"},
		Log: slog.New(slog.NewTextHandler(n.log, nil)),
		OnChange: func(ch Change) {
			n.mu.Lock()
			n.changes = append(n.changes, fmt.Sprintf("%s %s", ch.Type, ch.Member.Name))
			n.mu.Unlock()
		},
	})
	if err != nil {
		c.t.Fatal(err)
	}
	n.Client = client
	n.leave = start(c.t, func(ctx context.Context) error { return client.Run(ctx, n.conn) })
	c.t.Cleanup(n.conn.Close)
	synctest.Wait()
	return n
}

func gatewayMember(name string, epoch bus.Epoch) Member {
	return Member{Role: RoleGateway, Name: name, Epoch: epoch}
}

var watcher = Member{Role: RoleWorker, Name: "w1", Epoch: 100}

// inBubble runs a test with virtual time and a cluster.
func inBubble(t *testing.T, fn func(t *testing.T, c *cluster)) {
	synctest.Test(t, func(t *testing.T) { fn(t, &cluster{t: t}) })
}

func expect(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Fatalf("%s: %q, want %q", what, got, want)
	}
}

func names(ms []Member) (ns []string) {
	for _, m := range ms {
		ns = append(ns, m.Name)
	}
	return ns
}

func TestJoinLeaveExpire(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		r1, _ := c.register("r1")
		w := c.join(watcher, RoleGateway)
		g1 := c.join(gatewayMember("g1", 1))
		g2 := c.join(gatewayMember("g2", 2))
		expect(t, "joined at once", w.told(), "joined g1", "joined g2")
		expect(t, "on the register", names(r1.Members()), "g1", "g2", "w1")
		if !w.Joined() || !g1.Joined() || !g2.Joined() {
			t.Fatal("not all have joined")
		}

		time.Sleep(10 * Lease)
		synctest.Wait()
		expect(t, "nothing happens", w.told())

		g1.leave()
		synctest.Wait()
		expect(t, "left at once", w.told(), "left g1")
		expect(t, "on the register", names(r1.Members(RoleGateway)), "g2")

		g2.conn.Close() // as a process that is killed
		died := time.Now()
		time.Sleep(Lease - Heartbeat)
		synctest.Wait()
		expect(t, "not yet", w.told())
		time.Sleep(Heartbeat + expireInterval)
		synctest.Wait()
		expect(t, "expired after its lease", w.told(), "expired g2")
		expect(t, "on the register", names(r1.Members(RoleGateway)))
		if d := time.Since(died); d > Lease+expireInterval {
			t.Fatalf("expired after %v", d)
		}
	})
}

// distant delays answers, as a register far away does.
type distant struct{ bus.Conn }

func (d distant) Request(ctx context.Context, m *bus.Msg) (*bus.Msg, error) {
	a, err := d.Conn.Request(ctx, m)
	select {
	case <-time.After(300 * time.Millisecond):
		return a, err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// A member that is stopped while it waits for the answer to a heartbeat, be it
// the first, says goodbye all the same.
func TestGoodbyeDuringHeartbeat(t *testing.T) {
	for _, after := range []time.Duration{100 * time.Millisecond, 1400 * time.Millisecond} {
		inBubble(t, func(t *testing.T, c *cluster) {
			r1, _ := c.register("r1")
			conn := c.bus.Connect()
			defer conn.Close()
			m := gatewayMember("g1", 1)
			m.Address = "a:1"
			client, err := NewClient(ClientConfig{Self: m})
			if err != nil {
				t.Fatal(err)
			}
			leave := start(t, func(ctx context.Context) error { return client.Run(ctx, distant{conn}) })
			time.Sleep(after)
			synctest.Wait()
			expect(t, "on the register", names(r1.Members()), "g1")
			leave()
			synctest.Wait()
			expect(t, "left", names(r1.Members()))
			if client.Joined() {
				t.Error("joined after it has left")
			}
		})
	}
}

func TestNewcomerKnowsAllAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		c.register("r1")
		c.join(gatewayMember("g1", 1))
		c.join(gatewayMember("g2", 2))
		time.Sleep(Lease + Heartbeat/2) // between two heartbeats
		synctest.Wait()
		w := c.join(watcher, RoleGateway)
		expect(t, "before any heartbeat", w.told(), "joined g1", "joined g2")
	})
}

func TestRegisterRestartsEmpty(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		_, stop1 := c.register("r1")
		_, stop2 := c.register("r2")
		g := c.join(gatewayMember("g1", 1))
		w := c.join(watcher, RoleGateway)
		time.Sleep(Heartbeat)
		synctest.Wait()
		expect(t, "at first", w.told(), "joined g1")

		stop1()
		time.Sleep(2 * Lease)
		synctest.Wait()
		if !g.Joined() || !w.Joined() {
			t.Fatal("one register does not suffice")
		}
		r1, _ := c.register("r1")
		time.Sleep(Heartbeat)
		synctest.Wait()
		expect(t, "known again after a heartbeat", names(r1.Members()), "g1", "w1")
		stop2()
		time.Sleep(2 * Lease)
		synctest.Wait()
		if !g.Joined() || !w.Joined() {
			t.Fatal("the restarted register does not do")
		}
		expect(t, "nobody noticed", w.told())
	})
}

// A register that has just started does not know who is there, so it must not
// tell: a newcomer would take its silence about others for the truth.
func TestColdRegisterDoesNotTell(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		c.register("r1")
		conn := c.bus.Connect()
		defer conn.Close()
		ask := func() error {
			_, err := conn.Request(t.Context(), &bus.Msg{Subject: MembersSubject})
			return err
		}
		if err := ask(); !errors.Is(err, bus.ErrNoResponders) {
			t.Fatalf("a cold register answers: %v", err)
		}
		time.Sleep(2 * Heartbeat)
		synctest.Wait()
		if err := ask(); err != nil {
			t.Fatalf("a warm register: %v", err)
		}
	})
}

func TestAllRegistersGone(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		_, stop := c.register("r1")
		g := c.join(gatewayMember("g1", 1))
		w := c.join(watcher, RoleGateway)
		time.Sleep(Heartbeat)
		synctest.Wait()
		expect(t, "at first", w.told(), "joined g1")
		stop()
		// On a real bus nobody hears anybody now; here the watcher would still
		// hear g1, so it goes with the register.
		g.conn.Close()
		time.Sleep(time.Hour)
		synctest.Wait()
		expect(t, "the view stands still", w.told())
		expect(t, "the view", names(w.Members()), "g1")
		if w.Joined() {
			t.Fatal("joined to nothing")
		}
		if n := strings.Count(w.log.String(), "no register can be reached"); n < 2 || n > 3600/10+1 {
			t.Fatalf("said %d times that there is no register", n)
		}

		c.register("r1")
		time.Sleep(Heartbeat)
		synctest.Wait()
		if !w.Joined() {
			t.Fatal("not joined again")
		}
		time.Sleep(Lease - 2*Heartbeat)
		synctest.Wait()
		expect(t, "still within the lease that all get", w.told())
		time.Sleep(2*Heartbeat + expireInterval)
		synctest.Wait()
		expect(t, "then it counts", w.told(), "expired g1")
	})
}

func TestNoRegisterAtFirst(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		g := c.join(gatewayMember("g1", 1))
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if g.Joined() {
			t.Fatal("joined to nothing")
		}
		if !strings.Contains(g.log.String(), "no register can be reached; trying on") {
			t.Fatalf("said nothing: %s", g.log)
		}
		c.register("r1")
		time.Sleep(Heartbeat)
		synctest.Wait()
		if !g.Joined() {
			t.Fatal("not joined")
		}
	})
}

func TestNameTaken(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		r1, _ := c.register("r1")
		w := c.join(watcher, RoleGateway)
		first := gatewayMember("g1", 1)
		first.Address = "a:8300"
		a := c.join(first)
		second := gatewayMember("g1", 2)
		second.Address = "b:8300"
		b := c.join(second)
		var conflict *ConflictError
		if err := b.Conflict(); !errors.As(err, &conflict) || conflict.Holder.Address != "a:8300" {
			t.Fatalf("the second was told %v", err)
		}
		if b.Joined() || !a.Joined() || a.Conflict() != nil {
			t.Fatal("the first one must keep the name")
		}
		if !strings.Contains(b.log.String(), "the name g1 is taken by the gateway at a:8300") {
			t.Fatalf("log of the second: %s", b.log)
		}
		for i := range 2 {
			w := c.join(Member{Role: RoleWorker, Name: "w2", Epoch: bus.Epoch(i + 1), Address: fmt.Sprintf("host/%d", i)})
			if said := strings.Contains(w.log.String(), "this worker's name is taken; it works on"); said != (i == 1) {
				t.Fatalf("log of worker %d: %s", i, w.log)
			}
		}
		time.Sleep(3 * Lease)
		synctest.Wait()
		expect(t, "nobody else is bothered", w.told(), "joined g1")
		if got := r1.Members(RoleGateway)[0].Address; got != "a:8300" {
			t.Fatalf("on the table: %s", got)
		}
		a.leave()
		time.Sleep(Heartbeat)
		synctest.Wait()
		if !b.Joined() || b.Conflict() != nil {
			t.Fatal("the name is free now")
		}
		expect(t, "taken over", w.told(), "left g1", "joined g1")
	})
}

func TestBadMessagesHarmNobody(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		r1, _ := c.register("r1")
		w := c.join(watcher, RoleGateway)
		conn := c.bus.Connect()
		defer conn.Close()
		for _, data := range []string{"", "null", "{", `{"role":"gateway"}`, `{"role":"gateway","name":"a.b","epoch":"1","address":"x"}`, `[]`, "\xff"} {
			for _, subject := range []string{AnnounceSubject(RoleGateway), LeaveSubject(RoleGateway), announceRoot + "nobody"} {
				if err := conn.Publish(&bus.Msg{Subject: subject, Data: []byte(data)}); err != nil {
					t.Fatal(err)
				}
			}
			m, err := conn.Request(t.Context(), &bus.Msg{Subject: AnnounceSubject(RoleGateway), Data: []byte(data)})
			if err != nil {
				t.Fatal(err)
			}
			if a, err := decode[ack](m); err != nil || a.Error == "" {
				t.Fatalf("%q was answered %s", data, m.Data)
			}
		}
		synctest.Wait()
		expect(t, "no member came of it", names(r1.Members()), "w1")
		expect(t, "nor for the watcher", w.told())
	})
}

func TestNewClientChecks(t *testing.T) {
	for _, m := range []Member{
		{Role: "x", Name: "a", Epoch: 1, Address: "a"},
		{Role: RoleWorker, Name: "", Epoch: 1, Address: "a"},
		{Role: RoleWorker, Name: "a", Address: "a"},
		{Role: RoleWorker, Name: "a", Epoch: 1},
	} {
		if _, err := NewClient(ClientConfig{Self: m}); err == nil {
			t.Errorf("%+v is accepted", m)
		}
	}
}
