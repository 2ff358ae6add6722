package embedded_test

import (
	"net"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/gatebus/gatebus/embedded"
	"github.com/gatebus/gatebus/internal/keys"
)

// watch returns the client events of s from now on.
func watch(t *testing.T, s *embedded.Server) <-chan embedded.ClientEvent {
	t.Helper()
	ch := make(chan embedded.ClientEvent, 1024)
	stop, err := s.OnClient(func(ev embedded.ClientEvent) { ch <- ev })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return ch
}

// client tells events of the client called name.
func client(name string, kind embedded.EventKind) func(embedded.ClientEvent) bool {
	return func(ev embedded.ClientEvent) bool { return ev.Name == name && ev.Kind == kind }
}

func TestClientEvents(t *testing.T) {
	t.Parallel()
	k := derive(t, "0123456789abcdef")
	for name, cfg := range map[string]embedded.Config{
		"open":     bus(),
		"secret":   {Name: "g1", Listen: loopback, Keys: k},
		"register": {Name: "r1", Listen: loopback, Keys: k, Cluster: member(loopback)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, cfg)
			events := watch(t, s)
			check := func(inProcess bool, opts ...nats.Option) {
				t.Helper()
				before := time.Now()
				nc := connect(t, s, append(opts, nats.Name("w1"))...)
				id, err := nc.GetClientID()
				if err != nil {
					t.Fatal(err)
				}
				on := await(t, "connect", events, client("w1", embedded.ClientConnected))
				nc.Close()
				off := await(t, "disconnect", events, client("w1", embedded.ClientDisconnected))
				for _, ev := range []embedded.ClientEvent{on, off} {
					if ev.ID != id {
						t.Errorf("%v: id %d, want %d", ev.Kind, ev.ID, id)
					}
					if (ev.Host == "") != inProcess {
						t.Errorf("%v: host %q, in process %v", ev.Kind, ev.Host, inProcess)
					}
					if ev.Time.Before(before.Add(-time.Second)) || ev.Time.After(time.Now().Add(time.Second)) {
						t.Errorf("%v: time %v", ev.Kind, ev.Time)
					}
					wantRole, wantUser := keys.Role(""), ""
					if cfg.Keys != nil {
						wantRole, wantUser = keys.RoleWorker, k.Public(keys.RoleWorker)
					}
					if ev.Role != wantRole || ev.User != wantUser {
						t.Errorf("%v: role %q, user %q", ev.Kind, ev.Role, ev.User)
					}
				}
				if on.Reason != "" || off.Reason != "Client Closed" {
					t.Errorf("reasons %q and %q", on.Reason, off.Reason)
				}
			}
			check(true, s.ConnectOptions(keys.RoleWorker)...)
			if cfg.Keys != nil {
				check(false, as(k, keys.RoleWorker))
			} else {
				check(false)
			}
		})
	}
}

// A process that is killed has its sockets closed by the system, with a reset
// if something was unread.
func TestAbruptCloseIsSeen(t *testing.T) {
	t.Parallel()
	for name, linger := range map[string]int{"fin": -1, "reset": 0} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, bus())
			events := watch(t, s)
			d := new(tapDialer)
			connect(t, s, nats.Name("victim"), nats.SetCustomDialer(d))
			await(t, "connect", events, client("victim", embedded.ClientConnected))
			died := time.Now()
			d.kill(t, linger)
			ev := await(t, "disconnect", events, client("victim", embedded.ClientDisconnected))
			t.Logf("seen after %v: %s", time.Since(died), ev.Reason)
			if ev.Reason == "" {
				t.Error("no reason")
			}
		})
	}
}

// tapDialer dials TCP and keeps hold of the socket.
type tapDialer struct {
	mu   sync.Mutex
	conn *net.TCPConn
}

func (d *tapDialer) Dial(network, addr string) (net.Conn, error) {
	c, err := net.DialTimeout(network, addr, patience)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.conn = c.(*net.TCPConn)
	return c, nil
}

func (d *tapDialer) kill(t *testing.T, linger int) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.conn.SetLinger(linger); err != nil {
		t.Error(err)
	}
	if err := d.conn.Close(); err != nil {
		t.Error(err)
	}
}

// The events of a client come in order, also when there are many.
func TestEventsAreInOrder(t *testing.T) {
	t.Parallel()
	s := start(t, bus())
	events := watch(t, s)
	const n = 50
	go func() {
		for range n {
			if nc, err := dial(s, nats.Name("w")); err == nil {
				nc.Close()
			}
		}
	}()
	connected := make(map[uint64]bool)
	for gone := 0; gone < n; {
		ev := await(t, "event", events, func(embedded.ClientEvent) bool { return true })
		switch ev.Kind {
		case embedded.ClientConnected:
			if connected[ev.ID] {
				t.Fatalf("client %d connected twice", ev.ID)
			}
			connected[ev.ID] = true
		case embedded.ClientDisconnected:
			if !connected[ev.ID] {
				t.Fatalf("client %d disconnected before it connected", ev.ID)
			}
			gone++
		}
	}
}

// Refused clients have never been there, and those of another member are its.
func TestEventsOfOthersAreNotReported(t *testing.T) {
	t.Parallel()
	k := derive(t, "the right secret")
	first := start(t, embedded.Config{Name: "r1", Listen: loopback, Keys: k, Cluster: member(loopback)})
	second := start(t, embedded.Config{Name: "r2", Listen: loopback, Keys: k, Cluster: member(loopback, first.ClusterAddr())})
	awaitMesh(t, workers(t, k, []*embedded.Server{first, second}))

	events, elsewhere := watch(t, first), watch(t, second)
	refused(t, first, "wrong secret", nats.Name("refused"), as(derive(t, "the wrong secret"), keys.RoleWorker))
	connect(t, second, nats.Name("elsewhere"), as(k, keys.RoleWorker)).Close()
	await(t, "disconnect", elsewhere, client("elsewhere", embedded.ClientDisconnected))
	connect(t, first, nats.Name("here"), as(k, keys.RoleWorker))
	await(t, "connect", events, func(ev embedded.ClientEvent) bool {
		if ev.Name != "here" {
			t.Errorf("unexpected: %+v", ev)
		}
		return ev.Name == "here"
	})
}

func TestStopOfWatcher(t *testing.T) {
	t.Parallel()
	s := start(t, bus())
	var mu sync.Mutex
	var calls int
	entered := make(chan struct{})
	stopWatch, err := s.OnClient(func(embedded.ClientEvent) {
		mu.Lock()
		calls++
		first := calls == 1
		mu.Unlock()
		if first {
			close(entered)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	others := watch(t, s)
	connect(t, s, nats.Name("a"))
	<-entered
	stopWatch()
	stopWatch() // twice is fine
	connect(t, s, nats.Name("b"))
	await(t, "connect", others, client("b", embedded.ClientConnected))
	mu.Lock()
	defer mu.Unlock()
	if calls != 1 {
		t.Errorf("%d calls, want 1", calls)
	}
}
