package bus_test

import (
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/embedded"
	"github.com/gatebus/gatebus/internal/keys"
)

// derived are the keys of a secret.
func derived(t *testing.T, secret string) *keys.Keys {
	t.Helper()
	k, err := keys.Derive(secret)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// secured is a server that accepts keys, and a connection to it whose own can change.
type secured struct {
	server *embedded.Server
	conn   *bus.NATS
	own    atomic.Pointer[keys.Keys]
	status chan bool
	log    chan string
}

type logLines chan string

func (l logLines) Write(p []byte) (int, error) { l <- string(p); return len(p), nil }

func newSecured(t *testing.T, own *keys.Keys, inProcess bool) *secured {
	t.Helper()
	server, err := embedded.New(embedded.Config{Name: "bus-test", Listen: "127.0.0.1:0", Keys: own})
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(bounded(t)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { halt(t, server) })
	s := &secured{server: server, status: make(chan bool, 100), log: make(chan string, 100)}
	s.own.Store(own)
	role := keys.RoleWorker
	cfg := bus.Config{
		URLs: []string{server.ClientURL()}, Name: t.Name(), Log: slog.New(slog.NewTextHandler(logLines(s.log), nil)),
		OnStatus: func(up bool, _ error) { s.status <- up },
	}
	if inProcess {
		cfg.InProcess, role = server, keys.RoleGateway
	}
	cfg.Login = func() bus.Login {
		k := s.own.Load()
		return bus.Login{Public: k.Public(role), Sign: k.Signer(role)}
	}
	s.conn = dial(t, cfg)
	s.becomes(t, true)
	return s
}

// becomes waits for a change of the connection.
func (s *secured) becomes(t *testing.T, up bool) {
	t.Helper()
	select {
	case got := <-s.status:
		if got != up {
			t.Fatalf("the connection is up: %v", got)
		}
	case <-bounded(t).Done():
		t.Fatalf("the connection does not change; up was to be %v", up)
	}
}

func (s *secured) set(t *testing.T, own *keys.Keys, accept ...*keys.Keys) {
	t.Helper()
	if err := s.server.SetSecrets(embedded.Secrets{Keys: own, Accept: accept}); err != nil {
		t.Fatal(err)
	}
}

// A connection that is renewed logs in with other credentials as soon as the server
// takes them, and not before; what is subscribed stays so.
func TestRenew(t *testing.T) {
	t.Parallel()
	older, newer := derived(t, "the older secret"), derived(t, "the newer secret")
	s := newSecured(t, older, false)
	heard := make(chan string, 10)
	if _, err := s.conn.Subscribe(func(m *bus.Msg) { heard <- string(m.Data) }, "_INBOX.x"); err != nil {
		t.Fatal(err)
	}
	says := func() {
		t.Helper()
		if err := s.conn.Publish(&bus.Msg{Subject: "gw.g1.do.hello"}); err != nil {
			t.Fatal(err)
		}
		if err := s.conn.Flush(bounded(t)); err != nil {
			t.Fatal(err)
		}
	}
	id := s.conn.ID()
	s.own.Store(newer)
	s.conn.Renew()
	for line := ""; !strings.Contains(line, "no server takes the new credentials"); {
		select {
		case line = <-s.log:
		case <-bounded(t).Done():
			t.Fatal("it is not said that the server refuses")
		}
	}
	s.conn.Renew() // one is enough
	says()
	if got := s.conn.ID(); got != id {
		t.Errorf("a connection that the server would not take anew was given up: it was %d and is %d", id, got)
	}
	s.set(t, older, newer)
	s.becomes(t, false)
	s.becomes(t, true)
	s.set(t, newer) // who still has the old key is cut off
	if err := s.conn.Flush(bounded(t)); err != nil {
		t.Fatal(err)
	}
	if got := s.conn.ID(); got == id || len(s.status) > 0 {
		t.Errorf("the connection is %d, and was %d; %d more changes", got, id, len(s.status))
	}
	gateway := dial(t, bus.Config{InProcess: s.server, Options: s.server.ConnectOptions(keys.RoleGateway)})
	if err := gateway.Publish(&bus.Msg{Subject: "_INBOX.x", Data: []byte("hello")}); err != nil {
		t.Fatal(err)
	}
	select {
	case <-heard:
	case <-bounded(t).Done():
		t.Error("the subscription is gone")
	}
}

// A connection that is cut off for its key comes back with the one that there is by then,
// over TCP or in process.
func TestLoginIsAskedAtEachAttempt(t *testing.T) {
	t.Parallel()
	older, newer := derived(t, "the older secret"), derived(t, "the newer secret")
	for name, inProcess := range map[string]bool{"tcp": false, "in process": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSecured(t, older, inProcess)
			s.own.Store(newer)
			s.set(t, newer)
			if inProcess { // it may stay
				if err := s.server.Disconnect(s.conn.ID()); err != nil {
					t.Fatal(err)
				}
			}
			s.becomes(t, false)
			s.becomes(t, true)
		})
	}
}

