package testbed_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"go.uber.org/goleak"

	"github.com/gatebus/gatebus/internal/testbed"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(testbed.Main(m)) }

// peer answers a client's frames as fn says: fn gets the connection and the
// number of the frame, from 0.
func peer(t *testing.T, fn func(c *websocket.Conn, n int, data []byte)) string {
	t.Helper()
	var (
		up    websocket.Upgrader
		conns sync.WaitGroup
	)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conns.Add(1)
		defer conns.Done()
		c, err := up.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer c.Close()
		for n := 0; ; n++ {
			_, data, err := c.ReadMessage()
			if err != nil {
				return
			}
			fn(c, n, data)
		}
	}))
	t.Cleanup(func() { s.Close(); conns.Wait() })
	return "ws" + strings.TrimPrefix(s.URL, "http")
}

func send(c *websocket.Conn, data []byte) { c.WriteMessage(websocket.TextMessage, data) }

func echo(c *websocket.Conn, _ int, data []byte) { send(c, data) }

func soon(t *testing.T) context.Context {
	ctx, cancel := testbed.Soon()
	t.Cleanup(cancel)
	return ctx
}

func TestNumberedNoticesEachBrokenPromise(t *testing.T) {
	var held []byte
	for name, tt := range map[string]struct {
		peer func(c *websocket.Conn, n int, data []byte)
		want string // in the error; empty for none
	}{
		"kept": {echo, ""},
		"answered twice": {func(c *websocket.Conn, n int, data []byte) {
			send(c, data)
			if n == 3 {
				send(c, data)
			}
		}, "number 3 is answered twice"},
		"the last answered twice": {func(c *websocket.Conn, n int, data []byte) {
			send(c, data)
			if n == 9 {
				send(c, data)
			}
		}, "not sent or was answered|answered twice"},
		"one left out": {func(c *websocket.Conn, n int, data []byte) {
			if n != 3 {
				send(c, data)
			}
		}, "number 4 is answered, 3 is due"},
		"two swapped": {func(c *websocket.Conn, n int, data []byte) {
			switch n {
			case 3:
				held = data
			case 4:
				send(c, data)
				send(c, held)
			default:
				send(c, data)
			}
		}, "number 4 is answered, 3 is due"},
		"somebody else's": {func(c *websocket.Conn, n int, data []byte) {
			send(c, []byte("mallory 0 "))
		}, `answer "mallory 0 "`},
		"of the wrong kind": {func(c *websocket.Conn, n int, data []byte) {
			c.WriteMessage(websocket.BinaryMessage, data)
		}, "wrong kind"},
		"connection lost": {func(c *websocket.Conn, n int, data []byte) {
			if n == 3 {
				c.NetConn().Close()
			}
			send(c, data)
		}, "the connection was lost"},
		"closed with a code": {func(c *websocket.Conn, n int, data []byte) {
			c.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(1012, ""), time.Now().Add(time.Second))
		}, "1012"},
	} {
		t.Run(name, func(t *testing.T) {
			n := testbed.Numbered{URL: peer(t, tt.peer), Name: "ann", Frames: 10, Window: 3}
			tally, err := n.Run(soon(t))
			if tt.want == "" {
				if err != nil || tally.Answered != 10 || tally.Sent != 10 || tally.Close != websocket.CloseNormalClosure {
					t.Errorf("got %+v, %v", tally, err)
				}
				return
			}
			if !errors.Is(err, testbed.ErrBroken) {
				t.Fatalf("error %v, want ErrBroken", err)
			}
			for want := range strings.SplitSeq(tt.want, "|") {
				if strings.Contains(err.Error(), want) {
					return
				}
			}
			t.Errorf("error %q, want %q in it", err, tt.want)
		})
	}
}

