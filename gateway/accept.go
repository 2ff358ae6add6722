package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/gatebus/gatebus/bus"
)

// Pauses before a listener goes on that could take no connection: twice as long
// each time.
const (
	acceptPause    = 5 * time.Millisecond
	acceptPauseMax = time.Second
)

// accept takes the connections of a listener until it is closed. Each is given to take
// by a goroutine of its own, which tasks waits for.
func (g *Gateway) accept(ctx context.Context, l *listener, tasks *sync.WaitGroup, take func(net.Conn)) error {
	defer g.acceptors.Done()
	if !g.mayAccept(ctx) {
		return nil
	}
	pause := acceptPause
	for {
		nc, err := l.socket.Accept()
		switch {
		case err == nil:
			pause = acceptPause
			g.arrivals.add(nc)
			tasks.Go(func() {
				l.setKeepAlive(nc)
				take(nc)
			})
		case g.stopping.Load() || g.yielded.Load() || !isPassing(err):
			return err
		default:
			g.warn.Do(func() { g.log.Warn("cannot accept a client; trying again", "listener", l.cfg.Name, "err", err) })
			if !sleepUntil(ctx, time.Now().Add(pause)) {
				return err
			}
			pause = min(2*pause, acceptPauseMax)
		}
	}
}

// isPassing tells whether accepting may succeed later: the client was gone, or the
// process or system has too much open.
func isPassing(err error) bool {
	for _, e := range []error{
		syscall.ECONNABORTED, syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EINTR, syscall.EPROTO,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// letIn asks a worker about a client of a plain listener, and serves it if the
// worker accepts. What the client sends meanwhile waits in its socket. It returns
// once the client needs no goroutine of its own any more.
func (g *Gateway) letIn(ctx context.Context, l *listener, nc net.Conn) {
	defer g.arrivals.remove(nc) // before nc has TLS
	from := sourceOf(l, nc.RemoteAddr())
	if l.cfg.ProxyProtocol {
		var err error
		if from, err = g.unwrapProxy(ctx, l, nc); err != nil {
			g.badProxy(l, nc, err)
			return
		}
	}
	if l.certificate != nil {
		var err error
		if nc, err = g.encrypt(ctx, l, nc); err != nil {
			g.log.Debug("TLS handshake failed", "listener", l.cfg.Name, "remote", nc.RemoteAddr().String(), "err", err)
			g.count.refusals[refusedHandshake].Add(1)
			_ = nc.Close() // it is of no use
			return
		}
	}
	g.handshakes.Add(1)
	defer g.handshakes.Add(-1)
	if g.stopping.Load() {
		g.count.refusals[refusedStopping].Add(1)
		g.turnAway(nc)
		return
	}
	group := l.cfg.Group
	if group == "" {
		group = g.config().Group
	}
	if res := g.countIn(from); res.status != 0 {
		g.turnAway(nc)
		return
	}
	c := g.open(l, group, from.addr, nil, bus.OpenInfo{Remote: from.remote, Proxy: from.proxy})
	ahead := peek(nc, l.ahead(int(g.config().MaxFrame)))
	var res openResult
	select {
	case res = <-c.opened:
	case <-ahead.done:
		if ahead.err != nil { // it has left
			c.peerLeft(closing{code: bus.CloseAbnormal})
			_ = nc.Close() // likewise
			return
		}
		res = <-c.opened
	}
	first, err := ahead.stop()
	switch {
	case res.status != 0:
		g.turnAway(nc)
	case err != nil:
		c.peerLeft(closing{code: bus.CloseAbnormal})
		_ = nc.Close() // it has left
	default:
		g.count.accepted.Add(1)
		c.connect(nc, first)
	}
}

func (g *Gateway) turnAway(nc net.Conn) {
	g.count.refused.Add(1)
	_ = nc.Close() // nothing can be done about it
}

// encrypt does the TLS handshake. What it returns is to be closed, also with an
// error.
func (g *Gateway) encrypt(ctx context.Context, l *listener, nc net.Conn) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, g.config().HandshakeTimeout)
	defer cancel()
	conn := tls.Server(nc, l.tlsConfig())
	return conn, conn.HandshakeContext(ctx)
}

// aheadRaw is how many bytes are read ahead where what comes at the same time is a
// message: more than comes in one packet.
const aheadRaw = 2 << 10

// ahead is how many bytes are read before a client is let in: of one message at most.
func (l *listener) ahead(maxFrame int) int {
	if l.wire == wireRaw {
		return min(aheadRaw, maxFrame)
	}
	return 1
}

// ahead reads the beginning of what a connection brings, to hear of its end while nobody
// reads it.
type ahead struct {
	nc   net.Conn
	done chan struct{} // closed when it has read; then:
	buf  []byte
	n    int
	err  error
}

func peek(nc net.Conn, size int) *ahead {
	a := &ahead{nc: nc, done: make(chan struct{}), buf: make([]byte, size)}
	go func() {
		defer close(a.done)
		a.n, a.err = nc.Read(a.buf)
		if late := net.Error(nil); a.n > 0 || errors.As(a.err, &late) && late.Timeout() {
			a.err = nil // the next read says it again
		}
	}()
	return a
}

// stop ends the reading and returns what was read.
func (a *ahead) stop() (read []byte, err error) {
	_ = a.nc.SetReadDeadline(time.Unix(1, 0)) // of one that is gone, Read has said so
	<-a.done
	_ = a.nc.SetReadDeadline(time.Time{}) // likewise
	return a.buf[:a.n], a.err
}
