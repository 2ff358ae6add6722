package e2e_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/gatebus/gatebus/internal/testbed"
)

const clusterSecret = "correct-horse-battery"

// ran is how a command ended.
type ran struct {
	t              *testing.T
	args           []string
	stdout, stderr string
	code           int
}

// command runs gatebus to its end; the cluster and its secret are in the environment.
func command(t *testing.T, c *testbed.Cluster, stdin string, args ...string) ran {
	t.Helper()
	path, err := testbed.Binary()
	must(t, err)
	cmd := exec.CommandContext(soon(t), path, args...)
	cmd.Env = append(os.Environ(), "GATEBUS_SECRET="+clusterSecret, "GATEBUS_REGISTERS="+c.URLs())
	cmd.Stdin = strings.NewReader(stdin)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		if _, ended := errors.AsType[*exec.ExitError](err); !ended {
			t.Fatal(err)
		}
	}
	return ran{t, args, stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// is checks the exit code and the standard output; "*" stands for any.
func (r ran) is(code int, stdout string) ran {
	r.t.Helper()
	if r.code != code || stdout != "*" && r.stdout != stdout {
		r.t.Fatalf("gatebus %q: exit code %d, want %d\n%swant\n%s\n%s", r.args, r.code, code, r.stdout, stdout, r.stderr)
	}
	if (r.code == 0) != (r.stderr == "") {
		r.t.Errorf("gatebus %q: exit code %d, and it says %q", r.args, r.code, r.stderr)
	}
	return r
}

func (r ran) says(text string) ran {
	r.t.Helper()
	if !strings.Contains(r.stderr, text) {
		r.t.Errorf("gatebus %q says %q, not %q", r.args, r.stderr, text)
	}
	return r
}

// readsFrame checks the next frame of a client.
func readsFrame(t *testing.T, c *websocket.Conn, kind int, want string) {
	t.Helper()
	got, data, err := c.ReadMessage()
	must(t, err)
	if got != kind || string(data) != want {
		t.Fatalf("client got %d %q, want %d %q", got, data, kind, want)
	}
}

// commandCluster is two gateways with a secret, a client on each, and an HTTP API.
type commandCluster struct {
	*testbed.Cluster
	gateways [2]*testbed.Process
	api      string
	clients  [2]*websocket.Conn
	ids      [2]string
}

func startCommandCluster(t *testing.T) *commandCluster {
	t.Helper()
	c := &commandCluster{Cluster: testbed.NewCluster(t, 1, "secret="+clusterSecret)}
	r, w := c.Register(0), c.Worker("w1")
	admin := testbed.MustFreeAddr(t, testbed.Host(249))
	c.api = "http://" + admin + "/api/v1/"
	api := testbed.Start(t, testbed.Spec{Name: "api", Args: []string{
		"api", "--set", "registers=" + c.URLs(), "--set", "secret=" + clusterSecret, "--set", "admin.listen=" + admin,
	}})
	for i := range c.gateways {
		c.gateways[i] = c.Gateway(fmt.Sprintf("g%d", i+1))
	}
	must(t, testbed.WaitReady(soon(t), r, w, api, c.gateways[0], c.gateways[1]))
	must(t, testbed.Poll(soon(t), func() error {
		if s, err := w.Stats(soon(t)); err != nil || s.Worker.Links != 2 {
			return fmt.Errorf("%w: %v", errNotYet, err)
		}
		return nil
	}))
	c.linked(t)
	for i := range c.clients {
		c.clients[i] = dial(t, ws(t, c.gateways[i]))
		echoes(t, c.clients[i], "x")
	}
	var list []string
	for line := range strings.Lines(command(t, c.Cluster, "", "clients", "--json", "--fields=").is(0, "*").stdout) {
		var info struct{ Client string }
		must(t, json.Unmarshal([]byte(line), &info))
		list = append(list, info.Client)
	}
	if len(list) != 2 {
		t.Fatalf("the clients are %q", list)
	}
	copy(c.ids[:], list)
	return c
}

// request asks the HTTP API.
func (c *commandCluster) request(t *testing.T, method, path, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(soon(t), method, c.api+path, strings.NewReader(body))
	must(t, err)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	must(t, err)
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	must(t, err)
	return resp.StatusCode, string(data)
}

// linked waits until the API answers for both gateways.
func (c *commandCluster) linked(t *testing.T) {
	t.Helper()
	must(t, testbed.Poll(soon(t), func() error {
		if _, body := c.request(t, "GET", "gateways", ""); strings.Count(body, `"up":true`) != 2 {
			return fmt.Errorf("%w: %s", errNotYet, body)
		}
		if status, body := c.request(t, "GET", "counts", ""); status != http.StatusOK {
			return fmt.Errorf("%w: %d %s", errNotYet, status, body)
		}
		return nil
	}))
}

// give has the API give a client a uid and a group.
func (c *commandCluster) give(t *testing.T, client int, uid, group string) {
	t.Helper()
	body, err := json.Marshal(map[string]string{"uid": uid})
	must(t, err)
	if status, answer := c.request(t, "PUT", "clients/"+c.ids[client]+"/uid", string(body)); status != 200 {
		t.Fatalf("%d %s", status, answer)
	}
	if status, answer := c.request(t, "PUT", "clients/"+c.ids[client]+"/groups/"+url.PathEscape(group), ""); status != 204 {
		t.Fatalf("%d %s", status, answer)
	}
}

func TestCommands(t *testing.T) {
	t.Parallel()
	c := startCommandCluster(t)
	run := func(args ...string) ran { t.Helper(); return command(t, c.Cluster, "", args...) }
	both := func(kind int, data string) {
		t.Helper()
		for _, conn := range c.clients {
			readsFrame(t, conn, kind, data)
		}
	}
	const evil = "a/b *\x1b[2J"
	c.give(t, 0, "ann", evil)
	c.give(t, 1, "漢", evil)
	c.give(t, 1, "漢", "0")

	run("push", "all", "hello").is(0, "pushed to 2 clients\n")
	both(websocket.TextMessage, "hello")
	run("push", "group", evil, "--", "-1").is(0, "pushed to 2 clients\n")
	both(websocket.TextMessage, "-1")
	run("push", "uid", "漢", "x", "--json").is(0, "{\"clients\":1}\n")
	readsFrame(t, c.clients[1], websocket.TextMessage, "x")
	run("push", "client", c.ids[0], "").is(0, "pushed to 1 client\n")
	readsFrame(t, c.clients[0], websocket.TextMessage, "")
	command(t, c.Cluster, "\x00\xff\n", "push", "all", "--binary", "--except", c.ids[0], "-").is(0, "pushed to 1 client\n")
	readsFrame(t, c.clients[1], websocket.BinaryMessage, "\x00\xff\n")
	run("push", "uid", "nobody", "x").is(0, "pushed to 0 clients\n")

	quoted := `"a/b *\x1b[2J"`
	run("groups").is(0, "CLIENTS  GROUP\n      1  0\n      2  "+quoted+"\n")
	run("uids").is(0, "CLIENTS  UID\n      1  ann\n      1  漢\n")
	run("uids", "--group", "0", "--json").is(0, "{\"name\":\"漢\",\"clients\":1}\n")
	run("groups", "--limit", "1").is(0, "CLIENTS  GROUP\n      1  0\n")
	run("clients", "--fields", "groups,uid").is(0, fmt.Sprintf("CLIENT%sUID  GROUPS\n%s  ann  %s\n%s  漢   0,%s\n",
		strings.Repeat(" ", len(c.ids[0])-4), c.ids[0], quoted, c.ids[1], quoted))
	run("clients", "--uid", "ann", "--json", "--fields", "uid").is(0, `{"client":"`+c.ids[0]+`","uid":"ann"}`+"\n")
	if out := run("clients", "--group", evil).is(0, "*").stdout; strings.Count(out, "\n") != 3 || strings.Contains(out, "\x1b") {
		t.Errorf("the clients are\n%s", out)
	}

	// What is wrong with the call is found before anything is asked.
	for _, wrong := range []struct {
		args []string
		says string
	}{
		{[]string{"push"}, "to whom?"},
		{[]string{"push", "everybody", "x"}, "everybody is not all, client, uid or group"},
		{[]string{"push", "all"}, "push all DATA"},
		{[]string{"push", "group", "x"}, "push group NAME DATA"},
		{[]string{"push", "group", "", "x"}, "it is empty"},
		{[]string{"push", "group", "\xff", "x"}, "not valid UTF-8"},
		{[]string{"push", "uid", strings.Repeat("x", 10<<10), "x"}, "10240 bytes, the limit is 256"},
		{[]string{"push", "client", "x", "x"}, "is not <gateway>-<epoch>-<number>"},
		{[]string{"push", "all", "--except", "x", "x"}, "is not <gateway>-<epoch>-<number>"},
		{[]string{"push", "all", "\xff"}, "send it as binary"},
		{[]string{"clients", "--fields", "teeth"}, `"teeth"`},
		{[]string{"clients", "--uid", ""}, "it is empty"},
		{[]string{"clients", "--group", ""}, "it is empty"},
		{[]string{"clients", "--uid", "a", "--group", "b"}, "uids go with clients alone"},
		{[]string{"uids", "--group", "\xff"}, "not valid UTF-8"},
		{[]string{"groups", "--limit", "-1"}, "--limit -1"},
		{[]string{"groups", "x"}, `unknown command "x"`},
		{[]string{"close"}, "whom?"},
		{[]string{"close", "x"}, "is not <gateway>-<epoch>-<number>"},
		{[]string{"close", "--uid", ""}, "it is empty"},
		{[]string{"close", "--uid", "ann", "--group", "x"}, "write one of"},
		{[]string{"close", "--uid", "ann", "--code", "4050"}, "4050 is not a close code"},
		{[]string{"uids", "--timeout", "0s"}, "more than nothing"},
		{[]string{"uids", "--registers", "http://x"}, "is not the URL of a register"},
		{[]string{"uids", "-c", "/nowhere/host.yaml"}, "cannot be read"},
	} {
		run(wrong.args...).is(2, "").says(wrong.says)
	}

	// The configuration of a host says where the registers are, and the secret.
	file := filepath.Join(t.TempDir(), "host.yaml")
	must(t, os.WriteFile(file, []byte("secret: "+clusterSecret+"\nregisters: ["+c.URLs()+"]\nworker:\n"), 0o600))
	path, err := testbed.Binary()
	must(t, err)
	out, err := exec.CommandContext(soon(t), path, "uids", "--json", "--limit=1", "-c", file).CombinedOutput()
	if err != nil || string(out) != "{\"name\":\"ann\",\"clients\":1}\n" {
		t.Errorf("%v: %s", err, out)
	}
	run("uids", "--set", "secret=wrong-horse-battery", "--timeout", "2s").is(1, "").says("Authorization Violation")
	run("uids", "--registers", "127.0.0.1:1", "--timeout", "300ms").is(1, "").says("no register of [nats://127.0.0.1:1] answers")

	run("close", c.ids[1], "--code", "4200", "--reason", "done", "--message", "bye").is(0, "closed 1 client\n")
	reads(t, c.clients[1], "bye")
	closedWith(t, c.clients[1], 4200)
	run("close", c.ids[1]).is(1, "closed 0 clients\n").says("not connected")
	run("close", "--group", evil).is(0, "closed 1 client\n")
	closedWith(t, c.clients[0], 4002)
	run("clients", "--json").is(0, "")
	run("clients", "--fields", "uid").is(0, "CLIENT  UID\n")
}

// freeze stops a process, all of its threads, where the system tells whether they are.
func freeze(t *testing.T, p *testbed.Process) {
	t.Helper()
	must(t, p.Signal(syscall.SIGSTOP))
	must(t, testbed.Poll(soon(t), func() error {
		tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", p.Pid()))
		must(t, err)
		for _, task := range tasks {
			if stat, err := os.ReadFile(task); err == nil && !bytes.Contains(stat, []byte(") T ")) {
				return fmt.Errorf("%w: %s", errNotYet, stat)
			}
		}
		return nil
	}))
}

// A gateway that is frozen is named, by the commands and by the HTTP API, in time; what
// the other says is there.
func TestFrozenGatewayIsNamed(t *testing.T) {
	t.Parallel()
	c := startCommandCluster(t)
	c.give(t, 0, "ann", "room")
	c.give(t, 1, "bob", "room")
	// Registers give a gateway up that they have not heard for seven seconds, and a
	// command that starts then does not know of it: it is frozen for each anew.
	frozen := func(fn func()) {
		t.Helper()
		freeze(t, c.gateways[1])
		fn()
		must(t, c.gateways[1].Signal(syscall.SIGCONT))
		c.linked(t)
	}
	for _, tt := range []struct {
		args   []string
		stdout string
	}{
		{[]string{"push", "group", "room", "hi"}, "pushed to 1 client\n"},
		{[]string{"push", "all", "hi"}, "pushed to 1 client\n"},
		{[]string{"clients", "--fields", "uid"}, "*"},
		{[]string{"uids"}, "CLIENTS  UID\n      1  ann\n"},
		{[]string{"groups", "--json"}, "{\"name\":\"room\",\"clients\":1}\n"},
		{[]string{"close", "--uid", "eve"}, "closed 0 clients\n"},
	} {
		began := time.Now()
		var r ran
		frozen(func() {
			r = command(t, c.Cluster, "", append(tt.args, "--timeout", "3s")...)
		})
		r.is(1, tt.stdout).says("a gateway did not answer: g2: ")
		if tt.args[0] == "clients" && !strings.Contains(r.stdout, c.ids[0]+"  ann\n") {
			t.Errorf("the clients are\n%s", r.stdout)
		}
		if took := time.Since(began); took > testbed.Patience/2 {
			t.Errorf("gatebus %q took %v", tt.args, took)
		}
	}
	for path, want := range map[string]string{
		"clients?timeout=1s":     `{"clients":[{"client":"` + c.ids[0] + `"}],"missing":[{"gateway":"g2",`,
		"groups/room?timeout=1s": `{"name":"room","clients":1,"missing":[{"gateway":"g2",`,
		"counts?timeout=1s":      `{"count":1,"missing":[{"gateway":"g2",`,
	} {
		var status int
		var body string
		frozen(func() { status, body = c.request(t, "GET", path, "") })
		if status != http.StatusMultiStatus || !strings.HasPrefix(body, want) {
			t.Errorf("%s: %d %s, want %s", path, status, body, want)
		}
	}
	var status int
	var body string
	frozen(func() { status, body = c.request(t, "GET", "clients/"+c.ids[1]+"?timeout=500ms", "") })
	if status != http.StatusGatewayTimeout && status != http.StatusServiceUnavailable {
		t.Errorf("the client of the frozen gateway: %d %s", status, body)
	}
}
