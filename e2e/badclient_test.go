package e2e_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/gatebus/gatebus/gateway"
	"github.com/gatebus/gatebus/internal/testbed"
)

func TestBadFramesCloseOnlyTheirClient(t *testing.T) {
	t.Parallel()
	const limit = 64 << 10
	g := lone(t, "gateway.max_frame=65536")
	plainWorker(t, g, echo)
	url := ws(t, g)
	check := unharmed(t, url)

	t.Run("frame of the largest size", func(t *testing.T) {
		echoes(t, dial(t, url), strings.Repeat("x", limit))
	})
	t.Run("frame one byte over the limit", func(t *testing.T) {
		c := dial(t, url)
		write(t, c, strings.Repeat("x", limit+1))
		closedWith(t, c, websocket.CloseMessageTooBig)
	})
	t.Run("frame far over the limit", func(t *testing.T) {
		c := dial(t, url)
		// The gateway stops reading in the middle: that the write fails is fine,
		// that the close frame gets lost is not.
		_ = c.WriteMessage(websocket.BinaryMessage, make([]byte, 8<<20))
		closedWith(t, c, websocket.CloseMessageTooBig)
	})
	t.Run("large frame after good ones", func(t *testing.T) {
		c := dial(t, url)
		write(t, c, "one")
		write(t, c, "two")
		reads(t, c, "one")
		reads(t, c, "two")
		write(t, c, strings.Repeat("x", limit+1))
		closedWith(t, c, websocket.CloseMessageTooBig)
	})
	t.Run("text that is not UTF-8", func(t *testing.T) {
		c := dial(t, url)
		must(t, c.WriteMessage(websocket.TextMessage, []byte("caf\xe9")))
		closedWith(t, c, websocket.CloseInvalidFramePayloadData)
	})
	t.Run("the same as a binary frame", func(t *testing.T) {
		c := dial(t, url)
		must(t, c.WriteMessage(websocket.BinaryMessage, []byte("caf\xe9")))
		reads(t, c, "caf\xe9")
	})
	t.Run("bytes that are no frame", func(t *testing.T) {
		c := dial(t, url)
		_, err := c.NetConn().Write(bytes.Repeat([]byte{0xff}, 64))
		must(t, err)
		closedWith(t, c, websocket.CloseProtocolError)
	})

	check()
	// One close event each, and all clients forgotten.
	awaitStats(t, g, "no clients", func(s gateway.Stats) bool { return s.Clients == 0 })
}

// talk opens a TCP connection, writes, and returns the answer.
func talk(t *testing.T, addr, text string) *http.Response {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	must(t, err)
	t.Cleanup(func() { c.Close() })
	must(t, c.SetDeadline(time.Now().Add(testbed.Patience)))
	_, err = io.WriteString(c, text)
	must(t, err)
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	must(t, err)
	t.Cleanup(func() { resp.Body.Close() })
	return resp
}

func TestBadHandshakesAreAnsweredAndHarmNobody(t *testing.T) {
	t.Parallel()
	g := lone(t)
	plainWorker(t, g, echo)
	check := unharmed(t, ws(t, g))
	clients := addr(t, g, "clients")
	const upgrade = "Host: gw\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
	for name, tt := range map[string]struct {
		text string
		want int
	}{
		"garbage":           {"\x00\x01nonsense\r\n\r\n", http.StatusBadRequest},
		"a TLS hello":       {"\x16\x03\x01\x00\xc8\x01\x00\x00\xc4\x03\x03" + strings.Repeat("\r\n", 4), http.StatusBadRequest},
		"a bad header":      {"GET / HTTP/1.1\r\nHost: gw\r\nno colon here\r\n\r\n", http.StatusBadRequest},
		"an endless header": {"GET / HTTP/1.1\r\nHost: gw\r\nX: " + strings.Repeat("x", 64<<10) + "\r\n\r\n", http.StatusRequestHeaderFieldsTooLarge},
		"no WebSocket":      {"GET / HTTP/1.1\r\nHost: gw\r\n\r\n", http.StatusUpgradeRequired},
		"no version":        {"GET / HTTP/1.1\r\n" + upgrade + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", http.StatusBadRequest},
		"no key":            {"GET / HTTP/1.1\r\n" + upgrade + "Sec-WebSocket-Version: 13\r\n\r\n", http.StatusBadRequest},
		"a bad key":         {"GET / HTTP/1.1\r\n" + upgrade + "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: short\r\n\r\n", http.StatusBadRequest},
		"POST":              {"POST / HTTP/1.1\r\n" + upgrade + "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", http.StatusMethodNotAllowed},
	} {
		t.Run(name, func(t *testing.T) {
			if resp := talk(t, clients, tt.text); resp.StatusCode != tt.want {
				t.Errorf("answer %s, want %d", resp.Status, tt.want)
			}
		})
	}
	t.Run("garbage on the bus", func(t *testing.T) {
		c, err := net.Dial("tcp", addr(t, g, "bus"))
		must(t, err)
		defer c.Close()
		must(t, c.SetDeadline(time.Now().Add(testbed.Patience)))
		_, err = c.Write(bytes.Repeat([]byte("nonsense\x00\r\n"), 100))
		must(t, err)
		if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error("the connection stays open")
		}
	})
	check()
	awaitStats(t, g, "no clients", func(s gateway.Stats) bool { return s.Clients == 0 })
}

