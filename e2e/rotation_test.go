package e2e_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/gatebus/gatebus/internal/keys"
	"github.com/gatebus/gatebus/internal/testbed"
)

const newSecret = "battery-staple-horse"

// rotation is a cluster whose processes read their secrets from files.
type rotation struct {
	*testbed.Cluster
	t         *testing.T
	secret    string // the file of the secret
	processes []*testbed.Process
	load      *testbed.Load
	rounds    int // of reloads so far
}

// write says what the secrets are from the next reload on.
func (r *rotation) write(secret, accept string) {
	r.t.Helper()
	must(r.t, os.WriteFile(r.secret, []byte(secret+"\n"), 0o600))
	must(r.t, os.WriteFile(r.File, fmt.Appendf(nil, "accept_secret: %q\n", accept), 0o600))
}

// round has one process after the other heed the secrets.
func (r *rotation) round(secret, accept string) {
	r.t.Helper()
	r.write(secret, accept)
	r.rounds++
	for _, p := range r.processes {
		must(r.t, p.Signal(syscall.SIGHUP))
		must(r.t, r.awaitLog(p, "msg=reloaded", r.rounds))
		must(r.t, r.load.WaitMore(soon(r.t), 20))
	}
}

// awaitLog waits until a process has said something so many times.
func (r *rotation) awaitLog(p *testbed.Process, text string, times int) error {
	return testbed.Poll(soon(r.t), func() error {
		if n := strings.Count(p.Log(), text); n < times {
			return fmt.Errorf("%s has said %q %d times, not %d", p.Name, text, n, times)
		}
		return nil
	})
}

// stands is a connection that stays open; cut is told when the server ends it, and
// closed when it is not let in again.
func stands(t *testing.T, url, secret string, role keys.Role) (cut, closed chan error) {
	t.Helper()
	k, err := keys.Derive(secret)
	must(t, err)
	cut, closed = make(chan error, 10), make(chan error, 10)
	nc, err := nats.Connect(url, append(k.ConnectOptions(role), nats.Timeout(testbed.Patience),
		nats.ReconnectWait(10*time.Millisecond), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { cut <- err }),
		nats.ClosedHandler(func(nc *nats.Conn) { closed <- nc.LastError() }))...)
	must(t, err)
	t.Cleanup(nc.Close)
	return cut, closed
}

