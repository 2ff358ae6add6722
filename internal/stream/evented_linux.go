package stream

import (
	"bytes"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gatebus/gatebus/internal/socket"
)

// evented is a connection that a loop looks after.
type evented struct {
	// set at construction
	loop *loop
	user User
	fd   int

	// guarded by loop.mu
	asks   asks
	listed bool // among what was asked

	// owned by loop.run
	paused, ended bool

	dirty atomic.Bool // the writer is to look at it

	// io is held while the descriptor is written to, closed, or changed.
	io      sync.Mutex
	known   bool // to epoll
	closed  bool
	failed  bool
	blocked bool        // the kernel took no more; what is left is in rest
	rest    []byte      // not written yet
	due     time.Time   // when that is too late
	timer   *time.Timer // nil while it was never blocked
}

// asks are what a loop is to do for a connection.
type asks uint8

const (
	askStart asks = 1 << iota
	askResume
	askCloseWrite
	askAbort
)

func (c *evented) Start()      { c.loop.ask(c, askStart) }
func (c *evented) Resume()     { c.loop.ask(c, askResume) }
func (c *evented) CloseWrite() { c.loop.ask(c, askCloseWrite) }
func (c *evented) Abort()      { c.loop.ask(c, askAbort) }
func (c *evented) Flush()      { c.loop.writer.add(c) }

const (
	reads  = unix.EPOLLIN | unix.EPOLLRDHUP | edge
	writes = unix.EPOLLOUT
)

// carryOut does what was asked; it tells whether the connection is to be read. It
// runs on the loop.
func (c *evented) carryOut() (read bool) {
	l := c.loop
	l.mu.Lock()
	what := c.asks
	c.asks, c.listed = 0, false
	l.mu.Unlock()
	if c.closed { // written by this goroutine only
		return false
	}
	if what&askAbort != 0 {
		c.close()
		return false
	}
	if what&askStart != 0 {
		if err := c.register(); err != nil {
			c.end(err)
			return false
		}
		read = true
	}
	if what&askCloseWrite != 0 {
		c.io.Lock()
		_ = unix.Shutdown(c.fd, unix.SHUT_WR) // fails on one that is gone
		c.io.Unlock()
	}
	if what&askResume != 0 && c.paused {
		c.paused = !c.user.Received(nil)
		read = read || !c.paused
	}
	return read
}

// register has the loop hear of the connection.
func (c *evented) register() error {
	l := c.loop
	l.mu.Lock()
	l.conns[int32(c.fd)] = c
	l.mu.Unlock()
	c.io.Lock()
	defer c.io.Unlock()
	e := unix.EpollEvent{Events: reads, Fd: int32(c.fd)}
	if c.blocked { // it was written to before
		e.Events |= writes
	}
	err := unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, c.fd, &e)
	c.known = err == nil
	return os.NewSyscallError("epoll_ctl", err)
}

// read hands on what has come, until there is no more or its turn is over; false:
// there may be more. A read that does not fill the buffer has taken all, except
// for the end. It runs on the loop.
func (c *evented) read(end bool) (all bool) {
	buf := c.loop.buf
	for range turns {
		if c.closed || c.ended || c.paused {
			return true
		}
		n, err := socket.Receive(c.fd, buf)
		switch {
		case err == unix.EAGAIN:
			return true
		case err == unix.EINTR:
		case err != nil:
			c.end(os.NewSyscallError("recvfrom", err))
			return true
		case n == 0:
			c.end(io.EOF)
			return true
		default:
			c.paused = !c.user.Received(buf[:n])
			if n < len(buf) && !end {
				return true
			}
		}
	}
	return false
}

// end tells the user, once, that nothing more comes.
func (c *evented) end(err error) {
	if !c.ended {
		c.ended = true
		c.user.Ended(err)
	}
}

// close gives the descriptor back. It runs on the loop.
func (c *evented) close() {
	l := c.loop
	l.mu.Lock()
	if l.conns[int32(c.fd)] == c {
		delete(l.conns, int32(c.fd))
	}
	l.mu.Unlock()
	c.io.Lock()
	c.closed, c.blocked, c.rest = true, false, nil
	if c.timer != nil {
		c.timer.Stop()
	}
	_ = unix.Close(c.fd) // takes it off the epoll set too
	c.io.Unlock()
	c.end(net.ErrClosed)
	l.pool.ended()
}

// write writes what there is to write, as far as the kernel takes it; false: its
// turn is over, and there may be more. It runs on the writer.
func (c *evented) write(buf []byte) (all bool) {
	c.io.Lock()
	defer c.io.Unlock()
	for range turns {
		if c.closed || c.failed {
			return true
		}
		out, within := c.rest, time.Duration(0)
		fresh := len(out) == 0
		if fresh {
			if out, within = c.user.Output(buf[:0]); len(out) == 0 {
				return true
			}
		}
		n, err := writeSome(c.fd, out)
		if err != nil {
			c.fail(os.NewSyscallError("sendto", err))
			return true
		}
		switch out = out[n:]; {
		case len(out) > 0:
			c.block(out, fresh, within, buf)
			return true
		case !fresh:
			c.unblock()
		}
	}
	return false
}

