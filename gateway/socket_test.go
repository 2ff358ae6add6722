package gateway

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/bus/membus"
)

// patience is how long what must happen may take.
const patience = 30 * time.Second

// realGateway is a gateway with real sockets, and one worker that echoes.
type realGateway struct {
	gw     *Gateway
	events chan string
	stop   func()
}

func serveReal(t *testing.T, cfg Config) *realGateway {
	t.Helper()
	var b membus.Bus
	conn := b.Connect()
	r := &realGateway{events: make(chan string, 10000)}
	var err error
	if r.gw, err = New(cfg, bus.NewEpoch(time.Now()), conn, &b, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	if err := r.gw.Listen(t.Context()); err != nil {
		t.Fatal(err)
	}
	worker := b.Connect()
	_, err = worker.QueueSubscribe(bus.EventSubjects("g1", "default"), "default", func(m *bus.Msg) {
		ev, err := bus.ParseEvent(m)
		if err != nil {
			t.Error(err)
			return
		}
		if ev.Kind == bus.Close {
			_, code, _ := strings.Cut(string(ev.Data), `"code":`)
			r.events <- "close:" + code[:4]
		}
		_ = worker.Publish(echo(ev).Msg(ev.Kind, m.Reply)) // fails at the end
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.gw.Run(ctx) }()
	var once sync.Once
	r.stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
			worker.Close()
			conn.Close()
		})
	}
	t.Cleanup(r.stop)
	return r
}

func (r *realGateway) event(t *testing.T) string {
	t.Helper()
	select {
	case s := <-r.events:
		return s
	case <-time.After(patience):
		t.Fatal("no close event")
	}
	return ""
}

// talker is a client of any protocol.
type talker struct {
	conn net.Conn // after TLS, if there is
	send func(string) error
	recv func() (string, error)
}

func talk(t *testing.T, addr net.Addr, p Protocol, config *tls.Config) *talker {
	t.Helper()
	conn, err := net.DialTimeout(addr.Network(), addr.String(), patience)
	if err != nil {
		t.Fatal(err)
	}
	return talkOver(t, conn, p, config)
}

// talkOver is talk over a connection that is there.
func talkOver(t *testing.T, conn net.Conn, p Protocol, config *tls.Config) *talker {
	t.Helper()
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if config != nil {
		conn = tls.Client(conn, config)
	}
	if p == ProtocolWebSocket {
		d := websocket.Dialer{NetDialContext: func(context.Context, string, string) (net.Conn, error) { return conn, nil }}
		ws, _, err := d.Dial("ws://gateway/", nil)
		if err != nil {
			t.Fatal(err)
		}
		return &talker{conn,
			func(s string) error { return ws.WriteMessage(websocket.BinaryMessage, []byte(s)) },
			func() (string, error) { _, data, err := ws.ReadMessage(); return string(data), err },
		}
	}
	c, r := &plainPeer{protocol: p}, bufio.NewReader(conn)
	return &talker{conn,
		func(s string) error { _, err := io.WriteString(conn, c.encoded(s)); return err },
		func() (string, error) { return readMessage(r, p) },
	}
}

// places are where a gateway can listen, as far as this machine has them.
func places(t *testing.T) map[string]func(t *testing.T) string {
	all := map[string]func(t *testing.T) string{
		"IPv4": func(*testing.T) string { return "127.0.0.1:0" },
		"unix": func(t *testing.T) string { return "unix:" + filepath.Join(t.TempDir(), "s") },
	}
	if l, err := net.Listen("tcp", "[::1]:0"); err == nil {
		_ = l.Close()
		all["IPv6"] = func(*testing.T) string { return "[::1]:0" }
	} else {
		t.Logf("without IPv6: %v", err)
	}
	return all
}

// Whatever is spoken, and over whatever: many messages come back, whole and in order,
// and the end comes to the other side, in both directions.
func TestEveryProtocolOverEverySocket(t *testing.T) {
	files := certified(t)
	for place, listen := range places(t) {
		for _, p := range append(plainWires, ProtocolWebSocket) {
			for _, config := range []*tls.Config{nil, clientTLS(t, files)} {
				name := place + "/" + string(p)
				if config != nil {
					name += "+tls"
				}
				t.Run(name, func(t *testing.T) {
					cfg := DefaultConfig()
					cfg.Listen, cfg.Drain = "127.0.0.1:0", 0
					l := Listener{Name: "x", Listen: listen(t), Protocol: p}
					if config != nil {
						l.TLS = files
					}
					cfg.Listeners = []Listener{l}
					r := serveReal(t, cfg)
					overSocket(t, r, r.gw.Addrs()["x"], p, config)
				})
			}
		}
	}
}

