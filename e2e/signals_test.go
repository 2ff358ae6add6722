package e2e_test

import (
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/nats-io/nats.go"

	"github.com/gatebus/gatebus/internal/testbed"
)

const sigterm = syscall.SIGTERM

func TestStoppedGatewayTellsItsClients(t *testing.T) {
	t.Parallel()
	cluster := testbed.NewCluster(t, 1)
	r, g, w := cluster.Register(0), cluster.Gateway("g1", "gateway.drain=500ms"), cluster.Worker("w1")
	must(t, testbed.WaitReady(soon(t), r, g, w))

	const clients = 50
	load := testbed.StartLoad(t, clients, testbed.Numbered{Window: 4, Closes: []int{1012}}, ws(t, g))
	must(t, load.WaitAnswered(soon(t), 10*clients))
	must(t, g.Signal(sigterm))
	total, err := load.Wait(soon(t))
	must(t, err)
	if total.Closes[1012] != clients || total.Connects != clients {
		t.Errorf("%+v, want all closed with 1012", total)
	}
	exits(t, g, 0)
	// The worker stays, and serves the gateway when it is back.
	g = g.Again()
	must(t, testbed.WaitReady(soon(t), g, w))
	echoes(t, dial(t, ws(t, g)), "hello again")
}

func TestSecondSignalEndsAtOnce(t *testing.T) {
	t.Parallel()
	g := lone(t, "gateway.drain=1m")
	plainWorker(t, g, echo)
	for range 2 { // one is closed at once, the other at half time
		echoes(t, dial(t, ws(t, g)), "hello")
	}
	must(t, g.Signal(sigterm))
	_, err := g.WaitLog(soon(t), "a second signal ends it at once")
	must(t, err)
	start := time.Now()
	must(t, g.Signal(sigterm))
	exit, err := g.Wait(soon(t))
	must(t, err)
	if took := time.Since(start); took > 5*time.Second || exit.Code == 0 {
		t.Errorf("%v, %v after the second signal", exit, took)
	}
}

// The service manager is told when the ports are open, and when the stop begins.
func TestServiceManagerIsTold(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	must(t, err)
	defer conn.Close()
	told := func() string {
		t.Helper()
		must(t, conn.SetReadDeadline(time.Now().Add(20*time.Second)))
		buf := make([]byte, 4096)
		n, err := conn.Read(buf)
		must(t, err)
		return string(buf[:n])
	}
	binary, err := testbed.Binary()
	must(t, err)
	register := testbed.MustFreeAddr(t, testbed.Host(1))
	p := testbed.Start(t, testbed.Spec{Name: "gatebus", Path: binary, Env: []string{"NOTIFY_SOCKET=" + socket}, Args: []string{
		"register", "--set", "register.listen=" + register, "--set", "register.cluster.listen=" + testbed.MustFreeAddr(t, testbed.Host(1)),
		"--set", "admin.listen=off",
	}})
	if got := told(); got != "READY=1" {
		t.Errorf("the service manager is told %q", got)
	}
	c, err := net.Dial("tcp", register)
	must(t, err)
	must(t, c.Close())
	must(t, p.Signal(sigterm))
	if got := told(); got != "STOPPING=1" {
		t.Errorf("the service manager is told %q", got)
	}
	exits(t, p, 0)
}

// SIGHUP has a process heed its file anew, as far as that needs no restart; clients
// stay. A file that is wrong changes nothing.
func TestReload(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "host.yaml")
	bus, clients := testbed.MustFreeAddr(t, testbed.Host(1)), testbed.MustFreeAddr(t, testbed.Host(1))
	configure := func(maxFrame, extra string) {
		t.Helper()
		must(t, os.WriteFile(file, []byte("admin: {listen: off}\nregisters: [nats://127.0.0.1:1]\ngateway:\n  listen: "+clients+
			"\n  bus: {listen: "+bus+"}\n  max_frame: "+maxFrame+"\n"+extra), 0o600))
	}
	configure("1000", "")
	binary, err := testbed.Binary()
	must(t, err)
	p := testbed.Start(t, testbed.Spec{Name: "gatebus", Path: binary, Args: []string{"run", "-c", file}})
	_, err = p.WaitLog(soon(t), "msg=started")
	must(t, err)
	nc, err := nats.Connect("nats://" + bus)
	must(t, err)
	defer nc.Close()
	_, err = nc.QueueSubscribe("gw.*.in.default.*", "default", echo)
	must(t, err)
	must(t, nc.Flush())
	c := dial(t, "ws://"+clients+"/")
	echoes(t, c, "hello")

	reload := func(want string) {
		t.Helper()
		must(t, p.Signal(syscall.SIGHUP))
		_, err := p.WaitLog(soon(t), want)
		must(t, err)
	}
	configure("10", "log: {level: debug}\n")
	reload(`msg=reloaded changed="gateway.max_frame log.level"`)
	configure("0", "")
	reload(`cannot reload; all stays as it is.*max_frame`)
	configure("10", "  name: g2\n")
	reload(`some changes need a restart" keys=gateway.name`)
	echoes(t, c, "0123456789")
	write(t, c, "0123456789a")
	closedWith(t, c, websocket.CloseMessageTooBig)
}
