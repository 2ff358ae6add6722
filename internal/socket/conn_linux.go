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
// Setting a deadline for writing costs nothing: a timer is set only for a write that has to
// wait.
func Conn(c net.Conn) net.Conn {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return c
	}
	raw, err := tcp.SyscallConn()
	if err != nil { // it is closed
		return c
	}
	return &conn{Conn: c, raw: raw}
}

type conn struct {
	// set at construction
	net.Conn
	raw syscall.RawConn

	writing sync.Mutex // held by who writes

	mu       sync.Mutex
	deadline time.Time // for writing
	waiting  bool      // a write waits, until then
}

// Read implements net.Conn.
func (c *conn) Read(p []byte) (n int, err error) {
	if len(p) == 0 {
		return 0, nil
	}
	var failed error
	err = c.raw.Read(func(fd uintptr) bool {
		n, failed = retry(Receive, int(fd), p)
		return failed != unix.EAGAIN
	})
	switch {
	case err != nil:
		return 0, as("read", err)
	case failed != nil:
		return 0, c.failure("read", "recvfrom", failed)
	case n == 0:
		return 0, io.EOF
	}
	watch()
	return n, nil
}

// Write implements net.Conn.
func (c *conn) Write(p []byte) (n int, err error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	if c.late() {
		return 0, c.opError("write", os.ErrDeadlineExceeded)
	}
	n, done, err := c.write(p, false)
	if done || err != nil {
		return n, err
	}
	c.wait(true)
	defer c.wait(false)
	m, _, err := c.write(p[n:], true)
	return n + m, err
}

// write writes until all is written, or until the other end must take something first
// if it is not to wait for that.
func (c *conn) write(p []byte, wait bool) (n int, done bool, err error) {
	var failed error
	err = c.raw.Write(func(fd uintptr) bool {
		for n < len(p) && failed == nil {
			var m int
			m, failed = retry(Send, int(fd), p[n:])
			n += m
		}
		if failed == unix.EAGAIN {
			failed = nil
			return !wait
		}
		return true
	})
	switch {
	case err != nil:
		err = as("write", err)
	case failed != nil:
		err = c.failure("write", "sendto", failed)
	}
	return n, n == len(p), err
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
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
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
