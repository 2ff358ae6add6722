package e2e_test

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/gatebus/gatebus/internal/keys"
	"github.com/gatebus/gatebus/internal/testbed"
	"github.com/gatebus/gatebus/worker"
)

// issue makes a certificate for every host of a testbed's cluster, as settings.
func issue(t *testing.T, a *testbed.Authority, name string, until time.Time) (set []string) {
	t.Helper()
	var hosts []string
	for i := range 9 {
		hosts = append(hosts, testbed.Host(1+i))
	}
	cert, key := a.Issue(t, name, until, hosts...)
	return []string{"tls.cert=" + cert, "tls.key=" + key}
}

// secureCluster is two registers, two gateways and a worker where every link has
// TLS and everybody shows a certificate.
func secureCluster(t *testing.T, ca *testbed.Authority) (c *testbed.Cluster, registers, gateways []*testbed.Process, w *testbed.Process) {
	t.Helper()
	set := append(issue(t, ca, "host", time.Time{}), "tls.ca="+ca.File, "tls.verify=true", "secret="+clusterSecret)
	c = testbed.NewCluster(t, 2, set...)
	registers = []*testbed.Process{c.Register(0), c.Register(1)}
	gateways = []*testbed.Process{c.Gateway("g1"), c.Gateway("g2")}
	w = c.Worker("w1")
	must(t, testbed.WaitReady(soon(t), append(append(registers, gateways...), w)...))
	must(t, awaitLinks(t, w, 2))
	return c, registers, gateways, w
}

func TestTLSOnEveryLink(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ca := testbed.NewAuthority(t, dir, "ca")
	cluster, registers, gateways, _ := secureCluster(t, ca)
	check := unharmed(t, ws(t, gateways[0]), ws(t, gateways[1]))

	// What the nats command needs beside its key.
	observer, said := credentials(t, clusterSecret, "observer", "--set", "registers="+cluster.URLs(),
		"--set", "tls.ca="+ca.File, "--set", "tls.cert="+dir+"/host.crt", "--set", "tls.key="+dir+"/host.key", "--set", "tls.verify=true")
	options := []string{"--nkey", observer, "--inbox-prefix", "_INBOX_observer", "--tlsca", ca.File, "--tlscert", dir + "/host.crt", "--tlskey", dir + "/host.key"}
	if want := "--tlsca " + ca.File + " --tlscert " + dir + "/host.crt --tlskey " + dir + "/host.key"; !regexp.MustCompile(regexp.QuoteMeta(want)).MatchString(said) {
		t.Errorf("credentials says\n%s\nwithout %s", said, want)
	}
	ls := natsCommand(t, append([]string{"micro", "ls", "-s", cluster.URLs()}, options...)...)
	exits(t, ls, 0)
	for _, service := range []string{"gatebus-gateway", "gatebus-worker"} { // it has no order
		if !strings.Contains(ls.Stdout(), service) {
			t.Errorf("nats micro ls is without %s:\n%s", service, ls.Stdout())
		}
	}

	// A program with the SDK.
	pem, err := os.ReadFile(ca.File)
	must(t, err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	pair, err := tls.LoadX509KeyPair(dir+"/host.crt", dir+"/host.key")
	must(t, err)
	app, err := worker.Connect(soon(t), worker.Config{
		Registers: []string{"tls://" + cluster.Registers[0]}, Secret: clusterSecret,
		TLS: &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}},
	})
	must(t, err)
	defer app.Close()
	if n, err := app.CountClients(soon(t)); err != nil || n != 10 {
		t.Errorf("the application counts %d clients, %v", n, err)
	}

	// The command line.
	command := func(args ...string) *testbed.Process {
		args = append(args, "--set", "registers="+strings.ReplaceAll(cluster.URLs(), ",", ", "),
			"--set", "tls.ca="+ca.File, "--set", "tls.cert="+dir+"/host.crt", "--set", "tls.key="+dir+"/host.key")
		p := testbed.Start(t, testbed.Spec{Args: args, Env: []string{"GATEBUS_SECRET=" + clusterSecret}})
		exits(t, p, 0)
		return p
	}
	if status := command("status"); !strings.Contains(status.Stdout(), "g2") {
		t.Errorf("gatebus status:\n%s", status.Stdout())
	}
	count := command("clients")
	if n := strings.Count(count.Stdout(), "\n") + 1; n < 10 {
		t.Errorf("gatebus clients lists:\n%s", count.Stdout())
	}

	// Nobody gets in who speaks no TLS, shows no certificate or believes others.
	k, err := keys.Derive(clusterSecret)
	must(t, err)
	for _, addr := range []string{addr(t, gateways[0], "bus"), cluster.Registers[0]} {
		for what, more := range map[string][]nats.Option{
			"the system's authorities": nil,
			"no certificate":           {nats.RootCAs(ca.File)},
		} {
			opts := append(k.ConnectOptions(keys.RoleWorker), nats.NoReconnect(), nats.Timeout(testbed.Patience))
			if nc, err := nats.Connect("nats://"+addr, append(opts, more...)...); err == nil {
				nc.Close()
				t.Errorf("with %s one can connect to %s", what, addr)
			}
		}
	}

	// The registers are one cluster, and survive each other.
	registers[0].Kill()
	must(t, registers[1].WaitReady(soon(t)))
	w2 := cluster.Worker("w2")
	must(t, testbed.WaitReady(soon(t), w2))
	must(t, awaitLinks(t, w2, 2))
	check()
}

// A peer whose certificate is no good is refused, and says why in words.
func TestPeersWithoutGoodCertificates(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ca, theirs := testbed.NewAuthority(t, dir, "ca"), testbed.NewAuthority(t, t.TempDir(), "theirs")
	cluster, registers, gateways, _ := secureCluster(t, ca)
	check := unharmed(t, ws(t, gateways[0]))
	old := issue(t, ca, "old", time.Now().Add(-time.Minute))
	none := []string{"tls.cert=", "tls.key=", "tls.verify=false"}

	// What a server says of a client's certificate comes when the client takes
	// itself for connected, and it may miss the words.
	const refused = "|connection closed by remote after TLS handshake"
	for _, tt := range []struct {
		name string
		set  []string
		says string
	}{
		{"no-certificate", none, "certificate required" + refused},
		{"no-tls", append(none, "tls.ca="), "unknown authority"}, // it takes the server's word for TLS
		{"believes-others", []string{"tls.ca=" + theirs.File}, "unknown authority"},
		{"of-others", issue(t, theirs, "stranger", time.Time{}), "unknown certificate authority|bad certificate" + refused},
		{"time-is-over", old, "expired certificate" + refused},
	} {
		w := cluster.Worker(tt.name, tt.set...)
		if _, err := w.WaitLog(soon(t), tt.says); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		if err := w.Ready(soon(t)); err == nil {
			t.Errorf("%s: it is ready", tt.name)
		}
		w.Kill()
	}

	// A gateway whose certificate is over says so itself, and so do the registers.
	g := cluster.Gateway("g3", old...)
	_, err := g.WaitLog(soon(t), "the certificate is not valid at this time; others will refuse it")
	must(t, err)
	_, err = registers[0].WaitLog(soon(t), "TLS handshake error.*certificate has expired")
	must(t, err)
	g.Kill()

	// Somebody who poses as a register without TLS is not told anything.
	fake := testbed.NewCluster(t, 1).Register(0)
	w := cluster.Worker("fooled", "registers=nats://"+addr(t, fake, "register"))
	_, err = w.WaitLog(soon(t), "secure connection not available")
	must(t, err)
	check()
}
