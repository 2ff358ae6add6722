package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/nats-io/nats.go"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/gateway"
	"github.com/gatebus/gatebus/internal/keys"
	"github.com/gatebus/gatebus/internal/testbed"
	"github.com/gatebus/gatebus/worker"
)

// documentedUsers are the users of docs/your-own-nats.md and their permissions, as they
// stand there.
func documentedUsers(t *testing.T) string {
	t.Helper()
	root, err := testbed.ModuleRoot()
	must(t, err)
	text, err := os.ReadFile(filepath.Join(root, "docs", "your-own-nats.md"))
	must(t, err)
	_, rest, found := strings.Cut(string(text), "```conf\n")
	users, _, ended := strings.Cut(rest, "```")
	if !found || !ended {
		t.Fatal("the page has no block of users")
	}
	return users
}

// yours is a NATS cluster that gatebus does not run, and what runs on it.
type yours struct {
	t    *testing.T
	nats *testbed.NATSCluster
	next int
}

func newYours(t *testing.T, nodes int) *yours {
	return &yours{t: t, nats: testbed.StartNATS(t, nodes, documentedUsers(t))}
}

// loginOf are the settings of a host that logs in as the user.
func loginOf(user string) []string {
	return []string{"nats.user=" + user, "nats.password=" + user + "-password"}
}

// start starts a role as its user.
func (y *yours) start(role, name string, set ...string) *testbed.Process {
	y.t.Helper()
	return y.startAs(loginOf(role), role, name, set...)
}

func (y *yours) startAs(login []string, role, name string, set ...string) *testbed.Process {
	y.t.Helper()
	y.next++
	args := []string{role}
	common := []string{role + ".name=" + name, "admin.listen=" + testbed.MustFreeAddr(y.t, testbed.Host(250))}
	switch role {
	case "register":
		common = append(common, "register.url="+y.nats.URLs())
	case "gateway":
		common = append(common, "gateway.bus.url="+y.nats.URLs(),
			"gateway.listen="+testbed.MustFreeAddr(y.t, testbed.Host(y.next)), "gateway.drain=200ms")
	case "worker":
		common = append(common, "registers="+y.nats.URLs(), "worker.handler.type=echo")
	}
	for _, kv := range append(append(common, login...), set...) {
		args = append(args, "--set", kv)
	}
	return testbed.Start(y.t, testbed.Spec{Name: name, Args: args})
}

// refusals checks that the cluster has refused no subject to anybody.
func (y *yours) refusals() {
	y.t.Helper()
	for _, n := range y.nats.Nodes {
		for line := range strings.Lines(n.Log()) {
			if strings.Contains(line, "Permissions Violation") || strings.Contains(line, "Violation") {
				y.t.Errorf("%s: %s", n.Name, line)
			}
		}
	}
}

// A server of the cluster is killed under load, and then a worker: nothing is lost,
// overtaken or answered twice, and no client is disconnected.
func TestYourNATSLosesServer(t *testing.T) {
	for _, routing := range []gateway.Routing{gateway.RouteQueue, gateway.RouteSticky} {
		t.Run(string(routing), func(t *testing.T) { losesServer(t, "gateway.routing="+string(routing)) })
	}
}

func losesServer(t *testing.T, set string) {
	const clients, frames = 40, 1500
	y := newYours(t, 3)
	r := y.start("register", "r1")
	g1, g2 := y.start("gateway", "g1", set), y.start("gateway", "g2", set)
	w1, w2 := y.start("worker", "w1"), y.start("worker", "w2")
	must(t, testbed.WaitReady(soon(t), r, g1, g2, w1, w2))
	must(t, awaitLinks(t, w1, 2))
	must(t, awaitLinks(t, w2, 2))

	load := testbed.StartLoad(t, clients, testbed.Numbered{Frames: frames, Window: 8, Every: 2 * time.Millisecond}, ws(t, g1), ws(t, g2))
	must(t, load.WaitAnswered(soon(t), clients*frames/10))
	y.lose(g1) // what is under way there is lost
	must(t, load.WaitMore(soon(t), clients*frames/10))
	w1.Kill()
	total, err := load.Wait(soon(t))
	must(t, err)
	if total.Answered != clients*frames || total.Connects != clients {
		t.Errorf("%+v", total)
	}
	s1, s2 := gatewayStats(t, g1), gatewayStats(t, g2)
	t.Logf("%d frames in %v; slowest answer %v; given out again: %d, late replies: %d", total.Answered, total.Took.Round(1e6),
		total.Slowest.Round(1e6), s1.Redelivery+s2.Redelivery, s1.LateReply+s2.LateReply)
	if s1.Redelivery+s2.Redelivery == 0 {
		t.Error("neither the server nor the worker had a frame: nothing was tested")
	}
	if n := s1.DroppedPoison + s2.DroppedPoison + s1.DroppedHold + s2.DroppedHold; n != 0 {
		t.Errorf("%d events were dropped: %+v, %+v", n, s1, s2)
	}
	y.refusals()
}