func TestHandshakesThatNeverEndHarmNobody(t *testing.T) {
	connections := 2_000
	if long {
		connections = 10_000
	}
	if limit := fileLimit(t); limit < uint64(connections)+500 {
		t.Logf("the system allows only %d open files: fewer connections", limit)
		connections = int(limit) - 500
	}
	const timeout = 3 * time.Second
	g := lone(t, "gateway.handshake_timeout="+timeout.String())
	plainWorker(t, g, echo)
	check := unharmed(t, ws(t, g))

	clients := addr(t, g, "clients")
	openings := []string{"", "G", "GET / HTTP/1.1\r\nHost: gw\r\n", "GET / HTTP/1.1\r\nHost: gw\r\nUpgrade: websocket\r\nX-Slow: "}
	var (
		stalled = make([]net.Conn, connections)
		opened  = make([]time.Time, connections)
		next    = make(chan int)
		dialers sync.WaitGroup
	)
	for range 16 {
		dialers.Go(func() {
			for i := range next {
				start := time.Now() // the gateway's time may begin before Dial is back
				c, err := net.Dial("tcp", clients)
				if err != nil {
					t.Errorf("connection %d: %v", i, err)
					continue
				}
				stalled[i], opened[i] = c, start
				if _, err := io.WriteString(c, openings[i%len(openings)]); err != nil {
					t.Errorf("connection %d: %v", i, err)
				}
			}
		})
	}
	for i := range connections {
		next <- i
	}
	close(next)
	dialers.Wait()
	defer func() {
		for _, c := range stalled {
			if c != nil {
				c.Close()
			}
		}
	}()

	// A new client gets in while they are all there.
	start := time.Now()
	echoes(t, dial(t, ws(t, g)), "hello")
	t.Logf("%d connections made; a new client was served in %v", connections, time.Since(start).Round(time.Millisecond))

	var (
		slowest time.Duration
		mu      sync.Mutex
		closed  sync.WaitGroup
	)
	for i, c := range stalled {
		if c == nil {
			continue
		}
		closed.Go(func() {
			_ = c.SetReadDeadline(opened[i].Add(timeout + testbed.Patience)) // of a connection that is open
			_, err := io.Copy(io.Discard, c)
			took := time.Since(opened[i])
			if errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("connection %d was never closed", i)
			} else if took < timeout-100*time.Millisecond {
				t.Errorf("connection %d was closed after %v already: %v", i, took, err)
			}
			mu.Lock()
			defer mu.Unlock()
			slowest = max(slowest, took)
		})
	}
	closed.Wait()
	t.Logf("all closed, the last after %v", slowest.Round(time.Millisecond))
	check()
}

// fileLimit is how many files a process may have open. Go has raised the limit
// of this one to what the system allows, and does so in those it starts.
func fileLimit(t *testing.T) uint64 {
	t.Helper()
	var l syscall.Rlimit
	must(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l))
	return uint64(l.Cur)
}
