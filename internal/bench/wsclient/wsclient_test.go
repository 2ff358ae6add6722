package wsclient

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gatebus/gatebus/internal/wsframe"
	"github.com/gorilla/websocket"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve runs fn on each connection of a gorilla server, and gives its URL.
func serve(t *testing.T, fn func(*websocket.Conn)) string {
	t.Helper()
	up := websocket.Upgrader{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := up.Upgrade(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		fn(c)
	}))
	t.Cleanup(s.Close)
	return "ws" + strings.TrimPrefix(s.URL, "http") + "/"
}

func dial(t *testing.T, url string) *Conn {
	t.Helper()
	target, err := ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	c, err := target.Dial(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Net.Close() })
	if err := c.Net.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c
}

func echo(c *websocket.Conn) {
	for {
		kind, data, err := c.ReadMessage()
		if err != nil || c.WriteMessage(kind, data) != nil {
			return
		}
	}
}

// Frames of every size of length field come back from another implementation.
func TestEcho(t *testing.T) {
	c := dial(t, serve(t, echo))
	for _, size := range []int{0, 1, 125, 126, 4096, 65535, 65536, 300_000} {
		for _, op := range []wsframe.Opcode{wsframe.Text, wsframe.Binary} {
			want := bytes.Repeat([]byte("abcdefg"), size/7+1)[:size]
			if err := c.Write(wsframe.AppendMasked(nil, op, c.Key, want)); err != nil {
				t.Fatal(err)
			}
			got, data, err := c.Next()
			if err != nil || got != op || !bytes.Equal(data, want) {
				t.Fatalf("%d bytes: got %v, %d bytes, %v", size, got, len(data), err)
			}
		}
	}
}

// Many frames leave in one write, and More tells of those that have come.
func TestMany(t *testing.T) {
	c := dial(t, serve(t, func(c *websocket.Conn) {
		conn := c.NetConn()
		var all []byte
		for i := range 3 {
			_, data, err := c.ReadMessage()
			if err != nil || string(data) != fmt.Sprint(i) {
				t.Errorf("frame %d: %q, %v", i, data, err)
			}
			all = wsframe.Append(all, wsframe.Text, data)
		}
		conn.Write(all)
		c.ReadMessage()
	}))
	var frames []byte
	for i := range 3 {
		frames = wsframe.AppendMasked(frames, wsframe.Text, c.Key, fmt.Append(nil, i))
	}
	if c.More() {
		t.Error("there is more before anything was sent")
	}
	if err := c.Write(frames); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		_, data, err := c.Next()
		if err != nil || string(data) != fmt.Sprint(i) || c.At().IsZero() {
			t.Fatalf("%q, %v", data, err)
		}
		if c.More() != (i < 2) {
			t.Errorf("after frame %d: more is %v", i, c.More())
		}
	}
}

func TestPingsAreAnsweredAndClosesTold(t *testing.T) {
	ponged := make(chan string, 1)
	c := dial(t, serve(t, func(c *websocket.Conn) {
		c.SetPongHandler(func(s string) error { ponged <- s; return io.EOF })
		c.WriteControl(websocket.PingMessage, []byte("are you there"), time.Now().Add(time.Minute))
		c.ReadMessage()
		c.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(4000, "too slow"), time.Now().Add(time.Minute))
	}))
	_, _, err := c.Next()
	var ce *CloseError
	if !errors.As(err, &ce) || ce.Code != 4000 || ce.Reason != "too slow" {
		t.Errorf("got %v, want to be closed with 4000", err)
	}
	if s := <-ponged; s != "are you there" || c.Pings() != 1 {
		t.Errorf("pong %q, %d pings", s, c.Pings())
	}
}

func TestLeave(t *testing.T) {
	left := make(chan error, 1)
	c := dial(t, serve(t, func(c *websocket.Conn) {
		_, _, err := c.ReadMessage()
		left <- err
	}))
	c.Leave(20 * time.Second)
	if err := <-left; !websocket.IsCloseError(err, 1000) {
		t.Errorf("the server saw %v, want a close with 1000", err)
	}
}