// lose kills the server of the cluster that a process said it is connected to last.
func (y *yours) lose(p *testbed.Process) {
	y.t.Helper()
	var server string
	for line := range strings.Lines(p.Log()) {
		if _, rest, ok := strings.Cut(line, `msg="connected to NATS"`); ok {
			if _, rest, ok = strings.Cut(rest, "server=nats://"); ok {
				server, _, _ = strings.Cut(strings.TrimSpace(rest), " ")
			}
		}
	}
	for i, a := range y.nats.Addrs {
		if a == server {
			must(y.t, y.nats.Nodes[i].Signal(syscall.SIGKILL))
			<-y.nats.Nodes[i].Done()
			return
		}
	}
	y.t.Fatalf("%s does not say which server of %q it is connected to", p.Name, y.nats.Addrs)
}

// What is pushed comes once, by every way that there is; commands work, and gateways
// and workers that go are missed.
func TestYourNATSPushesAndMembers(t *testing.T) {
	y := newYours(t, 3)
	r := y.start("register", "r1")
	g1, g2 := y.start("gateway", "g1"), y.start("gateway", "g2")
	w := y.start("worker", "w1")
	must(t, testbed.WaitReady(soon(t), r, g1, g2, w))
	must(t, awaitLinks(t, w, 2))
	c1, c2 := dial(t, ws(t, g1)), dial(t, ws(t, g2))
	echoes(t, c1, "one")
	echoes(t, c2, "two")

	app, err := worker.Connect(soon(t), worker.Config{
		Registers: strings.Split(y.nats.URLs(), ","),
		NATS:      bus.Credentials{User: "application", Password: "application-password"},
	})
	must(t, err)
	defer app.Close()
	must(t, app.SendAll(worker.Text, []byte("to all")))
	for _, c := range []*websocket.Conn{c1, c2} {
		reads(t, c, "to all")
		echoes(t, c, "and nothing twice")
	}
	n, err := app.CountClients(soon(t))
	must(t, err)
	if n != 2 {
		t.Errorf("count is %d, want 2 clients", n)
	}

	tap := testbed.Start(t, testbed.Spec{Args: []string{"tap", "--registers", y.nats.URLs()},
		Env: []string{"GATEBUS_NATS__USER=observer", "GATEBUS_NATS__PASSWORD=observer-password"}})
	exits(t, tap, 1)
	says(t, tap, "nats sub 'gw.*.out.>'")

	// The plain command, with both forms of a target.
	url := "nats://" + y.nats.Addrs[1]
	login := []string{"-s", url, "--user", "application", "--password", "application-password", "--inbox-prefix", "_INBOX_application"}
	for _, subject := range []string{"gw.all.push.all", "gw.g1.push.all"} {
		exits(t, natsCommand(t, append([]string{"pub", subject, subject}, login...)...), 0)
		reads(t, c1, subject)
		echoes(t, c1, "once")
	}
	reads(t, c2, "gw.all.push.all")
	echoes(t, c2, "once")

	status := testbed.Start(t, testbed.Spec{Args: []string{"status", "--json", "--registers", y.nats.URLs()},
		Env: []string{"GATEBUS_NATS__USER=observer", "GATEBUS_NATS__PASSWORD=observer-password"}})
	exits(t, status, 0)
	for _, name := range []string{`"r1"`, `"g1"`, `"g2"`, `"w1"`} {
		if !strings.Contains(status.Stdout(), name) {
			t.Errorf("status does not show %s:\n%s", name, status.Stdout())
		}
	}

	// Who looks on sees answers, and does not keep a dead gateway alive.
	observer, err := nats.Connect(url, nats.UserInfo("observer", "observer-password"), nats.CustomInboxPrefix("_INBOX_observer"))
	must(t, err)
	defer observer.Close()
	answers, err := observer.SubscribeSync("gw.*.out.>")
	must(t, err)
	_, err = observer.SubscribeSync("gw.*.do.*")
	must(t, err)
	must(t, observer.FlushTimeout(testbed.Patience))
	echoes(t, c1, "seen")
	seen, err := answers.NextMsg(testbed.Patience)
	must(t, err)
	if string(seen.Data) != "seen" {
		t.Errorf("an observer sees %q", seen.Data)
	}

	// A gateway that dies is off the workers' links when its lease is over; one that is
	// started again serves with each event once.
	g2.Kill()
	must(t, awaitLinks(t, w, 1))
	_, err = w.WaitLog(soon(t), "gateway is gone; link closed")
	must(t, err)
	g2 = g2.Again()
	must(t, awaitLinks(t, w, 2))
	c2 = dial(t, ws(t, g2))
	echoes(t, c2, "again")
	must(t, app.SendAll(worker.Text, []byte("to all")))
	reads(t, c2, "to all")
	echoes(t, c2, "nothing twice")
	// Its next life at once: the link to the one before is replaced.
	g2.Kill()
	g2 = g2.Again()
	must(t, testbed.WaitReady(soon(t), g2))
	c2 = dial(t, ws(t, g2))
	echoes(t, c2, "third life")
	// And one elsewhere, which has the name when the lease of the one before is over.
	g2.Kill()
	g2 = y.start("gateway", "g2")
	must(t, testbed.WaitReady(soon(t), g2))
	c2 = dial(t, ws(t, g2)) // the worker is subscribed for the name already
	echoes(t, c2, "served at once")
	must(t, testbed.Poll(soon(t), func() error {
		all := app.Gateways()
		if !slices.ContainsFunc(all, func(l worker.GatewayLink) bool { return l.Up && l.Clients == addr(t, g2, "clients") }) {
			return fmt.Errorf("%w: %+v", errNotYet, all)
		}
		return nil
	}))
	must(t, app.SendAll(worker.Text, []byte("to all")))
	reads(t, c2, "to all")
	echoes(t, c2, "nothing twice here either")
	if all := app.Gateways(); len(all) != 2 {
		t.Errorf("there are links %+v, want one for each name", all)
	}
	y.refusals()
}

