package embedded_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"github.com/gatebus/gatebus/embedded"
	"github.com/gatebus/gatebus/internal/keys"
)

// No goroutine of NATS is excused: after Stop none may be left.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait for something that must happen.
const patience = 15 * time.Second

const loopback = "127.0.0.1:0"

// bus returns the configuration of a bus on a free port.
func bus() embedded.Config { return embedded.Config{Name: "bus", Listen: loopback} }

// start starts a server and stops it when the test ends.
func start(t *testing.T, cfg embedded.Config) *embedded.Server {
	t.Helper()
	s, err := tryStart(t, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func tryStart(t *testing.T, cfg embedded.Config) (*embedded.Server, error) {
	t.Helper()
	s, err := embedded.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err != nil {
		return nil, err
	}
	t.Cleanup(func() { stop(t, s) })
	return s, nil
}

func stop(t *testing.T, s *embedded.Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := s.Stop(ctx); err != nil {
		t.Error(err)
	}
}

// connect connects over TCP and closes the connection when the test ends.
func connect(t *testing.T, s *embedded.Server, opts ...nats.Option) *nats.Conn {
	t.Helper()
	nc, err := dial(s, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// connectInProcess does so in process.
func connectInProcess(t *testing.T, s *embedded.Server, opts ...nats.Option) *nats.Conn {
	t.Helper()
	return connect(t, s, append(s.ConnectOptions(keys.RoleGateway), opts...)...)
}

func dial(s *embedded.Server, opts ...nats.Option) (*nats.Conn, error) {
	// nats.go gives up on a server after 2 s, which a loaded machine may need.
	opts = append([]nats.Option{nats.Timeout(patience), nats.NoReconnect()}, opts...)
	// Not ClientURL: it may be one that exists only for a test.
	return nats.Connect("nats://"+s.Addr(), opts...)
}

// as returns the credentials of the user of role r.
func as(k *keys.Keys, r keys.Role) nats.Option { return nats.Nkey(k.Public(r), k.Signer(r)) }

func derive(t *testing.T, secret string) *keys.Keys {
	t.Helper()
	k, err := keys.Derive(secret)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// subscribe subscribes; the subscription is in force when it returns.
func subscribe(t *testing.T, nc *nats.Conn, subject string) *nats.Subscription {
	t.Helper()
	sub, err := nc.SubscribeSync(subject)
	if err != nil {
		t.Fatal(err)
	}
	flush(t, nc)
	return sub
}

func flush(t *testing.T, nc *nats.Conn) {
	t.Helper()
	if err := nc.FlushTimeout(patience); err != nil {
		t.Fatal(err)
	}
}

func publish(t *testing.T, nc *nats.Conn, subject, data string) {
	t.Helper()
	if err := nc.Publish(subject, []byte(data)); err != nil {
		t.Fatal(err)
	}
}

// echo answers every request on subject, and is ready when it returns.
func echo(t *testing.T, nc *nats.Conn, subject string) {
	t.Helper()
	_, err := nc.QueueSubscribe(subject, "workers", func(m *nats.Msg) { m.Respond(m.Data) })
	if err != nil {
		t.Fatal(err)
	}
	flush(t, nc)
}

func request(t *testing.T, nc *nats.Conn, subject, data string) string {
	t.Helper()
	m, err := nc.Request(subject, []byte(data), patience)
	if err != nil {
		t.Fatal(err)
	}
	return string(m.Data)
}

// await takes values from ch until one satisfies ok.
func await[T any](t *testing.T, what string, ch <-chan T, ok func(T) bool) T {
	t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case v := <-ch:
			if ok(v) {
				return v
			}
		case <-timeout:
			t.Fatalf("no %s within %v", what, patience)
		}
	}
}

// lines returns a logger of everything and the channel of its lines. Lines
// beyond what the channel holds are dropped.
func lines() (*slog.Logger, <-chan string) {
	ch := make(chan string, 4096)
	h := slog.NewTextHandler(lineWriter(ch), &slog.HandlerOptions{Level: embedded.LevelTrace})
	return slog.New(h), ch
}

type lineWriter chan<- string

func (w lineWriter) Write(p []byte) (int, error) {
	select {
	case w <- string(p):
	default:
	}
	return len(p), nil
}

var _ io.Writer = lineWriter(nil)

func containing(parts ...string) func(string) bool {
	return func(line string) bool {
		for _, p := range parts {
			if !strings.Contains(line, p) {
				return false
			}
		}
		return true
	}
}

// isFree reports whether somebody else can listen on addr.
func isFree(t *testing.T, addr string) {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Errorf("%s is still taken: %v", addr, err)
		return
	}
	l.Close()
}
