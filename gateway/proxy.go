package gateway

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pires/go-proxyproto"
)

// trustUnix is the trusted proxy that means whoever connects to a unix socket.
const trustUnix = "unix"

// source is where a client comes from.
type source struct {
	remote string     // as workers are told: host:port, or "unix"
	proxy  string     // who has connected in its place, likewise; "" if nobody
	addr   netip.Addr // of remote; not valid where there is none
}

// sourceOf is the source of a connection that is the client's own.
func sourceOf(l *listener, addr net.Addr) source {
	s := source{remote: l.remote(addr.String())}
	if at, ok := addr.(*net.TCPAddr); ok && s.remote != trustUnix {
		s.addr = at.AddrPort().Addr().Unmap()
	}
	return s
}

// behind is the source of a client that has come through another one.
func (s source) behind(at netip.AddrPort) source {
	return source{remote: netip.AddrPortFrom(at.Addr().Unmap(), at.Port()).String(), proxy: s.peer(), addr: at.Addr().Unmap()}
}

// peer is who has made the connection.
func (s source) peer() string {
	if s.proxy != "" {
		return s.proxy
	}
	return s.remote
}

// proxies are who may say for whom they connect.
type proxies struct {
	prefixes []netip.Prefix
	unix     bool
}

// parseProxies reads trusted_proxies; the error names an element by its place.
func parseProxies(list []string) (p proxies, at int, err error) {
	for i, s := range list {
		if s == trustUnix {
			p.unix = true
			continue
		}
		prefix, err := netip.ParsePrefix(s)
		if err != nil {
			var addr netip.Addr
			if addr, err = netip.ParseAddr(s); err != nil || addr.Zone() != "" {
				return proxies{}, i, fmt.Errorf("%q is not an address; write 10.0.0.0/8, 192.0.2.1, or unix", s)
			}
			prefix = netip.PrefixFrom(addr, addr.BitLen())
		}
		if prefix.Addr().Is4In6() {
			return proxies{}, i, fmt.Errorf("%q is an IPv4 address in the form of IPv6; write it as IPv4", s)
		}
		p.prefixes = append(p.prefixes, prefix.Masked())
	}
	return p, 0, nil
}

// trust tells whether the source is a proxy that is believed.
func (p *proxies) trust(s source) bool {
	if !s.addr.IsValid() {
		return p.unix && s.remote == trustUnix
	}
	return p.trustAddr(s.addr)
}

func (p *proxies) trustAddr(a netip.Addr) bool {
	return slices.ContainsFunc(p.prefixes, func(net netip.Prefix) bool { return net.Contains(a.WithZone("")) })
}

// forwarded is whom a request comes from: what trusted proxies say about it in
// X-Forwarded-For, from the last one back to the first that is not trusted. What
// stands before that, anybody can have written.
func (p *proxies) forwarded(from source, header http.Header) source {
	if !p.trust(from) {
		return from
	}
	client := from
	hops := strings.Split(strings.Join(header["X-Forwarded-For"], ","), ",")
	for _, hop := range slices.Backward(hops) {
		at, ok := parseHop(strings.TrimSpace(hop))
		if !ok { // nothing is known about what is before it
			break
		}
		if client = from.behind(at); !p.trustAddr(client.addr) {
			break
		}
	}
	return client
}

// parseHop reads an element of X-Forwarded-For: an address, or one with a port. The
// port is 0 where it is not said.
func parseHop(s string) (at netip.AddrPort, ok bool) {
	addr, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"))
	if err == nil {
		at = netip.AddrPortFrom(addr, 0)
	} else if at, err = netip.ParseAddrPort(s); err != nil {
		return at, false
	}
	return at, at.Addr().Zone() == ""
}

// Bounds of a PROXY header, in bytes.
const (
	// shortestProxy is the least that both versions have: "PROXY UNKNOWN\r\n".
	shortestProxy = 15
	// longestProxyLine is the most of version 1, by its specification.
	longestProxyLine = 107
	// proxyHead is what version 2 begins with: the signature, and how much follows.
	proxyHead = 16
	// longestProxy is how much may follow in version 2: addresses, and what else
	// the proxy tells, such as the certificate of a client, which is of no use here.
	longestProxy = 4 << 10
)

var (
	errNoProxyHeader = errors.New("it does not begin with a PROXY header")
	errProxyTooLong  = errors.New("the PROXY header is too long")
	errNotTrusted    = errors.New("the peer is not among trusted_proxies")
)

