package bench

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"go.uber.org/goleak"

	"github.com/gatebus/gatebus/internal/bench/report"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve runs fn for each frame of each connection, and gives the URL.
func serve(t *testing.T, fn func(c *websocket.Conn, n int, data []byte) error) string {
	t.Helper()
	up := websocket.Upgrader{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := up.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer c.Close()
		for n := 0; ; n++ {
			_, data, err := c.ReadMessage()
			if err != nil || fn(c, n, data) != nil {
				return
			}
		}
	}))
	t.Cleanup(s.Close)
	return "ws" + strings.TrimPrefix(s.URL, "http") + "/"
}

func echo(c *websocket.Conn, _ int, data []byte) error {
	return c.WriteMessage(websocket.TextMessage, data)
}

// short are options for a round that a test can wait for.
func short(k Kind, url string) Options {
	o := DefaultOptions(k)
	o.URLs = []string{url}
	o.Clients, o.Rounds, o.For, o.Warmup, o.Settle = 5, 1, 300*time.Millisecond, 100*time.Millisecond, 0
	return o
}

// once runs a bench of one side and one round.
func once(t *testing.T, o Options) (report.Round, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	b, err := Run(ctx, o)
	if len(b.Sides) != 1 || len(b.Sides[0].Rounds) != 1 {
		t.Fatalf("%+v, %v: want one round of one side", b, err)
	}
	return b.Sides[0].Rounds[0], err
}

// raw is a raw server in this process.
func raw(t *testing.T) *side {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- ServeRaw(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	s := &side{name: sideRaw}
	if err := s.useRaw(l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	return s
}

func testMeter() *meter { return &meter{show: func(Status) {}} }

// serveOpen runs fn on each connection, and then closes it.
func serveOpen(t *testing.T, fn func(*websocket.Conn) error) string {
	t.Helper()
	up := websocket.Upgrader{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, err := up.Upgrade(w, r, nil); err == nil {
			_ = fn(c)
			c.Close()
		}
	}))
	t.Cleanup(s.Close)
	return "ws" + strings.TrimPrefix(s.URL, "http") + "/"
}
