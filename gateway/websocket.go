package gateway

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/gorilla/websocket"

	"github.com/gatebus/gatebus/bus"
)

const (
	// readBuffer is each connection's own; larger frames are read past it.
	readBuffer = 512
	// writeBuffer comes from a pool while something is written.
	writeBuffer = 4096
)

// wsConn is one WebSocket connection. One goroutine reads, one at a time
// writes; expect and abort may be called by anybody.
type wsConn struct {
	conn     *websocket.Conn
	maxFrame int64
	alive    func()      // called when something was read of a frame
	closes   atomic.Bool // a close frame is sent, or about to be: there is only one
}

// frameReader reads a frame and tells that its peer is alive while it comes: no
// pong fits into the middle of a large one.
type frameReader struct {
	r     io.Reader
	alive func()
}

func (f frameReader) Read(p []byte) (int, error) {
	n, err := f.r.Read(p)
	if n > 0 {
		f.alive()
	}
	return n, err
}

// newUpgrader makes the upgrader of a gateway's connections.
func newUpgrader() *websocket.Upgrader {
	return &websocket.Upgrader{
		ReadBufferSize:  readBuffer,
		WriteBufferSize: writeBuffer,
		WriteBufferPool: &sync.Pool{},
		// Workers see the Origin header of the open event and may refuse.
		CheckOrigin: checkAnyOrigin,
		Error:       refuse,
	}
}

// read returns the next frame, or how the connection ended.
func (w *wsConn) read() (bus.Kind, []byte, *hangup) {
	t, r, err := w.conn.NextReader()
	if err != nil {
		return 0, nil, w.classify(err)
	}
	data, err := w.readFrame(r)
	if err != nil {
		return 0, nil, w.classify(err)
	}
	if int64(len(data)) > w.maxFrame {
		return 0, nil, &hangup{closing{bus.CloseTooBig, "a frame has at most " + strconv.FormatInt(w.maxFrame, 10) + " bytes"}, refused}
	}
	if t == websocket.BinaryMessage {
		return bus.Binary, data, nil
	}
	if !utf8.Valid(data) {
		return 0, nil, &hangup{closing{bus.CloseInvalidData, "a text frame must be valid UTF-8"}, refused}
	}
	return bus.Text, data, nil
}

// readBuffers are what frames are read into, of any connection: their size is
// known only at their end.
var readBuffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// readFrame reads a frame of at most one byte more than the limit: gorilla has a
// limit too, but sends its close past the frames that wait.
func (w *wsConn) readFrame(r io.Reader) ([]byte, error) {
	buf := readBuffers.Get().(*bytes.Buffer)
	buf.Reset()
	_, err := buf.ReadFrom(io.LimitReader(frameReader{r, w.alive}, w.maxFrame+1))
	data := bytes.Clone(buf.Bytes())
	if data == nil {
		data = []byte{}
	}
	if buf.Cap() <= maxReadBuffer {
		readBuffers.Put(buf)
	}
	return data, err
}

// maxReadBuffer is the largest buffer that is kept for later frames, in bytes.
const maxReadBuffer = 64 << 10

// hangup is why nothing more can be read: the code alone does not tell who
// closed, since a peer may send any.
type hangup struct {
	closing
	by hangupBy
}

type hangupBy uint8

const (
	left    hangupBy = iota // the peer closed or broke off
	refused                 // this side does not take a frame
	broken                  // the peer broke the protocol, and gorilla has said so
)

// classify says what a read error means.
func (w *wsConn) classify(err error) *hangup {
	var ce *websocket.CloseError
	var ne net.Error
	switch {
	case errors.As(err, &ce):
		return &hangup{closing{bus.CloseCode(ce.Code), ce.Text}, left}
	case errors.As(err, &ne), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed):
		return &hangup{closing{bus.CloseAbnormal, ""}, left}
	}
	return &hangup{closing{bus.CloseProtocolError, err.Error()}, broken} // gorilla has said so
}

