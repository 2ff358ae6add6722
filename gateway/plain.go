package gateway

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/internal/stream"
)

// plainConn is a client's connection in a protocol that has messages and nothing
// else: text, frame, raw. Its end is the end of the bytes: the peer's, between two
// messages, is the normal end of the client, which still gets the answers to what
// it has sent; this side's follows what is in the outbox.
type plainConn struct {
	// set at construction
	client *client
	conn   stream.Conn

	// owned by Received and Ended
	rest []byte // came, and is not taken yet
	seen int    // how much of that is known not to be a whole message
	over bool   // the peer is not listened to any more
	pace *pace  // nil while that is not limited

	// guarded by the client's mutex
	sent  bool        // all is written, and the peer was told that
	ended bool        // nothing more comes
	timer *time.Timer // ends the connection; nil: it is not to end yet
}

func (p *plainConn) attach(conn stream.Conn) { p.conn = conn }
func (p *plainConn) flushLocked()            { p.conn.Flush() }
func (p *plainConn) resumeLocked()           { p.conn.Resume() }
func (p *plainConn) abortLocked()            { p.conn.Abort() }

// Received takes what the peer has sent, as far as the client's queue has room.
func (p *plainConn) Received(b []byte) (more bool) {
	c := p.client
	if len(b) > 0 {
		c.alive()
	}
	own := len(p.rest) > 0
	if own {
		p.rest = append(p.rest, b...)
		b = p.rest
	}
	cfg := c.gw.config()
	w, limit, limited := c.listener.wire, int(cfg.MaxFrame), cfg.Limits.limited()
	for !p.over {
		if len(b) == 0 {
			p.rest, p.seen = nil, 0
			c.weighPart(0)
			return true
		}
		message, size, err := w.cut(b, p.seen, limit)
		switch {
		case errors.Is(err, errTooBig):
			p.over = true
			c.closeNow(closing{bus.CloseTooBig, fmt.Sprintf("a message has at most %d bytes", limit)})
			continue
		case err != nil: // what it sent before is still handled, and answered
			p.over = true
			c.closeAnswered(closing{bus.CloseProtocolError, bus.TrimReason(err.Error())})
			continue
		case size == 0:
			p.rest, p.seen = kept(b, own), len(b)
			c.weighPart(len(p.rest))
			return true
		case limited && c.gw.exceeds(&p.pace, size):
			p.over = true
			c.closeNow(tooFast)
			continue
		}
		b, p.seen = b[size:], 0
		message = append(make([]byte, 0, len(message)), message...) // never nil
		if !c.submit(w.kind(message), message) {
			p.rest = kept(b, own)
			c.weighPart(len(p.rest))
			return false
		}
	}
	p.rest = nil
	c.weighPart(0)
	return true
}

// Ended is told that nothing more comes.
func (p *plainConn) Ended(err error) {
	c := p.client
	eof := errors.Is(err, io.EOF)
	if !p.over {
		p.over = true
		switch {
		case eof && len(p.rest) == 0:
			c.closeAnswered(closing{code: bus.CloseNormal})
		case eof: // in the middle of a message
			c.closeAnswered(closing{code: bus.CloseAbnormal})
		case errors.Is(err, syscall.ETIMEDOUT): // says the kernel, which has asked
			c.gw.count.closedSilent.Add(1)
			c.peerLeft(closing{bus.CloseSilent, "no sign of life"})
		default:
			c.peerLeft(closing{code: bus.CloseAbnormal})
		}
	}
	p.rest = nil
	c.weighPart(0)
	c.mu.Lock()
	defer c.mu.Unlock()
	p.ended = true
	c.heard.Store(0) // its silence is no sign any more
	if p.sent || !eof {
		p.stopLocked()
	}
}

// stopLocked ends the connection.
func (p *plainConn) stopLocked() {
	if p.timer != nil {
		p.timer.Stop()
	}
	p.conn.Abort()
}

// closeLocked has what is in the outbox sent in close_timeout, and then the end.
func (p *plainConn) closeLocked() {
	if p.timer == nil {
		p.endInLocked(p.client.gw.config().CloseTimeout)
	}
	p.conn.Flush()
}

// endInLocked ends the connection after d, whatever happens until then.
func (p *plainConn) endInLocked(d time.Duration) {
	if p.timer == nil {
		p.timer = time.AfterFunc(d, p.conn.Abort)
	} else {
		p.timer.Reset(d)
	}
}

// sentLocked goes on when all is written. A peer that still sends has close_timeout
// to see the end: closing the socket before would make the kernel reset the
// connection and throw away what the peer has not read.
func (p *plainConn) sentLocked() {
	p.sent = true
	if p.ended {
		p.stopLocked()
		return
	}
	p.conn.CloseWrite()
	p.endInLocked(p.client.gw.config().CloseTimeout)
}

// Output encodes what waits for the peer to read it.
func (p *plainConn) Output(b []byte) (out []byte, within time.Duration) {
	c := p.client
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.resumeLocked()
	if p.sent {
		return nil, 0
	}
	within = c.gw.config().WriteTimeout
	if c.ending {
		within = c.gw.config().CloseTimeout
	}
	w, o := c.listener.wire, &c.out
	if o.ping {
		o.ping = false
		if data := c.listener.ping; data != nil && !c.ending {
			b = w.append(b, bus.Text, data)
		}
	}
	if f := o.only(); f != nil && len(f.prepared) > 0 && len(b) == 0 {
		shared := f.prepared
		o.pop()
		return shared, within
	}
	for f := o.front(); f != nil; f = o.front() {
		if len(b) > 0 && len(b)+len(f.data) > maxWrite {
			return b, within
		}
		if f.prepared != nil {
			b = append(b, f.prepared...)
		} else {
			b = w.append(b, f.kind, f.data)
		}
		o.pop()
	}
	if o.last != nil && len(b) == 0 { // what was before it is written
		p.sentLocked()
	}
	return b, within
}

// Failed is told that the peer cannot be written to.
func (p *plainConn) Failed(err error) {
	c := p.client
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.tooSlow()
	}
	p.conn.Abort()
}

// isPlain tells whether clients speak a protocol without a handshake there.
func (l *listener) isPlain() bool { return l.wire != wireWebSocket }
