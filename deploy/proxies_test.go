package deploy_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/internal/testbed"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(testbed.Main(m)) }

// client and proxy are the addresses of hosts of their own.
var clientHost, proxyHost = testbed.Host(200), testbed.Host(10)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := testbed.Soon()
	t.Cleanup(cancel)
	return ctx
}

// program finds a program of Debian, which need not be on the path of users.
func program(t *testing.T, name, pkg string) string {
	t.Helper()
	for _, path := range []string{name, "/usr/sbin/" + name} {
		if found, err := exec.LookPath(path); err == nil {
			return found
		}
	}
	why := fmt.Sprintf("needs %s: apt-get install %s", name, pkg)
	if requireAll {
		t.Fatal(why)
	}
	t.Skip(why)
	return ""
}

// hosts are two gateways behind a proxy, and a worker.
type hosts struct {
	gateways [2]*testbed.Process
	replace  []string          // addresses of the proxy's file, and what they are here
	opens    chan bus.OpenInfo // what the worker is asked about
	web      string            // where the proxy listens for WebSocket
	devices  string            // and for others
}

func startHosts(t *testing.T) *hosts {
	t.Helper()
	h := &hosts{
		opens: make(chan bus.OpenInfo, 100),
		web:   testbed.MustFreeAddr(t, proxyHost), devices: testbed.MustFreeAddr(t, proxyHost),
	}
	h.replace = []string{"10.0.0.10:80;", h.web + ";", "10.0.0.10:80\n", h.web + "\n", "10.0.0.10:8283", h.devices}
	c := testbed.NewCluster(t, 1)
	register := c.Register(0)
	var buses [2]string
	for i := range h.gateways {
		host, was := testbed.Host(11+i), fmt.Sprintf("10.0.0.%d", 11+i)
		web, devices, admin := testbed.MustFreeAddr(t, host), testbed.MustFreeAddr(t, host), testbed.MustFreeAddr(t, host)
		buses[i] = testbed.MustFreeAddr(t, host)
		h.gateways[i] = c.Gateway(fmt.Sprintf("g%d", i+1), "admin.listen="+admin,
			"gateway.listen="+web, "gateway.bus.listen="+buses[i], "gateway.trusted_proxies="+proxyHost,
			"gateway.listeners=[{listen: '"+devices+"', protocol: text, proxy_protocol: true}]")
		_, port, err := net.SplitHostPort(admin)
		must(t, err)
		h.replace = append(h.replace, was+":8282", web, was+":8283", devices, "addr "+was+" port 8280", "addr "+host+" port "+port)
	}
	must(t, testbed.WaitReady(soon(t), append(h.gateways[:], register)...))
	for _, addr := range buses {
		nc, err := nats.Connect("nats://" + addr)
		must(t, err)
		t.Cleanup(nc.Close)
		_, err = nc.QueueSubscribe("gw.*.in.default.*", "default", func(m *nats.Msg) {
			var answer []byte
			switch kind := m.Subject[strings.LastIndex(m.Subject, ".")+1:]; kind {
			case "open":
				var info bus.OpenInfo
				if err := json.Unmarshal(m.Data, &info); err != nil {
					t.Error(err)
				}
				h.opens <- info
			case "text", "binary":
				answer = m.Data
			}
			_ = m.Respond(answer) // fails at the end
		})
		must(t, err)
		must(t, nc.Flush())
	}
	return h
}

// file is a configuration of this directory with the addresses of these hosts.
func (h *hosts) file(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	must(t, err)
	text := strings.NewReplacer(h.replace...).Replace(string(data))
	for line := range strings.Lines(text) {
		if line, _, _ := strings.Cut(line, "#"); strings.Contains(line, "10.0.0.1") {
			t.Fatalf("%s: an address is left: %s", path, line)
		}
	}
	to := filepath.Join(t.TempDir(), filepath.Base(path))
	must(t, os.WriteFile(to, []byte(text), 0o644))
	return to
}

// nginx runs it with the file, as little else as it can do with.
func (h *hosts) nginx(t *testing.T) {
	t.Helper()
	path := program(t, "nginx", "nginx-light")
	dir := t.TempDir()
	conf := filepath.Join(dir, "nginx.conf")
	must(t, os.WriteFile(conf, fmt.Appendf(nil, `daemon off; master_process off; pid %[1]s/pid; error_log stderr;
events {}
http {
	access_log off;
	client_body_temp_path %[1]s; proxy_temp_path %[1]s; fastcgi_temp_path %[1]s; uwsgi_temp_path %[1]s; scgi_temp_path %[1]s;
	proxy_bind %[2]s; # this host
	include %[3]s;
}
`, dir, proxyHost, h.file(t, "nginx/gatebus.conf")), 0o644))
	p := testbed.Start(t, testbed.Spec{Name: "nginx", Path: path, Args: []string{"-p", dir, "-c", conf}})
	h.waitForProxy(t, p, h.web)
}