// The secret of a running cluster is replaced as docs/security.md says, by SIGHUP alone,
// and no client notices: none loses a frame, and none is closed. Nobody is refused, and
// nobody cut off, but who still has the old secret when it is not accepted any more. It
// opens nothing then, and the new one does.
func TestRotationOfTheSecret(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := &rotation{t: t, secret: filepath.Join(dir, "secret")}
	r.Cluster = testbed.NewCluster(t, 2, "secret_file="+r.secret)
	r.File = filepath.Join(dir, "gatebus.yaml")
	r.write(clusterSecret, "")
	g1, g2 := r.Gateway("g1"), r.Gateway("g2")
	w1, w2 := r.Worker("w1"), r.Worker("w2")
	r.processes = []*testbed.Process{r.Register(0), r.Register(1), g1, g2, w1, w2}
	must(t, testbed.WaitReady(soon(t), r.processes...))
	for _, w := range []*testbed.Process{w1, w2} {
		must(t, awaitLinks(t, w, 2))
	}
	bus := "nats://" + addr(t, g1, "bus")
	oldSeed, _ := credentials(t, clusterSecret, "worker")
	plain := natsCommand(t, "reply", "-s", bus, "--nkey", oldSeed, "--queue", "default", "gw.*.in.default.*", "--echo")
	_, err := plain.WaitLog(soon(t), "Listening on")
	must(t, err)
	const clients = 10
	r.load = testbed.StartLoad(t, clients, testbed.Numbered{Every: 10 * time.Millisecond}, ws(t, g1), ws(t, g2))
	must(t, r.load.WaitAnswered(soon(t), clients))
	busCut, busClosed := stands(t, bus, clusterSecret, keys.RoleApplication)
	registerCut, registerClosed := stands(t, r.URLs(), clusterSecret, keys.RoleObserver)

	r.round(clusterSecret, newSecret)
	r.round(newSecret, clusterSecret)
	for _, w := range []*testbed.Process{w1, w2} { // anew, each link
		must(t, r.awaitLog(w, "linked to gateway", 4))
	}
	for _, secret := range []string{clusterSecret, newSecret} { // both do for now
		as(t, bus, secret, keys.RoleWorker)
		as(t, r.URLs(), secret, keys.RoleObserver)
	}
	// A worker in another language is given its new credentials now.
	seed, _ := credentials(t, newSecret, "worker")
	must(t, plain.Signal(os.Interrupt))
	_, err = plain.Wait(soon(t))
	must(t, err)
	natsCommand(t, "reply", "-s", bus, "--nkey", seed, "--queue", "default", "gw.*.in.default.*", "--echo")
	if len(busCut)+len(registerCut) > 0 {
		t.Error("a connection was ended whose secret is accepted")
	}
	for _, p := range r.processes {
		for _, text := range []string{"Authorization Violation", "authentication error", "connections were ended"} {
			if strings.Contains(p.Log(), text) {
				t.Errorf("%s has %q in its log", p.Name, text)
			}
		}
	}

	r.round(newSecret, "")
	for _, ended := range []chan error{busCut, registerCut, busClosed, registerClosed} {
		select {
		case <-ended:
		case <-soon(t).Done():
			t.Fatal("a connection with the old secret goes on")
		}
	}
	says(t, g1, `whose key is not accepted any more" gateway=g1`)
	old, err := keys.Derive(clusterSecret)
	must(t, err)
	for _, url := range []string{bus, "nats://" + r.Registers[1]} {
		for _, role := range keys.Roles() {
			nc, err := nats.Connect(url, append(old.ConnectOptions(role), nats.Timeout(testbed.Patience), nats.NoReconnect())...)
			if err == nil {
				nc.Close()
			}
			if !errors.Is(err, nats.ErrAuthorization) {
				t.Errorf("the %s key of the old secret at %s: %v", role, url, err)
			}
		}
		refused := natsCommand(t, "pub", "-s", url, "--nkey", oldSeed, "gw.all.push.all", "hello")
		if exit, err := refused.Wait(soon(t)); err != nil || exit.Code == 0 {
			t.Errorf("nats pub at %s with the old credentials: %v, %v", url, exit, err)
		}
		exits(t, natsCommand(t, "pub", "-s", url, "--nkey", seed, "gw.all.push.group.nobody", "hello"), 0)
	}
	must(t, testbed.WaitReady(soon(t), r.processes...))
	must(t, r.load.WaitMore(soon(t), 10*clients))
	total, err := r.load.Finish(soon(t))
	must(t, err)
	if total.Connects != clients || total.Answered != total.Sent || total.Answered < 100 {
		t.Errorf("%+v", total)
	}
}

// A worker that has the new secret before the gateways accept it works on, and logs in with
// it when they do. A configuration that is wrong changes nothing, and is said. Nor do clients
// notice that a secret is taken away at once.
func TestSecretsInTheWrongOrder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := &rotation{t: t, secret: filepath.Join(dir, "secret")}
	r.Cluster = testbed.NewCluster(t, 1, "secret_file="+r.secret)
	r.File = filepath.Join(dir, "gatebus.yaml")
	r.write(clusterSecret, "")
	servers := []*testbed.Process{r.Register(0), r.Gateway("g1")}
	w := r.Worker("w1")
	must(t, testbed.WaitReady(soon(t), append(servers, w)...))
	must(t, awaitLinks(t, w, 1))
	r.load = testbed.StartLoad(t, 5, testbed.Numbered{Every: 10 * time.Millisecond}, ws(t, servers[1]))
	must(t, r.load.WaitAnswered(soon(t), 5))

	r.write("changeme", "")
	must(t, w.Signal(syscall.SIGHUP))
	_, err := w.WaitLog(soon(t), `cannot reload; all stays as it is.*secret_file.*openssl rand -hex 32`)
	must(t, err)

	r.processes = []*testbed.Process{w}
	r.round(newSecret, "")
	_, err = w.WaitLog(soon(t), "no server takes the new credentials.*gateway=g1")
	must(t, err)
	must(t, r.load.WaitMore(soon(t), 50))
	must(t, w.Ready(soon(t)))
	r.rounds, r.processes = 0, servers
	r.round(clusterSecret, newSecret)
	must(t, r.awaitLog(w, "linked to gateway", 2))

	// A secret that has leaked is not accepted any more from one moment to the next.
	r.processes = append(servers, w)
	r.write("leaked-horse-battery", "")
	for _, p := range r.processes {
		must(t, p.Signal(syscall.SIGHUP))
	}
	_, err = servers[1].WaitLog(soon(t), "whose key is not accepted any more")
	must(t, err)
	must(t, r.awaitLog(w, "linked to gateway", 3))
	must(t, r.load.WaitMore(soon(t), 50))
	total, err := r.load.Finish(soon(t))
	must(t, err)
	if total.Connects != 5 || total.Answered != total.Sent {
		t.Errorf("%+v", total)
	}
}