// Without a worker events wait; a leaving one leaves nothing behind; sticky routing
// keeps the order; a gateway that is told to stop ends its clients orderly.
func TestYourNATSHoldsAndDrains(t *testing.T) {
	t.Parallel()
	y := newYours(t, 1)
	r := y.start("register", "r1")
	g := y.start("gateway", "g1", "gateway.routing=sticky")
	w1 := y.start("worker", "w1")
	must(t, testbed.WaitReady(soon(t), r, g, w1))
	must(t, awaitLinks(t, w1, 1))
	load := testbed.StartLoad(t, 10, testbed.Numbered{Every: 2 * time.Millisecond, Window: 8, Closes: []int{1012}}, ws(t, g))
	must(t, load.WaitAnswered(soon(t), 500))
	must(t, w1.Signal(syscall.SIGTERM)) // drains
	exits(t, w1, 0)
	awaitStats(t, g, "events that wait", func(s gateway.Stats) bool { return s.Waiting > 0 })
	w2 := y.start("worker", "w2")
	must(t, load.WaitMore(soon(t), 500))
	if s := gatewayStats(t, g); s.Redelivery != 0 {
		t.Errorf("a worker that left orderly left %d events", s.Redelivery)
	}
	must(t, g.Signal(syscall.SIGTERM))
	total, err := load.Wait(soon(t))
	must(t, err)
	if total.Closes[1012] != 10 {
		t.Errorf("%+v", total)
	}
	exits(t, g, 0)
	must(t, awaitLinks(t, w2, 0))
	y.refusals()
}

