package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/pires/go-proxyproto"

	"github.com/gatebus/gatebus/bus"
)

// ofProxy is a PROXY header about a client.
func ofProxy(t *testing.T, version byte, client string) string {
	t.Helper()
	h := proxyproto.HeaderProxyFromAddrs(version,
		net.TCPAddrFromAddrPort(netip.MustParseAddrPort(client)), &net.TCPAddr{IP: net.IPv4(192, 0, 2, 9), Port: 443})
	b, err := h.Format()
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Whatever X-Forwarded-For says, what counts is what trusted proxies have put there.
func TestForwarded(t *testing.T) {
	p, _, err := parseProxies([]string{"10.0.0.0/8", "2001:db8::/32", "127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		peer   string
		header []string
		want   string
	}{
		{"10.0.0.1:5", nil, "10.0.0.1:5 "},
		{"192.0.2.1:5", []string{"198.51.100.7"}, "192.0.2.1:5 "}, // not a proxy
		{"10.0.0.1:5", []string{"198.51.100.7"}, "198.51.100.7:0 10.0.0.1:5"},
		{"127.0.0.1:5", []string{"198.51.100.7:99"}, "198.51.100.7:99 127.0.0.1:5"},
		{"10.0.0.1:5", []string{"2001:db9::7"}, "[2001:db9::7]:0 10.0.0.1:5"},
		{"10.0.0.1:5", []string{"[2001:db9::7]"}, "[2001:db9::7]:0 10.0.0.1:5"},
		{"10.0.0.1:5", []string{"[2001:db9::7]:9"}, "[2001:db9::7]:9 10.0.0.1:5"},
		{"10.0.0.1:5", []string{"::ffff:198.51.100.7"}, "198.51.100.7:0 10.0.0.1:5"},
		// What a client has written itself stands before its own address.
		{"10.0.0.1:5", []string{"1.1.1.1, 198.51.100.7"}, "198.51.100.7:0 10.0.0.1:5"},
		{"10.0.0.1:5", []string{"1.1.1.1", "198.51.100.7, 10.2.3.4"}, "198.51.100.7:0 10.0.0.1:5"},
		{"[2001:db8::1]:5", []string{"10.9.9.9, 2001:db8::2,10.2.3.4"}, "10.9.9.9:0 [2001:db8::1]:5"},
		// What cannot be read hides all that is before it.
		{"10.0.0.1:5", []string{"198.51.100.7, unknown"}, "10.0.0.1:5 "},
		{"10.0.0.1:5", []string{"198.51.100.7, , 10.2.3.4"}, "10.2.3.4:0 10.0.0.1:5"},
		{"10.0.0.1:5", []string{"fe80::1%eth0"}, "10.0.0.1:5 "},
		{"10.0.0.1:5", []string{strings.Repeat(",", 9000)}, "10.0.0.1:5 "},
	} {
		at := netip.MustParseAddrPort(tt.peer)
		got := p.forwarded(source{remote: tt.peer, addr: at.Addr()}, http.Header{"X-Forwarded-For": tt.header})
		if s := got.remote + " " + got.proxy; s != tt.want {
			t.Errorf("%s with %.40q: %s, want %s", tt.peer, tt.header, s, tt.want)
		}
	}
	from := source{remote: "unix"}
	if got := p.forwarded(from, http.Header{"X-Forwarded-For": {"198.51.100.7"}}); got != from {
		t.Errorf("a unix socket that is not trusted: %+v", got)
	}
	p.unix = true
	if got := p.forwarded(from, http.Header{"X-Forwarded-For": {"198.51.100.7"}}); got.remote != "198.51.100.7:0" || got.proxy != "unix" {
		t.Errorf("a unix socket that is trusted: %+v", got)
	}
}

func TestTrustedProxiesAreChecked(t *testing.T) {
	for s, want := range map[string]string{
		"10.0.0.0/8": "", "::1": "", "unix": "", "2001:db8::/32": "",
		"10.0.0.0/33": "not an address", "proxy.example": "not an address", "": "not an address", "fe80::1%eth0": "not an address",
		"::ffff:10.0.0.0/104": "write it as IPv4",
	} {
		c := DefaultConfig()
		c.TrustedProxies = []string{"127.0.0.1", s}
		err := c.Validate()
		if (err == nil) != (want == "") || err != nil && (!strings.HasPrefix(err.Error(), "trusted_proxies[1]: ") || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v", s, err)
		}
	}
	c := DefaultConfig()
	c.ProxyProtocol = true
	c.Listeners = []Listener{{Listen: "127.0.0.1:1", ProxyProtocol: true}}
	if err := c.Validate(); err == nil || strings.Count(err.Error(), "trusted_proxies is empty") != 2 {
		t.Errorf("with proxies of which none is trusted: %v", err)
	}
}

// A header is read whole, however it comes, and not a byte of what is behind it.
func TestProxyHeaderToTheByte(t *testing.T) {
	long := &proxyproto.Header{Version: 2, Command: proxyproto.PROXY, TransportProtocol: proxyproto.TCPv6,
		SourceAddr: &net.TCPAddr{IP: net.ParseIP("2001:db8::7"), Port: 7}, DestinationAddr: &net.TCPAddr{IP: net.ParseIP("2001:db8::8"), Port: 8}}
	if err := long.SetTLVs([]proxyproto.TLV{{Type: 0x20, Value: bytes.Repeat([]byte("c"), 2000)}}); err != nil {
		t.Fatal(err)
	}
	withTLVs, err := long.Format()
	if err != nil {
		t.Fatal(err)
	}
	for header, want := range map[string]string{
		ofProxy(t, 1, "198.51.100.7:99"):                    "198.51.100.7:99",
		ofProxy(t, 2, "198.51.100.7:99"):                    "198.51.100.7:99",
		ofProxy(t, 1, "[2001:db9::7]:99"):                   "[2001:db9::7]:99",
		ofProxy(t, 2, "[2001:db9::7]:99"):                   "[2001:db9::7]:99",
		string(withTLVs):                                    "[2001:db8::7]:7",
		"PROXY UNKNOWN\r\n":                                 "",
		"PROXY UNKNOWN ffff:f::f ffff:f::f 65535 65535\r\n": "",
		string(proxyproto.SIGV2) + "\x20\x00\x00\x00":       "", // LOCAL
	} {
		for cut := range len(header) {
			if cut > 200 { // the rest is of the same kind
				break
			}
			r := strings.NewReader(header[cut:] + "rest")
			h, err := readProxyHeader(io.MultiReader(strings.NewReader(header[:cut]), r))
			if err != nil {
				t.Fatalf("%.40q cut at %d: %v", header, cut, err)
			}
			if want == "" && h.SourceAddr != nil || want != "" && h.SourceAddr.String() != want {
				t.Fatalf("%.40q cut at %d is from %v, want %s", header, cut, h.SourceAddr, want)
			}
			if r.Len() != len("rest") {
				t.Fatalf("%.40q cut at %d: %d bytes are left, want %d", header, cut, r.Len(), len("rest"))
			}
		}
		if _, err := readProxyHeader(strings.NewReader(header[:len(header)-1])); err == nil {
			t.Errorf("%.40q without its last byte is taken", header)
		}
	}
}

// hostileHeaders are what no proxy sends.
func hostileHeaders() []string {
	sig := string(proxyproto.SIGV2)
	return []string{
		"GET / HTTP/1.1\r\nHost: gateway\r\n\r\n",
		"PROXY\r\nPROXY UNKNOWN\r\n",
		"PROXYUNKNOWN \r\n  ",
		"PROXY X\r\nabcdef\r\n",
		"PROXY TCP4 198.51.100.7 192.0.2.9 99 443\nabc",
		"PROXY TCP4 198.51.100.7 192.0.2.9 99 66000\r\n",
		"PROXY TCP4 198.51.100.7 192.0.2.9 -1 443\r\n",
		"PROXY TCP4 2001:db9::7 192.0.2.9 99 443\r\n",
		"PROXY TCP4 198.51.100.7 192.0.2.9 99 443 more\r\n",
		"PROXY UDP4 198.51.100.7 192.0.2.9 99 443\r\n",
		"PROXY TCP4 " + strings.Repeat("1", 5000),
		"PROXY UNKNOWN " + strings.Repeat("1", 93) + "\r\n", // 109 bytes
		sig + "\x21\x11\xff\xff" + strings.Repeat("x", 70000),
		sig + "\x21\x11\x00\x04abcd",                  // too short for its addresses
		sig + "\x11\x11\x00\x0c123456789012",          // version 1
		sig + "\x2f\x11\x00\x0c123456789012",          // no such command
		sig + "\x21\x00\x00\x00",                      // of whom?
		sig + "\x21\x12\x00\x0c123456789012",          // a datagram
		sig[:11] + "\x00\x21\x11\x00\x0c123456789012", // not the signature
	}
}

func FuzzProxyHeader(f *testing.F) {
	for _, s := range hostileHeaders() {
		f.Add([]byte(s))
	}
	f.Add([]byte("PROXY UNKNOWN\r\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r := bytes.NewReader(data)
		h, err := readProxyHeader(r)
		if err != nil {
			return
		}
		taken := data[:len(data)-r.Len()]
		if again, err := readProxyHeader(bytes.NewReader(taken)); err != nil || !again.EqualsTo(h) {
			t.Errorf("%q: %v, and without what follows %v, %v", data, h, again, err)
		}
	})
}

// tcpConn is a connection that says it is one of TCP.
type tcpConn struct {
	net.Conn
	remote string
}

func (c tcpConn) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(c.remote))
}

