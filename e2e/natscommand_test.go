package e2e_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/gatebus/gatebus/internal/testbed"
)

// natsCommand starts the official nats command, with no settings of the user.
func natsCommand(t *testing.T, args ...string) *testbed.Process {
	t.Helper()
	path, err := exec.LookPath("nats")
	if err != nil {
		const why = "needs the official nats command: go install github.com/nats-io/natscli/nats@v0.5.1"
		if requireAll {
			t.Fatal(why)
		}
		t.Skip(why)
	}
	if testbed.Secret != "" && !slices.Contains(args, "--nkey") && !slices.Contains(args, "--user") {
		role := "worker"
		if args[0] == "sub" {
			role = "observer"
		}
		seed, _ := credentials(t, testbed.Secret, role)
		args = append(slices.Clone(args), "--nkey", seed)
	}
	home := t.TempDir()
	return testbed.Start(t, testbed.Spec{
		Name: "nats " + args[0], Path: path, Args: args,
		Env: []string{"HOME=" + home, "XDG_CONFIG_HOME=" + home, "NATS_URL=", "NATS_CONTEXT="},
	})
}

func TestNatsCommandIsACompleteWorker(t *testing.T) {
	t.Parallel()
	g := lone(t)
	natsCommand(t, "reply", "-s", "nats://"+addr(t, g, "bus"), "--queue", "default", "gw.*.in.default.*", "--echo")

	c := dial(t, ws(t, g)) // is held until the worker is there
	echoes(t, c, "hello, wörld")
	must(t, c.WriteMessage(websocket.BinaryMessage, []byte{0, 0xff, 1}))
	kind, data, err := c.ReadMessage()
	must(t, err)
	if kind != websocket.BinaryMessage || string(data) != "\x00\xff\x01" {
		t.Errorf("binary frame came back as kind %d, %q", kind, data)
	}

	for _, like := range []testbed.Numbered{{Frames: 100, Window: 8}, {Frames: 100, Window: 8, Binary: true}} {
		total, err := testbed.StartLoad(t, 5, like, ws(t, g)).Wait(soon(t))
		must(t, err)
		if total.Answered != 500 {
			t.Errorf("%d frames were answered, want 500", total.Answered)
		}
	}
}

func TestNatsCommandPushesToAllClients(t *testing.T) {
	t.Parallel()
	cluster := testbed.NewCluster(t, 1)
	r, g1, g2 := cluster.Register(0), cluster.Gateway("g1"), cluster.Gateway("g2")
	must(t, testbed.WaitReady(soon(t), r, g1, g2))
	plainWorker(t, g1, echo)
	plainWorker(t, g2, echo)
	c1, c2 := dial(t, ws(t, g1)), dial(t, ws(t, g2))

	pub := natsCommand(t, "pub", "-s", cluster.URLs(), "gw.all.push.all", "hello all")
	exits(t, pub, 0)
	reads(t, c1, "hello all")
	reads(t, c2, "hello all")
	echoes(t, c1, "still here")
}

// nats sub against any register shows the live frames of every gateway.
func TestNatsCommandTaps(t *testing.T) {
	t.Parallel()
	cluster := testbed.NewCluster(t, 2)
	r1, r2, g1, g2 := cluster.Register(0), cluster.Register(1), cluster.Gateway("g1"), cluster.Gateway("g2")
	must(t, testbed.WaitReady(soon(t), r1, r2, g1, g2))
	plainWorker(t, g1, echo)
	plainWorker(t, g2, echo)
	c1, c2 := dial(t, ws(t, g1)), dial(t, ws(t, g2))
	taps := []*testbed.Process{
		natsCommand(t, "sub", "-s", "nats://"+cluster.Registers[0], "gw.>"),
		natsCommand(t, "sub", "-s", "nats://"+cluster.Registers[1], "gw.g2.in.>"),
	}
	for _, g := range []*testbed.Process{g1, g2} {
		_, err := g.WaitLog(soon(t), `this gateway is tapped.*gw\.>`)
		must(t, err)
	}
	// What the other tap is subscribed to is also told to g1: that it is tapped
	// need not mean that it is by the first one yet.
	must(t, testbed.Poll(soon(t), func() error {
		echoes(t, c1, "one")
		echoes(t, c2, "two")
		if out := taps[0].Stdout() + taps[1].Stdout(); strings.Count(out, "two") < 2 || !strings.Contains(out, "one") {
			return errNotYet
		}
		return nil
	}))
	for _, want := range []string{`gw\.g1\.in\.default\.text`, `^one$`, `gw\.g2\.in\.default\.text`, `^two$`, `gw\.g1\.out\.`} {
		_, err := taps[0].WaitOutput(soon(t), want)
		must(t, err)
	}
	_, err := taps[1].WaitOutput(soon(t), `^two$`)
	must(t, err)
	for _, tap := range taps {
		tap.Kill()
	}
	for _, g := range []*testbed.Process{g1, g2} {
		_, err := g.WaitLog(soon(t), "nobody taps this gateway any more")
		must(t, err)
	}
}
