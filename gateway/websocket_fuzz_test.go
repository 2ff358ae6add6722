package gateway

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/gorilla/websocket"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/internal/wsframe"
)

// transcript is what a server makes of a client's bytes.
type transcript struct {
	messages []string
	pings    int
	end      bus.CloseCode // that the peer sent or that it is closed with; 0: none yet
}

// ours feeds the bytes to the gateway's side of a connection, in pieces of a size.
func ours(t *testing.T, in []byte, piece int) (got transcript) {
	cfg := DefaultConfig()
	cfg.QueueFrames, cfg.QueueBytes = 1<<20, 1<<20
	gw, err := New(cfg, 1, discard{}, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	c := gw.newClient(gw.listeners[0], cfg.Group)
	ws := &wsConn{client: c, conn: benchStream{}}
	c.conn, c.accepted = ws, true
	for len(in) > 0 {
		n := min(piece, len(in))
		if !ws.Received(bytes.Clone(in[:n])) {
			t.Fatal("stalled")
		}
		in = in[n:]
		if c.out.pong != nil {
			got.pings++
			c.out.pong = nil
		}
	}
	if ws.timer != nil {
		ws.timer.Stop()
	}
	for e := c.lane.first; e != nil; e = e.next {
		if e.kind != bus.Close {
			got.messages = append(got.messages, e.kind.String()+" "+string(e.data))
		}
	}
	if c.out.last != nil {
		got.end = c.out.last.code
	}
	return got
}

// discard is a bus that takes everything and gives nothing.
type discard struct{ bus.Conn }

func (discard) Publish(*bus.Msg) error { return nil }

// gorillas feeds them to gorilla's.
func gorillas(t *testing.T, in []byte) (got transcript) {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	for k, v := range map[string]string{
		"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
		"Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
	} {
		r.Header.Set(k, v)
	}
	up := websocket.Upgrader{CheckOrigin: checkAnyOrigin}
	conn, err := up.Upgrade(hijacker{in: bytes.NewReader(in)}, r, nil)
	if err != nil {
		t.Fatal(err)
	}
	conn.SetReadLimit(DefaultConfig().MaxFrame)
	conn.SetPingHandler(func(string) error { got.pings++; return nil })
	for {
		kind, data, err := conn.ReadMessage()
		var ce *websocket.CloseError
		switch {
		case errors.Is(err, websocket.ErrReadLimit):
			got.end = bus.CloseTooBig
			return got
		case err == nil && kind == websocket.TextMessage && !utf8.Valid(data):
			got.end = bus.CloseInvalidData
			return got
		case err == nil:
			got.messages = append(got.messages, map[int]string{1: "text ", 2: "binary "}[kind]+string(data))
			continue
		case errors.As(err, &ce) && ce.Code != websocket.CloseAbnormalClosure:
			got.end = bus.CloseCode(ce.Code)
		case !errors.As(err, &ce) && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF):
			got.end = bus.CloseProtocolError
		}
		return got
	}
}

type hijacker struct {
	http.ResponseWriter
	in *bytes.Reader
}

func (h hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c := memConn{in: h.in}
	return c, bufio.NewReadWriter(bufio.NewReader(c), bufio.NewWriter(io.Discard)), nil
}

func (hijacker) Header() http.Header { return http.Header{} }

type memConn struct {
	net.Conn
	in *bytes.Reader
}

func (c memConn) Read(p []byte) (int, error)     { return c.in.Read(p) }
func (memConn) Write(p []byte) (int, error)      { return len(p), nil }
func (memConn) Close() error                     { return nil }
func (memConn) SetDeadline(time.Time) error      { return nil }
func (memConn) SetWriteDeadline(time.Time) error { return nil }
func (memConn) SetReadDeadline(time.Time) error  { return nil }

// Whatever a client sends, in whatever pieces it comes, the gateway makes of it
// what another implementation does.
func FuzzWebSocket(f *testing.F) {
	key := wsframe.Key{7, 0, 9, 200}
	add := func(piece byte, frames ...[]byte) { f.Add(bytes.Join(frames, nil), piece) }
	text := func(s string) []byte { return wsframe.AppendMasked(nil, wsframe.Text, key, []byte(s)) }
	closed := wsframe.AppendMasked(nil, wsframe.Close, key, []byte{0x03, 0xe8, 'b', 'y', 'e'})
	first := text("fragment")
	first[0] &^= 0x80
	last := wsframe.AppendMasked(nil, wsframe.Continuation, key, []byte(" and rest"))
	add(1, text("a"), text(""), wsframe.AppendMasked(nil, wsframe.Binary, key, []byte{0, 255}), closed)
	add(3, first, wsframe.AppendMasked(nil, wsframe.Ping, key, []byte("p")), last, closed, text("after"))
	add(200, text("\xff"), text("after"))
	add(5, last, text("x"))
	add(5, first, text("x"))
	add(7, wsframe.Append(nil, wsframe.Text, []byte("not masked")))
	add(9, wsframe.AppendMasked(nil, wsframe.Close, key, []byte{3}))
	add(9, wsframe.AppendMasked(nil, wsframe.Close, key, []byte{3, 237}))
	add(9, wsframe.AppendMasked(nil, wsframe.Close, key, nil))
	add(64, wsframe.AppendMasked(nil, wsframe.Text, key, bytes.Repeat([]byte("long "), 100)), text("b")[:5])
	f.Fuzz(func(t *testing.T, in []byte, piece byte) {
		if len(in) > 32<<10 {
			return
		}
		want := gorillas(t, in)
		got := ours(t, in, int(piece)+1)
		// gorilla takes half a close code for none, which RFC 6455 5.5.1 does not.
		half := got.end == bus.CloseProtocolError && want.end == bus.CloseNoStatus
		// gorilla wants the masking key before it looks at the length.
		early := got.end == bus.CloseTooBig && want.end == 0
		if got.end != want.end && !half && !early {
			t.Errorf("ended with %d, gorilla with %d", got.end, want.end)
		}
		// A frame that is refused has those dropped that still wait.
		refused := got.end == bus.CloseTooBig || got.end == bus.CloseInvalidData
		if refused && len(got.messages) < len(want.messages) {
			want.messages = want.messages[:len(got.messages)]
		}
		if len(got.messages) != len(want.messages) {
			t.Fatalf("%d messages, of gorilla %d", len(got.messages), len(want.messages))
		}
		for i := range got.messages {
			if got.messages[i] != want.messages[i] {
				t.Errorf("message %d: %q, of gorilla %q", i, got.messages[i], want.messages[i])
			}
		}
	})
}
