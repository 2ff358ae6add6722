package host

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"github.com/gatebus/gatebus/configs"
	"github.com/gatebus/gatebus/worker/handlers"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait; nothing is measured with it.
const patience = 20 * time.Second

// logBuffer is a log that tests can wait for.
type logBuffer struct {
	mu    sync.Mutex
	buf   bytes.Buffer
	wrote chan struct{}
}

func newLogBuffer() *logBuffer { return &logBuffer{wrote: make(chan struct{}, 1)} }

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.buf.Write(p)
	select {
	case b.wrote <- struct{}{}:
	default:
	}
	return len(p), nil
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func (b *logBuffer) await(t *testing.T, text string) {
	t.Helper()
	deadline := time.After(patience)
	for !strings.Contains(b.String(), text) {
		select {
		case <-b.wrote:
		case <-deadline:
			t.Fatalf("%q was not logged:\n%s", text, b)
		}
	}
}

// load is the configuration of dev on free ports, with more set.
func load(t *testing.T, set ...string) *configs.Config {
	t.Helper()
	src := configs.Dev()
	src.Set = append([]string{
		"gateway.listen=127.0.0.1:0", "gateway.bus.listen=127.0.0.1:0", "register.listen=127.0.0.1:0",
		"register.cluster.listen=127.0.0.1:0", "admin.listen=127.0.0.1:0", "gateway.drain=100ms",
	}, set...)
	cfg, err := configs.Load(src)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// run starts a host and stops it at the end of the test.
func run(t *testing.T, cfg *configs.Config) (Addresses, *logBuffer, func()) {
	t.Helper()
	_, at, log, stop := runHost(t, cfg)
	return at, log, stop
}

func runHost(t *testing.T, cfg *configs.Config) (*Host, Addresses, *logBuffer, func()) {
	t.Helper()
	log := newLogBuffer()
	h, at, err := Start(t.Context(), cfg, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- h.Run(ctx) }()
	var once sync.Once
	stop := func() {
		once.Do(func() {
			cancel()
			select {
			case err := <-done:
				if err != nil {
					t.Errorf("run: %v", err)
				}
			case <-time.After(patience):
				t.Errorf("does not stop:\n%s", log)
			}
		})
	}
	t.Cleanup(stop)
	return h, at, log, stop
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	return do(t, req)
}

// do sends a request, on a connection that is not kept.
func do(t *testing.T, req *http.Request) (int, string) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// ready waits until the host says that it is.
func ready(t *testing.T, at Addresses) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for {
		status, body := get(t, "http://"+at.Admin+"/readyz")
		if status == http.StatusOK {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not ready: %s", body)
		}
	}
}

func dial(t *testing.T, url string) *websocket.Conn {
	t.Helper()
	conn, resp, err := websocket.DefaultDialer.Dial(url, nil)
	if err != nil {
		t.Fatalf("%s: %v (%v)", url, err, resp)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return conn
}

func line(t *testing.T, conn *websocket.Conn) string {
	t.Helper()
	_, data, err := conn.ReadMessage()
	if err != nil {
		t.Fatal(err)
	}
	var l handlers.Line
	if err := json.Unmarshal(data, &l); err != nil {
		t.Fatalf("%s: %v", data, err)
	}
	return strings.TrimSpace(l.Type + " " + l.Name + " " + l.Text)
}

func TestChat(t *testing.T) {
	at, _, stop := run(t, load(t))
	ready(t, at)
	url := "ws://" + at.Clients + "/chat?name="
	ann := dial(t, url+"ann")
	bob := dial(t, url+"%20%00bob%0a")
	expect := func(conn *websocket.Conn, want string) {
		t.Helper()
		if got := line(t, conn); got != want {
			t.Fatalf("%q, want %q", got, want)
		}
	}
	expect(ann, "join bob")
	if err := ann.WriteMessage(websocket.TextMessage, []byte("hello <b>")); err != nil {
		t.Fatal(err)
	}
	expect(ann, "say ann hello <b>")
	expect(bob, "say ann hello <b>")

	guest := dial(t, "ws://"+at.Clients+"/")
	if got := line(t, ann); !strings.HasPrefix(got, "join guest-") {
		t.Fatalf("%q", got)
	}
	if err := guest.Close(); err != nil {
		t.Fatal(err)
	}
	if got := line(t, ann); !strings.HasPrefix(got, "leave guest-") {
		t.Fatalf("%q", got)
	}
	if err := bob.WriteMessage(websocket.TextMessage, bytes.Repeat([]byte("x"), 4097)); err != nil {
		t.Fatal(err)
	}
	expect(ann, "leave bob")
	for {
		if _, _, err := bob.ReadMessage(); err != nil {
			if !websocket.IsCloseError(err, 4100) {
				t.Fatalf("too long a text: %v", err)
			}
			break
		}
	}
	stop()
	if _, _, err := ann.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseServiceRestart) {
		t.Fatalf("at the stop: %v", err)
	}
}

