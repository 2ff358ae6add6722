package gateway

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/gorilla/websocket"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/internal/stream"
	"github.com/gatebus/gatebus/internal/wsframe"
)

// newUpgrader makes the upgrader of a gateway, which does the handshakes and no
// more: the connections are taken from it (wsConn).
func newUpgrader() *websocket.Upgrader {
	return &websocket.Upgrader{
		ReadBufferSize: 512, WriteBufferSize: 512, WriteBufferPool: &sync.Pool{},
		// Workers see the Origin header of the open event and may refuse.
		CheckOrigin: checkAnyOrigin,
		Error:       refuse,
	}
}

// wsConn is a client's WebSocket connection.
type wsConn struct {
	// set at construction
	client *client
	conn   stream.Conn

	// owned by Received and Ended
	rest  []byte         // came, and is not taken yet
	parts []byte         // of a message of which not all fragments have come
	kind  wsframe.Opcode // of that; Continuation if there is none
	over  bool           // the peer is not listened to any more
	pace  *pace          // nil while that is not limited

	// guarded by the client's mutex
	closeState closeState
	after      afterClose
	timer      *time.Timer // ends the connection; nil: it is not to end yet
}

// closeState is where this side's close frame is.
type closeState uint8

const (
	closeOwed    closeState = iota // still to come, or in the outbox
	closeWriting                   // given out to be written
	closeSent
)

// afterClose is what follows when the close frame is sent.
type afterClose uint8

const (
	// awaitClose waits for the peer's close frame.
	awaitClose afterClose = iota
	// linger waits until the peer is done sending, and drops what that is:
	// closing the socket while it still sends would make the kernel reset the
	// connection and throw our close frame away.
	linger
	// leave ends the connection: the peer's close frame was first.
	leave
)

func (w *wsConn) attach(conn stream.Conn) { w.conn = conn }
func (w *wsConn) flushLocked()            { w.conn.Flush() }
func (w *wsConn) resumeLocked()           { w.conn.Resume() }
func (w *wsConn) abortLocked()            { w.conn.Abort() }

// Received takes what the peer has sent, as far as the client's queue has room.
func (w *wsConn) Received(p []byte) (more bool) {
	if len(p) > 0 {
		w.client.alive()
	}
	own := len(w.rest) > 0
	if own {
		w.rest = append(w.rest, p...)
		p = w.rest
	}
	cfg := w.client.gw.config()
	limit, limited := uint64(cfg.MaxFrame), cfg.Limits.limited()
	for !w.over {
		f, need, err := wsframe.Parse(p, wsframe.Client, max(limit, wsframe.MaxControl))
		switch {
		case err != nil:
			w.broken(err)
			continue
		case len(p) >= 2 && !f.Op.Control() && (f.Op == wsframe.Continuation) != (w.kind != wsframe.Continuation):
			w.broken(fmt.Errorf("%w: fragments in disorder", wsframe.ErrProtocol))
			continue
		case need == 0 && f.Size == 0 || !f.Op.Control() && uint64(len(w.parts))+f.Length > limit:
			w.refuse(bus.CloseTooBig, fmt.Sprintf("a frame has at most %d bytes", limit))
			continue
		case need > 0:
			w.rest = kept(p, own)
			w.client.weighPart(len(w.rest) + len(w.parts))
			return true
		case limited && w.client.gw.exceeds(&w.pace, f.Size):
			w.refuse(tooFast.code, tooFast.reason)
			continue
		}
		p = p[f.Size:]
		f.Key.Mask(f.Payload)
		if f.Op.Control() {
			w.control(f)
		} else if !w.data(f) {
			w.rest = kept(p, own)
			w.client.weighPart(len(w.rest) + len(w.parts))
			return false
		}
	}
	w.rest, w.parts = nil, nil
	w.client.weighPart(0)
	return true
}

// data takes a frame of a message; false: no more is wanted for now.
func (w *wsConn) data(f wsframe.Frame) (more bool) {
	op, whole := f.Op, f.Payload
	if begun := op == wsframe.Continuation; begun || !f.Final {
		if !begun {
			w.kind = op
		}
		if w.parts = append(w.parts, f.Payload...); !f.Final {
			return true
		}
		op, whole = w.kind, w.parts
		w.kind, w.parts = wsframe.Continuation, nil
	} else {
		whole = append(make([]byte, 0, len(whole)), whole...) // never nil
	}
	kind := bus.Binary
	if op == wsframe.Text {
		if kind = bus.Text; !utf8.Valid(whole) {
			w.refuse(bus.CloseInvalidData, "a text frame must be valid UTF-8")
			return true
		}
	}
	return w.client.submit(kind, whole)
}

// control takes a control frame.
func (w *wsConn) control(f wsframe.Frame) {
	switch f.Op {
	case wsframe.Ping:
		w.client.pong(string(f.Payload))
	case wsframe.Close:
		end, err := parseClose(f.Payload)
		if err != nil {
			w.broken(err)
			return
		}
		w.over = true
		w.client.peerLeft(end)
		w.finish(closing{code: end.code}, leave)
	}
}

