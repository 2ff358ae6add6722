package webhook_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/nats-io/nats.go"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/configs"
	"github.com/gatebus/gatebus/internal/host"
)

// patience bounds every wait; nothing is measured with it.
const patience = 20 * time.Second

// tell is what a client has the receiver of the tests answer: of an open event it
// stands in the query, of a text in the frame.
type tell struct {
	Status  int               `json:"status,omitempty"`
	Headers map[string]string `json:"headers,omitempty"`
	Body    string            `json:"body,omitempty"`
	// Fail is how often 503 comes first.
	Fail int `json:"fail,omitempty"`
}

func (a tell) String() string {
	data, err := json.Marshal(a)
	if err != nil {
		panic(err)
	}
	return string(data)
}

// request is what the receiver got.
type request struct {
	kind   string
	header http.Header
	body   string
}

// attribute is an attribute of the event, decoded.
func (r request) attribute(name string) string {
	v, err := url.PathUnescape(r.header.Get("Ce-" + name))
	if err != nil {
		return err.Error()
	}
	return v
}

// cluster is a register, a gateway and a webhook worker, and the receiver.
type cluster struct {
	t    *testing.T
	at   host.Addresses
	nats *nats.Conn

	mu     sync.Mutex
	got    []request
	failed map[string]int // 503s by event
	gate   func(request)  // called before an answer
}

func start(t *testing.T, set ...string) *cluster {
	t.Helper()
	c := &cluster{t: t, failed: map[string]int{}}
	receiver := httptest.NewServer(http.HandlerFunc(c.receive))
	t.Cleanup(receiver.Close)
	src := configs.Dev()
	src.Set = append([]string{
		"gateway.listen=127.0.0.1:0", "gateway.bus.listen=127.0.0.1:0", "register.listen=127.0.0.1:0",
		"register.cluster.listen=127.0.0.1:0", "admin.listen=off", "gateway.drain=100ms",
		"worker.handler.type=webhook", "worker.handler.url=" + receiver.URL + "/events",
	}, set...)
	cfg, err := configs.Load(src)
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	h, at, err := host.Start(t.Context(), cfg, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- h.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
		if t.Failed() {
			t.Logf("the log:\n%s", &log)
		}
	})
	c.at = at
	if c.nats, err = nats.Connect("nats://" + at.Bus); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.nats.Close)
	return c
}

func (c *cluster) receive(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		c.t.Error(err)
		return
	}
	got := request{strings.TrimPrefix(r.Header.Get("Ce-Type"), "com.gatebus.client."), r.Header, string(body)}
	var answer tell
	switch got.kind {
	case "open":
		var info bus.OpenInfo
		if err := json.Unmarshal(body, &info); err != nil {
			c.t.Error(err)
		}
		if query, err := url.QueryUnescape(info.Query); err == nil && query != "" {
			if err := json.Unmarshal([]byte(query), &answer); err != nil {
				c.t.Errorf("%q: %v", query, err)
			}
		}
	case "text":
		if err := json.Unmarshal(body, &answer); err != nil {
			answer = tell{Body: got.body, Headers: map[string]string{"Content-Type": "text/plain", "Gb-Kind": "text"}}
		}
	case "binary":
		answer = tell{Body: got.body, Headers: map[string]string{"Content-Type": "application/octet-stream"}}
	}
	c.mu.Lock()
	c.got = append(c.got, got)
	id := got.header.Get("Ce-Id")
	failing := c.failed[id] < answer.Fail
	c.failed[id]++
	gate := c.gate
	c.mu.Unlock()
	if gate != nil {
		gate(got)
	}
	if failing {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	w.Header()["Content-Type"] = nil // nothing is guessed
	for name, v := range answer.Headers {
		w.Header().Set(name, v)
	}
	if answer.Status == 0 {
		answer.Status = 200
	}
	w.WriteHeader(answer.Status)
	_, _ = io.WriteString(w, answer.Body) // who has gone does not read it
}

// requests are those of a kind.
func (c *cluster) requests(kind string) []request {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(c.got), func(r request) bool { return r.kind != kind })
}

