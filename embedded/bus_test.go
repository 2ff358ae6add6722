package embedded_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/gatebus/gatebus/embedded"
	"github.com/gatebus/gatebus/internal/keys"
)

func TestEcho(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]embedded.Config{
		"open":   bus(),
		"secret": {Name: "bus", Listen: loopback, Keys: derive(t, "0123456789abcdef")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, cfg)
			var tcp []nats.Option
			if cfg.Keys != nil {
				tcp = append(tcp, as(cfg.Keys, keys.RoleWorker))
			}
			worker, gateway := connect(t, s, tcp...), connectInProcess(t, s)
			if _, err := worker.QueueSubscribe("gw.*.in.x.*", "workers", func(m *nats.Msg) { m.Respond(m.Data) }); err != nil {
				t.Fatal(err)
			}
			flush(t, worker)
			answers := subscribe(t, gateway, "gw.g1.out.*.*")
			if err := gateway.PublishRequest("gw.g1.in.x.text", "gw.g1.out.c1.1", []byte("hello")); err != nil {
				t.Fatal(err)
			}
			if m, err := answers.NextMsg(patience); err != nil || string(m.Data) != "hello" {
				t.Errorf("in process -> TCP: got %v, %v", m, err)
			}
			echo(t, gateway, "gw.g1.do.*")
			if got := request(t, worker, "gw.g1.do.count", "hello"); got != "hello" {
				t.Errorf("TCP -> in process: got %q", got)
			}
		})
	}
}

// A gateway publishes frames with reply subjects in a space that it subscribes
// to with one plain wildcard; that is how it hears that there is no worker.
func TestNoRespondersInProcess(t *testing.T) {
	t.Parallel()
	nc := connectInProcess(t, start(t, bus()))
	replies := make(chan *nats.Msg, 1) // NextMsg would make an error of a 503
	if _, err := nc.ChanSubscribe("gw.g1.out.>", replies); err != nil {
		t.Fatal(err)
	}
	frame := &nats.Msg{Subject: "gw.g1.in.default.text", Reply: "gw.g1.out.c1.1", Data: []byte("frame")}
	if err := nc.PublishMsg(frame); err != nil {
		t.Fatal(err)
	}
	m := await(t, "answer", replies, func(*nats.Msg) bool { return true })
	if got := m.Header.Get("Status"); got != "503" || m.Subject != frame.Reply || len(m.Data) != 0 {
		t.Errorf("got status %q on %q with %q, want 503 on %q", got, m.Subject, m.Data, frame.Reply)
	}
}

