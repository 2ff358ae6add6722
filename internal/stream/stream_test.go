package stream_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/gatebus/gatebus/internal/stream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long something may take that comes at once.
const patience = 20 * time.Second

// both runs a test with connections of loops, where there are such, and with
// goroutines.
func both(t *testing.T, fn func(t *testing.T, p *stream.Pool)) {
	for name, goroutines := range map[string]bool{"loops": false, "goroutines": true} {
		t.Run(name, func(t *testing.T) {
			p := &stream.Pool{Goroutines: goroutines}
			t.Cleanup(p.Close) // after all that fn cleans up
			fn(t, p)
		})
	}
}

// pair are the two ends of a TCP connection.
func pair(t testing.TB) (server, client *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return s.(*net.TCPConn), c.(*net.TCPConn)
}

// user keeps what it receives, and has what it is given written.
type user struct {
	conn   stream.Conn
	within time.Duration
	// wants is asked for each Received; nil takes all.
	wants func(u *user) bool

	receiving, writing atomic.Int32 // calls under way

	mu       sync.Mutex
	received []byte
	calls    int
	out      [][]byte
	shared   bool // give out as it is, not in the buffer
	failed   error
	ended    chan error // buffered
	faults   []string
}

func take(t testing.TB, p *stream.Pool, nc net.Conn, u *user) *user {
	t.Helper()
	u.ended = make(chan error, 2)
	if u.within == 0 {
		u.within = patience
	}
	conn, err := p.Take(nc, u)
	if err != nil {
		t.Fatal(err)
	}
	u.conn = conn
	conn.Start()
	t.Cleanup(func() {
		conn.Abort()
		for _, f := range u.faults {
			t.Error(f)
		}
	})
	return u
}

func (u *user) fault(s string) {
	u.mu.Lock()
	u.faults = append(u.faults, s)
	u.mu.Unlock()
}

func (u *user) Received(p []byte) bool {
	if u.receiving.Add(1) != 1 {
		u.fault("two calls of Received at a time")
	}
	defer u.receiving.Add(-1)
	u.mu.Lock()
	u.received = append(u.received, p...)
	u.calls++
	u.mu.Unlock()
	for i := range p {
		p[i] = 0xee // they are ours
	}
	return u.wants == nil || u.wants(u)
}

func (u *user) Ended(err error) {
	if u.receiving.Add(1) != 1 {
		u.fault("Ended beside Received")
	}
	u.ended <- err
	u.conn.Abort()
}

func (u *user) Output(buf []byte) ([]byte, time.Duration) {
	if u.writing.Add(1) != 1 {
		u.fault("two calls of Output at a time")
	}
	defer u.writing.Add(-1)
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(buf) != 0 {
		u.faults = append(u.faults, "the buffer is not empty")
	}
	if len(u.out) == 0 {
		return nil, 0
	}
	next := u.out[0]
	u.out = u.out[1:]
	if u.shared {
		return next, u.within
	}
	return append(buf, next...), u.within
}

func (u *user) Failed(err error) {
	u.mu.Lock()
	u.failed = errors.Join(u.failed, err)
	u.mu.Unlock()
	u.conn.Abort()
}

func (u *user) send(p ...[]byte) {
	u.mu.Lock()
	u.out = append(u.out, p...)
	u.mu.Unlock()
	u.conn.Flush()
}

func (u *user) end(t testing.TB) error {
	t.Helper()
	select {
	case err := <-u.ended:
		return err
	case <-time.After(patience):
		t.Fatal("it does not end")
	}
	return nil
}

func random(n int) []byte {
	r := rand.NewChaCha8([32]byte{1})
	p := make([]byte, n)
	_, _ = r.Read(p)
	return p
}