// last is the latest of a kind, once there are so many of them.
func (c *cluster) last(kind string, count int) request {
	c.t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if all := c.requests(kind); len(all) >= count {
			return all[len(all)-1]
		}
		select {
		case <-tick.C:
		case <-deadline:
			c.t.Fatalf("%d events of the kind %s, want %d", len(c.requests(kind)), kind, count)
		}
	}
}

type client struct {
	c *cluster
	*websocket.Conn
}

// dial connects a client that has its open event answered so.
func (c *cluster) dial(open tell, subprotocols ...string) (*client, *http.Response) {
	c.t.Helper()
	d := websocket.Dialer{HandshakeTimeout: patience, Subprotocols: subprotocols}
	conn, resp, err := d.Dial("ws://"+c.at.Clients+"/p?"+url.QueryEscape(open.String()), nil)
	if err != nil {
		if resp == nil {
			c.t.Fatal(err)
		}
		return nil, resp
	}
	c.t.Cleanup(func() { conn.Close() })
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		c.t.Fatal(err)
	}
	return &client{c, conn}, resp
}

// enter is dial for a client that must be let in.
func (c *cluster) enter(open tell) *client {
	c.t.Helper()
	conn, resp := c.dial(open)
	if conn == nil {
		body, _ := io.ReadAll(resp.Body)
		c.t.Fatalf("refused: %s %s", resp.Status, body)
	}
	return conn
}

func (c *client) send(kind int, data string) {
	c.c.t.Helper()
	if err := c.WriteMessage(kind, []byte(data)); err != nil {
		c.c.t.Fatal(err)
	}
}

func (c *client) reads(kind int, want string) {
	c.c.t.Helper()
	k, data, err := c.ReadMessage()
	if err != nil || k != kind || string(data) != want {
		c.c.t.Fatalf("read %q of kind %d, %v; want %q of kind %d", data, k, err, want, kind)
	}
}

// asks has a text answered so, and wants a frame back that has come by then.
func (c *client) asks(a tell) {
	c.c.t.Helper()
	c.send(websocket.TextMessage, a.String())
	c.send(websocket.TextMessage, "done")
	c.reads(websocket.TextMessage, "done")
}

func (c *client) closedWith(code int, reason string) {
	c.c.t.Helper()
	_, data, err := c.ReadMessage()
	if ce, ok := err.(*websocket.CloseError); !ok || ce.Code != code || ce.Text != reason {
		c.c.t.Fatalf("read %q, %v; want close %d %q", data, err, code, reason)
	}
}

// reaches is how many clients a push gets to.
func (c *cluster) reaches(target bus.Target) int {
	c.t.Helper()
	subject, err := bus.PushSubject("g1", target)
	if err != nil {
		c.t.Fatal(err)
	}
	m, err := c.nats.Request(subject, []byte("push"), patience)
	if err != nil {
		c.t.Fatal(err)
	}
	var r struct{ Clients int }
	if err := json.Unmarshal(m.Data, &r); err != nil {
		c.t.Fatal(err)
	}
	return r.Clients
}

func headers(kv ...string) map[string]string {
	h := map[string]string{}
	for i := 0; i < len(kv); i += 2 {
		h[kv[i]] = kv[i+1]
	}
	return h
}

