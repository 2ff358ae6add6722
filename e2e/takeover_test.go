package e2e_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/gatebus/gatebus/internal/testbed"
)

// errDrained says that a gateway has ended a connection as its drain does.
var errDrained = errors.New("ended by a drain")

// talker is a client of some protocol, that says something and gets it back.
type talker interface {
	talk(text string) (string, error)
	Close() error
}

// door is a listener of a gateway.
type door struct {
	name   string
	config string // of the listener, but for its name and address
	listen string
	proxy  bool // connections begin with a PROXY header
	dial   func(ctx context.Context, d *door) (talker, error)
}

// proxyHeader is what a proxy says first.
const proxyHeader = "PROXY TCP4 192.0.2.7 192.0.2.8 1234 443\r\n"

func (d *door) connect(ctx context.Context) (net.Conn, error) {
	network, address := "tcp", d.listen
	if path, ok := strings.CutPrefix(d.listen, "unix:"); ok {
		network, address = "unix", path
	}
	nc, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err == nil && d.proxy {
		_, err = io.WriteString(nc, proxyHeader)
	}
	return nc, err
}

var insecureTLS = &tls.Config{InsecureSkipVerify: true} // the tests' own authority; TestTLS… look at certificates

func overWebSocket(scheme string) func(context.Context, *door) (talker, error) {
	return func(ctx context.Context, d *door) (talker, error) {
		dialer := websocket.Dialer{
			NetDialContext:   func(ctx context.Context, _, _ string) (net.Conn, error) { return d.connect(ctx) },
			TLSClientConfig:  insecureTLS,
			HandshakeTimeout: testbed.Patience,
		}
		c, resp, err := dialer.DialContext(ctx, scheme+"://"+d.listen+"/", nil)
		if err != nil {
			if resp != nil {
				err = fmt.Errorf("%w: %s", err, resp.Status)
			}
			return nil, err
		}
		return wsTalker{c}, c.SetReadDeadline(time.Now().Add(testbed.Patience))
	}
}

type wsTalker struct{ *websocket.Conn }

func (c wsTalker) talk(text string) (string, error) {
	if err := c.WriteMessage(websocket.TextMessage, []byte(text)); err != nil && !errors.Is(err, websocket.ErrCloseSent) {
		return "", err
	}
	_, data, err := c.ReadMessage()
	if websocket.IsCloseError(err, 1012) {
		err = errDrained
	}
	return string(data), err
}

func overBytes(encrypted bool, read func(*bufio.Reader, string) (string, error), frame func(string) []byte) func(context.Context, *door) (talker, error) {
	return func(ctx context.Context, d *door) (talker, error) {
		nc, err := d.connect(ctx)
		if err == nil && encrypted {
			c := tls.Client(nc, insecureTLS)
			nc, err = c, c.HandshakeContext(ctx)
		}
		if err != nil {
			return nil, err
		}
		return &byteTalker{nc, bufio.NewReader(nc), read, frame}, nc.SetDeadline(time.Now().Add(testbed.Patience))
	}
}

type byteTalker struct {
	net.Conn
	in    *bufio.Reader
	read  func(*bufio.Reader, string) (string, error)
	frame func(string) []byte
}

func (c *byteTalker) talk(text string) (string, error) {
	if _, err := c.Write(c.frame(text)); err != nil {
		return "", err
	}
	answer, err := c.read(c.in, text)
	if errors.Is(err, io.EOF) && answer == "" {
		err = errDrained // protocols of bytes have no code: it ends between two messages
	}
	return answer, err
}

func aLine(text string) []byte { return []byte(text + "\n") }

func readLine(in *bufio.Reader, _ string) (string, error) {
	s, err := in.ReadString('\n')
	return strings.TrimSuffix(s, "\n"), err
}

func readFrame(in *bufio.Reader, _ string) (string, error) {
	head := make([]byte, 4)
	if _, err := io.ReadFull(in, head); err != nil {
		return "", err
	}
	body := make([]byte, binary.BigEndian.Uint32(head)-4)
	_, err := io.ReadFull(in, body)
	return string(body), err
}

func readRaw(in *bufio.Reader, text string) (string, error) {
	body := make([]byte, len(text))
	n, err := io.ReadFull(in, body)
	return string(body[:n]), err
}

func raw(text string) []byte { return []byte(text) }