// What one end sends comes to the other, whole and in order, in pieces of all
// sizes, both ways at the same time, with a reader that often wants no more.
func TestBothWays(t *testing.T) {
	both(t, func(t *testing.T, p *stream.Pool) {
		server, client := pair(t)
		const total = 8 << 20
		want := random(total)
		var left atomic.Int64
		u := take(t, p, server, &user{wants: func(u *user) bool {
			if left.Add(-1) >= 0 || rand.IntN(4) > 0 {
				return true
			}
			go func() { runtime.Gosched(); u.conn.Resume() }()
			return false
		}})
		var pieces [][]byte
		for rest := want; len(rest) > 0; {
			n := min(len(rest), 1+rand.IntN(300_000))
			if rand.IntN(3) == 0 {
				n = min(len(rest), 1+rand.IntN(200))
			}
			pieces = append(pieces, rest[:n])
			rest = rest[n:]
		}
		go func() {
			for _, piece := range pieces {
				if _, err := client.Write(piece); err != nil {
					t.Error(err)
					return
				}
			}
			if err := client.CloseWrite(); err != nil {
				t.Error(err)
			}
		}()
		go func() {
			for i, piece := range pieces {
				u.send(piece)
				if i%16 == 0 {
					runtime.Gosched()
				}
			}
		}()
		got := make([]byte, total)
		if err := client.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		if n, err := io.ReadFull(client, got); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%d of %d bytes came back, equal: %v, %v", n, total, bytes.Equal(got, want), err)
		}
		if err := u.end(t); err != io.EOF {
			t.Errorf("ended with %v", err)
		}
		u.mu.Lock()
		defer u.mu.Unlock()
		if !bytes.Equal(u.received, want) {
			t.Errorf("%d of %d bytes were received, or others", len(u.received), total)
		}
	})
}

// Who wants no more is not given more, and the peer cannot send without end; the
// first call after Resume gives nothing new, and nothing was lost.
func TestResume(t *testing.T) {
	both(t, func(t *testing.T, p *stream.Pool) {
		server, client := pair(t)
		var wanted atomic.Bool
		paused := make(chan struct{}, 1)
		u := take(t, p, server, &user{wants: func(*user) bool {
			if !wanted.Load() {
				paused <- struct{}{}
			}
			return wanted.Load()
		}})
		chunk := random(1 << 20)
		if err := client.SetWriteDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		var sent atomic.Int64
		go func() {
			for {
				n, err := client.Write(chunk)
				sent.Add(int64(n))
				if err != nil {
					return
				}
			}
		}()
		<-paused
		// The sender stands still when all buffers on the way are full.
		for was := int64(-1); was != sent.Load(); {
			was = sent.Load()
			time.Sleep(100 * time.Millisecond) // nothing tells that nothing happens
		}
		u.mu.Lock()
		if u.calls != 1 {
			t.Errorf("%d calls though nothing was wanted after the first", u.calls)
		}
		first := len(u.received)
		u.mu.Unlock()
		if sent.Load() > 64<<20 {
			t.Errorf("the peer could send %d bytes to one who does not read", sent.Load())
		}
		u.conn.Resume()
		<-paused
		u.mu.Lock()
		if u.calls != 2 || len(u.received) != first {
			t.Errorf("%d calls and %d bytes after Resume, %d before", u.calls, len(u.received), first)
		}
		u.mu.Unlock()
		wanted.Store(true)
		u.conn.Resume()
		deadline := time.Now().Add(patience)
		for got := 0; got < 2*first+len(chunk) && time.Now().Before(deadline); runtime.Gosched() {
			u.mu.Lock()
			got = len(u.received)
			u.mu.Unlock()
		}
		_ = client.Close()
		u.end(t)
		u.mu.Lock()
		defer u.mu.Unlock()
		for i := range u.received {
			if u.received[i] != chunk[i%len(chunk)] {
				t.Fatalf("byte %d of %d is wrong", i, len(u.received))
			}
		}
	})
}

