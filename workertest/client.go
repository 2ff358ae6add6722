package workertest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/gorilla/websocket"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/worker"
)

// Frame is a frame that a client got.
type Frame struct {
	Kind worker.Kind // Text or Binary
	Data string
}

// Client is a WebSocket client. Its methods may be called by several goroutines, but
// those that receive by one at a time.
type Client struct {
	c      *Cluster
	conn   *websocket.Conn
	frames chan Frame
	ended  chan struct{}
	code   int // valid when ended is closed
	reason string
}

// Request is what a client asks for.
type Request struct {
	// Gateway is the number of the gateway that it connects to, from 0.
	Gateway int
	// Path is the path and query; empty means "/".
	Path         string
	Header       http.Header
	Subprotocols []string
}

// RefusedError says that the worker, or the gateway, refuses a client.
type RefusedError struct {
	Status int // of HTTP
}

// Error implements error.
func (e *RefusedError) Error() string {
	return fmt.Sprintf("workertest: refused with HTTP status %d %s", e.Status, http.StatusText(e.Status))
}

// buffered is how many frames a client reads ahead of the test.
const buffered = 10000

// TryDial connects a client, or says by a *RefusedError that it is refused.
func (c *Cluster) TryDial(r Request) (*Client, error) {
	d := websocket.Dialer{HandshakeTimeout: c.patience, Subprotocols: r.Subprotocols}
	path := r.Path
	if path == "" {
		path = "/"
	}
	conn, resp, err := d.DialContext(c.tb.Context(), "ws://"+c.gateways[r.Gateway].gateway.Addr().String()+path, r.Header)
	if err != nil {
		if errors.Is(err, websocket.ErrBadHandshake) {
			err = &RefusedError{resp.StatusCode}
		}
		return nil, err
	}
	cl := &Client{c: c, conn: conn, frames: make(chan Frame, buffered), ended: make(chan struct{})}
	go cl.read()
	c.tb.Cleanup(func() {
		_ = conn.Close()
		<-cl.ended
	})
	return cl, nil
}

// Dial connects a client; the test fails if that is refused.
func (c *Cluster) Dial(r Request) *Client {
	c.tb.Helper()
	cl, err := c.TryDial(r)
	if err != nil {
		c.tb.Fatalf("workertest: dial %s: %v", r.Path, err)
	}
	return cl
}

func (cl *Client) read() {
	defer close(cl.ended)
	for {
		kind, data, err := cl.conn.ReadMessage()
		if err != nil {
			cl.code = int(bus.CloseAbnormal)
			var end *websocket.CloseError
			if errors.As(err, &end) {
				cl.code, cl.reason = end.Code, end.Text
			}
			_ = cl.conn.Close()
			return
		}
		f := Frame{worker.Text, string(data)}
		if kind == websocket.BinaryMessage {
			f.Kind = worker.Binary
		}
		select {
		case cl.frames <- f:
		default:
			cl.c.tb.Errorf("workertest: a client has more than %d frames that the test does not read", buffered)
			_ = cl.conn.Close()
			return
		}
	}
}

// Send sends a text frame.
func (cl *Client) Send(text string) { cl.write(websocket.TextMessage, []byte(text)) }

// SendBinary sends a binary frame.
func (cl *Client) SendBinary(data []byte) { cl.write(websocket.BinaryMessage, data) }

func (cl *Client) write(kind int, data []byte) {
	cl.c.tb.Helper()
	if err := cl.conn.WriteMessage(kind, data); err != nil {
		cl.c.tb.Errorf("workertest: send: %v", err)
	}
}

// Receive is the next frame; the test fails if none comes.
func (cl *Client) Receive() Frame {
	cl.c.tb.Helper()
	select {
	case f := <-cl.frames:
		return f
	default:
	}
	select {
	case f := <-cl.frames:
		return f
	case <-cl.ended:
		select {
		case f := <-cl.frames:
			return f
		default:
		}
		cl.c.tb.Fatalf("workertest: the client was closed with %d %q", cl.code, cl.reason)
	case <-time.After(cl.c.patience):
		cl.c.tb.Fatalf("workertest: no frame came in %v", cl.c.patience)
	}
	return Frame{}
}

// Expect fails the test unless the next frame is a text frame that says text.
func (cl *Client) Expect(text string) {
	cl.c.tb.Helper()
	if f := cl.Receive(); f != (Frame{worker.Text, text}) {
		cl.c.tb.Fatalf("workertest: got %v %q, want %q", f.Kind, f.Data, text)
	}
}

// Pending are the frames that have come and are not received yet. What was sent to
// the client before it last received something is among them.
func (cl *Client) Pending() (frames []Frame) {
	for {
		select {
		case f := <-cl.frames:
			frames = append(frames, f)
		default:
			return frames
		}
	}
}

// Close has the client leave, with 1000; it returns when the gateway has confirmed.
func (cl *Client) Close() {
	cl.c.tb.Helper()
	_ = cl.conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), time.Now().Add(cl.c.patience))
	cl.Closed()
}

// Cut ends the connection without a word.
func (cl *Client) Cut() { _ = cl.conn.NetConn().Close() }

// Closed waits for the end of the connection and tells the close code and reason that
// the client got: 1006 if none.
func (cl *Client) Closed() (code int, reason string) {
	cl.c.tb.Helper()
	select {
	case <-cl.ended:
	case <-time.After(cl.c.patience):
		cl.c.tb.Fatalf("workertest: the client is still connected after %v", cl.c.patience)
	}
	return cl.code, cl.reason
}

// Ended is closed when the connection has ended.
func (cl *Client) Ended() <-chan struct{} { return cl.ended }

// Subprotocol is the one that the worker chose, "" if none.
func (cl *Client) Subprotocol() string { return cl.conn.Subprotocol() }

// ID finds out how the gateway calls the client.
func (cl *Client) ID() bus.ClientID {
	cl.c.tb.Helper()
	ctx, cancel := context.WithTimeout(cl.c.tb.Context(), cl.c.patience)
	defer cancel()
	remote := cl.conn.LocalAddr().String()
	for info, err := range cl.c.Cluster().Clients(ctx, worker.ClientsQuery{Fields: []string{worker.FieldOpen}}) {
		if err != nil {
			cl.c.tb.Fatalf("workertest: %v", err)
		}
		if info.Open.Remote == remote {
			return info.Client
		}
	}
	cl.c.tb.Fatalf("workertest: no gateway has the client %s", remote)
	return ""
}
