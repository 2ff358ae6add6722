package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/gatebus/gatebus/bus/membus"
)

// await looks until something is so.
func await(t *testing.T, what string, so func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for late := time.After(patience); !so(); {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("there is no %s", what)
		}
	}
}

// Who was accepted before another process took the sockets becomes a client, however far
// it was, and that is waited for; who comes later is the other one's.
func TestStopAccepting(t *testing.T) {
	files := certified(t)
	config := clientTLS(t, files)
	const header = "PROXY TCP4 192.0.2.7 192.0.2.8 1234 443\r\n"
	cfg := DefaultConfig()
	cfg.Listen, cfg.Drain, cfg.TrustedProxies = "127.0.0.1:0", 0, []string{"127.0.0.1", "unix"}
	cfg.Listeners = []Listener{
		{Name: "wss", Listen: "127.0.0.1:0", TLS: files},
		{Name: "wss proxied", Listen: "127.0.0.1:0", TLS: files, ProxyProtocol: true},
		{Name: "text", Listen: "127.0.0.1:0", Protocol: ProtocolText, TLS: files},
		{Name: "frame", Listen: "unix:" + filepath.Join(t.TempDir(), "s"), Protocol: ProtocolFrame, ProxyProtocol: true},
	}
	for i := range cfg.Listeners {
		cfg.Listeners[i].Name = string(rune('a' + i))
	}
	r := serveReal(t, cfg)
	var early []net.Conn
	for _, s := range r.gw.Sockets() {
		nc, err := net.DialTimeout(s.Listener.Addr().Network(), s.Listener.Addr().String(), patience)
		if err != nil {
			t.Fatal(err)
		}
		early = append(early, nc)
	}
	await(t, "connections that say nothing", func() bool {
		r.gw.arrivals.mu.Lock()
		defer r.gw.arrivals.mu.Unlock()
		return len(r.gw.arrivals.conns) == len(early)
	})
	r.gw.StopAccepting()
	settled := make(chan struct{})
	go func() {
		defer close(settled)
		r.gw.Settled(t.Context())
	}()
	for i, nc := range early {
		select {
		case <-settled:
			t.Fatal("it does not wait for all")
		default:
		}
		l := r.gw.listeners[i]
		if l.cfg.ProxyProtocol {
			if _, err := io.WriteString(nc, header); err != nil {
				t.Fatal(err)
			}
		}
		var encrypted *tls.Config
		if l.certificate != nil {
			encrypted = config
		}
		c := talkOver(t, nc, l.cfg.Protocol, encrypted)
		if err := c.send("hello"); err != nil {
			t.Fatal(err)
		}
		if got, err := c.recv(); err != nil || got != "hello" {
			t.Errorf("listener %s: %q, %v", l.cfg.Name, got, err)
		}
	}
	select {
	case <-settled:
	case <-time.After(cfg.HandshakeTimeout / 2):
		t.Error("it waits, though all are clients")
	}
	for _, s := range r.gw.Sockets() {
		nc, err := net.DialTimeout(s.Listener.Addr().Network(), s.Listener.Addr().String(), patience)
		if err == nil {
			_ = nc.Close()
		}
		if !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("%s: %v", s.Name, err)
		}
	}
}

// A gateway that has inherited its sockets accepts nobody before it may; if it ends before,
// they are as they were.
func TestInherit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	sockets := map[string]net.Listener{}
	for name, at := range map[string][2]string{DefaultListener: {"tcp", "127.0.0.1:0"}, "x": {"tcp", "127.0.0.1:0"}, "y": {"unix", path}} {
		ln, err := net.Listen(at[0], at[1])
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		sockets[name] = ln
	}
	cfg := DefaultConfig()
	cfg.Listen = "127.0.0.1:0"
	cfg.Listeners = []Listener{
		{Name: "x", Listen: "127.0.0.1:0", Protocol: ProtocolRaw}, {Name: "y", Listen: "unix:" + path, Protocol: ProtocolRaw},
		{Name: "z", Listen: "127.0.0.1:0", Protocol: ProtocolRaw},
	}
	inherit := func(begin <-chan struct{}) (*Gateway, context.CancelFunc, <-chan error) {
		var b membus.Bus
		conn := b.Connect()
		t.Cleanup(conn.Close)
		g, err := New(cfg, 1, conn, &b, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		g.Inherit(func(name, listen string) net.Listener {
			ln := sockets[name]
			if ln == nil {
				return nil
			}
			f, err := ln.(interface{ File() (*os.File, error) }).File()
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			own, err := net.FileListener(f)
			if err != nil {
				t.Fatal(err)
			}
			return own
		}, begin)
		if err := g.Listen(t.Context()); err != nil {
			t.Fatal(err)
		}
		for name, ln := range sockets {
			if got := g.Addrs()[name].String(); got != ln.Addr().String() {
				t.Errorf("%s is at %s, want %s", name, got, ln.Addr())
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- g.Run(ctx) }()
		<-g.Serving()
		return g, cancel, done
	}

	begin := make(chan struct{})
	g, cancel, done := inherit(begin)
	client, err := net.Dial("tcp", sockets["x"].Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := sockets["x"].(*net.TCPListener).SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	conn, err := sockets["x"].Accept() // which g leaves to us
	if err != nil {
		t.Fatal(err)
	}
	g.listeners[1].setKeepAlive(conn)
	on, idle, every, times := keepAlive(t, conn)
	if !on || idle != cfg.PingInterval || every*time.Duration(times) != cfg.PongTimeout {
		t.Errorf("on %v, after %v, %d times every %v", on, idle, times, every)
	}
	_ = conn.Close()
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("the socket of the other process is gone: %v", err)
	}

	close(begin)
	g, cancel, done = inherit(begin)
	if client, err = net.Dial("unix", path); err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	await(t, "a client", func() bool { return g.index.len() == 1 })
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("the socket is left: %v", err)
	}
}
