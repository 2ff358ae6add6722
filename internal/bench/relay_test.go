package bench

import (
	"context"
	"io"
	"net"
	"net/url"
	"testing"
	"time"

	"github.com/gatebus/gatebus/internal/bench/report"
)

// startRelay has a relay to an address run until the test ends, or the stop.
func startRelay(t *testing.T, to string) (addr string, stop func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := ServeRelay(ctx, l, to); err != nil {
			t.Error(err)
		}
	}()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	return l.Addr().String(), stop
}

// ends reads until the connection ends.
func ends(t *testing.T, c net.Conn) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.Copy(io.Discard, c); err != nil {
		if e, ok := err.(net.Error); ok && e.Timeout() {
			t.Error("the connection does not end")
		}
	}
}

func dialTCP(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestRelay(t *testing.T) {
	u, err := url.Parse(serve(t, echo))
	if err != nil {
		t.Fatal(err)
	}
	addr, _ := startRelay(t, u.Host)
	r, err := once(t, short(Echo, "ws://"+addr+"/"))
	if err != nil || r.Figures[report.Messages] == 0 {
		t.Errorf("%+v, %v", r, err)
	}
}

// When one end of a relay goes, so does the other; when the relay goes, both do.
func TestRelayEnds(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	addr, stop := startRelay(t, l.Addr().String())
	for _, first := range []string{"client", "server"} {
		c := dialTCP(t, addr)
		s, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if first == "client" {
			c, s = s, c
		}
		if _, err := s.Write([]byte("last")); err != nil {
			t.Fatal(err)
		}
		s.Close()
		got := make([]byte, 4)
		_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := io.ReadFull(c, got); err != nil || string(got) != "last" {
			t.Errorf("%s: %q, %v", first, got, err)
		}
		ends(t, c)
	}
	c := dialTCP(t, addr)
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	l.Close()
	ends(t, dialTCP(t, addr)) // to nobody
	stop()
	ends(t, c)
	ends(t, s)
}
