package socket

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Conn returns a connection by which another is read and written in the way of this
// package, if that is one over TCP; any other it returns as it is. Deadlines, errors and
// concurrent use are as with the other, which is not to be used any more.
//
// Setting a deadline for writing costs nothing, and tells nothing: a timer is set only for
// a write that has to wait.
func Conn(c net.Conn) net.Conn {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return c
	}
	raw, err := tcp.SyscallConn()
	if err != nil { // it is closed
		return c
	}
	q := &conn{Conn: c, raw: raw}
	q.in.call, q.out.call = q.receive, q.send
	return q
}

type conn struct {
	// set at construction
	net.Conn
	raw syscall.RawConn

	in, out transfer

	mu       sync.Mutex
	deadline time.Time // for writing
	waiting  bool      // a write waits, until then
}

// transfer is a Read or Write that is under way.
type transfer struct {
	sync.Mutex                              // held by whose it is
	call       func(fd uintptr) (over bool) // set at construction
	p          []byte                       // what it is about
	n          int                          // of which are done
	wait       bool                         // for the other end, not only try
	err        error                        // of the system call
}

// do makes a transfer, which is locked; the errors are that of waiting and that of the
// system call.
func (t *transfer) do(wait func(func(uintptr) bool) error, p []byte, patient bool) (n int, err, failed error) {
	t.p, t.n, t.wait, t.err = p, 0, patient, nil
	err = wait(t.call)
	t.p = nil
	return t.n, err, t.err
}

// Read implements net.Conn.
func (c *conn) Read(p []byte) (int, error) {
	c.in.Lock()
	defer c.in.Unlock()
	n, err, failed := c.in.do(c.raw.Read, p, true)
	switch {
	case err != nil:
		return 0, as("read", err)
	case failed != nil:
		return 0, c.failure("read", "recvfrom", failed)
	case n == 0 && len(p) > 0:
		return 0, io.EOF
	}
	watch()
	return n, nil
}

// receive is what Read calls when there may be something.
func (c *conn) receive(fd uintptr) (over bool) {
	t := &c.in
	if len(t.p) == 0 {
		return true
	}
	t.n, t.err = retry(Receive, int(fd), t.p)
	return t.err != unix.EAGAIN
}

// Write implements net.Conn.
func (c *conn) Write(p []byte) (n int, err error) {
	c.out.Lock()
	defer c.out.Unlock()
	if c.late() {
		// If it is closed, too, that comes first.
		if _, err := c.write(nil, false); err != nil {
			return 0, err
		}
		return 0, c.opError("write", os.ErrDeadlineExceeded)
	}
	if n, err = c.write(p, false); n == len(p) || err != nil {
		return n, err
	}
	c.wait(true)
	defer c.wait(false)
	m, err := c.write(p[n:], true)
	return n + m, err
}

// write writes until all is written, or until the other end must take something first
// if it is not to wait for that.
func (c *conn) write(p []byte, wait bool) (int, error) {
	n, err, failed := c.out.do(c.raw.Write, p, wait)
	switch {
	case err != nil:
		err = as("write", err)
	case failed != nil:
		err = c.failure("write", "sendto", failed)
	}
	return n, err
}

// send is what Write calls when there may be room.
func (c *conn) send(fd uintptr) (over bool) {
	t := &c.out
	for t.n < len(t.p) {
		n, err := retry(Send, int(fd), t.p[t.n:])
		t.n += n
		switch {
		case err == unix.EAGAIN:
			return !t.wait
		case err != nil:
			t.err = err
			return true
		}
	}
	return true
}

// late tells whether the deadline for writing is over.
func (c *conn) late() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.deadline.IsZero() && !time.Now().Before(c.deadline)
}

// wait says whether a write waits: only then is there a deadline that can end it.
func (c *conn) wait(waiting bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting = waiting
	var until time.Time
	if waiting {
		until = c.deadline
	}
	_ = c.Conn.SetWriteDeadline(until) // fails if it is closed: so will the write
}

// SetWriteDeadline implements net.Conn.
func (c *conn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline = t
	if c.waiting {
		return c.Conn.SetWriteDeadline(t)
	}
	return nil
}

// SetDeadline implements net.Conn.
func (c *conn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

// retry makes a system call, again if a signal has interrupted it.
func retry(call func(int, []byte) (int, error), fd int, p []byte) (int, error) {
	for {
		if n, err := call(fd, p); err != unix.EINTR {
			return n, err
		}
	}
}

// failure is the error of a system call, as package net has it.
func (c *conn) failure(op, call string, err error) error {
	return c.opError(op, os.NewSyscallError(call, err))
}

func (c *conn) opError(op string, err error) error {
	local := c.LocalAddr()
	return &net.OpError{Op: op, Net: local.Network(), Source: local, Addr: c.RemoteAddr(), Err: err}
}

// as is an error of a raw operation, said of op.
func as(op string, err error) error {
	var e *net.OpError
	if errors.As(err, &e) {
		e.Op = op
	}
	return err
}