// haproxy runs it with the file.
func (h *hosts) haproxy(t *testing.T) {
	t.Helper()
	path := program(t, "haproxy", "haproxy")
	conf := h.file(t, "haproxy/haproxy.cfg")
	data, err := os.ReadFile(conf)
	must(t, err)
	// The proxy is a host of its own here, and has few descriptors.
	data = []byte(strings.NewReplacer("\ndefaults\n", "\ndefaults\n    source "+proxyHost+"\n", "maxconn 100000", "maxconn 100").Replace(string(data)))
	must(t, os.WriteFile(conf, data, 0o644))
	p := testbed.Start(t, testbed.Spec{Name: "haproxy", Path: path, Args: []string{"-db", "-f", conf}})
	h.waitForProxy(t, p, h.web) // it binds all at once, and over the other a worker would be asked
}

func (h *hosts) waitForProxy(t *testing.T, p *testbed.Process, addr string) {
	t.Helper()
	must(t, testbed.Poll(soon(t), func() error {
		nc, err := net.Dial("tcp", addr)
		if err != nil {
			return fmt.Errorf("%s does not listen: %w\n%s", p.Name, err, p.Log())
		}
		return nc.Close()
	}))
}

// client is one that has come through the proxy.
type client struct {
	local string
	open  bus.OpenInfo
	conn  io.Closer
	send  func(string) error
	recv  func() (string, error)
}

func (h *hosts) dial(t *testing.T, addr string, web bool) (*client, error) {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(clientHost)}, Timeout: testbed.Patience}
	nc, err := d.DialContext(t.Context(), "tcp", addr)
	if err != nil {
		return nil, err
	}
	c := &client{local: nc.LocalAddr().String(), conn: nc}
	if web {
		w := websocket.Dialer{NetDialContext: func(context.Context, string, string) (net.Conn, error) { return nc, nil }}
		ws, resp, err := w.Dial("ws://"+addr+"/", nil)
		if err != nil {
			_ = nc.Close()
			if resp != nil {
				err = fmt.Errorf("%w: %s", err, resp.Status)
			}
			return nil, err
		}
		c.send = func(s string) error { return ws.WriteMessage(websocket.TextMessage, []byte(s)) }
		c.recv = func() (string, error) { _, data, err := ws.ReadMessage(); return string(data), err }
	} else {
		in := bufio.NewReader(nc)
		c.send = func(s string) error { _, err := io.WriteString(nc, s+"\n"); return err }
		c.recv = func() (string, error) { s, err := in.ReadString('\n'); return strings.TrimSuffix(s, "\n"), err }
	}
	must(t, nc.SetDeadline(time.Now().Add(testbed.Patience)))
	t.Cleanup(func() { _ = nc.Close() })
	if err := c.echo("hello"); err != nil {
		_ = nc.Close()
		return nil, err
	}
	c.open = <-h.opens
	return c, nil
}

func (c *client) echo(s string) error {
	if err := c.send(s); err != nil {
		return err
	}
	got, err := c.recv()
	if err == nil && got != s {
		err = fmt.Errorf("%q comes back as %q", s, got)
	}
	return err
}

// gateway is the one that a client is at.
func (c *client) gateway(t *testing.T) int {
	t.Helper()
	name, _, _, err := c.open.Client.Parts()
	must(t, err)
	return int(name[1] - '1')
}

// checkProxy has clients come through a proxy: their frames come back, the worker sees
// their addresses, and those of a gateway that stops get to the other one.
func (h *hosts) checkProxy(t *testing.T, addr string, web, port bool) {
	t.Helper()
	var clients []*client
	at := map[int]int{}
	for range 6 {
		c, err := h.dial(t, addr, web)
		must(t, err)
		want := c.local
		if !port {
			want = net.JoinHostPort(clientHost, "0")
		}
		if c.open.Remote != want || !strings.HasPrefix(c.open.Proxy, proxyHost+":") {
			t.Fatalf("%s is told as %s by %s", c.local, c.open.Remote, c.open.Proxy)
		}
		at[c.gateway(t)]++
		clients = append(clients, c)
	}
	if at[0] != 3 || at[1] != 3 {
		t.Errorf("the gateways have %d and %d of 6 clients", at[0], at[1])
	}
	must(t, h.gateways[0].Signal(syscall.SIGTERM))
	for _, c := range clients {
		if c.gateway(t) == 1 {
			must(t, c.echo("still here"))
			continue
		}
		_, err := c.recv()
		var end *websocket.CloseError
		switch {
		case web && (!errors.As(err, &end) || end.Code != int(bus.CloseRestart)):
			t.Errorf("a client of the one that stops: %v", err)
		case !web && !errors.Is(err, io.EOF):
			t.Errorf("a client of the one that stops: %v", err)
		}
		again, err := h.dial(t, addr, web)
		must(t, err)
		if again.gateway(t) != 1 {
			t.Error("it came to the one that stops")
		}
	}
	_, err := h.gateways[0].Wait(soon(t))
	must(t, err)
	must(t, h.gateways[1].Ready(soon(t)))
}

func TestNginx(t *testing.T) {
	program(t, "nginx", "nginx-light")
	h := startHosts(t)
	h.nginx(t)
	h.checkProxy(t, h.web, true, false)
}

func TestHAProxy(t *testing.T) {
	program(t, "haproxy", "haproxy")
	for _, web := range []bool{true, false} {
		t.Run(map[bool]string{true: "WebSocket", false: "TCP"}[web], func(t *testing.T) {
			h := startHosts(t)
			h.haproxy(t)
			addr := h.devices
			if web {
				addr = h.web
			}
			h.checkProxy(t, addr, web, !web)
		})
	}
}