// parseClose reads the payload of a peer's close frame.
func parseClose(p []byte) (closing, error) {
	if len(p) == 0 {
		return closing{code: bus.CloseNoStatus}, nil
	}
	if len(p) == 1 {
		return closing{}, fmt.Errorf("%w: a close frame with half a code", wsframe.ErrProtocol)
	}
	end := closing{bus.CloseCode(binary.BigEndian.Uint16(p)), string(p[2:])}
	switch c := end.code; {
	case c < 1000, c == 1004, c == bus.CloseNoStatus, c == bus.CloseAbnormal, 1015 <= c && c < 3000, c > 4999:
		return closing{}, fmt.Errorf("%w: a close frame with %d, which no peer may send", wsframe.ErrProtocol, c)
	case !utf8.ValidString(end.reason):
		return closing{}, fmt.Errorf("%w: a close frame whose reason is not UTF-8", wsframe.ErrProtocol)
	}
	return end, nil
}

// broken ends a connection whose peer breaks the protocol. What it sent before is
// still handled.
func (w *wsConn) broken(err error) {
	w.over = true
	end := closing{bus.CloseProtocolError, bus.TrimReason(err.Error())}
	w.client.peerLeft(end)
	w.finish(end, linger)
}

// refuse ends a connection whose peer sends what is not taken.
func (w *wsConn) refuse(code bus.CloseCode, reason string) {
	w.over = true
	end := closing{code, reason}
	w.client.closeNow(end)
	w.finish(end, linger)
}

// finish has a close frame sent, if none is yet, and what is to follow done after
// it.
func (w *wsConn) finish(end closing, after afterClose) {
	c := w.client
	c.mu.Lock()
	defer c.mu.Unlock()
	w.after = after
	switch {
	case w.closeState == closeSent:
		w.closeSentLocked()
		return
	case after == leave: // nobody reads the frames before it any more
		c.out.drop()
	}
	if c.out.last == nil && w.closeState == closeOwed {
		c.out.last = &end
	}
	w.closeLocked()
}

// closeLocked has what is in the outbox, with the close frame, sent in
// close_timeout from when there was one.
func (w *wsConn) closeLocked() {
	if w.timer == nil {
		w.endInLocked(w.client.gw.config().CloseTimeout)
	}
	w.conn.Flush()
}

// closeSentLocked goes on when the close frame is sent. What is up to the peer
// then, it has close_timeout for.
func (w *wsConn) closeSentLocked() {
	w.closeState = closeSent
	switch w.after {
	case leave:
		w.conn.Abort()
		return
	case linger:
		w.conn.CloseWrite()
	case awaitClose: // Received gets it
	}
	w.endInLocked(w.client.gw.config().CloseTimeout)
}

// endInLocked ends the connection after d, whatever happens until then.
func (w *wsConn) endInLocked(d time.Duration) {
	if w.timer == nil {
		w.timer = time.AfterFunc(d, w.conn.Abort)
	} else {
		w.timer.Reset(d)
	}
}

// Ended is told that nothing more comes.
func (w *wsConn) Ended(error) {
	if !w.over {
		w.over = true
		w.client.peerLeft(closing{code: bus.CloseAbnormal})
	}
	w.rest, w.parts = nil, nil
	w.client.weighPart(0)
	w.conn.Abort()
	w.client.mu.Lock()
	if w.timer != nil {
		w.timer.Stop()
	}
	w.client.mu.Unlock()
}

// maxWrite is how much is put together for one write, in bytes; a larger frame
// goes alone.
const maxWrite = 64 << 10

// Output encodes what waits for the peer to read it.
func (w *wsConn) Output(b []byte) (out []byte, within time.Duration) {
	c := w.client
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.resumeLocked()
	if w.closeState == closeWriting { // by now it is written
		w.closeSentLocked()
	}
	if w.closeState == closeSent {
		return nil, 0
	}
	within = c.gw.config().WriteTimeout
	if c.ending {
		within = c.gw.config().CloseTimeout
	}
	o := &c.out
	// Control frames first: they may stand between others, and must not wait for as
	// long as there is always more.
	if o.ping {
		b = wsframe.Append(b, wsframe.Ping, nil)
		if data := c.listener.ping; data != nil && !c.ending {
			b = wsframe.Append(b, wsframe.Text, data)
		}
	}
	if o.pong != nil {
		b = wsframe.Append(b, wsframe.Pong, []byte(*o.pong))
	}
	o.ping, o.pong = false, nil
	if f := o.only(); f != nil && f.prepared != nil && len(b) == 0 {
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
			b = wsframe.Append(b, opcode(f.kind), f.data)
		}
		o.pop()
	}
	if o.last != nil {
		b = wsframe.Append(b, wsframe.Close, websocket.FormatCloseMessage(int(o.last.code), o.last.reason))
		w.closeState = closeWriting
	}
	return b, within
}

// Failed is told that the peer cannot be written to.
func (w *wsConn) Failed(err error) {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		w.client.tooSlow()
	}
	w.conn.Abort()
}

func opcode(k bus.Kind) wsframe.Opcode {
	if k == bus.Binary {
		return wsframe.Binary
	}
	return wsframe.Text
}