// dialFrom connects from an address.
func (l *pipeListener) dialFrom(t *testing.T, remote string) net.Conn {
	t.Helper()
	client, server := net.Pipe()
	select {
	case l.conns <- tcpConn{server, remote}:
	case <-t.Context().Done():
		t.Fatal("nobody accepts")
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// A header that is no good, or does not come, or comes from anybody, ends the
// connection in time, before a worker hears of it.
func TestHostileProxyHeaders(t *testing.T) {
	inBubble(t, func(c *Config) {
		c.ProxyProtocol, c.TrustedProxies = true, []string{"10.0.0.0/8"}
		c.Listeners = []Listener{{Listen: "127.0.0.1:1", Protocol: ProtocolFrame, ProxyProtocol: true}}
	}, func(t *testing.T, f *fixture) {
		f.worker(echo)
		tried := int64(0)
		for _, l := range []*pipeListener{f.listener, f.others[0]} {
			try := func(remote, say string) {
				t.Helper()
				conn := l.dialFrom(t, remote)
				start := time.Now()
				if err := conn.SetDeadline(start.Add(time.Hour)); err != nil {
					t.Fatal(err)
				}
				go func() { _, _ = io.WriteString(conn, say) }()
				if got, err := io.ReadAll(conn); err != nil || len(got) > 0 {
					t.Errorf("%.40q is answered with %q, %v", say, got, err)
				}
				if took := time.Since(start); took > f.gw.config().HandshakeTimeout+time.Second {
					t.Errorf("%.40q: closed after %v", say, took)
				}
				tried++
			}
			for _, say := range hostileHeaders() {
				try("10.0.0.1:5", say)
			}
			for _, whole := range []string{ofProxy(t, 1, "198.51.100.7:99"), ofProxy(t, 2, "198.51.100.7:99")} {
				for n := range len(whole) {
					try("10.0.0.1:5", whole[:n])
				}
				try("192.0.2.1:5", whole)
			}
		}
		equal(t, "events", f.gw.Stats().EventsIn, 0)
		equal(t, "counted", f.gw.Stats().RefusedFor["bad_proxy_header"], tried)
		// One that is at it does not hold up a stop.
		f.listener.dialFrom(t, "10.0.0.1:5")
		f.others[0].dialFrom(t, "10.0.0.1:5")
		f.stop()
		if f.took >= f.gw.config().HandshakeTimeout {
			t.Errorf("the stop took %v", f.took)
		}
	})
}

// What a worker is told of where a client comes from, in every protocol, with TLS and
// without, on real sockets; without TLS these are read by the event loops all the same.
func TestProxiedClients(t *testing.T) {
	files := certified(t)
	for _, p := range []Protocol{ProtocolWebSocket, ProtocolText, ProtocolFrame, ProtocolRaw} {
		for _, encrypted := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, TLS %v", p, encrypted), func(t *testing.T) {
				cfg := DefaultConfig()
				cfg.Listen, cfg.TrustedProxies = "127.0.0.1:0", []string{"127.0.0.1"}
				l := Listener{Name: "headed", Listen: "127.0.0.1:0", Protocol: p, ProxyProtocol: true}
				if encrypted {
					l.TLS = files
				}
				cfg.Listeners = []Listener{l}
				r := serveReal(t, cfg)
				for version := byte(1); version <= 2; version++ {
					conn, err := net.Dial("tcp", r.gw.Addrs()["headed"].String())
					if err != nil {
						t.Fatal(err)
					}
					if _, err := io.WriteString(conn, ofProxy(t, version, "198.51.100.7:99")); err != nil {
						t.Fatal(err)
					}
					config := clientTLS(t, files)
					if !encrypted {
						config = nil
					}
					c := talkOver(t, conn, p, config)
					if err := c.send("h"); err != nil {
						t.Fatal(err)
					}
					if got, err := c.recv(); err != nil || got != "h" {
						t.Fatalf("echo: %q, %v", got, err)
					}
					for _, client := range r.gw.index.all() {
						var info bus.OpenInfo
						if err := json.Unmarshal(client.open, &info); err != nil {
							t.Fatal(err)
						}
						equal(t, "remote", info.Remote, "198.51.100.7:99")
						equal(t, "proxy", info.Proxy, conn.LocalAddr().String())
						client.mu.Lock()
						kind := fmt.Sprintf("%T", streamOf(client))
						client.mu.Unlock()
						equal(t, "read by a loop", strings.Contains(kind, "evented"), !encrypted && runtime.GOOS == "linux")
					}
					_ = c.conn.Close()
					r.event(t)
				}
			})
		}
	}
}