func overSocket(t *testing.T, r *realGateway, addr net.Addr, p Protocol, config *tls.Config) {
	const all = 500
	c := talk(t, addr, p, config)
	message := func(i int) string {
		if p == ProtocolRaw {
			return string(rune('a' + i%26))
		}
		return fmt.Sprint(i, " ", strings.Repeat("x", i))
	}
	sent := make(chan error, 1)
	go func() {
		for i := range all {
			if err := c.send(message(i)); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	for i := range all {
		if got, err := c.recv(); err != nil || got != message(i) {
			t.Fatalf("message %d is %.50q, %v", i, got, err)
		}
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	if err := c.conn.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
	want := "close:1000"
	if p == ProtocolWebSocket { // it said nothing
		want = "close:1006"
	}
	equal(t, "event", r.event(t), want)

	c = talk(t, addr, p, config)
	if err := c.send("z"); err != nil {
		t.Fatal(err)
	}
	if got, err := c.recv(); got != "z" || err != nil {
		t.Fatalf("%q, %v", got, err)
	}
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		r.stop()
	}()
	_, err := c.recv()
	if ce := (*websocket.CloseError)(nil); errors.As(err, &ce) && ce.Code == 1012 {
		err = io.EOF
	}
	if err != io.EOF {
		t.Errorf("the stop ended it with %v", err)
	}
	_ = c.conn.Close()
	<-stopped
	equal(t, "event", r.event(t), "close:1012")
}

// A client that has said all and closes its half gets the answers.
func TestHalfClose(t *testing.T) {
	files := certified(t)
	for _, p := range plainWires {
		for _, config := range []*tls.Config{nil, clientTLS(t, files)} {
			t.Run(fmt.Sprint(p, config != nil), func(t *testing.T) {
				cfg := DefaultConfig()
				cfg.Listen = "127.0.0.1:0"
				cfg.Listeners = []Listener{{Name: "x", Listen: "127.0.0.1:0", Protocol: p}}
				if config != nil {
					cfg.Listeners[0].TLS = files
				}
				r := serveReal(t, cfg)
				c := talk(t, r.gw.Addrs()["x"], p, config)
				for _, s := range []string{"a", "b", "c"} {
					if err := c.send(s); err != nil {
						t.Fatal(err)
					}
				}
				if err := c.conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
					t.Fatal(err)
				}
				for _, want := range []string{"a", "b", "c"} {
					if got, err := c.recv(); got != want || err != nil {
						t.Fatalf("%q, %v; want %q", got, err, want)
					}
				}
				if _, err := c.recv(); err != io.EOF {
					t.Errorf("ended with %v", err)
				}
				equal(t, "event", r.event(t), "close:1000")
			})
		}
	}
}

// A client that still sends when it is closed sees the end, and what came before it:
// the kernel does not reset the connection.
func TestOrderlyEndForOneThatStillSends(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Listen = "127.0.0.1:0"
	cfg.Listeners = []Listener{{Name: "x", Listen: "127.0.0.1:0", Protocol: ProtocolFrame}}
	r := serveReal(t, cfg)
	for range 20 {
		c := talk(t, r.gw.Addrs()["x"], ProtocolFrame, nil)
		garbage := framed("a") + "\x00\x00\x00\x03" + strings.Repeat("x", 300<<10)
		if _, err := io.WriteString(c.conn, garbage); err != nil {
			t.Fatal(err)
		}
		if got, err := c.recv(); got != "a" || err != nil {
			t.Fatalf("%q, %v", got, err)
		}
		if _, err := c.recv(); err != io.EOF {
			t.Fatalf("ended with %v", err)
		}
		_ = c.conn.Close()
		equal(t, "event", r.event(t), "close:1002")
	}
}

// What waits for a client is written to the last byte before its connection ends,
// also if that is much more than the kernel takes at once.
func TestAllIsWrittenBeforeTheEnd(t *testing.T) {
	files := certified(t)
	for _, p := range []Protocol{ProtocolText, ProtocolFrame} {
		for _, config := range []*tls.Config{nil, clientTLS(t, files)} {
			t.Run(fmt.Sprint(p, config != nil), func(t *testing.T) {
				cfg := DefaultConfig()
				cfg.Listen, cfg.MaxFrame, cfg.SendBytes = "127.0.0.1:0", 2<<20, 64<<20
				cfg.CloseTimeout, cfg.WriteTimeout = patience, patience
				cfg.Listeners = []Listener{{Name: "x", Listen: "127.0.0.1:0", Protocol: p}}
				if config != nil {
					cfg.Listeners[0].TLS = files
				}
				r := serveReal(t, cfg)
				c := talk(t, r.gw.Addrs()["x"], p, config)
				const all = 12
				message := strings.Repeat("x", 2<<20)
				for range all {
					if err := c.send(message); err != nil {
						t.Fatal(err)
					}
				}
				if err := c.conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
					t.Fatal(err)
				}
				equal(t, "event, before anything is read", r.event(t), "close:1000")
				for i := range all {
					if got, err := c.recv(); got != message || err != nil {
						t.Fatalf("message %d has %d bytes, %v", i, len(got), err)
					}
				}
				if _, err := c.recv(); err != io.EOF {
					t.Errorf("ended with %v", err)
				}
			})
		}
	}
}

