package stream

import (
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatebus/gatebus/internal/running"
)

// User is whom a connection is for. Its methods must not block; the package
// documentation says when they are called.
type User interface {
	// Received takes bytes, which are its own to change until it returns. It
	// tells whether more is wanted; if not, Resume is to follow.
	Received(p []byte) (more bool)

	// Ended says that nothing more comes: io.EOF when the peer has said so,
	// net.ErrClosed after Abort, or what went wrong.
	Ended(err error)

	// Output returns what is to be written next, and how long that may take;
	// nothing when there is nothing. It may append to buf, which is empty, and
	// return that; what else it returns must not change any more.
	Output(buf []byte) (out []byte, within time.Duration)

	// Failed says that something could not be written; nothing more is.
	// os.ErrDeadlineExceeded is wrapped when it took too long.
	Failed(err error)
}

// Conn is a connection of a Pool.
type Conn interface {
	// Start begins to read. It is called once, for every connection that was
	// taken; before that, only Flush and Abort may be.
	Start()
	// Flush has Output called soon.
	Flush()
	// Resume has Received called again, after it wanted no more.
	Resume()
	// CloseWrite tells the peer that nothing more comes.
	CloseWrite()
	// Abort ends the connection at once.
	Abort()
}

const (
	// readSize is how much is read at once, in bytes, while there is much.
	readSize = 64 << 10
	// writeSize is the buffer that Output can append to, in bytes.
	writeSize = 64 << 10
	// turns is how many times a connection is written to, or read from, before
	// others have their turn.
	turns = 4
	// sweep is how many connections are read between Before and After: some
	// tenth of a millisecond.
	sweep = 64
)

// Pool has connections. The zero Pool is ready for use; it starts something only
// when it has to.
type Pool struct {
	// Goroutines makes every connection one with goroutines of its own.
	Goroutines bool
	// Before and After, if set, are called by a loop around its calls of Received
	// for up to sweep connections that have something at the same time. After may
	// take a while: nobody is read meanwhile.
	Before, After func()

	group   running.Group
	running atomic.Pointer[[]*loop] // loops, once they are there

	mu     sync.Mutex
	loops  []*loop // nil until one is needed, empty if they cannot be had
	next   int     // loop
	open   int     // connections that have not ended
	closed bool
	empty  chan struct{} // closed when closed and nothing is open; made by Close
}

// Take makes a connection of nc, which belongs to the pool from then on. The error
// is net.ErrClosed: the pool is; nc is then closed too.
func (p *Pool) Take(nc net.Conn, u User) (Conn, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		_ = nc.Close()
		return nil, net.ErrClosed
	}
	p.open++
	if !p.Goroutines {
		if c := p.evented(nc, u); c != nil {
			return c, nil
		}
	}
	return newPlain(p, nc, u), nil
}

// evented makes a connection that a loop looks after; nil if that cannot be.
func (p *Pool) evented(nc net.Conn, u User) Conn {
	if !canEvent(nc) {
		return nil
	}
	if p.loops == nil {
		p.loops = []*loop{}
		for range loops() {
			l, err := newLoop(p)
			if err != nil { // no descriptor to be had, or a kernel that has no such thing
				break
			}
			p.loops = append(p.loops, l)
		}
		p.running.Store(&p.loops)
	}
	if len(p.loops) == 0 {
		return nil
	}
	p.next = (p.next + 1) % len(p.loops)
	return p.loops[p.next].take(nc, u)
}

// loops is how many there are: one keeps a core and more busy with the system
// calls for its connections.
func loops() int { return max(1, runtime.GOMAXPROCS(0)/2) }

// Corked are writers that somebody has asked to leave a few connections to him.
type Corked []*loop

// Cork says that the caller is about to Flush some connections. Uncork has to
// follow soon.
func (p *Pool) Cork() Corked {
	loops := p.running.Load()
	if loops == nil {
		return nil
	}
	for _, l := range *loops {
		l.cork()
	}
	return *loops
}

// Uncork ends what Cork began. If the connections were few, the caller writes to
// them itself, as far as that needs no waiting: no other goroutine has to be woken
// for them.
func (c Corked) Uncork() {
	for _, l := range c {
		l.uncork()
	}
}

// ended is called once for each connection, when it is closed.
func (p *Pool) ended() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open--
	if p.closed && p.open == 0 {
		close(p.empty)
	}
}

// Close takes no more connections, waits until those that there are have ended,
// by their users' doing, and gives back all else. It is called once.
func (p *Pool) Close() {
	p.mu.Lock()
	p.closed, p.empty = true, make(chan struct{})
	if p.open == 0 {
		close(p.empty)
	}
	loops := p.loops
	p.mu.Unlock()
	<-p.empty
	for _, l := range loops {
		l.stop()
	}
	p.group.Wait()
}
