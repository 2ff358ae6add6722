package gateway

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/gorilla/websocket"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/internal/quietlog"
)

const (
	// maxHeader is the largest HTTP request of a client, in bytes. Its headers
	// go into the open event.
	maxHeader = 16 << 10
	// retryAfter is what a client refused for want of a worker is told, in
	// seconds.
	retryAfter = 5
)

const hint = `This is a gatebus gateway: it speaks WebSocket on any path.
Try:  npx wscat -c %s://%s/
`

func checkAnyOrigin(*http.Request) bool { return true }

// newServer makes the HTTP server that does the handshakes.
func (g *Gateway) newServer(ctx context.Context) *http.Server {
	return &http.Server{
		Handler:           http.HandlerFunc(g.serveHTTP),
		ReadHeaderTimeout: g.config().HandshakeTimeout,
		IdleTimeout:       g.config().HandshakeTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          quietlog.New(g.log),
		BaseContext: func(l net.Listener) context.Context {
			return context.WithValue(ctx, listenerKey{}, l.(httpListener).of)
		},
		ConnContext: withSource,
		ConnState:   g.arrivals.state,
	}
}

// listenerKey is the key of the listener in the context of a request.
type listenerKey struct{}

// httpListener is a listener as the HTTP server sees it.
type httpListener struct {
	net.Listener
	of *listener
}

// forHTTP is the listener's socket, and TLS, for the HTTP server.
func (l *listener) forHTTP() net.Listener {
	socket := l.socket
	if l.headed != nil {
		socket = l.headed
	}
	if l.certificate != nil {
		// A WebSocket handshake is HTTP/1.1.
		return httpListener{tls.NewListener(socket, l.tlsConfig("http/1.1")), l}
	}
	return httpListener{socket, l}
}

func scheme(r *http.Request) string {
	if r.TLS != nil {
		return "wss"
	}
	return "ws"
}

// open makes a client, which was counted in, and asks a worker about it. How that ends is told to its
// opened.
func (g *Gateway) open(l *listener, group string, from netip.Addr, who *identity, info bus.OpenInfo) *client {
	c := g.newClient(l, group)
	c.from = from
	if who != nil {
		info.Claims, c.expires = who.claims, who.expires.UnixNano()
		g.expiring.Store(true)
	}
	info.Client, info.Listener, info.Protocol = c.id, l.cfg.Name, string(l.cfg.Protocol)
	data, err := json.Marshal(info)
	if err != nil { // cannot be: strings
		panic(err)
	}
	// The open event stands before anybody can find the client and end it.
	c.open, c.connected = data, time.Now()
	e := newEvent(c, bus.Open, data)
	c.lane.add(e)
	if g.tracer != nil {
		g.tracer.begin(e, info.Headers)
	}
	g.index.add(c)
	if who != nil {
		g.bindToken(c, who.uid)
	}
	c.start()
	if g.stopping.Load() { // drain may have looked before it was on the index
		c.closeAnswered(restarts)
	}
	return c
}