// The main listener speaks TLS too, and says so to a browser.
func TestMainListenerTLS(t *testing.T) {
	files := certified(t)
	cfg := DefaultConfig()
	cfg.Listen, cfg.TLS = "127.0.0.1:0", files
	r := serveReal(t, cfg)
	c := talk(t, r.gw.Addr(), ProtocolWebSocket, clientTLS(t, files))
	if err := c.send("a"); err != nil {
		t.Fatal(err)
	}
	if got, err := c.recv(); got != "a" || err != nil {
		t.Fatalf("%q, %v", got, err)
	}
	client := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true, ForceAttemptHTTP2: true}}
	resp, err := client.Get("https://" + r.gw.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusUpgradeRequired || resp.ProtoMajor != 1 || !strings.Contains(string(body), "wss://") {
		t.Errorf("%s %s %q, %v", resp.Proto, resp.Status, body, err)
	}
	old := tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}
	if conn, err := tls.Dial("tcp", r.gw.Addr().String(), &old); err == nil {
		_ = conn.Close()
		t.Error("TLS 1.1 is spoken")
	}
}

func TestUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	cfg := DefaultConfig()
	cfg.Listen, cfg.Drain = "127.0.0.1:0", 0
	cfg.Listeners = []Listener{{Name: "x", Listen: "unix:" + path, Protocol: ProtocolText}}
	start := func() (*Gateway, error) {
		g, err := New(cfg, 1, discard{}, nil, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		return g, g.Listen(t.Context())
	}
	fails := func(what string, is error) {
		t.Helper()
		_, err := start()
		e, ok := errors.AsType[*ListenError](err)
		if !ok || e.Key != "listeners[0].listen" || is != nil && !errors.Is(err, is) {
			t.Errorf("%s: %v", what, err)
		}
	}

	// One that a process has left that is no more.
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	_ = l.Close()
	g, err := start()
	if err != nil {
		t.Fatalf("a stale socket is in the way: %v", err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if mode := info.Mode().Perm(); mode != 0o660 && runtime.GOOS != "windows" {
		t.Errorf("its mode is %v", mode)
	}
	fails("one that is in use", ErrAddressInUse)
	if conn, err := net.Dial("unix", path); err != nil {
		t.Errorf("the one in use was harmed: %v", err)
	} else {
		_ = conn.Close()
	}
	g.Close()
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it is left: %v", err)
	}
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	fails("a file", nil)
	if data, err := os.ReadFile(path); string(data) != "precious" {
		t.Errorf("the file has %q, %v", data, err)
	}
}

// When one of several cannot be had, the error says which, and none is kept.
func TestListenFails(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	cfg := DefaultConfig()
	cfg.Listen = "127.0.0.1:0"
	cfg.Listeners = []Listener{{Listen: "127.0.0.1:0", Protocol: ProtocolRaw}, {Listen: taken.Addr().String(), Protocol: ProtocolText}}
	g, err := New(cfg, 1, discard{}, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	err = g.Listen(t.Context())
	if e, ok := errors.AsType[*ListenError](err); !ok || e.Key != "listeners[1].listen" || !errors.Is(err, ErrAddressInUse) {
		t.Errorf("%v", err)
	}
	for name, a := range g.Addrs() {
		if conn, err := net.Dial(a.Network(), a.String()); err == nil {
			_ = conn.Close()
			t.Errorf("%s is still open", name)
		}
	}
}

// The kernel asks clients that cannot be pinged whether they are there.
func TestKeepAlive(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Listen = "127.0.0.1:0"
	cfg.Listeners = []Listener{{Name: "x", Listen: "127.0.0.1:0", Protocol: ProtocolRaw}}
	g, err := New(cfg, 1, discard{}, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Listen(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	client, err := net.Dial("tcp", g.Addrs()["x"].String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	conn, err := g.listeners[1].socket.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	on, idle, every, times := keepAlive(t, conn)
	if !on || idle != cfg.PingInterval || every*time.Duration(times) != cfg.PongTimeout {
		t.Errorf("on %v, after %v, %d times every %v", on, idle, times, every)
	}
}