func TestFrames(t *testing.T) {
	c := start(t, "worker.handler.max_response=1000")
	ann := c.enter(tell{})
	for _, frame := range []string{"hello", "grüß dich", "", `"`, "100%"} {
		ann.send(websocket.TextMessage, frame)
		ann.reads(websocket.TextMessage, frame)
	}
	ann.send(websocket.BinaryMessage, "\x00\xff")
	ann.reads(websocket.BinaryMessage, "\x00\xff")
	// An acknowledgement is no frame.
	ann.asks(tell{Status: 204})
	ann.asks(tell{Body: "not for the client"})
	ann.asks(tell{Headers: headers("Content-Type", "text/html")})
	ann.send(websocket.TextMessage, tell{Body: "{}", Headers: headers("Content-Type", "application/json")}.String())
	ann.reads(websocket.TextMessage, "{}")
	ann.send(websocket.TextMessage, tell{Headers: headers("Gb-Kind", "binary")}.String())
	ann.reads(websocket.BinaryMessage, "")
	if r := c.last("text", 1); r.attribute("delivery") != "1" || r.attribute("workergroup") != "default" || r.attribute("source") != "/gatebus/g1" || r.attribute("uid") != "" {
		t.Errorf("headers %v", r.header)
	}

	ann.send(websocket.TextMessage, tell{Body: "bye", Headers: headers("Content-Type", "text/plain", "Gb-Status", "close 4401 no more")}.String())
	ann.reads(websocket.TextMessage, "bye")
	ann.closedWith(4401, "no more")
	var info bus.CloseInfo
	closed := c.last("close", 1)
	if err := json.Unmarshal([]byte(closed.body), &info); err != nil || info.Code != 4401 || string(info.Client) != closed.attribute("subject") {
		t.Errorf("close event %q, %v", closed.body, err)
	}
	ids := map[string]bool{}
	for _, kind := range []string{"open", "text", "binary", "close"} {
		for _, r := range c.requests(kind) {
			if id := r.attribute("id"); ids[id] {
				t.Errorf("two events have the id %s", id)
			} else {
				ids[id] = true
			}
		}
	}

	for name, a := range map[string]tell{
		"400":              {Status: 400},
		"404":              {Status: 404},
		"redirect":         {Status: 307, Headers: headers("Location", "/elsewhere")},
		"too large":        {Body: strings.Repeat("x", 1001), Headers: headers("Content-Type", "text/plain")},
		"other type":       {Body: "x", Headers: headers("Content-Type", "image/png")},
		"not UTF-8":        {Body: "x", Headers: headers("Content-Type", "text/plain", "Gb-Join", "%ff")},
		"misspelt header":  {Headers: headers("Gb-Jion", "a")},
		"code of its own":  {Headers: headers("Gb-Status", "close 4050")},
		"no name":          {Headers: headers("Gb-Join", "")},
		"name of 257":      {Headers: headers("Gb-Bind", strings.Repeat("x", 257))},
		"session not JSON": {Headers: headers("Gb-Set-Session", "{")},
	} {
		t.Run(name, func(t *testing.T) {
			c.t = t
			bob := c.enter(tell{})
			bob.send(websocket.TextMessage, a.String())
			bob.closedWith(1011, "handler failed")
		})
	}
	c.t = t
	if n := len(slices.DeleteFunc(c.requests("text"), func(r request) bool { return !strings.Contains(r.body, "elsewhere") })); n != 1 {
		t.Errorf("%d requests for a redirect", n)
	}
}