// serveHTTP asks a worker about the client (its open event) and upgrades the
// connection if the worker accepts. It returns once the client's own goroutine
// runs: net/http's goroutine and buffers are given back.
func (g *Gateway) serveHTTP(w http.ResponseWriter, r *http.Request) {
	if !websocket.IsWebSocketUpgrade(r) {
		g.bound(w)
		w.Header().Set("Upgrade", "websocket")
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(http.StatusUpgradeRequired)
		_, _ = fmt.Fprintf(w, hint, scheme(r), r.Host)
		return
	}
	if status, err := checkHandshake(r); err != nil {
		// No worker is asked about what cannot become a connection.
		g.count.refusals[refusedHandshake].Add(1)
		g.bound(w)
		refuse(w, r, status, err)
		return
	}
	g.handshakes.Add(1)
	defer g.handshakes.Add(-1)
	if g.stopping.Load() {
		g.count.refusals[refusedStopping].Add(1)
		g.refuse(w, openResult{status: http.StatusServiceUnavailable, reason: "the gateway is stopping"})
		return
	}
	l := r.Context().Value(listenerKey{}).(*listener)
	from := g.rules().proxies.forwarded(r.Context().Value(sourceKey{}).(source), r.Header)
	if !g.rules().origins.allow(r) {
		g.count.refusals[refusedOrigin].Add(1)
		g.refuse(w, openResult{status: http.StatusForbidden, reason: "pages of this origin may not connect"})
		return
	}
	if res := g.countIn(from); res.status != 0 {
		g.refuse(w, res)
		return
	}
	who, res := g.identify(w, r)
	if res.status != 0 {
		g.countOut(from.addr)
		g.refuse(w, res)
		return
	}
	c := g.open(l, g.groupFor(l, r.URL.Path), from.addr, who, bus.OpenInfo{
		Remote: from.remote, Proxy: from.proxy, Host: r.Host,
		Path: r.URL.Path, Query: r.URL.RawQuery, Headers: r.Header,
	})

	select {
	case res = <-c.opened:
	case <-r.Context().Done():
		c.peerLeft(closing{code: bus.CloseAbnormal})
		return
	}
	if res.status != 0 {
		g.refuse(w, res)
		return
	}
	header := http.Header{}
	if p := cmp.Or(res.subprotocol, g.otherProtocol(r)); p != "" && slices.Contains(websocket.Subprotocols(r), p) {
		header.Set("Sec-WebSocket-Protocol", p)
	}
	conn, err := g.upgrader.Upgrade(w, r, header)
	if err != nil {
		g.log.Debug("handshake failed", "client", c.id, "remote", from.remote, "err", err)
		c.peerLeft(closing{code: bus.CloseAbnormal, reason: "handshake failed"})
		return
	}
	g.count.accepted.Add(1)
	c.connect(conn.NetConn(), nil)
}

// checkHandshake finds what gorilla would refuse, and what has a body to send
// first, before a worker is asked. It returns the HTTP status to refuse it with.
func checkHandshake(r *http.Request) (status int, err error) {
	key, keyErr := base64.StdEncoding.DecodeString(r.Header.Get("Sec-Websocket-Key"))
	switch {
	case r.Method != http.MethodGet:
		return http.StatusMethodNotAllowed, errors.New("a WebSocket handshake is a GET")
	case r.ContentLength != 0:
		return http.StatusBadRequest, errors.New("a WebSocket handshake has no body")
	case r.Header.Get("Sec-Websocket-Version") != "13":
		return http.StatusBadRequest, errors.New("a WebSocket handshake needs Sec-WebSocket-Version: 13")
	case keyErr != nil || len(key) != 16:
		return http.StatusBadRequest, errors.New("a WebSocket handshake needs a Sec-WebSocket-Key of 16 bytes in base64")
	}
	return 0, nil
}

// bound limits the time that a request may take which does not become a client:
// net/http would wait for its body, or for its response to be read, without end.
func (g *Gateway) bound(w http.ResponseWriter) {
	rc := http.NewResponseController(w)
	deadline := time.Now().Add(g.config().HandshakeTimeout)
	_ = rc.SetReadDeadline(deadline)  // cannot fail with net/http's own writer
	_ = rc.SetWriteDeadline(deadline) // likewise
}

// refuse answers a handshake that a worker, or the gateway, does not accept.
func (g *Gateway) refuse(w http.ResponseWriter, res openResult) {
	g.count.refused.Add(1)
	g.bound(w)
	if res.status == http.StatusServiceUnavailable || res.status == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", strconv.Itoa(retryAfter))
	}
	reason := res.reason
	if reason == "" {
		reason = http.StatusText(res.status)
	}
	http.Error(w, reason, res.status)
	_ = http.NewResponseController(w).Flush() // a stopping server closes the connection when this returns
}

// refuse answers a handshake that is not one.
func refuse(w http.ResponseWriter, _ *http.Request, status int, reason error) {
	w.Header().Set("Sec-WebSocket-Version", "13")
	http.Error(w, reason.Error(), status)
}

// alive notes that the peer has sent something.
func (c *client) alive() { c.heard.Store(int64(time.Since(c.gw.start)) + 1) } // not 0: never
