package embedded_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/gatebus/gatebus/embedded"
	"github.com/gatebus/gatebus/internal/keys"
)

// setKeys replaces the keys of a server.
func setKeys(t *testing.T, s *embedded.Server, own *keys.Keys, accept ...*keys.Keys) {
	t.Helper()
	if err := s.SetSecrets(embedded.Secrets{Keys: own, Accept: accept}); err != nil {
		t.Fatal(err)
	}
}

// Who has a key that is accepted stays connected, who has none is cut off and not let
// in again, and connections of the process stay whatever key they began with.
func TestSetSecrets(t *testing.T) {
	t.Parallel()
	older, newer := derive(t, "the older secret"), derive(t, "the newer secret")
	for name, cfg := range map[string]embedded.Config{
		"bus":      {Name: "g1", Listen: loopback, Keys: older},
		"register": {Name: "r1", Listen: loopback, Keys: older, Cluster: member(loopback)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, cfg)
			events := watch(t, s)
			cut := make(chan error, 1)
			opts := []nats.Option{
				as(older, keys.RoleWorker), nats.Name("older"),
				nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { cut <- err }),
			}
			inProcess := connect(t, s, s.ConnectOptions(map[string]keys.Role{"bus": keys.RoleGateway, "register": keys.RoleRegister}[name])...)
			old := connect(t, s, opts...)
			refused(t, s, "the newer secret too soon", as(newer, keys.RoleWorker))

			setKeys(t, s, older, newer)
			fresh := connect(t, s, as(newer, keys.RoleWorker))
			setKeys(t, s, newer, older)
			connect(t, s, as(older, keys.RoleObserver))
			select {
			case err := <-cut:
				t.Fatalf("who has a key that is accepted was cut off: %v", err)
			default:
				flush(t, old)
			}

			setKeys(t, s, newer)
			await(t, "the end of the connection", cut, func(error) bool { return true })
			ev := await(t, "its event", events, client("older", embedded.ClientDisconnected))
			if ev.Role != keys.RoleWorker {
				t.Errorf("the role of who was cut off is %q", ev.Role)
			}
			for _, r := range keys.Roles() {
				refused(t, s, fmt.Sprintf("the older secret as %s", r), as(older, r))
			}
			flush(t, fresh)
			flush(t, inProcess)
			public, sign := s.NKey(keys.RoleGateway)
			if name == "bus" {
				flush(t, connect(t, s, nats.InProcessServer(s), nats.Nkey(public, sign)))
			}
			if public != newer.Public(keys.RoleGateway) {
				t.Error("what connects in the process is not given the key of now")
			}
		})
	}
}

func TestSetSecretsOfAnOpenServer(t *testing.T) {
	t.Parallel()
	k := derive(t, "the newer secret")
	open, locked := start(t, bus()), start(t, embedded.Config{Name: "g1", Listen: loopback, Keys: k})
	if err := open.SetSecrets(embedded.Secrets{Keys: k}); !errors.Is(err, embedded.ErrOpen) {
		t.Errorf("keys for a server without: %v", err)
	}
	if err := locked.SetSecrets(embedded.Secrets{}); !errors.Is(err, embedded.ErrOpen) {
		t.Errorf("no keys for a server with some: %v", err)
	}
	connect(t, open)
	connect(t, locked, as(k, keys.RoleWorker))
	stop(t, locked)
	if err := locked.SetSecrets(embedded.Secrets{Keys: k}); !errors.Is(err, embedded.ErrNotRunning) {
		t.Errorf("keys for a server that was stopped: %v", err)
	}
}