// doors are listeners of every kind, on addresses of their own.
func doors(t *testing.T, dir, tlsConfig string) []*door {
	t.Helper()
	all := []*door{
		{name: "default", dial: overWebSocket("ws")},
		{name: "wss", config: "proxy_protocol: true, " + tlsConfig, proxy: true, dial: overWebSocket("wss")},
		{name: "lines", config: "protocol: text", dial: overBytes(false, readLine, aLine)},
		{name: "secret-lines", config: "protocol: text, " + tlsConfig, dial: overBytes(true, readLine, aLine)},
		{name: "frames", config: "protocol: frame, proxy_protocol: true", proxy: true, dial: overBytes(false, readFrame, frame)},
		{name: "raw", config: "protocol: raw", dial: overBytes(false, readRaw, raw)},
		{name: "socket", config: "protocol: raw", listen: "unix:" + filepath.Join(dir, "raw.sock"), dial: overBytes(false, readRaw, raw)},
	}
	for _, d := range all {
		if d.listen == "" {
			d.listen = testbed.MustFreeAddr(t, testbed.Host(1))
		}
	}
	return all
}

// flow is clients at all doors: at each some who stay until a drain ends them, and come
// again then, and one who comes, says something and goes, without end.
type flow struct {
	cancel context.CancelFunc
	tasks  sync.WaitGroup

	mu      sync.Mutex
	visits  map[string]int // that came to an end, by door
	drained int            // of those who stay
	errs    []error
}

// startFlow starts them; each stayer says something every few milliseconds.
func startFlow(t *testing.T, doors []*door, stayers int) *flow {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	f := &flow{cancel: cancel, visits: map[string]int{}}
	t.Cleanup(func() { f.stop() })
	for _, d := range doors {
		f.tasks.Go(func() { f.visit(ctx, d) })
		for i := range stayers {
			f.tasks.Go(func() { f.stay(ctx, d, i) })
		}
	}
	return f
}

func (f *flow) failed(d *door, what string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.errs = append(f.errs, fmt.Errorf("%s: %s: %w", d.name, what, err))
}

// visit comes and goes.
func (f *flow) visit(ctx context.Context, d *door) {
	for n := 0; ctx.Err() == nil; n++ {
		c, err := d.dial(context.WithoutCancel(ctx), d)
		if err != nil {
			f.failed(d, fmt.Sprint("connect ", n), err)
			return
		}
		text := fmt.Sprint("visit ", n)
		answer, err := c.talk(text)
		if err == nil && answer != text {
			err = fmt.Errorf("got %q", answer)
		}
		_ = c.Close() // all was said
		if err != nil && !errors.Is(err, errDrained) {
			f.failed(d, fmt.Sprintf("%s, answered %q", text, answer), err)
			return
		}
		f.mu.Lock()
		f.visits[d.name]++
		f.mu.Unlock()
	}
}

// stay stays, and says a number after the other.
func (f *flow) stay(ctx context.Context, d *door, who int) {
	pause := time.NewTicker(5 * time.Millisecond)
	defer pause.Stop()
	for ctx.Err() == nil {
		c, err := d.dial(context.WithoutCancel(ctx), d)
		if err != nil {
			f.failed(d, fmt.Sprint("stayer ", who, " connects"), err)
			return
		}
		for n := 0; ctx.Err() == nil && err == nil; n++ {
			text := fmt.Sprint(who, " says ", n)
			var answer string
			if answer, err = c.talk(text); err == nil && answer != text {
				err = fmt.Errorf("got %q to %q", answer, text)
			}
			<-pause.C
		}
		_ = c.Close() // likewise
		switch {
		case errors.Is(err, errDrained):
			f.mu.Lock()
			f.drained++
			f.mu.Unlock()
		case err != nil:
			f.failed(d, fmt.Sprint("stayer ", who), err)
			return
		}
	}
}

// more waits until so many more visits to each door have ended well.
func (f *flow) more(t *testing.T, doors []*door, n int) {
	t.Helper()
	f.mu.Lock()
	want := map[string]int{}
	for _, d := range doors {
		want[d.name] = f.visits[d.name] + n
	}
	f.mu.Unlock()
	must(t, testbed.Poll(soon(t), func() error {
		f.mu.Lock()
		defer f.mu.Unlock()
		for name, n := range want {
			if f.visits[name] < n {
				return errors.Join(append(f.errs, fmt.Errorf("%s: %d visits, want %d", name, f.visits[name], n))...)
			}
		}
		return nil
	}))
}

func (f *flow) stop() (drained int, err error) {
	f.cancel()
	f.tasks.Wait()
	return f.drained, errors.Join(f.errs...)
}

