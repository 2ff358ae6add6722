package e2e_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatebus/gatebus/internal/testbed"
)

// credentials has the command write the seed of a role to a file, which it
// returns, and what it printed.
func credentials(t *testing.T, secret, role string, more ...string) (path, printed string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), role+".nk")
	args := append([]string{"credentials", "--role", role, "--out", path}, more...)
	p := testbed.Start(t, testbed.Spec{Args: args, Env: []string{"GATEBUS_SECRET=" + secret}})
	exits(t, p, 0)
	if strings.Contains(p.Log()+p.Stdout(), secret) {
		t.Errorf("it shows the secret:\n%s", p.Stdout())
	}
	return path, p.Stdout()
}

// What the nats command can do in each role, with what credentials gives it.
func TestNatsCommandWithCredentials(t *testing.T) {
	t.Parallel()
	cluster := testbed.NewCluster(t, 1, "secret="+clusterSecret)
	r, g := cluster.Register(0), cluster.Gateway("g1")
	must(t, testbed.WaitReady(soon(t), r, g))
	bus := "nats://" + addr(t, g, "bus")

	worker, said := credentials(t, clusterSecret, "worker", "--set", "registers="+cluster.URLs())
	if info, err := os.Stat(worker); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file of the seed: %v, %v", info.Mode(), err)
	}
	if !strings.Contains(said, "--nkey "+worker+" --queue default 'gw.*.in.default.*' --echo") {
		t.Errorf("it says:\n%s", said)
	}
	natsCommand(t, "reply", "-s", bus, "--nkey", worker, "--queue", "default", "gw.*.in.default.*", "--echo")
	c := dial(t, ws(t, g))
	echoes(t, c, "hello, wörld")

	application, _ := credentials(t, clusterSecret, "application", "--set", "registers="+cluster.URLs())
	exits(t, natsCommand(t, "pub", "-s", cluster.URLs(), "--nkey", application, "gw.all.push.all", "hello all"), 0)
	reads(t, c, "hello all")

	observer, said := credentials(t, clusterSecret, "observer", "--set", "registers="+cluster.URLs(), "--format", "context")
	ls := natsCommand(t, "micro", "ls", "-s", cluster.URLs(), "--nkey", observer, "--inbox-prefix", "_INBOX_observer")
	exits(t, ls, 0)
	if !strings.Contains(ls.Stdout(), "gatebus-gateway") || !strings.Contains(said, `"inbox_prefix": "_INBOX_observer"`) {
		t.Errorf("an observer sees\n%s\nwith\n%s", ls.Stdout(), said)
	}
	push := natsCommand(t, "pub", "-s", cluster.URLs(), "--nkey", observer, "gw.all.push.all", "not from an observer")
	if exit, err := push.Wait(soon(t)); err != nil || exit.Code == 0 {
		t.Errorf("a push by an observer: %v, %v", exit, err)
	}
	echoes(t, c, "nothing in between")
}

// Wrong credentials, none, and those of another secret are refused, with words
// that tell what it is about.
func TestCredentialsAreRefused(t *testing.T) {
	t.Parallel()
	cluster := testbed.NewCluster(t, 1, "secret="+clusterSecret)
	r, g := cluster.Register(0), cluster.Gateway("g1")
	must(t, testbed.WaitReady(soon(t), r, g))
	other, _ := credentials(t, "wrong-horse-battery", "worker")
	for _, url := range []string{"nats://" + addr(t, g, "bus"), cluster.URLs()} {
		for what, options := range map[string][]string{
			"no credentials":           nil,
			"those of another secret":  {"--nkey", other},
			"the secret as a token":    {"--token", clusterSecret},
			"the secret as a password": {"--user", "worker", "--password", clusterSecret},
		} {
			p := natsCommand(t, append([]string{"pub", "-s", url, "gw.all.push.all", "hello"}, options...)...)
			exit, err := p.Wait(soon(t))
			must(t, err)
			if said := strings.ToLower(p.Log() + p.Stdout()); exit.Code == 0 || !strings.Contains(said, "authorization") {
				t.Errorf("%s at %s: %v: %s", what, url, exit, said)
			}
		}
	}
}

func TestCredentialsCommand(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	there := filepath.Join(dir, "there.nk")
	must(t, os.WriteFile(there, []byte("mine"), 0o644))
	secret := "GATEBUS_SECRET=" + clusterSecret
	for _, tt := range []struct {
		name string
		args []string
		env  string
		code int
		says string
	}{
		{"no secret", nil, "", 2, "no secret is set"},
		{"a role of servers", []string{"--role", "gateway"}, secret, 2, "there are worker, application, observer"},
		{"no such format", []string{"--format", "creds"}, secret, 2, "there are nk, env and context"},
		{"a format without a file", []string{"--format", "env"}, secret, 2, "--out"},
		{"a file that is there", []string{"--out", there}, secret, 1, "is there already"},
		{"a short secret", nil, "GATEBUS_SECRET=short", 2, "secret"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := testbed.Start(t, testbed.Spec{Args: append([]string{"credentials"}, tt.args...), Env: []string{tt.env}})
			exits(t, p, tt.code)
			says(t, p, tt.says)
		})
	}
	if data, err := os.ReadFile(there); err != nil || string(data) != "mine" {
		t.Errorf("the file has %q, %v", data, err)
	}

	p := testbed.Start(t, testbed.Spec{Args: []string{"credentials", "--out", there, "--force", "--format", "env"}, Env: []string{secret}})
	exits(t, p, 0)
	seed, err := os.ReadFile(there)
	must(t, err)
	if info, err := os.Stat(there); err != nil || info.Mode().Perm() != 0o600 || !strings.HasPrefix(string(seed), "SU") {
		t.Errorf("replaced: %q, %v, %v", seed, info.Mode(), err)
	}
	if want := "export NATS_URL=nats://127.0.0.1:4222\nexport NATS_NKEY=" + there; p.Stdout() != want {
		t.Errorf("printed %q, want %q", p.Stdout(), want)
	}
	printed := testbed.Start(t, testbed.Spec{Args: []string{"credentials"}, Env: []string{secret}})
	exits(t, printed, 0)
	if printed.Stdout() != strings.TrimSpace(string(seed)) {
		t.Errorf("printed %q, and wrote %q", printed.Stdout(), seed)
	}
}
