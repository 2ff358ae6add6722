package examples

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/internal/testbed"
)

// startHost starts one of the first two of the four hosts of configs/todpole from
// its file; only the addresses are others.
func startHost(t *testing.T, n int, registers, routes []string) *testbed.Process {
	t.Helper()
	args := []string{"run", "-c", fmt.Sprintf("../configs/todpole/host%d.yaml", n)}
	for _, set := range []string{
		"registers=nats://" + strings.Join(registers, ",nats://"),
		"admin.listen=" + testbed.MustFreeAddr(t, testbed.Host(n)),
		"register.listen=" + registers[n-1],
		"register.cluster.listen=" + routes[n-1],
		"register.cluster.routes=" + strings.Join(routes, ","),
		"gateway.listen=" + testbed.MustFreeAddr(t, testbed.Host(n)),
		"gateway.bus.listen=" + testbed.MustFreeAddr(t, testbed.Host(n)),
		"gateway.drain=200ms",
	} {
		args = append(args, "--set", set)
	}
	return testbed.Start(t, testbed.Spec{Name: fmt.Sprintf("host%d", n), Args: args})
}

// TestTodpoleOnFourHosts runs the pond as the README says: hosts 1 and 2 from their
// files, hosts 3 and 4 the worker.
func TestTodpoleOnFourHosts(t *testing.T) {
	var registers, routes []string
	for n := 1; n <= 2; n++ {
		registers = append(registers, testbed.MustFreeAddr(t, testbed.Host(n)))
		routes = append(routes, testbed.MustFreeAddr(t, testbed.Host(n)))
	}
	g1, g2 := startHost(t, 1, registers, routes), startHost(t, 2, registers, routes)
	urls := "nats://" + strings.Join(registers, ",nats://")
	w3 := testbed.StartExample(t, "todpole", 3, urls, g1, g2)
	w4 := testbed.StartExample(t, "todpole", 4, urls, g1, g2)
	servesPage(t, w3, "Todpole", "ws://"+addr(t, g1, "clients"), "ws://"+addr(t, g2, "clients"))

	// Ann swims and swims, and Bob at the other gateway sees it.
	ann, bob := dialURL(t, "ws://"+addr(t, g1, "clients")+"/pond?name=Ann"), dialURL(t, "ws://"+addr(t, g2, "clients")+"/pond?name=Bob")
	bob.send(`{"type":"hello"}`)
	bob.hears("welcome")
	at := 0
	swims := func(until int) {
		t.Helper()
		for seen := 0; seen < until; {
			at++
			ann.send(fmt.Sprintf(`{"type":"move","x":%d,"y":0,"a":0,"at":%d}`, at%100, at))
			seen = int(bob.hears("move").At)
		}
	}
	swims(50)

	// A worker is killed while much is under way. Ann and Bob stay connected, and
	// what Ann says comes through; twice, perhaps.
	for range 100 {
		at++
		ann.send(fmt.Sprintf(`{"type":"move","x":0,"y":0,"a":0,"at":%d}`, at))
	}
	w4.Kill()
	for bob.hears("move").At < int64(at) {
	}
	swims(at + 50)

	// With the first register's host gone, the second goes on for those who are there.
	if err := g1.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	bob.hears("leave")
	cleo := dialURL(t, "ws://"+addr(t, g2, "clients")+"/pond?name=Cleo")
	if m := bob.hears("join"); m.Name != "Cleo" {
		t.Errorf("who comes: %+v", m)
	}
	cleo.send(`{"type":"say","text":"quiet here"}`)
	if m := bob.hears("say"); m.Text != "quiet here" || m.Name != "Cleo" {
		t.Errorf("what is said: %+v", m)
	}
	cleo.close()
	bob.hears("leave")
	ends(t, w3, syscall.SIGTERM)
}

// TestChat runs the chat as its README says.
func TestChat(t *testing.T) {
	c := testbed.NewCluster(t, 1)
	c.Register(0)
	g := c.Gateway("g1")
	w := testbed.StartExample(t, "chat", 2, c.URLs(), g)
	servesPage(t, w, "Come in", "ws://"+addr(t, g, "clients"))
	ann, bob := dialURL(t, "ws://"+addr(t, g, "clients")+"/chat?name=Ann&room=garden"), dialURL(t, "ws://"+addr(t, g, "clients")+"/chat?name=Bob&room=cellar")
	ann.send(`{"type":"say","text":"alone?"}`)
	ann.hears("say")
	bob.send(`{"type":"enter","room":"garden"}`)
	bob.hears("room")
	if m := ann.hears("join"); m.Name != "Bob" {
		t.Errorf("who comes: %+v", m)
	}
	bob.send(`{"type":"say","text":"no"}`)
	for _, c := range []*client{ann, bob} {
		if m := c.hears("say"); m.Text != "no" || m.Name != "Bob" {
			t.Errorf("what is said: %+v", m)
		}
	}
	bob.send(`nonsense`)
	bob.hears("error")
	bob.close()
	ann.hears("leave")
	ends(t, w, syscall.SIGTERM)
}