// readProxyHeader reads a PROXY header, of version 1 or 2, and not a byte of what
// follows it: that is for whoever takes the connection.
func readProxyHeader(r io.Reader) (*proxyproto.Header, error) {
	head := make([]byte, shortestProxy, longestProxyLine)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, err
	}
	switch {
	case bytes.HasPrefix(head, proxyproto.SIGV2):
		head = head[:proxyHead]
		if _, err := io.ReadFull(r, head[shortestProxy:]); err != nil {
			return nil, err
		}
		n := int(binary.BigEndian.Uint16(head[proxyHead-2:]))
		if n > longestProxy {
			return nil, errProxyTooLong
		}
		head = append(head, make([]byte, n)...)
		if _, err := io.ReadFull(r, head[proxyHead:]); err != nil {
			return nil, err
		}
	case bytes.HasPrefix(head, append(proxyproto.SIGV1, ' ')):
		for head[len(head)-1] != '\n' {
			if len(head) == longestProxyLine {
				return nil, errProxyTooLong
			}
			head = head[:len(head)+1]
			if _, err := io.ReadFull(r, head[len(head)-1:]); err != nil {
				return nil, err
			}
		}
	default:
		return nil, errNoProxyHeader
	}
	whole := bufio.NewReaderSize(bytes.NewReader(head), len(head))
	h, err := proxyproto.Read(whole)
	if err == nil && whole.Buffered() > 0 { // a line that ended before
		err = errNoProxyHeader
	}
	return h, err
}

// unwrapProxy reads the PROXY header of a connection, which stays what it is, and
// tells whom it is from. It waits for at most handshake_timeout, and not after ctx has
// ended. After an error the connection is of no use.
func (g *Gateway) unwrapProxy(ctx context.Context, l *listener, nc net.Conn) (source, error) {
	from := sourceOf(l, nc.RemoteAddr())
	if !g.rules().proxies.trust(from) {
		return from, errNotTrusted
	}
	if err := nc.SetReadDeadline(time.Now().Add(g.config().HandshakeTimeout)); err != nil {
		return from, err
	}
	unwatch := context.AfterFunc(ctx, func() { _ = nc.SetReadDeadline(time.Unix(1, 0)) }) // of one that is gone, the read says so
	h, err := readProxyHeader(nc)
	if !unwatch() {
		return from, context.Cause(ctx)
	}
	if err != nil {
		return from, err
	}
	if err := nc.SetReadDeadline(time.Time{}); err != nil {
		return from, err
	}
	if h.Command.IsLocal() { // the proxy speaks for itself, or does not know
		return from, nil
	}
	switch at := h.SourceAddr.(type) {
	case *net.TCPAddr:
		return from.behind(at.AddrPort()), nil
	case *net.UnixAddr:
		return source{remote: trustUnix, proxy: from.remote}, nil
	default:
		return from, fmt.Errorf("the PROXY header is about %s, which is no connection", at.Network())
	}
}

// badProxy ends a connection without a PROXY header that counts.
func (g *Gateway) badProxy(l *listener, nc net.Conn, err error) {
	g.count.refusals[refusedProxy].Add(1)
	_ = nc.Close() // it is of no use
	g.warn.Do(func() {
		g.log.Warn("a connection without a PROXY header that counts", "listener", l.cfg.Name, "remote", nc.RemoteAddr().String(), "err", err)
	})
}

// proxied is a connection whose PROXY header has been read.
type proxied struct {
	net.Conn
	from source
}

// own is the connection itself, as the kernel knows it.
func own(nc net.Conn) net.Conn {
	if p, ok := nc.(*proxied); ok {
		return p.Conn
	}
	return nc
}

// headedListener hands the connections of a listener to the HTTP server once their
// PROXY headers are read, by a goroutine of each.
type headedListener struct {
	net.Listener
	conns  chan net.Conn
	closed chan struct{}
	close  sync.Once
}

func newHeadedListener(socket net.Listener) *headedListener {
	return &headedListener{Listener: socket, conns: make(chan net.Conn), closed: make(chan struct{})}
}

// take reads the PROXY header of a connection.
func (h *headedListener) take(ctx context.Context, g *Gateway, l *listener, nc net.Conn) {
	from, err := g.unwrapProxy(ctx, l, nc)
	if err != nil {
		g.arrivals.remove(nc)
		g.badProxy(l, nc, err)
		return
	}
	select {
	case h.conns <- &proxied{nc, from}:
	case <-h.closed:
		g.arrivals.remove(nc)
		_ = nc.Close() // nothing can be done about it
	}
}

func (h *headedListener) Accept() (net.Conn, error) {
	select {
	case nc := <-h.conns:
		return nc, nil
	case <-h.closed:
		return nil, net.ErrClosed
	}
}

func (h *headedListener) Close() error {
	h.close.Do(func() { close(h.closed) })
	return h.Listener.Close()
}

// sourceKey is the key of a connection's source in the context of its requests.
type sourceKey struct{}

// withSource puts the source of a connection into the context of its requests.
func withSource(ctx context.Context, nc net.Conn) context.Context {
	if encrypted, ok := nc.(interface{ NetConn() net.Conn }); ok {
		nc = encrypted.NetConn()
	}
	from := sourceOf(ctx.Value(listenerKey{}).(*listener), nc.RemoteAddr())
	if p, ok := nc.(*proxied); ok {
		from = p.from
	}
	return context.WithValue(ctx, sourceKey{}, from)
}
