package socket_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/net/nettest"

	"github.com/gatebus/gatebus/internal/socket"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pair returns the two ends of a connection over TCP, ours as package socket has it.
func pair(t testing.TB) (ours net.Conn, theirs *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs = socket.Conn(c), s.(*net.TCPConn)
	t.Cleanup(func() { _, _ = ours.Close(), theirs.Close() })
	return ours, theirs
}

// It is a net.Conn like any: deadlines, errors, concurrent use.
func TestConn(t *testing.T) {
	nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
		ours, theirs := pair(t)
		return ours, theirs, func() { _, _ = ours.Close(), theirs.Close() }, nil
	})
}

// A pipe is no socket; it stays as it is.
func TestOther(t *testing.T) {
	c, other := net.Pipe()
	defer func() { _, _ = c.Close(), other.Close() }()
	if socket.Conn(c) != c {
		t.Error("another connection was made of a pipe")
	}
}

// Much is written before any of it is read: all of it arrives, whole.
func TestMuch(t *testing.T) {
	ours, theirs := pair(t)
	want := make([]byte, 32<<20) // more than a socket's buffers hold
	_, _ = rand.Read(want)
	wrote := make(chan error, 1)
	go func() {
		_, err := ours.Write(want)
		wrote <- errors.Join(err, ours.Close())
	}()
	got, err := io.ReadAll(theirs)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes arrived, err %v; want all %d that were written", len(got), err, len(want))
	}
	if err := <-wrote; err != nil {
		t.Error(err)
	}
}

// A read and a write allocate nothing, deadline or not.
func TestAllocations(t *testing.T) {
	ours, theirs := pair(t)
	b := make([]byte, 100)
	if n := testing.AllocsPerRun(100, func() {
		set(t, ours, time.Now().Add(time.Minute))
		_, err1 := ours.Write(b)
		_, err2 := theirs.Read(b)
		_, err3 := theirs.Write(b)
		_, err4 := ours.Read(b)
		if err := errors.Join(err1, err2, err3, err4); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// Who wants nothing, or has nothing to write, does not wait.
func TestNothing(t *testing.T) {
	ours, _ := pair(t)
	if err := ours.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	for name, do := range map[string]func([]byte) (int, error){"Read": ours.Read, "Write": ours.Write} {
		if n, err := do(nil); n != 0 || err != nil {
			t.Errorf("%s of nothing: %d, %v", name, n, err)
		}
	}
}

// What several write at the same time arrives in one piece each.
func TestTogether(t *testing.T) {
	const writers, pieces, size = 4, 100, 256 << 10
	ours, theirs := pair(t)
	var wrote sync.WaitGroup
	for i := range writers {
		wrote.Go(func() {
			for range pieces {
				if _, err := ours.Write(bytes.Repeat([]byte{byte('a' + i)}, size)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	b := make([]byte, size)
	for range writers * pieces {
		if _, err := io.ReadFull(theirs, b); err != nil {
			t.Fatal(err)
		}
		if n := bytes.Count(b, b[:1]); n != size {
			t.Fatalf("%d bytes of %d are of the same writer", n, size)
		}
	}
	wrote.Wait()
}

// A deadline ends a write that waits, the same whether it was set before or while it does,
// and what is written later waits no longer for it.
func TestWriteDeadline(t *testing.T) {
	for _, when := range []string{"before", "while it waits"} {
		t.Run(when, func(t *testing.T) {
			ours, theirs := pair(t)
			much := make([]byte, 32<<20)
			if when == "before" {
				set(t, ours, time.Now().Add(50*time.Millisecond))
			}
			type result struct {
				n   int
				err error
			}
			wrote := make(chan result, 1)
			go func() {
				n, err := ours.Write(much)
				wrote <- result{n, err}
			}()
			if when != "before" {
				if _, err := io.ReadFull(theirs, make([]byte, 1)); err != nil { // it is at it
					t.Fatal(err)
				}
				set(t, ours, time.Now().Add(50*time.Millisecond))
			}
			r := <-wrote
			var timeout net.Error
			if !errors.Is(r.err, os.ErrDeadlineExceeded) || !errors.As(r.err, &timeout) || !timeout.Timeout() || r.n >= len(much) {
				t.Fatalf("wrote %d of %d bytes, err %v; want less, and the deadline's error", r.n, len(much), r.err)
			}
			if _, err := ours.Write(much); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatalf("written after the deadline: %v", err)
			}
			set(t, ours, time.Time{})
			go func() { _, err := ours.Write([]byte("end")); wrote <- result{0, errors.Join(err, ours.Close())} }()
			got, err := io.ReadAll(theirs)
			if err != nil || !strings.HasSuffix(string(got), "end") {
				t.Errorf("%d bytes arrived, err %v; want what was written without a deadline among them", len(got), err)
			}
			if r := <-wrote; r.err != nil {
				t.Error(r.err)
			}
		})
	}
}

func set(t *testing.T, c net.Conn, deadline time.Time) {
	t.Helper()
	if err := c.SetWriteDeadline(deadline); err != nil {
		t.Fatal(err)
	}
}

// What goes wrong is told as package net does: what was tried, with whom, why.
func TestErrors(t *testing.T) {
	ours, theirs := pair(t)
	if err := theirs.SetLinger(0); err != nil { // it is reset when closed
		t.Fatal(err)
	}
	if err := theirs.Close(); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 1)
	_, readErr := ours.Read(b)
	_, writeErr := ours.Write(b)
	ends := ours.LocalAddr().String() + "->" + ours.RemoteAddr().String()
	for _, c := range []struct {
		err  error
		want string
	}{
		{readErr, "read tcp " + ends + ": recvfrom: connection reset by peer"},
		{writeErr, "write tcp " + ends + ": sendto: broken pipe"},
	} {
		if c.err == nil || c.err.Error() != c.want {
			t.Errorf("got %v, want %s", c.err, c.want)
		}
	}
	if err := ours.Close(); err != nil {
		t.Fatal(err)
	}
	_, readErr = ours.Read(b)
	_, writeErr = ours.Write(b)
	set(t, ours, time.Now().Add(-time.Second))
	_, lateErr := ours.Write(b)
	_, nilErr := ours.Read(nil)
	for _, c := range []struct {
		op  string
		err error
	}{{"read", readErr}, {"read", nilErr}, {"write", writeErr}, {"write", lateErr}} {
		op, err := c.op, c.err
		if !errors.Is(err, net.ErrClosed) || !strings.HasPrefix(err.Error(), op+" tcp") {
			t.Errorf("%s of a closed connection: %v", op, err)
		}
	}
}
