package embedded_test

import (
	"bytes"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/gatebus/gatebus/embedded"
	"github.com/gatebus/gatebus/internal/certs"
	"github.com/gatebus/gatebus/internal/keys"
	"github.com/gatebus/gatebus/internal/testbed"
)

// certified is a host of an authority, with a certificate for loopback.
func certified(t *testing.T, a *testbed.Authority, name string) *certs.Certs {
	t.Helper()
	cert, key := a.Issue(t, name, time.Time{}, "127.0.0.1")
	c, err := certs.Load(certs.Files{Cert: cert, Key: key, CA: a.File}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// eavesdropper passes on what goes to a server and back, and keeps it all.
type eavesdropper struct {
	addr string
	mu   sync.Mutex
	seen bytes.Buffer
}

// Write implements io.Writer.
func (e *eavesdropper) Write(p []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.seen.Write(p)
}

func (e *eavesdropper) heard(text string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return bytes.Contains(e.seen.Bytes(), []byte(text))
}

func eavesdrop(t *testing.T, server string) *eavesdropper {
	t.Helper()
	l, err := net.Listen("tcp", loopback)
	if err != nil {
		t.Fatal(err)
	}
	e := &eavesdropper{addr: l.Addr().String()}
	var running sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
	running.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", server)
			if err != nil {
				in.Close()
				continue
			}
			mu.Lock()
			open = append(open, in, out)
			mu.Unlock()
			for _, way := range [][2]net.Conn{{in, out}, {out, in}} {
				running.Go(func() {
					_, _ = io.Copy(way[0], io.TeeReader(way[1], e)) // ends with either
					way[0].Close()
					way[1].Close()
				})
			}
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for _, c := range open {
			c.Close()
		}
		mu.Unlock()
		running.Wait()
	})
	return e
}

// Who listens on the network sees everything without TLS, the password of routes
// included, and with it nothing.
func TestEavesdropper(t *testing.T) {
	t.Parallel()
	const frame = "what a client says"
	k := derive(t, "0123456789abcdef")
	for name, secure := range map[string]bool{"plain": false, "TLS": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var clients, routes *tls.Config
			opts := k.ConnectOptions(keys.RoleWorker)
			if secure {
				c := certified(t, testbed.NewAuthority(t, t.TempDir(), "ca"), "host")
				clients, routes = c.Server(true), c.Peer()
				opts = append(opts, nats.Secure(c.Client()))
			}
			first := member(loopback)
			first.TLS = routes
			r1 := start(t, embedded.Config{Name: "r1", Listen: loopback, Keys: k, TLS: clients, Cluster: first})
			onRoute := eavesdrop(t, r1.ClusterAddr())
			second := member(loopback, onRoute.addr)
			second.TLS = routes
			r2 := start(t, embedded.Config{Name: "r2", Listen: loopback, Keys: k, TLS: clients, Cluster: second})
			onLink := eavesdrop(t, r2.Addr())

			one := connect(t, r1, opts...)
			two, err := nats.Connect("nats://"+onLink.addr, append(opts, nats.NoReconnect(), nats.Timeout(patience))...)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(two.Close)
			awaitMesh(t, []*nats.Conn{one, two})
			sub := subscribe(t, two, "_INBOX.frame")
			heard := false
			for deadline := time.Now().Add(patience); !heard && time.Now().Before(deadline); {
				publish(t, one, "_INBOX.frame", frame)
				_, err := sub.NextMsg(50 * time.Millisecond)
				heard = err == nil
			}
			if !heard {
				t.Fatal("the frame does not arrive")
			}
			for what, spied := range map[string]bool{
				"the frame on a link":      onLink.heard(frame),
				"the frame on a route":     onRoute.heard(frame),
				"the password of a route":  onRoute.heard(k.RoutePassword()),
				"the key of who connected": onLink.heard(k.Public(keys.RoleWorker)),
			} {
				if spied == secure {
					t.Errorf("heard %s: %v", what, spied)
				}
			}
			if onLink.heard(string(k.Seed(keys.RoleWorker))) || onLink.heard("0123456789abcdef") || onRoute.heard("0123456789abcdef") {
				t.Error("a seed or the secret is sent")
			}
		})
	}
}

// A server that has TLS talks to nobody without, but for its own process; and a
// route needs a certificate of the authority as well as the secret.
func TestTLSIsDemanded(t *testing.T) {
	t.Parallel()
	k := derive(t, "0123456789abcdef")
	ours := certified(t, testbed.NewAuthority(t, t.TempDir(), "ours"), "host")
	theirs := certified(t, testbed.NewAuthority(t, t.TempDir(), "theirs"), "host")
	log, logged := lines()
	cl := member(loopback)
	cl.TLS = ours.Peer()
	r1 := start(t, embedded.Config{Name: "r1", Listen: loopback, Keys: k, TLS: ours.Server(false), Cluster: cl, Log: log})
	flush(t, connect(t, r1, r1.ConnectOptions(keys.RoleRegister)...))
	flush(t, connect(t, r1, append(k.ConnectOptions(keys.RoleWorker), nats.Secure(ours.Client()))...))

	nc, err := net.Dial("tcp", r1.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(patience))
	if _, err := nc.Write([]byte("CONNECT {\"verbose\":true}\r\nPUB gw.all.push.all 5\r\nhello\r\n")); err != nil {
		t.Fatal(err)
	}
	if said, _ := io.ReadAll(nc); strings.Contains(string(said), "+OK") {
		t.Errorf("in the clear it says %q", said)
	}

	for name, c := range map[string]*tls.Config{"none": nil, "theirs": theirs.Peer()} {
		other := member(loopback, r1.ClusterAddr())
		other.TLS = c
		r2 := start(t, embedded.Config{Name: "r2", Listen: loopback, Keys: k, Cluster: other})
		await(t, "refusal of "+name, logged, func(line string) bool {
			return strings.Contains(line, "TLS route handshake error") || strings.Contains(line, "TLS handshake error") || strings.Contains(line, "TLS route connection")
		})
		if n := r1.NumRoutes(); n != 0 {
			t.Errorf("%d routes with a certificate of %s", n, name)
		}
		stop(t, r2)
	}
}
