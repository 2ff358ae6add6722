package examples

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"go.uber.org/goleak"

	"github.com/gatebus/gatebus/internal/testbed"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(testbed.Main(m)) }

// TestEcho runs the worker of the README with a register and a gateway.
func TestEcho(t *testing.T) {
	c := testbed.NewCluster(t, 1)
	c.Register(0)
	g := c.Gateway("g1")
	w := testbed.Start(t, testbed.Spec{Name: "examples/echo", Path: buildEcho(t, c.URLs())})
	client := dial(t, g)
	client.answers(websocket.TextMessage, "Hello, grüß dich", "Hello, grüß dich")
	client.answers(websocket.BinaryMessage, "\x00\xff", "\x00\xff")
	client.answers(websocket.TextMessage, "", "")
	client.close()
	ends(t, w, syscall.SIGTERM)
}

// buildEcho builds examples/echo for a register that is not at the default
// address, so that the test can run beside a gatebus that is.
func buildEcho(t *testing.T, registers string) string {
	t.Helper()
	source, err := os.ReadFile("echo/main.go")
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := strings.Replace(string(source), "worker.Config{}", `worker.Config{Registers: []string{"`+registers+`"}}`, 1)
	if elsewhere == string(source) {
		t.Fatal("echo/main.go has no worker.Config{} to put other registers into")
	}
	dir := t.TempDir()
	main, overlay, binary := filepath.Join(dir, "main.go"), filepath.Join(dir, "overlay.json"), filepath.Join(dir, "echo")
	path, err := filepath.Abs("echo/main.go")
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{main: elsewhere, overlay: `{"Replace": {"` + path + `": "` + main + `"}}`} {
		if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command("go", "build", "-overlay", overlay, "-o", binary, "./echo").CombinedOutput(); err != nil {
		t.Fatalf("go build ./echo: %v\n%s", err, out)
	}
	return binary
}

// TestNode runs the worker in JavaScript with a gateway alone: no register is
// needed to work for one gateway.
func TestNode(t *testing.T) {
	node := needNode(t)
	g := testbed.NewCluster(t, 0).Gateway("g1")
	w := testbed.Start(t, testbed.Spec{
		Name: "examples/node", Path: node,
		Args: []string{"node/worker.js", "nats://" + addr(t, g, "bus")},
	})
	client := dial(t, g)
	client.answers(websocket.TextMessage, "Hello, grüß dich", "HELLO, GRÜSS DICH")
	client.answers(websocket.BinaryMessage, "\x00\xff", "\x00\xff")
	client.answers(websocket.TextMessage, "", "")
	client.answers(websocket.BinaryMessage, "", "")
	client.close()

	ctx, cancel := testbed.Soon()
	defer cancel()
	stats, err := g.Stats(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if s := stats.Gateway; s.Redelivery != 0 || s.BadReply != 0 || s.LateReply != 0 {
		t.Errorf("the worker does not answer as it should: %+v", s)
	}
	ends(t, w, syscall.SIGTERM)
}

// TestNodeWithSecret runs it where a secret is set: with the key that workers
// have by it, with that of another secret, and without one.
func TestNodeWithSecret(t *testing.T) {
	node := needNode(t)
	g := testbed.NewCluster(t, 0, "secret=correct-horse-battery").Gateway("g1")
	worker := func(args ...string) *testbed.Process {
		return testbed.Start(t, testbed.Spec{
			Name: "examples/node", Path: node,
			Args: append([]string{"node/worker.js", "nats://" + addr(t, g, "bus")}, args...),
		})
	}
	seed := func(secret string) string {
		path := filepath.Join(t.TempDir(), "worker.nk")
		p := testbed.Start(t, testbed.Spec{Args: []string{"credentials", "--out", path}, Env: []string{"GATEBUS_SECRET=" + secret}})
		ctx, cancel := testbed.Soon()
		defer cancel()
		if exit, err := p.Wait(ctx); err != nil || exit.Code != 0 {
			t.Fatalf("gatebus credentials: %v, %v", exit, err)
		}
		return path
	}
	w := worker(seed("correct-horse-battery"))
	client := dial(t, g)
	client.answers(websocket.TextMessage, "Hello, grüß dich", "HELLO, GRÜSS DICH")
	client.close()
	ends(t, w, syscall.SIGTERM)

	for what, args := range map[string][]string{"no key": nil, "that of another secret": {seed("wrong-horse-battery")}} {
		w := worker(args...)
		ctx, cancel := testbed.Soon()
		defer cancel()
		if exit, err := w.Wait(ctx); err != nil || exit.Code != 1 || !strings.Contains(w.Log(), "gatebus credentials -c FILE --role worker") {
			t.Errorf("%s: %v, %v\n%s", what, exit, err, w.Log())
		}
	}
}

// TestNodeWithTLS runs it where the links have TLS.
func TestNodeWithTLS(t *testing.T) {
	node := needNode(t)
	dir := t.TempDir()
	ca := testbed.NewAuthority(t, dir, "ca")
	cert, key := ca.Issue(t, "host", time.Time{}, testbed.Host(1), testbed.Host(2))
	g := testbed.NewCluster(t, 0, "tls.cert="+cert, "tls.key="+key, "tls.ca="+ca.File, "tls.verify=true").Gateway("g1")
	w := testbed.Start(t, testbed.Spec{
		Name: "examples/node", Path: node, Args: []string{"node/worker.js", "nats://" + addr(t, g, "bus")},
		Env: []string{"NATS_CA=" + ca.File, "NATS_CERT=" + cert, "NATS_KEY=" + key},
	})
	client := dial(t, g)
	client.answers(websocket.TextMessage, "Hello, grüß dich", "HELLO, GRÜSS DICH")
	client.close()
	ends(t, w, syscall.SIGTERM)
}

// TestNodeAlone wants to be told what to do when there is no gateway.
func TestNodeAlone(t *testing.T) {
	w := testbed.Start(t, testbed.Spec{
		Name: "examples/node", Path: needNode(t),
		Args: []string{"node/worker.js", "nats://" + testbed.MustFreeAddr(t, testbed.Host(1))},
	})
	ctx, cancel := testbed.Soon()
	defer cancel()
	if exit, err := w.Wait(ctx); err != nil || exit.Code != 1 {
		t.Errorf("without a gateway: %v, %v; want exit code 1", exit, err)
	}
	if !strings.Contains(w.Log(), "go run ./cmd/gatebus gateway") {
		t.Errorf("it does not say how to start a gateway:\n%s", w.Log())
	}
}

// needNode is the path of node, when the example's packages are there as well.
func needNode(t *testing.T) string {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		missing(t, "needs Node.js: apt-get install nodejs npm")
	}
	if _, err := os.Stat("node/node_modules"); err != nil {
		missing(t, "needs the NATS package of npm: cd examples/node && npm ci")
	}
	return node
}

func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("GATEBUS_TEST_REQUIRE_ALL") == "1" {
		t.Fatal(what)
	}
	t.Skip(what)
}

