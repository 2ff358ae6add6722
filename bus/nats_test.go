package bus_test

import (
	"bufio"
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/bus/bustest"
	"github.com/gatebus/gatebus/embedded"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait.
const patience = 30 * time.Second

func bounded(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// serve starts a server that is stopped at the end of the test, or before.
func serve(t *testing.T, listen string) *embedded.Server {
	t.Helper()
	s, err := embedded.New(embedded.Config{Name: "bus-test", Listen: listen})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(bounded(t)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { halt(t, s) })
	return s
}

func halt(t *testing.T, s *embedded.Server) {
	t.Helper()
	if err := s.Stop(bounded(t)); err != nil {
		t.Errorf("Stop: %v", err)
	}
}

// dial makes a connection that is closed at the end of the test.
func dial(t *testing.T, cfg bus.Config) *bus.NATS {
	t.Helper()
	c, err := bus.Dial(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestConformanceTCP(t *testing.T) {
	t.Parallel()
	bustest.Run(t, func(t *testing.T) func() bus.Conn {
		s := serve(t, "127.0.0.1:0")
		return func() bus.Conn {
			return dial(t, bus.Config{URLs: []string{s.ClientURL()}, Name: t.Name(), Pinned: true})
		}
	})
}

func TestConformanceInProcess(t *testing.T) {
	t.Parallel()
	bustest.Run(t, func(t *testing.T) func() bus.Conn {
		s := serve(t, "127.0.0.1:0")
		return func() bus.Conn { return dial(t, bus.Config{InProcess: s, Name: t.Name()}) }
	})
}

func TestServerConformance(t *testing.T) {
	t.Parallel()
	bustest.RunServer(t, func(t *testing.T) (func() bus.Conn, bus.Server) {
		s := serve(t, "127.0.0.1:0")
		return func() bus.Conn {
			return dial(t, bus.Config{URLs: []string{s.ClientURL()}, Name: t.Name(), Pinned: true})
		}, s
	})
}

// statuses collects what OnStatus is told.
type statuses struct {
	came chan struct{}

	mu   sync.Mutex
	all  []bool
	errs []error
}

func newStatuses() *statuses { return &statuses{came: make(chan struct{}, 100)} }

func (s *statuses) add(up bool, cause error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, up)
	s.errs = append(s.errs, cause)
	s.came <- struct{}{}
}

// await returns when the statuses are want.
func (s *statuses) await(t *testing.T, want ...bool) {
	t.Helper()
	end := bounded(t).Done()
	for {
		s.mu.Lock()
		got := slices.Clone(s.all)
		s.mu.Unlock()
		if len(got) >= len(want) {
			if !slices.Equal(got, want) {
				t.Fatalf("OnStatus was told %v, want %v", got, want)
			}
			return
		}
		select {
		case <-s.came:
		case <-end:
			t.Fatalf("OnStatus was told %v, want %v", got, want)
		}
	}
}

func wantNotConnected(t *testing.T, what string, err error) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), "not connected") {
		t.Errorf("%s = %v, want an error that says not connected", what, err)
	}
	if errors.Is(err, bus.ErrClosed) {
		t.Errorf("%s = %v, but the connection is not closed", what, err)
	}
}

func flush(t *testing.T, conns ...bus.Conn) {
	t.Helper()
	for _, c := range conns {
		if err := c.Flush(bounded(t)); err != nil {
			t.Fatalf("Flush: %v", err)
		}
	}
}

