package stream_test

import (
	"bytes"
	"io"
	"net"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatebus/gatebus/internal/stream"
)

// Connections that are flushed while the pool is corked are written to when it is
// uncorked, few or many, and no later; corks of others do not matter.
func TestCork(t *testing.T) {
	both(t, func(t *testing.T, p *stream.Pool) {
		p.Cork().Uncork() // of a pool that has started nothing
		var users []*user
		var clients []*net.TCPConn
		for range 40 {
			server, client := pair(t)
			users, clients = append(users, take(t, p, server, &user{})), append(clients, client)
		}
		other := p.Cork()
		defer other.Uncork()
		for round := range 20 {
			for _, n := range []int{1, 2, 3, len(users)} {
				corked := p.Cork()
				for _, u := range users[:n] {
					u.send([]byte{byte(round)})
				}
				corked.Uncork()
				for i, c := range clients[:n] {
					var got [1]byte
					if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
						t.Fatal(err)
					}
					if _, err := io.ReadFull(c, got[:]); err != nil || got[0] != byte(round) {
						t.Fatalf("round %d, %d of %d: %d, %v", round, i, n, got[0], err)
					}
				}
			}
		}
	})
}

// Before and After are called around what one look has found, and never both
// outside of each other.
func TestBeforeAfter(t *testing.T) {
	var in, most, calls atomic.Int32
	p := &stream.Pool{
		Before: func() { most.Store(max(most.Load(), in.Add(1))) },
		After:  func() { in.Add(-1); calls.Add(1) },
	}
	server, client := pair(t)
	u := take(t, p, server, &user{wants: func(*user) bool {
		if runtime.GOOS == "linux" && in.Load() != 1 {
			t.Error("Received outside of Before and After")
		}
		return true
	}})
	for range 10 {
		if _, err := client.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	_ = client.Close()
	u.end(t)
	p.Close() // the last After has returned
	if runtime.GOOS == "linux" && (most.Load() != 1 || calls.Load() == 0) {
		t.Errorf("%d inside at most, %d calls", most.Load(), calls.Load())
	}
}

// What waits for one connection to have room is not touched by what is written to
// others meanwhile.
func TestBlockedKeepsItsOwn(t *testing.T) {
	both(t, func(t *testing.T, p *stream.Pool) {
		const n, size, chunks = 8, 50_000, 20 // a chunk fits into the buffer of a writer
		var clients []*net.TCPConn
		for i := range n {
			server, client := pair(t)
			if err := server.SetWriteBuffer(4 << 10); err != nil {
				t.Fatal(err)
			}
			u := take(t, p, server, &user{})
			for range chunks {
				u.send(bytes.Repeat([]byte{byte(i + 1)}, size))
			}
			clients = append(clients, client)
		}
		for i, c := range clients {
			got := make([]byte, size*chunks)
			if _, err := io.ReadFull(c, got); err != nil {
				t.Fatal(err)
			}
			if k := bytes.Count(got, []byte{byte(i + 1)}); k != len(got) {
				t.Errorf("connection %d: %d bytes are of others", i, len(got)-k)
			}
		}
	})
}