func TestAdmin(t *testing.T) {
	at, _, _ := run(t, load(t))
	ready(t, at)
	for path, want := range map[string]string{
		"/healthz": `"alive"`,
		"/readyz":  `"worker": "ready"`,
		"/stats":   `"events_in": 0`,
		"/":        "/chat",
		"/chat":    "<title>gatebus chat</title>",
	} {
		if status, body := get(t, "http://"+at.Admin+path); status != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	if status, _ := get(t, "http://"+at.Admin+"/nothing"); status != http.StatusNotFound {
		t.Errorf("/nothing: %d", status)
	}
	_, port, err := net.SplitHostPort(at.Clients)
	if err != nil {
		t.Fatal(err)
	}
	if _, body := get(t, "http://"+at.Admin+"/chat"); !strings.Contains(body, `"`+port+`"`) {
		t.Error("the chat page does not know the gateway's port")
	}
}

func TestNotReadyWithoutRegister(t *testing.T) {
	cfg := load(t)
	cfg.Only(configs.RoleGateway)
	cfg.Registers = []string{"nats://127.0.0.1:1"}
	at, log, _ := run(t, cfg)
	status, body := get(t, "http://"+at.Admin+"/readyz")
	if status != http.StatusServiceUnavailable || !strings.Contains(body, "no register has confirmed this gateway yet") {
		t.Fatalf("%d %s", status, body)
	}
	log.await(t, "no register can be reached; trying on")
}

// An address that is taken is an error that names the key, and nothing is left
// running.
func TestAddressInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, key := range []string{"gateway.listen", "gateway.bus.listen", "register.listen", "register.cluster.listen", "admin.listen"} {
		cfg := load(t, key+"="+l.Addr().String())
		_, _, err := Start(t.Context(), cfg, slog.New(slog.DiscardHandler))
		if err == nil {
			t.Fatalf("%s: no error", key)
		}
		s := err.Error()
		if !strings.HasPrefix(s, key+": ") || !strings.Contains(s, l.Addr().String()) || !strings.Contains(s, "already in use") ||
			!strings.Contains(s, "--set "+key+"=HOST:PORT") || strings.Count(s, "--set") != 1 {
			t.Errorf("%s: %s", key, s)
		}
	}
}

// Of a register each listener that cannot be had is named by its own key.
func TestBothAddressesInUse(t *testing.T) {
	var addrs []string
	for range 2 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		addrs = append(addrs, l.Addr().String())
	}
	cfg := load(t, "register.listen="+addrs[0], "register.cluster.listen="+addrs[1])
	_, _, err := Start(t.Context(), cfg, slog.New(slog.DiscardHandler))
	if err == nil {
		t.Fatal("no error")
	}
	first, second, _ := strings.Cut(err.Error(), "\n")
	if !strings.HasPrefix(first, "register.listen: ") || !strings.HasPrefix(second, "register.cluster.listen: ") {
		t.Error(err)
	}
}

// A host that stops says so to whoever asks whether it is ready, while it still
// has clients.
func TestNotReadyWhileStopping(t *testing.T) {
	at, _, stop := run(t, load(t, "gateway.close_timeout=1s"))
	ready(t, at)
	dial(t, "ws://"+at.Clients) // it does not read: the gateway waits for it
	stopped := make(chan struct{})
	go func() { defer close(stopped); stop() }()
	defer func() { <-stopped }()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for range tick.C {
		status, body := get(t, "http://"+at.Admin+"/readyz")
		if status == http.StatusOK {
			continue
		}
		if n := strings.Count(body, `: "stopping"`); status != http.StatusServiceUnavailable || n != 4 {
			t.Errorf("%d %s", status, body)
		}
		return
	}
}

