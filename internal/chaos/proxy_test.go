package chaos

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/gatebus/gatebus/internal/testbed"
)

// echoServer echoes, and tells through gone of each connection that has ended.
func echoServer(t *testing.T) (addr string, gone <-chan struct{}) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{}, 100)
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conns.Go(func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
				ended <- struct{}{}
			})
		}
	})
	t.Cleanup(func() { l.Close(); conns.Wait() })
	return l.Addr().String(), ended
}

func TestProxy(t *testing.T) {
	server, gone := echoServer(t)
	p, err := startProxy("test", "127.0.0.1:0", server)
	if err != nil {
		t.Fatal(err)
	}
	defer p.stop()
	dial := func() net.Conn {
		c, err := net.Dial("tcp", p.addr())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	// echo sends n bytes, and returns how long they took to come back.
	echo := func(c net.Conn, n int, patience time.Duration) (time.Duration, error) {
		start := time.Now()
		if _, err := c.Write(make([]byte, n)); err != nil {
			return 0, err
		}
		c.SetReadDeadline(start.Add(patience))
		_, err := io.ReadFull(c, make([]byte, n))
		return time.Since(start), err
	}
	atLeast := func(what string, c net.Conn, n int, least time.Duration) {
		t.Helper()
		if took, err := echo(c, n, testbed.Patience); err != nil || took < least {
			t.Errorf("%s: %v, %v", what, took, err)
		}
	}
	c := dial()
	atLeast("open", c, 1000, 0)
	p.delay(50 * time.Millisecond)
	atLeast("delayed", c, 1, 100*time.Millisecond)
	p.delay(0)
	p.throttle(10_000)
	atLeast("throttled", c, 1000, 200*time.Millisecond)
	p.throttle(0)
	atLeast("open again", c, 1000, 0)

	dying := p.dying()
	p.die()
	<-dying
	for what, c := range map[string]net.Conn{"an old connection": c, "a new one": dial()} {
		if _, err := echo(c, 1, 100*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("dead, %s: %v", what, err)
		}
	}
	select {
	case <-gone:
		t.Error("dead, and the other side has noticed")
	default:
	}
	p.revive()
	if _, err := echo(c, 1, testbed.Patience); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("revived, a dead connection: %v", err)
	}
	<-gone
	atLeast("revived", dial(), 1000, 0)
}
