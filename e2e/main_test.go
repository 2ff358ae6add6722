// Package e2e_test tries gatebus as its users do: real processes of the real
// binary, WebSocket clients in front, plain NATS clients behind.
package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"github.com/gatebus/gatebus/gateway"
	"github.com/gatebus/gatebus/internal/keys"
	"github.com/gatebus/gatebus/internal/testbed"
	"github.com/gatebus/gatebus/worker"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(testbed.Main(m)) }

// Switches for those who run the tests. gatebus itself ignores variables that
// begin with GATEBUS_TEST_.
var (
	// requireAll fails what would be skipped for want of a tool.
	requireAll = os.Getenv("GATEBUS_TEST_REQUIRE_ALL") == "1"
	// long runs what takes long or much of the machine in full.
	long = os.Getenv("GATEBUS_TEST_LONG") == "1"
)

// errNotYet has testbed.Poll go on.
var errNotYet = errors.New("not yet")

// soon is a context for what must happen: it ends after testbed.Patience.
func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := testbed.Soon()
	t.Cleanup(cancel)
	return ctx
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// addr is where a process listens for clients, bus, register or admin.
func addr(t *testing.T, p *testbed.Process, what string) string {
	t.Helper()
	a, err := p.Addr(soon(t), what)
	must(t, err)
	return a
}

// ws is the URL for clients of a gateway.
func ws(t *testing.T, gateway *testbed.Process) string {
	t.Helper()
	return "ws://" + addr(t, gateway, "clients") + "/"
}

func gatewayStats(t *testing.T, p *testbed.Process) gateway.Stats {
	t.Helper()
	s, err := p.Stats(soon(t))
	must(t, err)
	return s.Gateway
}

func workerStats(t *testing.T, p *testbed.Process) worker.Stats {
	t.Helper()
	s, err := p.Stats(soon(t))
	must(t, err)
	return s.Worker
}

// awaitStats waits until the gateway's figures are as ok wants them.
func awaitStats(t *testing.T, p *testbed.Process, what string, ok func(gateway.Stats) bool) gateway.Stats {
	t.Helper()
	var s testbed.Stats
	must(t, testbed.Poll(soon(t), func() (err error) {
		if s, err = p.Stats(t.Context()); err == nil && !ok(s.Gateway) {
			err = fmt.Errorf("gateway %s: want %s, have %+v", p.Name, what, s.Gateway)
		}
		return err
	}))
	return s.Gateway
}

// exits waits until a process has ended, with that exit code.
func exits(t *testing.T, p *testbed.Process, code int) {
	t.Helper()
	exit, err := p.Wait(soon(t))
	must(t, err)
	if exit.Code != code {
		t.Errorf("%s: %v, want exit code %d", p.Name, exit, code)
	}
}

// says checks that the log of a process has each of the texts.
func says(t *testing.T, p *testbed.Process, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(p.Log(), text) {
			t.Errorf("%s does not say %q; it says:\n%s", p.Name, text, p.Log())
		}
	}
}

// dial connects a client.
func dial(t *testing.T, url string) *websocket.Conn {
	t.Helper()
	c, resp, err := websocket.DefaultDialer.DialContext(soon(t), url, nil)
	if err != nil {
		if resp != nil {
			err = fmt.Errorf("%w: %s", err, resp.Status)
		}
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	must(t, c.SetReadDeadline(time.Now().Add(testbed.Patience)))
	return c
}

func write(t *testing.T, c *websocket.Conn, data string) {
	t.Helper()
	must(t, c.WriteMessage(websocket.TextMessage, []byte(data)))
}

func reads(t *testing.T, c *websocket.Conn, want string) {
	t.Helper()
	_, data, err := c.ReadMessage()
	must(t, err)
	if string(data) != want {
		t.Fatalf("client got %.200q, want %.200q", data, want)
	}
}

// echoes checks that the client is served.
func echoes(t *testing.T, c *websocket.Conn, data string) {
	t.Helper()
	write(t, c, data)
	reads(t, c, data)
}

// closedWith checks that the gateway closes the client with the code, and sends
// it nothing more before.
func closedWith(t *testing.T, c *websocket.Conn, code int) {
	t.Helper()
	_, data, err := c.ReadMessage()
	var ce *websocket.CloseError
	switch {
	case err == nil:
		t.Fatalf("client got %.200q, want to be closed with %d", data, code)
	case !errors.As(err, &ce):
		t.Fatalf("client was cut off (%v), want to be closed with %d", err, code)
	case ce.Code != code:
		t.Fatalf("client was closed with %d %q, want %d", ce.Code, ce.Text, code)
	}
}

// workerOptions are what a plain worker needs to connect: nothing, if the tests are
// not run with a secret.
func workerOptions(t *testing.T) []nats.Option {
	t.Helper()
	if testbed.Secret == "" {
		return nil
	}
	k, err := keys.Derive(testbed.Secret)
	must(t, err)
	return k.ConnectOptions(keys.RoleWorker)
}

// connect connects a plain NATS client.
func connect(t *testing.T, url string) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(url, append(workerOptions(t), nats.NoReconnect(), nats.Timeout(testbed.Patience))...)
	must(t, err)
	t.Cleanup(nc.Close)
	return nc
}

// plainWorker is a worker that is nothing but a NATS client on the gateway's
// bus: handle gets the frames. It lets every client in.
func plainWorker(t *testing.T, g *testbed.Process, handle func(*nats.Msg)) *nats.Conn {
	t.Helper()
	nc := connect(t, "nats://"+addr(t, g, "bus"))
	_, err := nc.QueueSubscribe("gw.*.in.default.*", "default", func(m *nats.Msg) {
		if strings.HasSuffix(m.Subject, ".open") || strings.HasSuffix(m.Subject, ".close") {
			m.Respond(nil)
			return
		}
		handle(m)
	})
	must(t, err)
	must(t, nc.FlushTimeout(testbed.Patience))
	return nc
}

// echo is a good plain worker's handle.
func echo(m *nats.Msg) { m.Respond(m.Data) }

// lone starts a gateway without any register.
func lone(t *testing.T, set ...string) *testbed.Process {
	t.Helper()
	return testbed.NewCluster(t, 0).Gateway("g1", set...)
}

// unharmed has some clients at work until the function that it returns is
// called, which checks that nothing happened to them.
func unharmed(t *testing.T, urls ...string) (check func()) {
	t.Helper()
	const clients = 10
	load := testbed.StartLoad(t, clients, testbed.Numbered{Every: 5 * time.Millisecond}, urls...)
	must(t, load.WaitAnswered(soon(t), clients))
	return func() {
		t.Helper()
		must(t, load.WaitMore(soon(t), clients))
		total, err := load.Finish(soon(t))
		must(t, err)
		if total.Connects != clients {
			t.Errorf("the other clients connected %d times, want %d", total.Connects, clients)
		}
	}
}