// Fragments make one message, with control frames between them.
func TestFragments(t *testing.T) {
	for _, tt := range []struct {
		name   string
		frames []byte
		want   string // "" means an error
	}{
		{"parts", []byte("\x01\x02ab\x89\x00\x00\x01c\x80\x01d"), "abcd"},
		{"continuation of nothing", []byte("\x80\x01a"), ""},
		{"begun twice", []byte("\x01\x01a\x81\x01b"), ""},
		{"masked", []byte("\x81\x81\x00\x00\x00\x00a"), ""},
		{"reserved bit", []byte("\xc1\x01a"), ""},
		{"unknown opcode", []byte("\x83\x01a"), ""},
		{"long control frame", []byte("\x89\x7e\x00\x80"), ""},
		{"control frame in parts", []byte("\x09\x00"), ""},
		{"far too long", []byte("\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff"), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, b := net.Pipe()
			defer a.Close()
			go func() { io.Copy(io.Discard, b) }()
			defer b.Close()
			_, data, err := NewConn(a, wsframe.Key{}, tt.frames).Next()
			if tt.want == "" && !errors.Is(err, wsframe.ErrProtocol) {
				t.Errorf("got %q, %v, want a breach of the protocol", data, err)
			}
			if tt.want != "" && (err != nil || string(data) != tt.want) {
				t.Errorf("got %q, %v, want %q", data, err, tt.want)
			}
		})
	}
}

func TestRefused(t *testing.T) {
	for _, tt := range []struct{ response, says string }{
		{"HTTP/1.1 503 Service Unavailable\r\n\r\n", "503 Service Unavailable"},
		{"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: wrong\r\n\r\n", "Sec-WebSocket-Accept"},
		{"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", maxResponse) + "\r\n\r\n", "more than"},
		{"HTTP/1.1 101 Sw", "EOF"},
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			c, err := l.Accept()
			if err != nil {
				return
			}
			defer c.Close()
			c.Read(make([]byte, 4096))
			io.WriteString(c, tt.response)
		}()
		target, err := ParseURL("ws://" + l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if _, err = target.Dial(t.Context(), nil); err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%.40q: %v, want that it says %q", tt.response, err, tt.says)
		}
		l.Close()
		<-done
	}
}

// A server that does not answer is waited for until the context ends.
func TestDialEnds(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	why := errors.New("that is enough")
	ctx, cancel := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, why)
	defer cancel()
	target, err := ParseURL("ws://" + l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := target.Dial(ctx, nil); !errors.Is(err, why) {
		t.Errorf("got %v, want %v", err, why)
	}
}

func TestParseURL(t *testing.T) {
	for _, tt := range []struct {
		url      string
		want     Target
		loopback bool
	}{
		{"ws://127.0.0.1:8282/chat?name=a", Target{"127.0.0.1:8282", "127.0.0.1:8282", "/chat?name=a", false}, true},
		{"ws://example.com", Target{"example.com:80", "example.com", "/", false}, false},
		{"wss://[::1]:9000/", Target{"[::1]:9000", "[::1]:9000", "/", true}, false},
		{"wss://example.com/", Target{"example.com:443", "example.com", "/", true}, false},
	} {
		got, err := ParseURL(tt.url)
		if err != nil || got != tt.want || got.Loopback() != tt.loopback {
			t.Errorf("%s: %+v, %v, %v; want %+v", tt.url, got, got.Loopback(), err, tt.want)
		}
	}
	for _, bad := range []string{"", "http://127.0.0.1/", "127.0.0.1:8282", "ws://", "ws://%"} {
		if _, err := ParseURL(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

// Whatever comes, the parser neither panics nor reads past it, and what it
// takes for a frame is one.
func FuzzParseFrame(f *testing.F) {
	f.Add([]byte("\x81\x01a"))
	f.Add([]byte("\x82\x7e\x00\x80"))
	f.Add([]byte("\x88\x02\x03\xe8"))
	f.Add(wsframe.Append(nil, wsframe.Binary, make([]byte, 70_000)))
	f.Fuzz(func(t *testing.T, b []byte) {
		fr, need, err := parseFrame(b)
		switch {
		case err != nil:
		case need > 0:
			if need <= len(b) {
				t.Fatalf("needs %d bytes and has %d", need, len(b))
			}
		default:
			if fr.Size > len(b) || len(fr.Payload) > fr.Size {
				t.Fatalf("%+v of %d bytes", fr, len(b))
			}
			if again, _, _ := parseFrame(wsframe.Append(nil, fr.Op, fr.Payload)); fr.Final && !bytes.Equal(again.Payload, fr.Payload) {
				t.Fatal("its payload is another one when it is encoded again")
			}
		}
	})
}
