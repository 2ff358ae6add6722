package gateway

import (
	"errors"
	"io"
	"net"
	"strconv"
	"sync"
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
	alive    func() // called when something was read of a frame
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
	// gorilla has a limit too, but sends its close past the frames that wait.
	data, err := io.ReadAll(io.LimitReader(frameReader{r, w.alive}, w.maxFrame+1))
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
// timeout.
func (w *wsConn) write(frames []frame, ping bool, pong *string, last *closing, timeout time.Duration) error {
	deadline := time.Now().Add(timeout)
	if err := w.conn.SetWriteDeadline(deadline); err != nil {
		return err
	}
	for _, f := range frames {
		var err error
		switch {
		case f.prepared != nil:
			err = w.conn.WritePreparedMessage(f.prepared)
		case f.kind == bus.Binary:
			err = w.conn.WriteMessage(websocket.BinaryMessage, f.data)
		default:
			err = w.conn.WriteMessage(websocket.TextMessage, f.data)
		}
		if err != nil {
			return err
		}
	}
	if ping {
		if err := w.conn.WriteControl(websocket.PingMessage, nil, deadline); err != nil {
			return err
		}
	}
	if pong != nil {
		if err := w.conn.WriteControl(websocket.PongMessage, []byte(*pong), deadline); err != nil {
			return err
		}
	}
	if last != nil {
		msg := websocket.FormatCloseMessage(int(last.code), last.reason)
		err := w.conn.WriteControl(websocket.CloseMessage, msg, deadline)
		if err != nil && !errors.Is(err, websocket.ErrCloseSent) {
			return err
		}
	}
	return nil
}

// prepare encodes a frame once for many clients.
func prepare(f *frame) error {
	t := websocket.TextMessage
	if f.kind == bus.Binary {
		t = websocket.BinaryMessage
	}
	var err error
	f.prepared, err = websocket.NewPreparedMessage(t, f.data)
	return err
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
