package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"
)

// listener is where clients connect, and what they speak there.
type listener struct {
	// set at construction
	cfg         Listener
	key         string // of its address, as the configuration names it
	wire        wire
	ping        []byte              // what is sent to the silent; nil: nothing
	certificate *certificate        // nil: no TLS
	keepAlive   net.KeepAliveConfig // of TCP; what is not enabled is as usual
	// headed is what the HTTP server accepts from; nil: from socket. Set by Run.
	headed *headedListener

	// guarded by the gateway's listenMu
	socket    net.Listener // nil until Listen
	inherited bool         // another process has opened it; set with socket
}

// newListeners makes the listeners of a configuration, the one at Listen first.
func newListeners(cfg *Config) []*listener {
	var all []*listener
	for i, lc := range cfg.allListeners() {
		l := &listener{cfg: lc, key: "listen", wire: wireOf(lc.Protocol)}
		if i > 0 {
			l.key = fmt.Sprintf("listeners[%d].listen", i-1)
		}
		if lc.PingData != "" {
			l.ping = []byte(lc.PingData)
		}
		if l.isPlain() {
			l.keepAlive = keepAliveOf(cfg)
		}
		if lc.TLS.On() {
			l.certificate = &certificate{files: lc.TLS}
		}
		all = append(all, l)
	}
	return all
}

// ListenError is why a gateway cannot listen.
type ListenError struct {
	// Key is the key of the configuration that says where, below the gateway's:
	// listen, or listeners[0].listen and so on.
	Key string
	Err error
}

// Error says what is wrong, and where.
func (e *ListenError) Error() string { return fmt.Sprintf("gateway: %s: %v", e.Key, e.Err) }

// Unwrap gives Err, which wraps [ErrAddressInUse] when somebody else is there.
func (e *ListenError) Unwrap() error { return e.Err }

// Listen takes the clients' ports, and reads the certificates. Serving begins with
// Run. The error is a [*ListenError]; nothing is taken then.
func (g *Gateway) Listen(ctx context.Context) error {
	if err := g.loadTokens(); err != nil {
		return fmt.Errorf("gateway: %w", err)
	}
	for _, l := range g.listeners {
		socket, err := g.listen(ctx, l)
		if err != nil {
			g.Close()
			return &ListenError{Key: l.key, Err: err}
		}
		g.listenMu.Lock()
		l.socket = socket
		g.listenMu.Unlock()
	}
	return nil
}

func (g *Gateway) listen(ctx context.Context, l *listener) (net.Listener, error) {
	if l.certificate != nil {
		if err := l.certificate.load(); err != nil {
			return nil, err
		}
	}
	if g.claim != nil {
		if socket := g.claim(l.cfg.Name, l.cfg.Listen); socket != nil {
			l.inherited = true
			return socket, nil
		}
	}
	lc := net.ListenConfig{KeepAliveConfig: l.keepAlive}
	network, address := network(l.cfg.Listen)
	if network == "unix" {
		if err := removeStale(ctx, address); err != nil {
			return nil, fmt.Errorf("listen for clients on %s: %w", l.cfg.Listen, err)
		}
	}
	socket, err := lc.Listen(ctx, network, address)
	if err != nil {
		return nil, fmt.Errorf("listen for clients on %s: %w", l.cfg.Listen, err)
	}
	if network == "unix" {
		if err := os.Chmod(address, socketMode); err != nil {
			_ = socket.Close() // the first error says it
			return nil, fmt.Errorf("listen for clients on %s: %w", l.cfg.Listen, err)
		}
	}
	return socket, nil
}

const (
	// keepAliveProbes is how often the kernel asks before it gives up.
	keepAliveProbes = 3
	// socketMode lets the owner and the group of a unix socket connect.
	socketMode = 0o660
	// staleTimeout bounds the attempt to find out whether a socket is in use.
	staleTimeout = time.Second
)

// removeStale removes a socket that a process has left that is no more.
func removeStale(ctx context.Context, path string) error {
	switch info, err := os.Lstat(path); {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return errors.New("there is something else than a socket; remove it, or choose another path")
	}
	d := net.Dialer{Timeout: staleTimeout}
	nc, err := d.DialContext(ctx, "unix", path)
	switch {
	case err == nil:
		_ = nc.Close() // all that was to be known is known
		return ErrAddressInUse
	case errors.Is(err, syscall.ECONNREFUSED):
		return os.Remove(path)
	}
	return fmt.Errorf("cannot find out whether somebody listens there already: %w", err)
}

// Close gives the clients' ports back, of a gateway that does not run. Those that it has
// inherited are still the other process's.
func (g *Gateway) Close() { g.closeSockets(false) }

// Addr is where WebSocket clients connect (Config.Listen), once Listen has
// returned; nil before.
func (g *Gateway) Addr() net.Addr { return g.addrOf(g.listeners[0]) }

// Addrs are where clients connect, by the names of the listeners, once Listen has
// returned.
func (g *Gateway) Addrs() map[string]net.Addr {
	addrs := map[string]net.Addr{}
	for _, l := range g.listeners {
		if a := g.addrOf(l); a != nil {
			addrs[l.cfg.Name] = a
		}
	}
	return addrs
}

func (g *Gateway) addrOf(l *listener) net.Addr {
	g.listenMu.Lock()
	defer g.listenMu.Unlock()
	if l.socket == nil {
		return nil
	}
	return l.socket.Addr()
}

// remote is the address of a client, as workers are told.
func (l *listener) remote(addr string) string {
	if network, _ := network(l.cfg.Listen); network == "unix" {
		return "unix"
	}
	return addr
}

// tlsConfig says how connections are encrypted.
func (l *listener) tlsConfig(protocols ...string) *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: protocols, GetCertificate: l.certificate.get}
}

// certificate is read from files, and can be read anew while it is in use.
type certificate struct {
	files TLS
	now   atomic.Pointer[tls.Certificate]
}

// load reads the files. What was read before stays in use if they are not good.
func (c *certificate) load() error {
	pair, err := tls.LoadX509KeyPair(c.files.Cert, c.files.Key)
	if err != nil {
		return fmt.Errorf("certificate %s with key %s: %w", c.files.Cert, c.files.Key, err)
	}
	c.now.Store(&pair)
	return nil
}

func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.now.Load(), nil }
