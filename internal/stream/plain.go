package stream

import (
	"net"
	"sync"
	"time"
)

// plainRead is the buffer that a connection has while nothing comes, in bytes.
const plainRead = 512

// buffers are for what is read or written at once, of any plain connection.
var buffers = sync.Pool{New: func() any { b := make([]byte, readSize); return &b }}

// plain is a connection with a goroutine that reads, and one that writes while
// there is something to write.
type plain struct {
	// set at construction
	pool   *Pool
	nc     net.Conn
	user   User
	resume chan struct{} // buffered
	over   chan struct{} // closed by Abort

	abort sync.Once

	mu      sync.Mutex
	writing bool // a goroutine is at it, or it has failed
	more    bool // Flush was called since Output was
}

func newPlain(p *Pool, nc net.Conn, u User) *plain {
	return &plain{pool: p, nc: nc, user: u, resume: make(chan struct{}, 1), over: make(chan struct{})}
}

func (c *plain) Start() {
	if !c.pool.group.Go(c.read) { // cannot be while the connection is open
		c.Abort()
	}
}

func (c *plain) read() {
	defer c.pool.ended()
	defer c.Abort() // at the latest
	small := make([]byte, plainRead)
	for much := false; ; {
		buf := small
		var pooled *[]byte
		if much {
			pooled = buffers.Get().(*[]byte)
			buf = *pooled
		}
		n, err := c.nc.Read(buf)
		wanted := true
		if n > 0 {
			wanted = c.user.Received(buf[:n])
		}
		much = n == len(buf)
		if pooled != nil {
			buffers.Put(pooled)
		}
		for !wanted {
			select {
			case <-c.resume:
				wanted = c.user.Received(nil)
			case <-c.over:
				c.user.Ended(net.ErrClosed)
				return
			}
		}
		if err != nil {
			select {
			case <-c.over:
				err = net.ErrClosed
			default:
			}
			c.user.Ended(err)
			<-c.over
			return
		}
	}
}

func (c *plain) Resume() {
	select {
	case c.resume <- struct{}{}:
	default:
	}
}

func (c *plain) Flush() {
	c.mu.Lock()
	c.more = true
	start := !c.writing
	c.writing = true
	c.mu.Unlock()
	if start {
		c.pool.group.Go(c.write) // refused: everything has ended
	}
}

func (c *plain) write() {
	pooled := buffers.Get().(*[]byte)
	defer buffers.Put(pooled)
	for {
		c.mu.Lock()
		if !c.more {
			c.writing = false
			c.mu.Unlock()
			return
		}
		c.more = false
		c.mu.Unlock()
		for {
			out, within := c.user.Output((*pooled)[:0])
			if len(out) == 0 {
				break
			}
			err := c.nc.SetWriteDeadline(time.Now().Add(within))
			if err == nil {
				_, err = c.nc.Write(out)
			}
			if err != nil {
				c.user.Failed(err)
				return
			}
		}
	}
}

func (c *plain) CloseWrite() {
	if half, ok := c.nc.(interface{ CloseWrite() error }); ok {
		c.pool.group.Go(func() { _ = half.CloseWrite() }) // TLS has something to write first; one that is gone needs no word
	}
}

// lastWord bounds how long a protocol below may take to tell the peer of the end.
const lastWord = time.Second

func (c *plain) Abort() {
	c.abort.Do(func() {
		close(c.over)
		under, ok := c.nc.(interface{ NetConn() net.Conn })
		if !ok {
			_ = c.nc.Close()
			return
		}
		// TLS says goodbye, and waits for a peer that does not read.
		if !c.pool.group.Go(func() {
			late := time.AfterFunc(lastWord, func() { _ = under.NetConn().Close() })
			defer late.Stop()
			_ = c.nc.Close()
		}) {
			_ = under.NetConn().Close()
		}
	})
}
