package gateway

import (
	"bytes"
	"net"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/internal/stream"
)

// transport is a client's connection, in its protocol. The methods of its own do not
// block, and are called with the client's mutex held.
type transport interface {
	stream.User
	// attach gives it the connection, before anything else is called.
	attach(stream.Conn)
	// flushLocked has what is in the outbox written soon.
	flushLocked()
	// resumeLocked has the peer read again.
	resumeLocked()
	// closeLocked has what is in the outbox written, and what the protocol says
	// at the end, and ends the connection; in close_timeout and, for what is up
	// to the peer, as much again.
	closeLocked()
	// abortLocked ends the connection at once.
	abortLocked()
}

// newTransport makes a connection of the client's protocol.
func (c *client) newTransport() transport {
	if c.listener.wire == wireWebSocket {
		return &wsConn{client: c}
	}
	return &plainConn{client: c}
}

// connect gives the client its connection; frames that wait are written. first is
// what was read of the connection already: of not more than one message.
func (c *client) connect(nc net.Conn, first []byte) {
	c.alive()
	t := c.newTransport()
	conn, err := c.gw.streams.Take(own(nc), t)
	if err != nil { // the gateway has not waited for this handshake any longer
		c.peerLeft(closing{code: bus.CloseAbnormal, reason: "handshake failed"})
		return
	}
	t.attach(conn)
	c.mu.Lock()
	c.conn = t
	switch {
	case c.cut:
		t.abortLocked()
	case c.out.last != nil:
		t.closeLocked()
	case c.out.len() > 0:
		t.flushLocked()
	}
	c.mu.Unlock()
	if len(first) > 0 {
		// Nobody reads yet, so this is one call at a time; and it is at most one
		// message, so nothing is left for Resume.
		t.Received(first)
	}
	conn.Start()
}

// kept is what is to be kept of p, which is the connection's buffer unless it is
// the client's own.
func kept(p []byte, own bool) []byte {
	switch {
	case len(p) == 0:
		return nil
	case own: // what was before it is let go when more is appended
		return p
	}
	return bytes.Clone(p)
}