// TestServerRestart checks that a connection survives its server.
func TestServerRestart(t *testing.T) {
	t.Parallel()
	server := serve(t, "127.0.0.1:0")
	st := newStatuses()
	c := dial(t, bus.Config{URLs: []string{server.ClientURL()}, OnStatus: st.add, Pinned: true})
	st.await(t, true)
	if !strings.Contains(c.Server(), server.Addr()) {
		t.Errorf("Server = %q, want %s", c.Server(), server.Addr())
	}
	got := make(chan string, 10)
	heard := func(m *bus.Msg) { got <- m.Subject + " " + string(m.Data) }
	if _, err := c.Subscribe(heard, "plain.*"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.QueueSubscribe("queue.*", "q", heard); err != nil {
		t.Fatal(err)
	}
	flush(t, c)

	halt(t, server)
	st.await(t, true, false)
	if st.errs[0] != nil {
		t.Errorf("up with the cause %v", st.errs[0])
	}
	if c.Server() != "" {
		t.Errorf("Server = %q while it is down", c.Server())
	}
	wantNotConnected(t, "Publish", c.Publish(&bus.Msg{Subject: "plain.stale", Data: []byte("stale")}))
	wantNotConnected(t, "Publish with headers", c.Publish(&bus.Msg{Subject: "plain.stale", Header: bus.Header{"K": {"v"}}}))
	_, err := c.Request(bounded(t), &bus.Msg{Subject: "plain.stale"})
	wantNotConnected(t, "Request", err)
	// What is subscribed while it is down stands when it is up.
	if _, err := c.Subscribe(heard, "later"); err != nil {
		t.Errorf("Subscribe while down: %v", err)
	}

	server = serve(t, server.Addr())
	st.await(t, true, false, true)
	other := dial(t, bus.Config{InProcess: server})
	flush(t, c)
	for _, subject := range []string{"plain.a", "queue.b", "later"} {
		if err := other.Publish(&bus.Msg{Subject: subject, Data: []byte("x")}); err != nil {
			t.Fatal(err)
		}
		select {
		case g := <-got:
			if g != subject+" x" {
				t.Errorf("got %q, want %q", g, subject+" x")
			}
		case <-bounded(t).Done():
			t.Fatalf("nothing came on %s", subject)
		}
	}
	c.Close()
	st.await(t, true, false, true) // Close is not told
}

// TestDialNobodyThere checks that Dial neither waits nor fails, and that the
// connection is made when the server comes.
func TestDialNobodyThere(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()

	st := newStatuses()
	c := dial(t, bus.Config{URLs: []string{"nats://" + addr}, OnStatus: st.add})
	got := make(chan *bus.Msg, 1)
	if _, err := c.Subscribe(func(m *bus.Msg) { got <- m }, "early"); err != nil {
		t.Errorf("Subscribe: %v", err)
	}
	wantNotConnected(t, "Publish", c.Publish(&bus.Msg{Subject: "early"}))
	wantNotConnected(t, "Publish with headers", c.Publish(&bus.Msg{Subject: "early", Header: bus.Header{"K": {"v"}}}))
	_, err = c.Request(bounded(t), &bus.Msg{Subject: "early"})
	wantNotConnected(t, "Request", err)
	st.await(t, false)
	if st.errs[0] == nil {
		t.Error("down without a cause")
	}

	serve(t, addr)
	st.await(t, false, true)
	if err := c.Publish(&bus.Msg{Subject: "early", Header: bus.Header{"K": {"v"}}}); err != nil {
		t.Errorf("Publish: %v", err)
	}
	select {
	case m := <-got:
		if m.Header.Get("K") != "v" {
			t.Errorf("header %v", m.Header)
		}
	case <-bounded(t).Done():
		t.Error("the subscription does not stand")
	}
}

// absentServer refuses, and tells that it was asked.
type absentServer chan struct{}

func (s absentServer) InProcessConn() (net.Conn, error) {
	select {
	case s <- struct{}{}:
	default:
	}
	return nil, errors.New("nobody there")
}

// TestCloseWhileDown checks that a connection that never came up is told to be
// down once, however often it tries, and can be drained and closed.
func TestCloseWhileDown(t *testing.T) {
	t.Parallel()
	calls := make(chan bool, 10)
	tries := make(absentServer)
	c := dial(t, bus.Config{InProcess: tries, OnStatus: func(up bool, _ error) { calls <- up }})
	s, err := c.Subscribe(func(*bus.Msg) {}, "a", "b")
	if err != nil {
		t.Fatal(err)
	}
	if up := <-calls; up {
		t.Error("it is told to be up")
	}
	if err := s.Drain(bounded(t)); err != nil {
		t.Errorf("Drain while down: %v", err)
	}
	for range 3 {
		select {
		case <-tries:
		case <-bounded(t).Done():
			t.Fatal("it does not try again")
		}
	}
	c.Close()
	if err := c.Publish(&bus.Msg{Subject: "a"}); !errors.Is(err, bus.ErrClosed) {
		t.Errorf("Publish = %v, want ErrClosed", err)
	}
	if len(calls) != 0 {
		t.Error("OnStatus was called again, though nothing had changed")
	}
}

// TestDrainWhileDown checks that a member that leaves its queue group while the
// server is away is not subscribed again when it comes back: the server would
// give it messages that nobody takes.
func TestDrainWhileDown(t *testing.T) {
	t.Parallel()
	server := serve(t, "127.0.0.1:0")
	stayer, leaver := newStatuses(), newStatuses()
	a := dial(t, bus.Config{URLs: []string{server.ClientURL()}, OnStatus: stayer.add})
	b := dial(t, bus.Config{URLs: []string{server.ClientURL()}, OnStatus: leaver.add})
	got := make(chan *bus.Msg, 1000)
	if _, err := a.QueueSubscribe("q.*", "q", func(m *bus.Msg) { got <- m }); err != nil {
		t.Fatal(err)
	}
	leave, err := b.QueueSubscribe("q.*", "q", func(*bus.Msg) {})
	if err != nil {
		t.Fatal(err)
	}
	flush(t, a, b)
	halt(t, server)
	stayer.await(t, true, false)
	leaver.await(t, true, false)
	// There is no server to wait for, so this is over at once: nats.go's own
	// drain would take 10 s.
	soon, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	if err := leave.Drain(soon); err != nil {
		t.Errorf("Drain: %v", err)
	}
	serve(t, server.Addr())
	stayer.await(t, true, false, true)
	leaver.await(t, true, false, true)
	flush(t, a, b)
	for range 100 {
		if err := b.Publish(&bus.Msg{Subject: "q.x"}); err != nil {
			t.Fatal(err)
		}
	}
	flush(t, b)
	end := bounded(t).Done()
	for i := range 100 {
		select {
		case <-got:
		case <-end:
			t.Fatalf("got %d of 100 messages: the member that left takes its share", i)
		}
	}
}

// TestFlushCutOff checks that a flush that the server does not live to answer
// fails, and not as if somebody had closed the connection.
func TestFlushCutOff(t *testing.T) {
	t.Parallel()
	c := dial(t, bus.Config{InProcess: dyingServer{}})
	wantNotConnected(t, "Flush", c.Flush(bounded(t)))
}

// dyingServer answers the ping by which a client connects and hangs up at the
// next one.
type dyingServer struct{}

func (dyingServer) InProcessConn() (net.Conn, error) {
	client, server := net.Pipe()
	go func() {
		defer server.Close()
		if _, err := server.Write([]byte(`INFO {"server_id":"x","max_payload":1048576,"headers":true}` + "\r\n")); err != nil {
			return
		}
		pings := 0
		for in := bufio.NewScanner(server); in.Scan(); {
			if in.Text() != "PING" {
				continue
			}
			if pings++; pings == 2 {
				return
			}
			if _, err := server.Write([]byte("PONG\r\n")); err != nil {
				return
			}
		}
	}()
	return client, nil
}

// TestPublishToFrozen checks that who publishes to a server that takes nothing any more
// is not kept for long, and that the connection is given up.
func TestPublishToFrozen(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	over := make(chan struct{})
	var servers sync.WaitGroup
	t.Cleanup(func() { close(over); _ = l.Close(); servers.Wait() })
	servers.Go(func() {
		server, err := l.Accept()
		if err != nil {
			return
		}
		_ = l.Close() // the connection does not come back
		defer server.Close()
		if _, err := server.Write([]byte(`INFO {"server_id":"x","max_payload":1048576,"headers":true}` + "\r\n")); err != nil {
			return
		}
		for in := bufio.NewScanner(server); in.Scan() && in.Text() != "PING"; {
		}
		if _, err := server.Write([]byte("PONG\r\n")); err == nil {
			<-over
		}
	})
	st := newStatuses()
	c := dial(t, bus.Config{URLs: []string{"nats://" + l.Addr().String()}, OnStatus: st.add})
	st.await(t, true)
	m := &bus.Msg{Subject: "a", Data: make([]byte, 1<<20)}
	for start := time.Now(); ; start = time.Now() {
		err := c.Publish(m)
		if took := time.Since(start); took > 8*time.Second {
			t.Errorf("Publish took %v", took)
		}
		if err != nil {
			break
		}
	}
	st.await(t, true, false)
}

func TestFlushContext(t *testing.T) {
	t.Parallel()
	c := dial(t, bus.Config{InProcess: make(absentServer)})
	ctx, stop := context.WithCancelCause(context.Background())
	cause := errors.New("enough")
	stop(cause)
	if err := c.Flush(ctx); !errors.Is(err, cause) {
		t.Errorf("Flush = %v, want the cause of its context", err)
	}
}

// TestPayloadTooLarge checks that the publisher is told and not cut off.
func TestPayloadTooLarge(t *testing.T) {
	t.Parallel()
	st := newStatuses()
	c := dial(t, bus.Config{InProcess: serve(t, "127.0.0.1:0"), OnStatus: st.add})
	st.await(t, true)
	if err := c.Publish(&bus.Msg{Subject: "a", Data: make([]byte, embedded.DefaultMaxPayload+1)}); !errors.Is(err, bus.ErrTooLarge) || !errors.Is(err, nats.ErrMaxPayload) {
		t.Errorf("Publish = %v, want ErrTooLarge and ErrMaxPayload", err)
	}
	flush(t, c)
	st.await(t, true)
}

func TestDialRefuses(t *testing.T) {
	t.Parallel()
	wrong := errors.New("wrong")
	for name, cfg := range map[string]bus.Config{
		"no server": {},
		"bad URL":   {URLs: []string{"nats://[::1"}},
		"option":    {URLs: []string{"nats://127.0.0.1:1"}, Options: []nats.Option{func(*nats.Options) error { return wrong }}},
	} {
		if c, err := bus.Dial(cfg); err == nil {
			c.Close()
			t.Errorf("%s: Dial is fine with it", name)
		} else if name == "option" && !errors.Is(err, wrong) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestStatusAfterClose checks that OnStatus is not called when Close has
// returned, which waits for a call under way.
func TestStatusAfterClose(t *testing.T) {
	t.Parallel()
	server := serve(t, "127.0.0.1:0")
	for range 50 {
		var mu sync.Mutex
		closed := false
		c := dial(t, bus.Config{InProcess: server, OnStatus: func(bool, error) {
			mu.Lock()
			defer mu.Unlock()
			if closed {
				t.Error("OnStatus after Close")
			}
		}})
		c.Close()
		mu.Lock()
		closed = true
		mu.Unlock()
	}
}