// A peer that does not read fails the connection after the time that Output gave,
// not before, and no other connection notices.
func TestWriteTakesTooLong(t *testing.T) {
	both(t, func(t *testing.T, p *stream.Pool) {
		server, _ := pair(t)
		const within = 300 * time.Millisecond
		slow := take(t, p, server, &user{within: within})
		server, client := pair(t)
		other := take(t, p, server, &user{within: time.Minute}) // a busy machine can take as long as the other has
		start := time.Now()
		slow.send(random(32<<20), []byte("never written"))
		go func() {
			for range 100 {
				other.send([]byte("x"))
				runtime.Gosched()
			}
		}()
		if n, err := io.ReadFull(client, make([]byte, 100)); err != nil {
			t.Errorf("the neighbour got %d bytes: %v", n, err)
		}
		slow.end(t)
		took := time.Since(start)
		slow.mu.Lock()
		defer slow.mu.Unlock()
		if !errors.Is(slow.failed, os.ErrDeadlineExceeded) || took < within {
			t.Errorf("failed after %v: %v", took, slow.failed)
		}
	})
}

// A peer that reads again in time gets all of it.
func TestSlowReader(t *testing.T) {
	both(t, func(t *testing.T, p *stream.Pool) {
		for _, shared := range []bool{false, true} {
			server, client := pair(t)
			u := take(t, p, server, &user{shared: shared})
			want := random(16 << 20)
			u.send(want[:1000], want[1000:50_000], want[50_000:8<<20], want[8<<20:])
			var got bytes.Buffer
			for n := 0; n < len(want); {
				m, err := io.CopyN(&got, client, min(1<<20, int64(len(want)-n)))
				if err != nil {
					t.Fatal(err)
				}
				n += int(m)
				runtime.Gosched()
			}
			if !bytes.Equal(got.Bytes(), want) {
				t.Error("not what was sent")
			}
		}
	})
}

func TestEnds(t *testing.T) {
	both(t, func(t *testing.T, p *stream.Pool) {
		server, client := pair(t)
		u := take(t, p, server, &user{})
		if _, err := client.Write([]byte("last")); err != nil {
			t.Fatal(err)
		}
		_ = client.Close()
		if err := u.end(t); err != io.EOF || string(u.received) != "last" {
			t.Errorf("a peer that leaves: %v after %q", err, u.received)
		}

		server, client = pair(t)
		u = take(t, p, server, &user{})
		u.conn.Abort()
		u.conn.Abort()
		if err := u.end(t); !errors.Is(err, net.ErrClosed) {
			t.Errorf("aborted: %v", err)
		}
		if n, err := client.Read(make([]byte, 1)); n > 0 || err == nil {
			t.Errorf("the peer of an aborted one read %d bytes: %v", n, err)
		}
		u.send([]byte("to nobody"))
		u.conn.Resume()
		u.conn.CloseWrite()

		server, client = pair(t)
		u = take(t, p, server, &user{wants: func(*user) bool { return false }})
		if _, err := client.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		u.conn.Abort() // whether it is paused by now or not
		if err := u.end(t); !errors.Is(err, net.ErrClosed) {
			t.Errorf("aborted while nothing was wanted: %v", err)
		}

		server, client = pair(t)
		u = take(t, p, server, &user{})
		if err := client.SetLinger(0); err != nil {
			t.Fatal(err)
		}
		_ = client.Close() // resets
		if err := u.end(t); err == nil || err == io.EOF {
			t.Errorf("a reset: %v", err)
		}

		server, client = pair(t)
		u = take(t, p, server, &user{})
		u.conn.CloseWrite()
		if n, err := client.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Errorf("after CloseWrite the peer read %d bytes: %v", n, err)
		}
		if _, err := client.Write([]byte("answer")); err != nil {
			t.Fatal(err)
		}
		_ = client.Close()
		if err := u.end(t); err != io.EOF || string(u.received) != "answer" {
			t.Errorf("half closed: %v after %q", err, u.received)
		}
		select {
		case err := <-u.ended:
			t.Errorf("ended twice: %v", err)
		default:
		}
	})
}