// streamOf is the connection of a client. Its mutex is held.
func streamOf(c *client) any {
	switch conn := c.conn.(type) {
	case *wsConn:
		return conn.conn
	case *plainConn:
		return conn.conn
	}
	return nil
}

// The header of a request is heeded behind a PROXY header too, and without one.
func TestForwardedClients(t *testing.T) {
	inBubble(t, func(c *Config) { c.TrustedProxies = []string{"10.0.0.0/8"} }, func(t *testing.T, f *fixture) {
		opens := make(chan bus.OpenInfo, 1)
		f.worker(func(ev bus.Event) *bus.Reply {
			if ev.Kind == bus.Open {
				var info bus.OpenInfo
				if err := json.Unmarshal(ev.Data, &info); err != nil {
					t.Error(err)
				}
				opens <- info
			}
			return &bus.Reply{}
		})
		for peer, want := range map[string]string{
			"10.0.0.1:5":  "198.51.100.7:0 10.0.0.1:5",
			"192.0.2.1:5": "192.0.2.1:5 ",
		} {
			d := websocket.Dialer{NetDialContext: func(context.Context, string, string) (net.Conn, error) { return f.listener.dialFrom(t, peer), nil }}
			conn, _, err := d.Dial("ws://gateway/", http.Header{"X-Forwarded-For": {"198.51.100.7"}})
			if err != nil {
				t.Fatal(err)
			}
			info := <-opens
			equal(t, "where it comes from", info.Remote+" "+info.Proxy, want)
			_ = conn.Close()
		}
		cfg := *f.gw.config()
		cfg.TrustedProxies = []string{"192.0.2.1"}
		if err := f.gw.Reload(cfg); err != nil {
			t.Fatal(err)
		}
		equal(t, "trusted by now", f.gw.rules().proxies.trustAddr(netip.MustParseAddr("192.0.2.1")), true)
	})
}
