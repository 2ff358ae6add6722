package gateway

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"
)

// Inherit has the gateway use listening sockets that another process has opened, which it
// replaces, and accept clients only once begin is closed. claim gives the socket for the
// listener of that name and that address in the configuration; where it gives nil, the
// address is taken as ever. To be called before Listen.
func (g *Gateway) Inherit(claim func(name, listen string) net.Listener, begin <-chan struct{}) {
	g.claim, g.begin = claim, begin
}

// Socket is one of the sockets that clients connect to.
type Socket struct {
	// Name and Listen are those of the listener in the configuration.
	Name, Listen string
	Listener     net.Listener
}

// Sockets are those that clients connect to, once Listen has returned: for the process
// that replaces this one. They stay the gateway's.
func (g *Gateway) Sockets() []Socket {
	g.listenMu.Lock()
	defer g.listenMu.Unlock()
	var all []Socket
	for _, l := range g.listeners {
		if l.socket != nil {
			all = append(all, Socket{l.cfg.Name, l.cfg.Listen, l.socket})
		}
	}
	return all
}

// StopAccepting has a gateway that runs take no more connections, for another process has
// its sockets and does. The clients stay, and who was accepted before still becomes a
// client, or is refused by a worker.
func (g *Gateway) StopAccepting() {
	g.yielded.Store(true)
	g.closeSockets(true)
}

// Settled waits, after StopAccepting, until all who were accepted before are clients or
// gone; for at most the time that a handshake may take, or until ctx ends.
func (g *Gateway) Settled(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, g.config().HandshakeTimeout)
	defer cancel()
	accepted := make(chan struct{})
	go func() { // ends at once: the sockets are closed
		g.acceptors.Wait()
		close(accepted)
	}()
	<-accepted
	g.arrivals.wait(ctx)
}

// mayAccept waits until clients may be accepted; false if ctx ends before.
func (g *Gateway) mayAccept(ctx context.Context) bool {
	if g.begin == nil {
		return true
	}
	select {
	case <-g.begin:
	case <-ctx.Done():
		return false
	}
	g.listenMu.Lock()
	defer g.listenMu.Unlock()
	for _, l := range g.listeners {
		if u, ok := l.socket.(*net.UnixListener); ok && l.inherited {
			u.SetUnlinkOnClose(true) // the path is this gateway's from here on
		}
	}
	return true
}

// serveHandshakes has the HTTP server take the connections of a listener.
func (g *Gateway) serveHandshakes(ctx context.Context, l *listener, server *http.Server) error {
	if l.headed == nil { // else they are taken elsewhere, and come one by one
		defer g.acceptors.Done()
	}
	if !g.mayAccept(ctx) {
		return nil
	}
	return server.Serve(l.forHTTP())
}

// broken tells whether what a listener ended with says that it is of no use any more.
func (g *Gateway) broken(err error) bool {
	return !g.yielded.Load() || !errors.Is(err, net.ErrClosed)
}

// closeSockets gives the clients' ports back, or leaves them to another process.
func (g *Gateway) closeSockets(leave bool) {
	g.listenMu.Lock()
	defer g.listenMu.Unlock()
	for _, l := range g.listeners {
		if l.socket == nil {
			continue
		}
		if u, ok := l.socket.(*net.UnixListener); ok && leave {
			u.SetUnlinkOnClose(false)
		}
		_ = l.socket.Close() // a second time does no harm
	}
}

// setKeepAlive has the kernel find out that the other side is gone, as far as the socket
// does not say so itself: one that another process has opened does not.
func (l *listener) setKeepAlive(nc net.Conn) {
	if tc, ok := nc.(*net.TCPConn); ok && l.inherited && l.keepAlive.Enable {
		_ = tc.SetKeepAliveConfig(l.keepAlive) // of one that is closed, the next read says so
	}
}

// arrivals are the connections that were accepted, and are neither clients nor gone.
type arrivals struct {
	mu     sync.Mutex
	conns  map[net.Conn]struct{}
	nobody chan struct{} // closed when there is none; nil: nobody waits
}

func (a *arrivals) add(nc net.Conn) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.conns == nil {
		a.conns = map[net.Conn]struct{}{}
	}
	a.conns[bare(nc)] = struct{}{}
}

func (a *arrivals) remove(nc net.Conn) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.conns, bare(nc))
	if len(a.conns) == 0 && a.nobody != nil {
		close(a.nobody)
		a.nobody = nil
	}
}

// state takes in what the HTTP server says about a connection. One that has had an answer
// and stays open for another request is no arrival.
func (a *arrivals) state(nc net.Conn, s http.ConnState) {
	switch s {
	case http.StateNew, http.StateActive:
		a.add(nc)
	default:
		a.remove(nc)
	}
}

// wait waits until nobody is left, or ctx ends. One call at a time.
func (a *arrivals) wait(ctx context.Context) {
	a.mu.Lock()
	if len(a.conns) == 0 {
		a.mu.Unlock()
		return
	}
	nobody := make(chan struct{})
	a.nobody = nobody
	a.mu.Unlock()
	select {
	case <-nobody:
	case <-ctx.Done():
	}
}

// bare is the connection as it was accepted, below TLS and what was read of it.
func bare(nc net.Conn) net.Conn {
	if c, ok := nc.(interface{ NetConn() net.Conn }); ok {
		nc = c.NetConn()
	}
	return own(nc)
}

// keepAliveOf says when the kernel finds out that the other side of a connection without
// pings is gone: in the same time.
func keepAliveOf(cfg *Config) net.KeepAliveConfig {
	return net.KeepAliveConfig{
		Enable: true, Idle: cfg.PingInterval, Interval: max(cfg.PongTimeout/keepAliveProbes, time.Second), Count: keepAliveProbes,
	}
}
