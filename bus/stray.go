package bus

import (
	"bytes"
	"net"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/gatebus/gatebus/internal/socket"
)

// NATS servers take a carriage return in a subject, or in the subject for the reply, for a
// character like any other, and hand it on. nats.go takes it for the end of a word: it
// finds one too many, and gives the connection up. So whoever may publish anything that a
// gateway or register is subscribed to, an observer's question say, could cut its
// connection off from its own bus, again and again.
//
// strayConn is a connection on which such a carriage return arrives as another character,
// strayBecomes, which is as wrong and harms nobody. What is in payloads stays as it is. It
// costs a look at each message's first line. On a connection that turns to TLS it does
// nothing: it would have to be within.
type strayConn struct {
	net.Conn

	// of who writes
	spoken bool

	tls atomic.Bool

	// of who reads
	payload int    // bytes that are no line, from here on
	part    []byte // of a line, so far
}

const (
	strayBecomes = '_'
	// maxLine is how much of a line is kept; no server sends more than 4096 bytes but
	// for INFO, which has no size at its end.
	maxLine = 64 << 10
	// tlsHandshake is the first byte of what begins TLS.
	tlsHandshake = 0x16
)

// strayProof makes the connections of the options such.
func strayProof(opts *nats.Options) {
	switch {
	case opts.InProcessServer != nil:
		opts.InProcessServer = strayServer{opts.InProcessServer}
	case opts.CustomDialer == nil:
		opts.CustomDialer = strayDialer{opts.Timeout}
	}
}

// strayServer makes a server's connections such.
type strayServer struct{ nats.InProcessConnProvider }

func (s strayServer) InProcessConn() (net.Conn, error) {
	c, err := s.InProcessConnProvider.InProcessConn()
	if err != nil {
		return nil, err
	}
	return &strayConn{Conn: c}, nil
}

// strayDialer makes connections over TCP such.
type strayDialer struct{ timeout time.Duration }

func (d strayDialer) Dial(network, addr string) (net.Conn, error) {
	dialer := net.Dialer{Timeout: d.timeout, FallbackDelay: -1} // as that of nats.go
	c, err := dialer.Dial(network, addr)
	if err != nil {
		return nil, err
	}
	return &strayConn{Conn: socket.Conn(c)}, nil
}

func (c *strayConn) Write(b []byte) (int, error) {
	if !c.spoken && len(b) > 0 {
		c.spoken = true
		c.tls.Store(b[0] == tlsHandshake)
	}
	return c.Conn.Write(b)
}

func (c *strayConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 && !c.tls.Load() {
		c.clean(b[:n])
	}
	return n, err
}

// clean replaces what is stray in the next bytes.
func (c *strayConn) clean(b []byte) {
	for len(b) > 0 {
		if c.payload > 0 {
			n := min(c.payload, len(b))
			c.payload -= n
			b = b[n:]
			continue
		}
		end := bytes.IndexByte(b, '\n')
		if end < 0 {
			// The last byte may be half of the line's end. If it is not, nats.go, which
			// begins the line anew in a buffer of its own, leaves it out.
			replace(b[:len(b)-1])
			if len(c.part)+len(b) <= maxLine {
				c.part = append(c.part, b...)
			}
			return
		}
		line := b[:end]
		replace(line[:max(len(line)-1, 0)])
		b = b[end+1:]
		if len(c.part) > 0 {
			line = append(c.part, line...)
			c.part = line[:0]
		}
		c.payload = payloadAfter(line)
	}
}

// replace replaces every carriage return.
func replace(b []byte) {
	for {
		i := bytes.IndexByte(b, '\r')
		if i < 0 {
			return
		}
		b[i] = strayBecomes
		b = b[i+1:]
	}
}

// payloadAfter is how many bytes come after a line that are none: of a message (MSG, HMSG)
// its size, which stands last, and the end of a line. Everything else that a server says is
// a line.
func payloadAfter(line []byte) int {
	if len(line) == 0 || line[0]|0x20 != 'm' && line[0]|0x20 != 'h' {
		return 0
	}
	size, unit := 0, 1
	for i := len(line) - 1; i >= 0 && unit < 1e9; i-- {
		switch b := line[i]; {
		case b == '\r' && i == len(line)-1:
		case '0' <= b && b <= '9':
			size += int(b-'0') * unit
			unit *= 10
		default:
			return size + len("\r\n")
		}
	}
	return size + len("\r\n")
}