// The plain echo worker that dev tells of answers everything, open events too,
// with what it got. Beside the chat worker it closes nobody.
func TestEchoBesideChat(t *testing.T) {
	at, log, _ := run(t, load(t))
	ready(t, at)
	nc, err := nats.Connect("nats://" + at.Bus)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if _, err := nc.QueueSubscribe("gw.*.in.default.*", "default", func(m *nats.Msg) { _ = m.Respond(m.Data) }); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	var echoed, said int
	for i := range 20 {
		conn := dial(t, fmt.Sprintf("ws://%s/?name=n%d", at.Clients, i))
		for j := range 4 {
			text := fmt.Sprintf("%d of %d", j, i)
			if err := conn.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
				t.Fatal(err)
			}
			for {
				_, data, err := conn.ReadMessage()
				if err != nil {
					t.Fatalf("%s: %v\n%s", text, err, log)
				}
				if string(data) == text {
					echoed++
					break
				}
				var l handlers.Line
				if err := json.Unmarshal(data, &l); err == nil && l.Text == text {
					said++
					break
				}
			}
		}
		if err := conn.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if echoed == 0 || said == 0 {
		t.Fatalf("not both took part: %d echoed, %d said", echoed, said)
	}
}

// Every role shows itself to nats micro, on the register.
func TestMicroServices(t *testing.T) {
	at, _, _ := run(t, load(t))
	ready(t, at)
	nc, err := nats.Connect("nats://" + at.Register)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	found := map[string]string{}
	deadline := time.Now().Add(patience)
	for len(found) < 3 && time.Now().Before(deadline) {
		for _, role := range []string{"register", "gateway", "worker"} {
			m, err := nc.Request("$SRV.INFO.gatebus-"+role, nil, time.Second)
			if errors.Is(err, nats.ErrNoResponders) {
				continue // it is ready before its service is
			}
			if err != nil {
				t.Fatal(err)
			}
			var info struct {
				Metadata  map[string]string
				Endpoints []struct{ Subject string }
			}
			if err := json.Unmarshal(m.Data, &info); err != nil {
				t.Fatal(err)
			}
			for _, k := range []string{"role", "name", "epoch", "address"} {
				if info.Metadata[k] == "" {
					t.Errorf("%s: no %s: %v", role, k, info.Metadata)
				}
			}
			found[role] = info.Endpoints[0].Subject
		}
	}
	for role, subject := range found {
		m, err := nc.Request(subject, nil, patience)
		if err != nil {
			t.Fatalf("%s: %v", role, err)
		}
		if !json.Valid(m.Data) {
			t.Errorf("%s: %s", role, m.Data)
		}
	}
	if len(found) != 3 {
		t.Fatalf("found %v", found)
	}
}

func TestSecret(t *testing.T) {
	const secret = "a secret that nobody knows"
	at, _, _ := run(t, load(t, "secret="+secret))
	ready(t, at)
	for _, addr := range []string{at.Bus, at.Register} {
		nc, err := nats.Connect("nats://" + addr)
		if err == nil {
			nc.Close()
			t.Errorf("%s lets in somebody without the secret", addr)
		}
	}
	ann := dial(t, "ws://"+at.Clients+"/?name=ann")
	if err := ann.WriteMessage(websocket.TextMessage, []byte("hi")); err != nil {
		t.Fatal(err)
	}
	if got := line(t, ann); got != "say ann hi" {
		t.Fatal(got)
	}
	// A host with another secret gets nowhere, and says why.
	other := load(t, "secret=another secret altogether")
	other.Only(configs.RoleWorker)
	other.Registers = []string{"nats://" + at.Register}
	_, log, _ := run(t, other)
	log.await(t, "Authorization Violation")
}

func ExampleStart() {
	cfg, err := configs.Load(configs.Source{
		Roles: []configs.Role{configs.RoleRegister},
		Set:   []string{"register.listen=127.0.0.1:0", "register.cluster.listen=127.0.0.1:0", "admin.listen="},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	h, at, err := Start(context.Background(), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("register is up:", at.Register != "")
	ctx, stop := context.WithCancel(context.Background())
	stop()
	fmt.Println(h.Run(ctx))
	// Output:
	// register is up: true
	// <nil>
}