// write sends frames, a ping, a pong, and a close frame at the end, within
// timeout. All of it goes in one system call, if it can.
func (w *wsConn) write(frames []frame, ping bool, pong *string, last *closing, timeout time.Duration) error {
	conn := w.conn.NetConn()
	if err := conn.SetWriteDeadline(time.Now().Add(timeout)); err != nil {
		return err
	}
	if len(frames) == 1 && frames[0].prepared != nil && !ping && pong == nil && last == nil {
		_, err := conn.Write(frames[0].prepared) // shared: not copied
		return err
	}
	buf := writeBuffers.Get().(*[]byte)
	defer writeBuffers.Put(buf)
	b := (*buf)[:0]
	for _, f := range frames {
		if len(b) > 0 && len(b)+len(f.data) > maxWriteBuffer {
			if _, err := conn.Write(b); err != nil {
				return err
			}
			b = b[:0]
		}
		if f.prepared != nil {
			b = append(b, f.prepared...)
		} else {
			b = appendFrame(b, opcode(f.kind), f.data)
		}
	}
	if ping {
		b = appendFrame(b, websocket.PingMessage, nil)
	}
	if pong != nil {
		b = appendFrame(b, websocket.PongMessage, []byte(*pong))
	}
	if last != nil && w.closes.CompareAndSwap(false, true) {
		b = appendFrame(b, websocket.CloseMessage, websocket.FormatCloseMessage(int(last.code), last.reason))
	}
	_, err := conn.Write(b)
	if cap(b) <= maxWriteBuffer {
		*buf = b
	}
	return err
}

// echoWait bounds the answer to a peer's close: little is in its way.
const echoWait = time.Second

// answerClose answers the close frame of a peer, unless one is sent already.
func (w *wsConn) answerClose(code int, _ string) error {
	if !w.closes.CompareAndSwap(false, true) {
		return nil
	}
	conn := w.conn.NetConn()
	if err := conn.SetWriteDeadline(time.Now().Add(echoWait)); err != nil {
		return nil // the connection is at its end anyway
	}
	_, _ = conn.Write(appendFrame(nil, websocket.CloseMessage, websocket.FormatCloseMessage(code, "")))
	return nil
}

// writeBuffers are for what is written at once, of any connection.
var writeBuffers = sync.Pool{New: func() any { b := make([]byte, 0, 512); return &b }}

// maxWriteBuffer is how much is put together for one write, in bytes; a larger
// frame goes alone.
const maxWriteBuffer = 64 << 10

// appendFrame appends a WebSocket frame, as a server sends it (RFC 6455 5.2):
// whole and not masked.
func appendFrame(b []byte, opcode int, data []byte) []byte {
	b = append(b, 0x80|byte(opcode))
	switch n := len(data); {
	case n < 126:
		b = append(b, byte(n))
	case n <= 0xffff:
		b = binary.BigEndian.AppendUint16(append(b, 126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 127), uint64(n))
	}
	return append(b, data...)
}

func opcode(k bus.Kind) int {
	if k == bus.Binary {
		return websocket.BinaryMessage
	}
	return websocket.TextMessage
}

// prepare encodes a frame once for many clients.
func (f *frame) prepare() {
	f.prepared = appendFrame(make([]byte, 0, len(f.data)+10), opcode(f.kind), f.data)
}

// timedOut tells whether a write failed for its deadline.
func (w *wsConn) timedOut(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

// expect bounds how long the peer may take for its end of the close.
func (w *wsConn) expect(d time.Duration) {
	_ = w.conn.NetConn().SetReadDeadline(time.Now().Add(d)) // fails only on a closed connection
}

// abort ends the connection at once.
func (w *wsConn) abort() { _ = w.conn.NetConn().Close() }

// linger ends a connection whose peer may not have read our close frame yet:
// closing the socket while it still sends would make the kernel reset the
// connection and throw that frame away. So this side only says that it is
// done, and reads on until the peer is too, or for at most d.
func (w *wsConn) linger(d time.Duration) {
	conn := w.conn.NetConn()
	defer conn.Close()
	if half, ok := conn.(interface{ CloseWrite() error }); ok && half.CloseWrite() != nil {
		return // the peer is gone
	}
	w.expect(d)
	_, _ = io.Copy(io.Discard, conn) // ends with the peer, or by the deadline
}