// writeSome writes until all is written or the kernel takes no more.
func writeSome(fd int, p []byte) (n int, err error) {
	for n < len(p) {
		m, err := socket.Send(fd, p[n:])
		switch {
		case err == unix.EAGAIN:
			return n, nil
		case err == unix.EINTR:
		case err != nil:
			return n, err
		default:
			n += m
		}
	}
	return n, nil
}

// block keeps what the kernel does not take now. io is held.
func (c *evented) block(rest []byte, fresh bool, within time.Duration, buf []byte) {
	c.rest = rest
	if !fresh {
		return
	}
	if sameArray(rest, buf) {
		c.rest = bytes.Clone(rest) // the buffer is the writer's
	}
	c.blocked = true
	c.due = time.Now().Add(within)
	if c.timer == nil {
		c.timer = time.AfterFunc(within, c.timeOut)
	} else {
		c.timer.Reset(within)
	}
	c.watch(reads | writes)
}

// sameArray tells whether two slices, that have some capacity, end in the same
// place.
func sameArray(a, b []byte) bool {
	return &a[:cap(a)][cap(a)-1] == &b[:cap(b)][cap(b)-1]
}

// unblock notes that the kernel has taken what it did not before. io is held.
func (c *evented) unblock() {
	c.blocked, c.rest = false, nil
	c.timer.Stop()
	c.watch(reads)
}

// watch says what the loop is to hear of; what is the case already is told too.
func (c *evented) watch(what uint32) {
	if !c.known { // register will see to it
		return
	}
	e := unix.EpollEvent{Events: what, Fd: int32(c.fd)}
	if err := unix.EpollCtl(c.loop.epoll, unix.EPOLL_CTL_MOD, c.fd, &e); err != nil {
		c.fail(os.NewSyscallError("epoll_ctl", err)) // it would never go on
	}
}

// timeOut fails a connection that was blocked for too long.
func (c *evented) timeOut() {
	c.io.Lock()
	defer c.io.Unlock()
	if c.blocked && !c.closed && !time.Now().Before(c.due) {
		c.fail(os.ErrDeadlineExceeded)
	}
}

// fail says, once, that nothing more is written. io is held.
func (c *evented) fail(err error) {
	if c.failed {
		return
	}
	c.failed, c.blocked, c.rest = true, false, nil
	c.user.Failed(err)
}

// writer writes to the connections of a loop, one after the other.
type writer struct {
	// set at construction
	wake chan struct{} // buffered

	mu      sync.Mutex
	dirty   []*evented
	corks   int  // who has put one in sees to a few itself
	idle    bool // it waits to be woken
	stopped bool
}

// few is how many connections somebody else than the writer writes to: it is to
// be woken for more.
const few = 2

// add has the connection written to soon.
func (w *writer) add(c *evented) {
	if !c.dirty.CompareAndSwap(false, true) {
		return
	}
	w.mu.Lock()
	w.dirty = append(w.dirty, c)
	wake := w.idle && (w.corks == 0 || len(w.dirty) > few)
	if wake {
		w.idle = false
	}
	w.mu.Unlock()
	if wake {
		w.wake <- struct{}{}
	}
}

// cork keeps the writer from being woken for few connections until uncork.
func (w *writer) cork() {
	w.mu.Lock()
	w.corks++
	w.mu.Unlock()
}

// uncork writes to the few connections that the writer was not woken for, if the
// writer has nothing to do.
func (w *writer) uncork() {
	w.mu.Lock()
	w.corks--
	var mine [few]*evented
	n := 0
	if w.idle && !w.stopped {
		n = copy(mine[:], w.dirty)
		clear(w.dirty)
		w.dirty = w.dirty[:0]
	}
	w.mu.Unlock()
	if n == 0 {
		return
	}
	pooled := buffers.Get().(*[]byte)
	defer buffers.Put(pooled)
	for _, c := range mine[:n] {
		c.dirty.Store(false)
		if !c.write((*pooled)[:0]) {
			w.add(c)
		}
	}
}

// run writes until it is stopped.
func (w *writer) run() {
	buf := make([]byte, 0, writeSize)
	var batch []*evented
	for {
		w.mu.Lock()
		if w.stopped {
			w.mu.Unlock()
			return
		}
		batch, w.dirty = w.dirty, batch[:0]
		w.idle = len(batch) == 0
		idle := w.idle
		w.mu.Unlock()
		if idle {
			<-w.wake
			continue
		}
		for _, c := range batch {
			c.dirty.Store(false)
			if !c.write(buf) {
				w.add(c)
			}
		}
		clear(batch)
	}
}

func (w *writer) stop() {
	w.mu.Lock()
	w.stopped = true
	idle := w.idle
	w.idle = false
	w.mu.Unlock()
	if idle {
		w.wake <- struct{}{}
	}
}
