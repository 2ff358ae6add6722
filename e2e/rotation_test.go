package e2e_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/gatebus/gatebus/internal/keys"
	"github.com/gatebus/gatebus/internal/testbed"
)

const newSecret = "battery-staple-horse"

// restarted stops a process in order and starts it with other secrets, which
// are settings without their --set.
func restarted(t *testing.T, p *testbed.Process, secrets ...string) *testbed.Process {
	t.Helper()
	must(t, p.Signal(sigterm))
	exits(t, p, 0)
	spec := p.Spec
	spec.Args = nil
	for i := 0; i < len(p.Spec.Args); i++ {
		if p.Spec.Args[i] == "--set" && strings.Contains(p.Spec.Args[i+1], "secret=") {
			i++
			continue
		}
		spec.Args = append(spec.Args, p.Spec.Args[i])
	}
	for _, s := range secrets {
		spec.Args = append(spec.Args, "--set", s)
	}
	q := testbed.Start(t, spec)
	must(t, testbed.WaitReady(soon(t), q))
	return q
}

// unrefused checks that a process has refused nobody, nor was refused.
func unrefused(t *testing.T, p *testbed.Process) {
	t.Helper()
	for _, text := range []string{"Authorization Violation", "authentication error"} {
		if strings.Contains(p.Log(), text) {
			t.Errorf("%s has %q in its log:\n%s", p.Name, text, p.Log())
		}
	}
}

// The secret of a running cluster is replaced as docs/security.md says, one
// process after the other, and no client loses a frame. When all is done, the
// old secret opens nothing.
func TestRotationOfTheSecret(t *testing.T) {
	t.Parallel()
	cluster := testbed.NewCluster(t, 2, "secret="+clusterSecret)
	processes := []*testbed.Process{
		cluster.Register(0), cluster.Register(1), cluster.Gateway("g1"), cluster.Gateway("g2"),
		cluster.Worker("w1"), cluster.Worker("w2"),
	}
	servers := processes[:4]
	must(t, testbed.WaitReady(soon(t), processes...))
	g1, g2 := processes[2], processes[3]
	const clients = 10
	load := testbed.StartLoad(t, clients, testbed.Numbered{Every: 10 * time.Millisecond, Reconnect: true}, ws(t, g1), ws(t, g2))
	must(t, load.WaitAnswered(soon(t), clients))

	round := func(of []*testbed.Process, secrets ...string) {
		for i, p := range of {
			of[i] = restarted(t, p, secrets...)
			unrefused(t, p)
			must(t, load.WaitMore(soon(t), 2*clients))
		}
		for _, w := range processes[4:] {
			must(t, awaitLinks(t, w, 2))
		}
	}
	round(servers, "secret="+clusterSecret, "accept_secret="+newSecret)
	round(processes, "secret="+newSecret, "accept_secret="+clusterSecret)
	for _, secret := range []string{clusterSecret, newSecret} { // both do for now
		as(t, "nats://"+addr(t, processes[2], "bus"), secret, keys.RoleWorker)
		as(t, cluster.URLs(), secret, keys.RoleObserver)
	}
	round(servers, "secret="+newSecret)

	total, err := load.Finish(soon(t))
	must(t, err)
	if total.Answered < 100 {
		t.Errorf("%+v", total)
	}
	for _, p := range processes {
		unrefused(t, p)
	}
	old, err := keys.Derive(clusterSecret)
	must(t, err)
	for _, url := range []string{"nats://" + addr(t, processes[2], "bus"), cluster.URLs()} {
		for _, r := range keys.Roles() {
			nc, err := nats.Connect(url, append(old.ConnectOptions(r), nats.Timeout(testbed.Patience), nats.NoReconnect())...)
			if err == nil {
				nc.Close()
			}
			if !errors.Is(err, nats.ErrAuthorization) {
				t.Errorf("the %s key of the old secret at %s: %v", r, url, err)
			}
		}
		as(t, url, newSecret, keys.RoleWorker)
	}
}