// The bus is on the cluster, with nkeys and TLS; the registers are those of gatebus, with
// the secret. What is pushed comes once by either way, and taps are at the registers.
func TestYourNATSForTheBusOnly(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ca := testbed.NewAuthority(t, dir, "ca")
	var hosts []string
	for i := range 9 {
		hosts = append(hosts, testbed.Host(1+i), testbed.Host(201+i))
	}
	cert, key := ca.Issue(t, "host", time.Time{}, hosts...)
	k, err := keys.Derive("this is the key pair of their users")
	must(t, err)
	var users []string
	for _, role := range []keys.Role{keys.RoleGateway, keys.RoleWorker} {
		users = append(users, fmt.Sprintf("{nkey: %s}", k.Public(role)))
		must(t, os.WriteFile(filepath.Join(dir, string(role)), k.Seed(role), 0o600))
	}
	theirs := testbed.StartNATS(t, 2, fmt.Sprintf("authorization {users: [%s]}\ntls {cert_file: %q, key_file: %q, ca_file: %q, verify: true}", strings.Join(users, ", "), cert, key, ca.File))
	set := []string{"tls.ca=" + ca.File, "tls.cert=" + cert, "tls.key=" + key, "tls.verify=true", "secret=" + clusterSecret}
	cluster := testbed.NewCluster(t, 1, set...)
	y := &yours{t: t, nats: theirs}
	login := func(role keys.Role) []string {
		return append(set, "registers="+cluster.URLs(), "nats.nkey="+filepath.Join(dir, string(role)))
	}
	r := cluster.Register(0)
	g1, g2 := y.startAs(login(keys.RoleGateway), "gateway", "g1"), y.startAs(login(keys.RoleGateway), "gateway", "g2")
	w := y.startAs(login(keys.RoleWorker), "worker", "w1")
	must(t, testbed.WaitReady(soon(t), r, g1, g2, w))
	must(t, awaitLinks(t, w, 2))
	c1, c2 := dial(t, ws(t, g1)), dial(t, ws(t, g2))
	echoes(t, c1, "one")
	echoes(t, c2, "two")

	seed, _ := credentials(t, clusterSecret, "observer")
	secure := []string{"-s", cluster.URLs(), "--tlsca", ca.File, "--tlscert", cert, "--tlskey", key}
	tap := natsCommand(t, append([]string{"sub", "gw.*.in.>", "--raw", "--nkey", seed, "--inbox-prefix", "_INBOX_observer"}, secure...)...)
	_, err = g1.WaitLog(soon(t), "this gateway is tapped")
	must(t, err)
	echoes(t, c1, "tapped")
	_, err = tap.WaitOutput(soon(t), "^tapped$")
	must(t, err)

	seed, _ = credentials(t, clusterSecret, "worker")
	for _, subject := range []string{"gw.all.push.all", "gw.g1.push.all"} {
		exits(t, natsCommand(t, append([]string{"pub", subject, subject, "--nkey", seed}, secure...)...), 0)
		reads(t, c1, subject)
		echoes(t, c1, "once")
	}
	reads(t, c2, "gw.all.push.all")
	echoes(t, c2, "once")
}

// A message that the cluster does not take is no frame that is held for ever: the gateway
// says that it is not ready.
func TestYourNATSTakesTooLittle(t *testing.T) {
	t.Parallel()
	y := &yours{t: t, nats: testbed.StartNATS(t, 1, "max_payload: 65536")}
	r, g := y.startAs(nil, "register", "r1"), y.startAs(nil, "gateway", "g1")
	must(t, testbed.WaitReady(soon(t), r))
	must(t, testbed.Poll(soon(t), func() error {
		if why, err := g.WaitUnready(soon(t)); err != nil || !strings.Contains(why, "takes messages of up to 65536 bytes") {
			return fmt.Errorf("%w: %s", errNotYet, why)
		}
		return nil
	}))
}

// Who has a wrong password is told so, by what it logs and by /readyz.
func TestYourNATSRefusesWrongCredentials(t *testing.T) {
	t.Parallel()
	y := newYours(t, 1)
	const refused = "Authorization Violation"
	for role, check := range map[string]string{"register": "nats", "gateway": "bus", "worker": "joined"} {
		p := y.startAs([]string{"nats.user=" + role, "nats.password=wrong-password"}, role, role+"1")
		_, err := p.WaitLog(soon(t), refused)
		must(t, err)
		why, err := p.WaitUnready(soon(t))
		must(t, err)
		if !strings.Contains(why, check) || role != "worker" && !strings.Contains(why, refused) {
			t.Errorf("%s is not ready: %s", role, why)
		}
		if strings.Contains(p.Log()+why, "wrong-password") {
			t.Errorf("%s shows the password", role)
		}
	}
	p := testbed.Start(t, testbed.Spec{Args: []string{"clients", "--timeout", "2s", "--registers", y.nats.URLs()},
		Env: []string{"GATEBUS_NATS__USER=application", "GATEBUS_NATS__PASSWORD=wrong-password"}})
	exits(t, p, 1)
	says(t, p, refused)
}