// Connections that come and go while others work do not take each other's bytes:
// descriptors are used again.
func TestChurn(t *testing.T) {
	both(t, func(t *testing.T, p *stream.Pool) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		accepted := make(chan struct{})
		go func() {
			defer close(accepted)
			for {
				nc, err := l.Accept()
				if err != nil {
					return
				}
				e := &echo{}
				conn, err := p.Take(nc, e)
				if err != nil {
					t.Error(err)
					return
				}
				e.conn = conn
				conn.Start()
			}
		}()
		var clients sync.WaitGroup
		for w := range 8 {
			clients.Go(func() {
				for i := range 200 {
					nc, err := net.Dial("tcp", l.Addr().String())
					if err != nil {
						t.Error(err)
						return
					}
					want := bytes.Repeat([]byte{byte(w), byte(i)}, 1+rand.IntN(2000))
					got := make([]byte, len(want))
					_ = nc.SetDeadline(time.Now().Add(patience))
					if _, err := nc.Write(want); err != nil {
						t.Error(err)
					}
					if i%3 > 0 { // the others leave with their answer on its way
						if _, err := io.ReadFull(nc, got); err != nil || !bytes.Equal(got, want) {
							t.Errorf("client %d.%d: %v, equal: %v", w, i, err, bytes.Equal(got, want))
						}
					}
					_ = nc.Close()
				}
			})
		}
		clients.Wait()
		_ = l.Close()
		<-accepted
	})
}

// echo sends back what comes.
type echo struct {
	conn stream.Conn
	mu   sync.Mutex
	out  []byte
}

func (e *echo) Received(p []byte) bool {
	e.mu.Lock()
	e.out = append(e.out, p...)
	e.mu.Unlock()
	e.conn.Flush()
	return true
}

func (e *echo) Ended(error) { e.conn.Abort() }

func (e *echo) Output(buf []byte) ([]byte, time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	buf = append(buf, e.out...)
	e.out = e.out[:0]
	return buf, patience
}

func (e *echo) Failed(error) { e.conn.Abort() }

// A closed pool takes nothing, and what is not a socket of the system has
// goroutines.
func TestClosedAndPipes(t *testing.T) {
	p := &stream.Pool{}
	server, client := net.Pipe()
	defer client.Close()
	u := take(t, p, server, &user{})
	go u.send([]byte("through a pipe"))
	got := make([]byte, 14)
	if _, err := io.ReadFull(client, got); err != nil || string(got) != "through a pipe" {
		t.Errorf("%q, %v", got, err)
	}
	closed := make(chan struct{})
	go func() { p.Close(); close(closed) }()
	select {
	case <-closed:
		t.Error("closed with a connection that has not ended")
	default:
	}
	u.conn.Abort()
	select {
	case <-closed:
	case <-time.After(patience):
		t.Fatal("not closed after the last connection has ended")
	}
	tcp, _ := pair(t)
	if _, err := p.Take(tcp, &user{}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a closed pool: %v", err)
	}
	if err := tcp.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a connection that was not taken is open: %v", err)
	}
}

// What is flushed before Start is written, however much it is.
func TestFlushBeforeStart(t *testing.T) {
	both(t, func(t *testing.T, p *stream.Pool) {
		want := random(1 << 20)
		for range 30 {
			server, client := pair(t)
			if err := server.SetWriteBuffer(4 << 10); err != nil { // takes little at once
				t.Fatal(err)
			}
			u := &user{ended: make(chan error, 2), within: patience, out: [][]byte{want}}
			conn, err := p.Take(server, u)
			if err != nil {
				t.Fatal(err)
			}
			u.conn = conn
			t.Cleanup(conn.Abort)
			conn.Flush()
			conn.Start()
			got := make([]byte, len(want))
			if n, err := io.ReadFull(client, got); err != nil || !bytes.Equal(got, want) {
				u.mu.Lock()
				t.Fatalf("%d bytes came: %v; at the other end: %v", n, err, u.failed)
			}
		}
	})
}