func TestNumberedMissingAnswerEndsWithTheContext(t *testing.T) {
	url := peer(t, func(c *websocket.Conn, n int, data []byte) {
		if n < 9 {
			send(c, data)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	n := testbed.Numbered{URL: url, Name: "ann", Frames: 10}
	if tally, err := n.Run(ctx); !errors.Is(err, testbed.ErrBroken) || tally.Answered != 9 {
		t.Errorf("got %+v, %v", tally, err)
	}
}

func TestNumberedMayBeClosed(t *testing.T) {
	url := peer(t, func(c *websocket.Conn, n int, data []byte) {
		if n == 5 {
			c.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(1012, ""), time.Now().Add(time.Second))
			return
		}
		send(c, data)
	})
	n := testbed.Numbered{URL: url, Name: "ann", Closes: []int{1012}}
	tally, err := n.Run(soon(t))
	if err != nil || tally.Answered != 5 || tally.Close != 1012 {
		t.Errorf("got %+v, %v", tally, err)
	}
}

func TestNumberedReconnects(t *testing.T) {
	var cut atomic.Bool
	url := peer(t, func(c *websocket.Conn, n int, data []byte) {
		if n == 5 && cut.CompareAndSwap(false, true) {
			c.NetConn().Close()
		}
		send(c, data)
	})
	n := testbed.Numbered{URL: url, Name: "ann", Frames: 20, Window: 4, Size: 200, Reconnect: true}
	tally, err := n.Run(soon(t))
	if err != nil || tally.Answered != 20 || tally.Connects != 2 {
		t.Errorf("got %+v, %v", tally, err)
	}
}

func TestLoad(t *testing.T) {
	load := testbed.StartLoad(t, 10, testbed.Numbered{Window: 2, Every: time.Millisecond}, peer(t, echo), peer(t, echo))
	ctx := soon(t)
	if err := load.WaitConnected(ctx, 10); err != nil {
		t.Fatal(err)
	}
	if err := load.WaitMore(ctx, 100); err != nil {
		t.Fatal(err)
	}
	total, err := load.Finish(ctx)
	if err != nil || total.Answered < 100 || total.Answered != total.Sent || total.Closes[websocket.CloseNormalClosure] != 10 {
		t.Errorf("got %+v, %v", total, err)
	}
	if err := load.WaitMore(ctx, 1); err == nil {
		t.Error("a load that is over promises more")
	}
}

func TestLoadTellsOfAFailureAtOnce(t *testing.T) {
	bad := peer(t, func(c *websocket.Conn, n int, data []byte) { send(c, []byte("nonsense")) })
	load := testbed.StartLoad(t, 2, testbed.Numbered{Every: time.Millisecond}, peer(t, echo), bad)
	if err := load.WaitAnswered(soon(t), 1<<30); !errors.Is(err, testbed.ErrBroken) {
		t.Errorf("error %v, want ErrBroken", err)
	}
}

func TestFreeAddrIsFreeAndGivenOutOnce(t *testing.T) {
	seen := map[string]bool{}
	for range 100 {
		addr := testbed.MustFreeAddr(t, testbed.Host(7))
		if seen[addr] {
			t.Fatalf("%s twice", addr)
		}
		seen[addr] = true
		l, err := net.Listen("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
	}
}

func TestProcess(t *testing.T) {
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("needs sh")
	}
	ctx := soon(t)
	t.Run("exit code and log", func(t *testing.T) {
		p := testbed.Start(t, testbed.Spec{Name: "three", Path: sh, Args: []string{"-c", "echo out; echo one >&2; printf two >&2; exit 3"}})
		exit, err := p.Wait(ctx)
		if err != nil || exit.Code != 3 || exit.Signal != 0 {
			t.Errorf("got %v, %v", exit, err)
		}
		if p.Stdout() != "out" || p.Log() != "one\ntwo" {
			t.Errorf("stdout %q, log %q", p.Stdout(), p.Log())
		}
	})
	t.Run("signal", func(t *testing.T) {
		p := testbed.Start(t, testbed.Spec{Name: "sleeper", Path: sh, Args: []string{"-c", "echo ready >&2; exec sleep 60"}})
		if _, err := p.WaitLog(ctx, "^rea(dy)$"); err != nil {
			t.Fatal(err)
		}
		if err := p.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if exit, err := p.Wait(ctx); err != nil || exit.Signal != syscall.SIGTERM || exit.Code != -1 {
			t.Errorf("got %v, %v", exit, err)
		}
	})
	t.Run("a line that never comes", func(t *testing.T) {
		p := testbed.Start(t, testbed.Spec{Name: "quick", Path: sh, Args: []string{"-c", "exit 0"}})
		if _, err := p.WaitLog(ctx, "never"); err == nil || ctx.Err() != nil {
			t.Errorf("got %v", err)
		}
	})
	t.Run("ends with its test", func(t *testing.T) {
		var p *testbed.Process
		t.Run("inner", func(t *testing.T) {
			p = testbed.Start(t, testbed.Spec{Name: "sleeper", Path: sh, Args: []string{"-c", "exec sleep 60"}})
		})
		select {
		case <-p.Done():
		default:
			t.Error("it still runs")
		}
	})
	t.Run("no configuration from outside", func(t *testing.T) {
		t.Setenv("GATEBUS_SECRET", "hush")
		p := testbed.Start(t, testbed.Spec{Name: "env", Path: sh, Args: []string{"-c", "echo $GATEBUS_SECRET$OWN"}, Env: []string{"OWN=mine"}})
		if _, err := p.Wait(ctx); err != nil || p.Stdout() != "mine" {
			t.Errorf("stdout %q, %v", p.Stdout(), err)
		}
	})
}