// TestExamplesRefuse has the examples say what they do not understand.
func TestExamplesRefuse(t *testing.T) {
	for _, dir := range []string{"chat", "todpole", "device", "device/station"} {
		program, err := testbed.Program("examples/" + dir)
		if err != nil {
			t.Fatal(err)
		}
		p := testbed.Start(t, testbed.Spec{Name: dir, Path: program, Args: []string{"surplus"}})
		ctx, cancel := testbed.Soon()
		defer cancel()
		if exit, err := p.Wait(ctx); err != nil || exit.Code != 1 || !strings.Contains(p.Log(), `unexpected "surplus"`) {
			t.Errorf("%s: %v, %v, %s", dir, exit, err, p.Log())
		}
	}
}

// servesPage checks that the example serves a page that asks for nothing from
// elsewhere, and where its gateways are.
func servesPage(t *testing.T, p *testbed.Process, text string, gateways ...string) {
	t.Helper()
	get := func(path string) (*http.Response, string) {
		t.Helper()
		client := http.Client{Timeout: testbed.Patience, Transport: &http.Transport{DisableKeepAlives: true}}
		resp, err := client.Get("http://" + addr(t, p, "page") + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("GET %s: %s, %v", path, resp.Status, err)
		}
		return resp, string(body)
	}
	resp, body := get("/")
	if !strings.Contains(body, text) {
		t.Errorf("the page of %s does not say %q", p.Name, text)
	}
	if policy := resp.Header.Get("Content-Security-Policy"); !strings.Contains(policy, "default-src 'none'") {
		t.Errorf("the policy of the page of %s is %q", p.Name, policy)
	}
	_, body = get("/config.json")
	var config struct{ Gateways []string }
	if err := json.Unmarshal([]byte(body), &config); err != nil || !slices.Equal(config.Gateways, gateways) {
		t.Errorf("the configuration of %s is %s, %v; want the gateways %q", p.Name, body, err, gateways)
	}
	for _, m := range regexp.MustCompile(`from '\./([a-z]+\.js)'`).FindAllStringSubmatch(allScripts(t), -1) {
		if _, err := os.Stat(filepath.Join(strings.Fields(strings.TrimPrefix(p.Name, "examples/"))[0], "page", m[1])); err == nil || m[1] == "connection.js" {
			get("/" + m[1])
		}
	}
}

// allScripts is the JavaScript of the examples' pages.
func allScripts(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	for _, pattern := range []string{"*/page/*.js", "internal/site/*.js"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %q, %v", pattern, files, err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			all.Write(data)
		}
	}
	return all.String()
}

// TestPagesHeedCloseCodes checks that a page gives up after the codes of which the
// table says so, and after no others; 4002 is the application's to decide.
func TestPagesHeedCloseCodes(t *testing.T) {
	m := regexp.MustCompile(`const final = new Set\(\[([0-9, ]+)\]\)`).FindStringSubmatch(allScripts(t))
	if m == nil {
		t.Fatal("connection.js has no set of final codes")
	}
	var have, want []int
	for s := range strings.SplitSeq(m[1], ", ") {
		code, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		have = append(have, code)
	}
	for _, c := range bus.CloseCodes {
		if strings.HasPrefix(c.Reconnect, "no") || c.Code == bus.CloseKicked {
			want = append(want, int(c.Code))
		}
	}
	if !slices.Equal(have, want) {
		t.Errorf("connection.js gives up after %v; bus.CloseCodes says %v", have, want)
	}
}

// news is what the pages of the examples are told.
type news struct {
	Type, Name, Text string
	At               int64
}

// hears reads until there is news of that type.
func (c *client) hears(kind string) news {
	c.t.Helper()
	if err := c.conn.SetReadDeadline(time.Now().Add(testbed.Patience)); err != nil {
		c.t.Fatal(err)
	}
	for {
		_, data, err := c.conn.ReadMessage()
		if err != nil {
			c.t.Fatalf("waiting for %s: %v", kind, err)
		}
		var n news
		if err := json.Unmarshal(data, &n); err != nil {
			c.t.Fatalf("%q: %v", data, err)
		}
		if n.Type == kind {
			return n
		}
	}
}

func (c *client) send(frame string) {
	c.t.Helper()
	if err := c.conn.WriteMessage(websocket.TextMessage, []byte(frame)); err != nil {
		c.t.Fatal(err)
	}
}
