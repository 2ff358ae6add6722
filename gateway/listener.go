package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/gorilla/websocket"

	"github.com/gatebus/gatebus/bus"
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
Try:  npx wscat -c ws://%s/
`

func checkAnyOrigin(*http.Request) bool { return true }

// newServer makes the HTTP server that does the handshakes.
func (g *Gateway) newServer(ctx context.Context) *http.Server {
	return &http.Server{
		Handler:           http.HandlerFunc(g.serveHTTP),
		ReadHeaderTimeout: g.cfg.HandshakeTimeout,
		IdleTimeout:       g.cfg.HandshakeTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          quietLog(g.log),
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
}

// serveHTTP asks a worker about the client (its open event) and upgrades the
// connection if the worker accepts. It returns once the client's own goroutine
// runs: net/http's goroutine and buffers are given back.
func (g *Gateway) serveHTTP(w http.ResponseWriter, r *http.Request) {
	if !websocket.IsWebSocketUpgrade(r) {
		w.Header().Set("Upgrade", "websocket")
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(http.StatusUpgradeRequired)
		_, _ = fmt.Fprintf(w, hint, r.Host)
		return
	}
	if r.Header.Get("Sec-Websocket-Version") != "13" || r.Header.Get("Sec-Websocket-Key") == "" {
		// No worker is asked about what cannot become a connection.
		refuse(w, r, http.StatusBadRequest, errors.New("this needs Sec-WebSocket-Version: 13 and a Sec-WebSocket-Key"))
		return
	}
	g.handshakes.Add(1)
	defer g.handshakes.Add(-1)
	if g.stopping.Load() {
		g.refuse(w, openResult{status: http.StatusServiceUnavailable, reason: "the gateway is stopping"})
		return
	}
	c := g.newClient()
	info, err := json.Marshal(bus.OpenInfo{
		Client: c.id, Remote: r.RemoteAddr, Host: r.Host,
		Path: r.URL.Path, Query: r.URL.RawQuery, Headers: r.Header,
	})
	if err != nil { // cannot be: strings
		panic(err)
	}
	g.index.add(c)
	c.submit(bus.Open, info)

	var res openResult
	select {
	case res = <-c.opened:
	case <-r.Context().Done():
		c.ended(closing{code: bus.CloseAbnormal})
		return
	}
	if res.status == 0 && c.over() {
		res = openResult{status: http.StatusServiceUnavailable, reason: "the gateway is stopping"}
	}
	if res.status != 0 {
		g.refuse(w, res)
		return
	}
	header := http.Header{}
	if p := res.subprotocol; p != "" && slices.Contains(websocket.Subprotocols(r), p) {
		header.Set("Sec-WebSocket-Protocol", p)
	}
	conn, err := g.upgrader.Upgrade(w, r, header)
	if err != nil {
		g.log.Debug("handshake failed", "client", c.id, "remote", r.RemoteAddr, "err", err)
		c.ended(closing{code: bus.CloseAbnormal, reason: "handshake failed"})
		return
	}
	g.count.accepted.Add(1)
	ws := &wsConn{conn: conn, maxFrame: g.cfg.MaxFrame}
	c.connect(ws)
	g.readers.Go(func() { c.read(ws) })
}

// refuse answers a handshake that a worker, or the gateway, does not accept.
func (g *Gateway) refuse(w http.ResponseWriter, res openResult) {
	g.count.refused.Add(1)
	if res.status == http.StatusServiceUnavailable {
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

// over tells whether the client's end has begun.
func (c *client) over() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ending
}

// connect gives the client its connection; frames that wait are written.
func (c *client) connect(ws *wsConn) {
	c.heard.Store(time.Now().UnixNano())
	alive := func() { c.heard.Store(time.Now().UnixNano()) }
	ws.conn.SetPongHandler(func(string) error { alive(); return nil })
	pong := ws.conn.PingHandler()
	ws.conn.SetPingHandler(func(data string) error { alive(); return pong(data) })
	c.mu.Lock()
	c.ws = ws
	if len(c.out.frames) > 0 || c.out.last != nil {
		c.writeLocked()
	}
	c.mu.Unlock()
}

// read turns what the peer sends into events until the connection ends, and
// sees the connection to its end.
func (c *client) read(ws *wsConn) {
	for {
		kind, data, end := ws.read()
		if end != nil {
			c.hangUp(ws, *end)
			return
		}
		c.heard.Store(time.Now().UnixNano())
		if room := c.submit(kind, data); room != nil {
			<-room
			// The silence while nothing was read was ours, not the peer's.
			c.heard.Store(time.Now().UnixNano())
		}
	}
}

// hangUp ends the client when nothing more can be read from it.
func (c *client) hangUp(ws *wsConn, end closing) {
	switch end.code {
	case bus.CloseInvalidData, bus.CloseTooBig:
		c.shut(end)
		c.mu.Lock()
		c.out.readerDone = true
		sent := c.out.closeSent
		c.mu.Unlock()
		if sent { // else the writer sees to it
			ws.linger(c.gw.cfg.CloseTimeout)
		}
	case bus.CloseProtocolError:
		c.ended(end)
		ws.linger(c.gw.cfg.CloseTimeout)
	default:
		c.ended(end)
		ws.abort()
	}
}