func TestOpen(t *testing.T) {
	c := start(t, "worker.handler.retries=1")
	for _, tt := range []struct {
		open   tell
		status int
		body   string
	}{
		{tell{Status: 403, Body: "no ticket", Headers: headers("Content-Type", "text/plain")}, 403, "no ticket"},
		{tell{Status: 404, Body: "<html>", Headers: headers("Content-Type", "text/html")}, 404, "Not Found"},
		{tell{Headers: headers("Gb-Status", "reject 418 tea only")}, 418, "tea only"},
		{tell{Fail: 9}, 503, "the application does not answer"},
		{tell{Status: 302, Headers: headers("Location", "/x")}, 500, "handler failed"},
		{tell{Body: `{"uid":1}`}, 500, "handler failed"},
		{tell{Body: `{"groups":[""]}`}, 500, "handler failed"},
		{tell{Body: `{"uid":"` + strings.Repeat("x", 257) + `"}`}, 500, "handler failed"},
	} {
		conn, resp := c.dial(tt.open)
		if conn != nil {
			t.Errorf("%v: let in", tt.open)
			continue
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != tt.status || strings.TrimSpace(string(body)) != tt.body {
			t.Errorf("%v: %s %q, %v; want %d %q", tt.open, resp.Status, body, err, tt.status, tt.body)
		}
		if after := resp.Header.Get("Retry-After"); (after != "") != (tt.status == 503) {
			t.Errorf("%v: Retry-After %q", tt.open, after)
		}
	}

	ann, resp := c.dial(tell{Fail: 1, Body: `{"uid":"ann","groups":["a","b"],"session":{"n":1},"subprotocol":"v2"}`}, "v1", "v2")
	if ann == nil || resp.Header.Get("Sec-WebSocket-Protocol") != "v2" {
		t.Fatalf("%+v", resp)
	}
	ann.send(websocket.TextMessage, "hello")
	ann.reads(websocket.TextMessage, "hello")
	if r := c.last("text", 1); r.attribute("uid") != "ann" || r.attribute("session") != `{"n":1}` {
		t.Errorf("headers %v", r.header)
	}
	for _, target := range []bus.Target{{Scope: bus.ToUID, Name: "ann"}, {Scope: bus.ToGroup, Name: "a"}, {Scope: bus.ToGroup, Name: "b"}} {
		if n := c.reaches(target); n != 1 {
			t.Errorf("%v has %d clients", target, n)
		}
	}
}

// What fails for now is tried again in its place: nothing of the client overtakes
// it, and others do not wait.
func TestOrder(t *testing.T) {
	c := start(t)
	ann, bob := c.enter(tell{}), c.enter(tell{})
	const frames = 20
	for i := range frames {
		a := tell{Body: fmt.Sprint(i), Headers: headers("Content-Type", "text/plain")}
		if i%7 == 3 {
			a.Fail = 3
		}
		ann.send(websocket.TextMessage, a.String())
	}
	for i := range frames {
		if i%7 == 3 { // it is about to fail
			bob.send(websocket.TextMessage, "meanwhile")
			bob.reads(websocket.TextMessage, "meanwhile")
		}
		ann.reads(websocket.TextMessage, fmt.Sprint(i))
	}
	var order []string
	for _, r := range c.requests("text") {
		if id := r.attribute("id"); r.body != "meanwhile" && (len(order) == 0 || order[len(order)-1] != id) {
			order = append(order, id)
		}
	}
	if len(order) != frames {
		t.Errorf("frames were not handled one after the other: %q", order)
	}
}

// One client's request hangs; another's is answered.
func TestOthersGoOn(t *testing.T) {
	c := start(t)
	ann, bob := c.enter(tell{}), c.enter(tell{})
	hangs, release := make(chan struct{}), make(chan struct{})
	c.mu.Lock()
	c.gate = func(r request) {
		if r.body == "hang" {
			close(hangs)
			<-release
		}
	}
	c.mu.Unlock()
	ann.send(websocket.TextMessage, "hang")
	ann.send(websocket.TextMessage, "second")
	<-hangs
	for i := range 20 {
		bob.send(websocket.TextMessage, fmt.Sprint(i))
		bob.reads(websocket.TextMessage, fmt.Sprint(i))
	}
	for _, r := range c.requests("text") {
		if r.body == "second" {
			t.Error("the second was sent before the first was answered")
		}
	}
	close(release)
	ann.reads(websocket.TextMessage, "hang")
	ann.reads(websocket.TextMessage, "second")
}

func TestChanges(t *testing.T) {
	c := start(t)
	ann := c.enter(tell{})
	has := func(uid, session string) {
		t.Helper()
		ann.send(websocket.TextMessage, "done")
		ann.reads(websocket.TextMessage, "done")
		if r := c.last("text", 1); r.attribute("uid") != uid || r.attribute("session") != session {
			t.Errorf("uid %q, session %q; want %q, %q", r.attribute("uid"), r.attribute("session"), uid, session)
		}
	}
	members := func(want int, groups ...string) {
		t.Helper()
		for _, g := range groups {
			if n := c.reaches(bus.Target{Scope: bus.ToGroup, Name: g}); n != want {
				t.Errorf("group %s has %d clients, want %d", g, n, want)
			}
			for range want {
				ann.reads(websocket.TextMessage, "push")
			}
		}
	}
	ann.asks(tell{Headers: headers("Gb-Bind", "ann", "Gb-Join", "a, b", "Gb-Set-Session", `{"n":1,"m":{"x":1}}`)})
	has("ann", `{"n":1,"m":{"x":1}}`)
	members(1, "a", "b")
	ann.asks(tell{Headers: headers("Gb-Bind", "eve", "Gb-Leave", "a", "Gb-Merge-Session", `{"n":null,"m":{"y":2}}`)})
	has("eve", `{"m":{"x":1,"y":2}}`)
	members(0, "a")
	members(1, "b")
	ann.asks(tell{Headers: headers("Gb-Unbind", "true", "Gb-Set-Session", "null")})
	has("", "")

	ann.asks(tell{Headers: headers("Gb-Bind", "one")})
	bob := c.enter(tell{})
	bob.send(websocket.TextMessage, tell{Headers: headers("Gb-Bind", "one", "Gb-Bind-Others", "refuse")}.String())
	bob.closedWith(1008, "the uid is taken")
	if conn, resp := c.dial(tell{Headers: headers("Gb-Bind", "one", "Gb-Bind-Others", "refuse")}); conn != nil || resp.StatusCode != 409 {
		t.Errorf("a second client of the uid: %s", resp.Status)
	}
	eve := c.enter(tell{})
	eve.asks(tell{Headers: headers("Gb-Bind", "one", "Gb-Bind-Others", "replace")})
	ann.closedWith(int(bus.CloseReplaced), "replaced by another connection")
}

// Every name comes back as it was, whichever way it was given.
func TestHostileNames(t *testing.T) {
	c := start(t)
	for _, name := range []string{
		"0", "a b", " a ", "a,b", "a.b", "*", ">", "%", "%41", "100%", `"q"`, `\`, "a\nb", "a\r\nGb-Status: close", "\t", "\x00",
		"grüß", "🦄👩‍👩‍👧", strings.Repeat("x", 256), strings.Repeat("🦄", 64), strings.Repeat("%", 256),
	} {
		session, err := json.Marshal(map[string]string{"name": name})
		if err != nil {
			t.Fatal(err)
		}
		body, err := json.Marshal(map[string]any{"uid": name, "groups": []string{name}, "session": json.RawMessage(session)})
		if err != nil {
			t.Fatal(err)
		}
		token, err := bus.Escape(name)
		if err != nil {
			t.Fatal(err)
		}
		given := headers("Gb-Bind", token, "Gb-Join", token, "Gb-Set-Session", ascii(string(session)))
		for way, enter := range map[string]func() *client{
			"body":   func() *client { return c.enter(tell{Body: string(body)}) },
			"header": func() *client { return c.enter(tell{Headers: given}) },
			"frame":  func() *client { cl := c.enter(tell{}); cl.asks(tell{Headers: given}); return cl },
		} {
			cl := enter()
			cl.send(websocket.TextMessage, "look")
			cl.reads(websocket.TextMessage, "look")
			r := c.last("text", 1)
			var kept map[string]string
			if err := json.Unmarshal([]byte(r.attribute("session")), &kept); err != nil || kept["name"] != name || r.attribute("uid") != name {
				t.Errorf("%q by %s: uid %q, session %q, %v", name, way, r.attribute("uid"), r.attribute("session"), err)
			}
			for _, target := range []bus.Target{{Scope: bus.ToUID, Name: name}, {Scope: bus.ToGroup, Name: name}} {
				if n := c.reaches(target); n != 1 {
					t.Errorf("%q by %s: %v has %d clients", name, way, target.Scope, n)
				}
				cl.reads(websocket.TextMessage, "push")
			}
			cl.Close()
			gone := time.Now().Add(patience)
			for c.reaches(bus.Target{Scope: bus.ToUID, Name: name}) > 0 {
				if time.Now().After(gone) {
					t.Fatalf("%q by %s: the client is still there", name, way)
				}
			}
		}
	}
}

// ascii writes JSON in ASCII, as PHP and Python do.
func ascii(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r < 0x80:
			b.WriteRune(r)
		case r < 0x10000:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			r -= 0x10000
			fmt.Fprintf(&b, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		}
	}
	return b.String()
}