// Closing ends a renewal that no server takes.
func TestCloseEndsRenew(t *testing.T) {
	t.Parallel()
	s := newSecured(t, derived(t, "the older secret"), false)
	s.own.Store(derived(t, "the newer secret"))
	s.conn.Renew()
	s.conn.Close()
	s.conn.Renew()
}

// Nor does Close wait for a server that says nothing.
func TestCloseEndsSilentRenew(t *testing.T) {
	t.Parallel()
	k := derived(t, "the older secret")
	server := newSecured(t, k, false).server
	front, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	silent := make(chan struct{})
	var tasks sync.WaitGroup
	t.Cleanup(tasks.Wait)
	t.Cleanup(func() { _ = front.Close() })
	tasks.Go(func() {
		first, err := front.Accept()
		if err != nil {
			return
		}
		defer first.Close()
		back, err := net.Dial("tcp", server.Addr())
		if err != nil {
			t.Error(err)
			return
		}
		defer back.Close()
		tasks.Go(func() { _, _ = io.Copy(back, first) })
		tasks.Go(func() { _, _ = io.Copy(first, back) })
		second, err := front.Accept()
		if err != nil {
			return
		}
		defer second.Close()
		close(silent)
		_, _ = io.Copy(io.Discard, second) // until it is closed
	})
	up := make(chan bool, 10)
	c := dial(t, bus.Config{
		URLs: []string{"nats://" + front.Addr().String()}, Name: t.Name(), OnStatus: func(on bool, _ error) { up <- on },
		Options: []nats.Option{nats.Timeout(time.Hour)},
		Login: func() bus.Login {
			return bus.Login{Public: k.Public(keys.RoleWorker), Sign: k.Signer(keys.RoleWorker)}
		},
	})
	await := func(what string, happened <-chan struct{}) {
		t.Helper()
		select {
		case <-happened:
		case <-bounded(t).Done():
			t.Fatal(what)
		}
	}
	<-up
	c.Renew()
	await("the server is not asked", silent)
	closed := make(chan struct{})
	go func() {
		c.Close()
		close(closed)
	}()
	await("Close waits for a server that says nothing", closed)
}

// Credentials that change while others are tried are tried too, before the connection is
// given up for them.
func TestRenewTriesWhatThereIsByThen(t *testing.T) {
	t.Parallel()
	older, newer := derived(t, "the older secret"), derived(t, "the newer secret")
	s := newSecured(t, older, false)
	var asked atomic.Int32
	status, log := make(chan bool, 100), make(chan string, 100)
	c := dial(t, bus.Config{
		URLs: []string{s.server.ClientURL()}, Name: t.Name(), Log: slog.New(slog.NewTextHandler(logLines(log), nil)),
		OnStatus: func(up bool, _ error) { status <- up },
		Login: func() bus.Login {
			k := older
			if asked.Add(1) > 2 { // the first is for the connection, the second for the trial
				k = newer
			}
			return bus.Login{Public: k.Public(keys.RoleWorker), Sign: k.Signer(keys.RoleWorker)}
		},
	})
	<-status
	c.Renew()
	select {
	case line := <-log:
		if !strings.Contains(line, "no server takes the new credentials") {
			t.Error(line)
		}
	case up := <-status:
		t.Errorf("the connection is given up for what nobody takes; it is up: %v", up)
	case <-bounded(t).Done():
		t.Error("nothing is said")
	}
}