// replaceable is a gateway's file, and the doors that it opens.
func replaceable(t *testing.T, cluster *testbed.Cluster, more string) (file string, all []*door) {
	t.Helper()
	dir := t.TempDir()
	cert, key := testbed.NewAuthority(t, dir, "ca").Issue(t, "gateway", time.Time{}, testbed.Host(1))
	all = doors(t, dir, fmt.Sprintf("tls: {cert: %s, key: %s}", cert, key))
	var listeners strings.Builder
	for _, d := range all[1:] {
		fmt.Fprintf(&listeners, "    - {name: %s, listen: %q, %s}\n", d.name, d.listen, d.config)
	}
	secret := ""
	if testbed.Secret != "" {
		secret = "secret: " + testbed.Secret + "\n"
	}
	file = filepath.Join(dir, "host.yaml")
	must(t, os.WriteFile(file, []byte(secret+
		"registers: ["+cluster.URLs()+"]\nadmin: {listen: "+testbed.MustFreeAddr(t, testbed.Host(1))+"}\n"+
		"gateway:\n  listen: "+all[0].listen+"\n  trusted_proxies: [127.0.0.0/8]\n  drain: 300ms\n  handover: gateway.sock\n"+
		"  bus: {listen: "+testbed.MustFreeAddr(t, testbed.Host(1))+", spare: "+testbed.MustFreeAddr(t, testbed.Host(1))+"}\n"+
		more+"  listeners:\n"+listeners.String()), 0o600))
	return file, all
}

func runFile(t *testing.T, name, file string, set ...string) *testbed.Process {
	t.Helper()
	args := []string{"run", "-c", file}
	for _, kv := range set {
		args = append(args, "--set", kv)
	}
	return testbed.Start(t, testbed.Spec{Name: name, Args: args})
}

// A process that is started beside a gateway, with the same file, replaces it: nobody who
// connects meanwhile is refused, at any kind of listener, whoever is connected is answered
// in order and ended as the drain does, and the old process ends in order. One that comes
// to nothing changes nothing; one whose predecessor is killed goes on.
func TestReplacedGateway(t *testing.T) {
	t.Parallel()
	cluster := testbed.NewCluster(t, 1)
	r, w1, w2 := cluster.Register(0), cluster.Worker("w1"), cluster.Worker("w2")
	file, all := replaceable(t, cluster, "")
	g := runFile(t, "first", file)
	must(t, testbed.WaitReady(soon(t), r, w1, w2, g))
	const stayers = 2
	clients := startFlow(t, all, stayers)
	clients.more(t, all, 3)

	// Those that come to nothing.
	taken := runFile(t, "in vain", file, "gateway.bus.listen="+cluster.Registers[0], "gateway.bus.spare="+addr(t, w1, "admin"))
	exits(t, taken, 1)
	says(t, taken, "gateway.bus.listen and gateway.bus.spare: ", "a process that was replaced before has its address until it has drained")
	other := runFile(t, "other", file, "gateway.name=other")
	exits(t, other, 1)
	says(t, other, "is gateway g1, and this one is to be other; give each its own path in gateway.handover")
	killed := runFile(t, "killed", file, "gateway.group=nobody") // which has no worker
	_, err := killed.WaitLog(soon(t), "msg=joined")
	must(t, err)
	must(t, g.Ready(soon(t)))
	second := runFile(t, "second", file)
	exits(t, second, 1)
	says(t, second, "replaces process", "already; try again when that is done")
	killed.Kill()
	_, err = g.WaitLog(soon(t), `this process is not replaced; it serves on`)
	must(t, err)
	_, err = g.WaitLog(soon(t), `(?s)msg=joined`)
	must(t, err)
	must(t, testbed.WaitReady(soon(t), g))
	clients.more(t, all, 3)

	buses := []string{addr(t, g, "bus")}
	for i := range 2 {
		next := runFile(t, fmt.Sprint("next ", i), file)
		must(t, testbed.WaitReady(soon(t), next))
		says(t, next, "took over")
		exits(t, g, 0)
		says(t, g, "replaced; accepting nobody any more, and draining", "msg=stopped")
		clients.more(t, all, 3)
		buses = append(buses, addr(t, next, "bus"))
		g = next
	}
	if buses[0] == buses[1] || buses[0] != buses[2] {
		t.Errorf("the buses were at %q", buses)
	}
	drained, err := clients.stop()
	must(t, err)
	if want := 2 * stayers * len(all); drained < want {
		t.Errorf("%d of those who stay were ended by a drain, want %d", drained, want)
	}

	// Who replaces a process that is killed meanwhile does not wait for what it lacks.
	late := runFile(t, "late", file, "gateway.group=nobody")
	_, err = late.WaitLog(soon(t), "msg=joined")
	must(t, err)
	g.Kill()
	_, err = late.WaitLog(soon(t), "msg=started")
	must(t, err)
	for _, d := range all {
		nc, err := d.connect(soon(t))
		must(t, err)
		must(t, nc.Close())
	}
	must(t, late.Signal(sigterm))
	exits(t, late, 0)
	for _, name := range []string{"gateway.sock", "raw.sock"} {
		if _, err := os.Lstat(filepath.Join(filepath.Dir(file), name)); !os.IsNotExist(err) {
			t.Errorf("%s is left: %v", name, err)
		}
	}
}