// client is a WebSocket client of a gateway.
type client struct {
	t    *testing.T
	conn *websocket.Conn
}

// dial connects a client. The gateway lets it in when a worker is there.
func dial(t *testing.T, gateway *testbed.Process) *client {
	t.Helper()
	return dialURL(t, "ws://"+addr(t, gateway, "clients"))
}

func dialURL(t *testing.T, url string) *client {
	t.Helper()
	ctx, cancel := testbed.Soon()
	defer cancel()
	conn, _, err := websocket.DefaultDialer.DialContext(ctx, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &client{t, conn}
}

func addr(t *testing.T, p *testbed.Process, what string) string {
	t.Helper()
	ctx, cancel := testbed.Soon()
	defer cancel()
	a, err := p.Addr(ctx, what)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// answers sends a frame and wants that answer, of the same kind.
func (c *client) answers(kind int, frame, want string) {
	c.t.Helper()
	if err := c.conn.SetReadDeadline(time.Now().Add(testbed.Patience)); err != nil {
		c.t.Fatal(err)
	}
	if err := c.conn.WriteMessage(kind, []byte(frame)); err != nil {
		c.t.Fatal(err)
	}
	gotKind, got, err := c.conn.ReadMessage()
	if err != nil {
		c.t.Fatalf("answer to %q: %v", frame, err)
	}
	if gotKind != kind || string(got) != want {
		c.t.Errorf("answer to %q, kind %d: %q, kind %d; want %q", frame, kind, got, gotKind, want)
	}
}

// close says goodbye and wants to be told the same.
func (c *client) close() {
	c.t.Helper()
	goodbye := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")
	if err := c.conn.WriteControl(websocket.CloseMessage, goodbye, time.Now().Add(testbed.Patience)); err != nil {
		c.t.Fatal(err)
	}
	if _, _, err := c.conn.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseNormalClosure) {
		c.t.Errorf("after goodbye: %v", err)
	}
}

// ends has a process end by a signal, and wants it to end well.
func ends(t *testing.T, p *testbed.Process, s syscall.Signal) {
	t.Helper()
	ctx, cancel := testbed.Soon()
	defer cancel()
	if err := p.Signal(s); err != nil {
		t.Fatal(err)
	}
	if exit, err := p.Wait(ctx); err != nil || exit != (testbed.Exit{}) {
		t.Errorf("%s on %v: %v, %v; want exit code 0", p.Name, s, exit, err)
	}
}