func TestAddresses(t *testing.T) {
	t.Parallel()
	cfg := bus()
	cfg.Advertise = "gateway.example:0"
	s, err := embedded.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if s.Addr() != "" || s.ClientURL() != "" || s.ClusterAddr() != "" {
		t.Errorf("addresses before Start: %q %q %q", s.Addr(), s.ClientURL(), s.ClusterAddr())
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer stop(t, s)
	host, port, err := net.SplitHostPort(s.Addr())
	if err != nil || host != "127.0.0.1" || port == "0" {
		t.Errorf("Addr() = %q, want the real port", s.Addr())
	}
	if got, want := s.ClientURL(), "nats://gateway.example:"+port; got != want {
		t.Errorf("ClientURL() = %q, want %q", got, want)
	}
	if s.ClusterAddr() != "" {
		t.Errorf("ClusterAddr() = %q on a bus", s.ClusterAddr())
	}
}

func TestNameIsUniquePerBoot(t *testing.T) {
	t.Parallel()
	a, b := start(t, bus()), start(t, bus())
	if a.Name() == b.Name() {
		t.Errorf("both are called %q", a.Name())
	}
	if !strings.HasPrefix(a.Name(), "bus-") {
		t.Errorf("Name() = %q, want bus-…", a.Name())
	}
	if got := connect(t, a).ConnectedServerName(); got != a.Name() {
		t.Errorf("clients see %q, want %q", got, a.Name())
	}
}

func reconnect(o *nats.Options) error {
	o.AllowReconnect = true
	return nil
}

// What a client has published before Stop reaches those who are connected.
func TestStopDeliversWhatWaits(t *testing.T) {
	t.Parallel()
	s := start(t, bus())
	// Without reconnecting nats.go would throw away what it has received.
	sub := subscribe(t, connect(t, s, reconnect), "frames")
	const n = 5000
	nc := connectInProcess(t, s)
	for range n {
		publish(t, nc, "frames", strings.Repeat("x", 128))
	}
	flush(t, nc)
	stop(t, s)
	for i := range n {
		if _, err := sub.NextMsg(patience); err != nil {
			t.Fatalf("message %d of %d: %v", i+1, n, err)
		}
	}
}

func TestLifecycle(t *testing.T) {
	t.Parallel()
	fresh := func(t *testing.T) *embedded.Server {
		s, err := embedded.New(bus())
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	t.Run("stop without start", func(t *testing.T) {
		t.Parallel()
		s := fresh(t)
		stop(t, s)
		if err := s.Start(t.Context()); err == nil {
			t.Error("Start after Stop: no error")
		}
		stop(t, s)
	})
	t.Run("start twice", func(t *testing.T) {
		t.Parallel()
		s := start(t, bus())
		if err := s.Start(t.Context()); err == nil {
			t.Error("second Start: no error")
		}
		flush(t, connect(t, s)) // the first is not disturbed
	})
	t.Run("stop frees the port, twice is fine", func(t *testing.T) {
		t.Parallel()
		s := start(t, bus())
		connect(t, s)
		stop(t, s)
		isFree(t, s.Addr())
		stop(t, s)
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Run("not running", func(t *testing.T) {
		t.Parallel()
		s := fresh(t)
		for _, when := range []string{"before Start", "after Stop"} {
			if _, err := s.InProcessConn(); !errors.Is(err, embedded.ErrNotRunning) {
				t.Errorf("InProcessConn %s: %v", when, err)
			}
			if _, err := s.OnClient(func(embedded.ClientEvent) {}); !errors.Is(err, embedded.ErrNotRunning) {
				t.Errorf("OnClient %s: %v", when, err)
			}
			stop(t, s)
		}
	})
	t.Run("start with a canceled context", func(t *testing.T) {
		t.Parallel()
		s := fresh(t)
		cause := errors.New("changed my mind")
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(cause)
		if err := s.Start(ctx); !errors.Is(err, cause) {
			t.Errorf("Start = %v, want %v", err, cause)
		}
		stop(t, s)
	})
	t.Run("stop with a canceled context", func(t *testing.T) {
		t.Parallel()
		s := start(t, bus())
		release := make(chan struct{})
		entered := make(chan struct{}, 1)
		if _, err := s.OnClient(func(embedded.ClientEvent) {
			entered <- struct{}{}
			<-release
		}); err != nil {
			t.Fatal(err)
		}
		connect(t, s)
		<-entered
		cause := errors.New("no more time")
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(cause)
		if err := s.Stop(ctx); !errors.Is(err, cause) {
			t.Errorf("Stop = %v, want %v", err, cause)
		}
		close(release)
		stop(t, s)
		isFree(t, s.Addr())
	})
	t.Run("start and stop at once", func(t *testing.T) {
		t.Parallel()
		for range 20 {
			s := fresh(t)
			started := make(chan error, 1)
			go func() { started <- s.Start(context.Background()) }()
			stop(t, s)
			if err := <-started; err == nil {
				// Start was through before Stop began.
				if _, err := s.InProcessConn(); !errors.Is(err, embedded.ErrNotRunning) {
					t.Errorf("after Stop: %v", err)
				}
			}
			if addr := s.Addr(); addr != "" {
				isFree(t, addr)
			}
		}
	})
}

func TestAddressInUse(t *testing.T) {
	t.Parallel()
	taken := func(t *testing.T) string {
		l, err := net.Listen("tcp", loopback)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		return l.Addr().String()
	}
	check := func(t *testing.T, cfg embedded.Config, want ...string) {
		t.Helper()
		_, err := tryStart(t, cfg)
		if !errors.Is(err, embedded.ErrAddressInUse) {
			t.Fatalf("Start = %v, want ErrAddressInUse", err)
		}
		for _, w := range want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("error %q does not name %q", err, w)
			}
		}
	}
	t.Run("bus", func(t *testing.T) {
		t.Parallel()
		addr := taken(t)
		check(t, embedded.Config{Name: "g1", Listen: addr}, "clients on "+addr)
	})
	t.Run("register, clients", func(t *testing.T) {
		t.Parallel()
		addr, routes := taken(t), reserve(t, 1)[0]
		check(t, embedded.Config{Name: "r1", Listen: addr, Cluster: member(routes, routes)}, "clients on "+addr)
		isFree(t, routes)
	})
	t.Run("register, routes", func(t *testing.T) {
		t.Parallel()
		addr, clients := taken(t), reserve(t, 1)[0]
		check(t, embedded.Config{Name: "r1", Listen: clients, Cluster: member(addr, addr)}, "routes on "+addr)
		isFree(t, clients)
	})
	t.Run("register, both", func(t *testing.T) {
		t.Parallel()
		a, b := taken(t), taken(t)
		check(t, embedded.Config{Name: "r1", Listen: a, Cluster: member(b)}, "clients on "+a, "routes on "+b)
	})
	t.Run("another server", func(t *testing.T) {
		t.Parallel()
		addr := start(t, bus()).Addr()
		check(t, embedded.Config{Name: "g2", Listen: addr}, "clients on "+addr)
	})
	t.Run("both listeners on one address", func(t *testing.T) {
		t.Parallel()
		addr := reserve(t, 1)[0]
		check(t, embedded.Config{Name: "r1", Listen: addr, Cluster: member(addr)}, "routes on "+addr)
		isFree(t, addr)
	})
}

func TestListenErrorNamesTheAddress(t *testing.T) {
	t.Parallel()
	const addr = "192.0.2.1:4222" // reserved for documentation: not ours
	_, err := tryStart(t, embedded.Config{Name: "g1", Listen: addr})
	if err == nil || errors.Is(err, embedded.ErrAddressInUse) || !strings.Contains(err.Error(), "clients on "+addr) {
		t.Errorf("Start = %v", err)
	}
}