// Those who stay connected lose nothing of what they send meanwhile, nor is any of it
// denied.
func TestSetSecretsLosesNothing(t *testing.T) {
	t.Parallel()
	older, newer := derive(t, "the older secret"), derive(t, "the newer secret")
	s := start(t, embedded.Config{Name: "r1", Listen: loopback, Keys: older, Accept: []*keys.Keys{newer}, Cluster: member(loopback)})
	failed := make(chan error, 100)
	failure := nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { failed <- err })
	to := connect(t, s, as(older, keys.RoleWorker), failure)
	sub := subscribe(t, to, "_INBOX.all")
	if err := sub.SetPendingLimits(-1, -1); err != nil {
		t.Fatal(err)
	}
	from := connect(t, s, as(newer, keys.RoleWorker), failure)
	stop, sent := make(chan struct{}), 0
	var sender sync.WaitGroup
	sender.Go(func() {
		for ; ; sent++ {
			select {
			case <-stop:
				return
			default:
				if err := from.Publish("_INBOX.all", nil); err != nil {
					failed <- err
				}
			}
			if sent%1000 == 0 { // no more than the server takes
				_ = from.FlushTimeout(patience)
			}
		}
	})
	for range 20 {
		setKeys(t, s, newer, older)
		setKeys(t, s, older, newer)
	}
	close(stop)
	sender.Wait()
	flush(t, from)
	flush(t, to)
	if got, _, err := sub.Pending(); err != nil || got != sent {
		t.Errorf("%d of %d messages have arrived: %v", got, sent, err)
	}
	select {
	case err := <-failed:
		t.Error(err)
	default:
	}
}

// logText is what was logged.
type logText struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// Registers replace their secret one after the other, and are one cluster all the
// time. In the end the old secret does for
// no route.
func TestSetSecretsOfRoutes(t *testing.T) {
	t.Parallel()
	older, newer := derive(t, "the older secret"), derive(t, "the newer secret")
	all, _ := startCluster(t, older, []int{0, 1, 2})
	awaitMesh(t, workers(t, older, all))
	for _, round := range []struct{ own, accept *keys.Keys }{{older, newer}, {newer, older}, {newer, nil}} {
		for _, s := range all {
			setKeys(t, s, round.own, round.accept)
		}
		awaitMesh(t, workers(t, round.own, all))
	}
	refusals, refused := lines()
	setLog := embedded.Config{Name: "r4", Listen: loopback, Keys: newer, Cluster: member(loopback), Log: refusals}
	last := start(t, setLog)
	start(t, embedded.Config{Name: "r5", Listen: loopback, Keys: older, Cluster: member(loopback, last.ClusterAddr())})
	await(t, "refusal", refused, containing("authentication error"))
	if n := last.NumRoutes(); n != 0 {
		t.Errorf("%d routes with the old secret", n)
	}
}

// A register that was found, and is not listed, keeps its route until the old secret
// is not accepted any more; it is said that it is lost then. No
// password is in the log.
func TestSetSecretsOfFoundRoutes(t *testing.T) {
	t.Parallel()
	older, newer := derive(t, "the older secret"), derive(t, "the newer secret")
	var log logText
	logged := make(chan string, 4096)
	logger := slog.New(slog.NewTextHandler(io.MultiWriter(&log, lineWriter(logged)), &slog.HandlerOptions{Level: embedded.LevelTrace}))
	cfg := embedded.Config{Name: "r1", Listen: loopback, Keys: older, Accept: []*keys.Keys{newer}, Cluster: member(loopback), Log: logger}
	first := start(t, cfg)
	all := []*embedded.Server{first}
	for i := range 2 {
		cfg.Name, cfg.Cluster = fmt.Sprintf("r%d", i+2), member(loopback, first.ClusterAddr())
		all = append(all, start(t, cfg))
	}
	awaitMesh(t, workers(t, older, all))
	for _, s := range all {
		setKeys(t, s, newer, older)
	}
	awaitMesh(t, workers(t, newer, all))
	await(t, "warning", logged, containing("level=WARN", "list all registers", "address=127.0.0.1:"))
	for _, k := range []*keys.Keys{older, newer} {
		if strings.Contains(log.String(), k.RoutePassword()) {
			t.Error("the password of routes is in the log")
		}
	}
}
