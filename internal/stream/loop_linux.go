package stream

import (
	"fmt"
	"net"
	"os"
	"runtime"
	"slices"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxEvents is how many connections a loop hears of at once.
const maxEvents = 256

// loop looks after a share of the connections. Its epoll descriptor is itself
// watched by Go's poller, so a loop that waits costs no thread.
type loop struct {
	// set at construction
	pool   *Pool
	epoll  int
	file   *os.File        // epoll
	raw    syscall.RawConn // of file
	waker  int             // an eventfd: something was asked
	writer writer

	// owned by run
	buf    []byte
	events []unix.EpollEvent
	ready  []ready
	heard  int   // events
	err    error // of waiting
	poll   func(uintptr) bool

	mu      sync.Mutex
	conns   map[int32]*evented // by descriptor
	asked   []*evented
	stopped bool
}

// ready is a connection that may have something to be read.
type ready struct {
	conn *evented
	// end says that the peer may have come to its end: to be read up to there.
	end bool
}

// canEvent tells whether a connection's descriptor is all there is to it.
func canEvent(nc net.Conn) bool {
	switch nc.(type) {
	case *net.TCPConn, *net.UnixConn:
		return true
	}
	return false
}

func newLoop(p *Pool) (*loop, error) {
	l := &loop{
		pool: p, buf: make([]byte, readSize), events: make([]unix.EpollEvent, maxEvents),
		conns: map[int32]*evented{}, writer: writer{wake: make(chan struct{}, 1)},
	}
	var err error
	if l.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, fmt.Errorf("stream: epoll: %w", err)
	}
	if l.waker, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		_ = unix.Close(l.epoll)
		return nil, fmt.Errorf("stream: eventfd: %w", err)
	}
	if err = l.watch(); err != nil {
		_ = unix.Close(l.waker)
		return nil, err
	}
	l.poll = func(fd uintptr) bool {
		l.heard, l.err = unix.EpollWait(int(fd), l.events, 0)
		if l.err == unix.EINTR {
			l.heard, l.err = 0, nil
		}
		return l.heard > 0 || l.err != nil
	}
	if !p.group.Go(l.run) || !p.group.Go(l.writer.run) { // cannot be: the pool is not closed
		panic("stream: a loop of a closed pool")
	}
	return l, nil
}

// watch puts the epoll descriptor into the hands of Go's poller, which closes it
// from then on.
func (l *loop) watch() error {
	err := unix.SetNonblock(l.epoll, true) // else os.NewFile does not watch it
	if err == nil {
		err = unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, l.waker, &unix.EpollEvent{Events: unix.EPOLLIN | edge, Fd: int32(l.waker)})
	}
	if err != nil {
		_ = unix.Close(l.epoll)
		return fmt.Errorf("stream: watch epoll: %w", err)
	}
	l.file = os.NewFile(uintptr(l.epoll), "epoll")
	if l.raw, err = l.file.SyscallConn(); err != nil {
		_ = l.file.Close()
		return fmt.Errorf("stream: watch epoll: %w", err)
	}
	return nil
}

// edge says that a change is told, not a state: a descriptor is registered once.
const edge = unix.EPOLLET & 0xffffffff

// take makes a connection of nc; nil if its descriptor cannot be had.
func (l *loop) take(nc net.Conn, u User) Conn {
	fd, err := duplicate(nc.(syscall.Conn))
	if err != nil {
		return nil
	}
	_ = nc.Close() // Go's poller lets go of it; the socket stays open
	return &evented{loop: l, user: u, fd: fd}
}

// duplicate makes another descriptor of a socket, which does not block either.
func duplicate(nc syscall.Conn) (int, error) {
	raw, err := nc.SyscallConn()
	if err != nil {
		return 0, err
	}
	var fd int
	var dupErr error
	err = raw.Control(func(s uintptr) { fd, dupErr = unix.FcntlInt(s, unix.F_DUPFD_CLOEXEC, 0) })
	if err == nil {
		err = dupErr
	}
	return fd, err
}

// run reads whatever connections have something, until the loop is stopped.
func (l *loop) run() {
	defer unix.Close(l.waker)
	defer l.file.Close()
	var again []ready // had more than one turn's
	for {
		if len(again) > 0 { // look what else there is, but do not wait
			l.poll(uintptr(l.epoll))
		} else {
			if len(l.ready) > 1 {
				runtime.Gosched()
			}
			if err := l.raw.Read(l.poll); err != nil {
				l.err = err
			}
		}
		if l.err != nil { // cannot be: the descriptor is the loop's own
			panic(fmt.Errorf("stream: epoll: %w", l.err))
		}
		asked, stopped := l.resolve()
		for _, c := range asked {
			if c.carryOut() {
				again = append(again, ready{c, true})
			}
		}
		if stopped {
			return
		}
		l.ready = append(l.ready, again...)
		clear(again)
		again = again[:0]
		for some := range slices.Chunk(l.ready, sweep) {
			again = l.sweep(some, again)
		}
		clear(l.ready)
	}
}

// sweep reads some connections; those that may have more go to again.
func (l *loop) sweep(some, again []ready) []ready {
	if l.pool.Before != nil {
		l.pool.Before()
		defer l.pool.After()
	}
	for _, r := range some {
		if !r.conn.read(r.end) {
			again = append(again, r)
		}
	}
	return again
}

// resolve finds the connections of the events, and what was asked.
func (l *loop) resolve() (asked []*evented, stopped bool) {
	l.ready = l.ready[:0]
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.events[:l.heard] {
		e := &l.events[i]
		if e.Fd == int32(l.waker) {
			var count [8]byte
			_, _ = unix.Read(l.waker, count[:]) // sets it back; that is all
			asked, l.asked = l.asked, nil
			stopped = l.stopped
			continue
		}
		// An event may be of a connection that is no more and whose descriptor
		// has a new one: what it says is only a reason to look.
		c := l.conns[e.Fd]
		if c == nil {
			continue
		}
		if e.Events&unix.EPOLLOUT != 0 {
			l.writer.add(c)
		}
		l.ready = append(l.ready, ready{c, e.Events&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0})
	}
	l.heard = 0
	return asked, stopped
}

// ask has the loop do something for a connection.
func (l *loop) ask(c *evented, what asks) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c.asks |= what
	if c.listed || l.stopped {
		return
	}
	c.listed = true
	l.asked = append(l.asked, c)
	if len(l.asked) == 1 {
		l.wakeLocked()
	}
}

func (l *loop) wakeLocked() {
	// It fails only when the counter is at its limit: the loop is woken anyway.
	_, _ = unix.Write(l.waker, []byte{7: 1})
}

func (l *loop) cork()   { l.writer.cork() }
func (l *loop) uncork() { l.writer.uncork() }

// stop ends the loop, when it has no connections any more.
func (l *loop) stop() {
	l.mu.Lock()
	l.stopped = true
	l.wakeLocked()
	l.mu.Unlock()
	l.writer.stop()
}
