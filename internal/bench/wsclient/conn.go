package wsclient

import (
	"encoding/binary"
	"fmt"
	"github.com/gatebus/gatebus/internal/wsframe"
	"net"
	"time"
)

// readSize is the first read buffer of a connection; it grows to the largest
// frame. It holds some tens of small frames, so that answers that come together
// take one read.
const readSize = 2048

// CloseError is how a server ended a connection.
type CloseError struct {
	Code   int // 1005 if it gave none
	Reason string
}

func (e *CloseError) Error() string {
	if e.Reason == "" {
		return fmt.Sprintf("the server closed with %d", e.Code)
	}
	return fmt.Sprintf("the server closed with %d %q", e.Code, e.Reason)
}

// Conn is a connection of a client.
type Conn struct {
	// Net is the connection below.
	Net net.Conn
	// Key masks all frames of this connection.
	Key wsframe.Key

	// owned by the reader
	buf      []byte
	from, to int            // what is read but not returned yet
	at       time.Time      // when that was read
	parts    []byte         // of a message that is not complete
	partsOf  wsframe.Opcode // wsframe.Continuation if there is none
	pings    int
}

// NewConn is the client's end of a connection whose handshake is done; early is
// what was read past it.
func NewConn(c net.Conn, key wsframe.Key, early []byte) *Conn {
	w := &Conn{Net: c, Key: key, buf: make([]byte, max(readSize, len(early))), at: time.Now()}
	w.to = copy(w.buf, early)
	return w
}

// Next returns the next message, and answers pings until it comes. The payload
// is good until the next call. A close of the server is a [*CloseError].
func (c *Conn) Next() (wsframe.Opcode, []byte, error) {
	for {
		f, err := c.frame()
		if err != nil {
			return 0, nil, err
		}
		switch f.Op {
		case wsframe.Ping:
			c.pings++
			if err := c.Write(wsframe.AppendMasked(nil, wsframe.Pong, c.Key, f.Payload)); err != nil {
				return 0, nil, err
			}
			continue
		case wsframe.Pong:
			continue
		case wsframe.Close:
			return 0, nil, closeError(f.Payload)
		}
		if whole, op, payload, err := c.assemble(f); whole || err != nil {
			return op, payload, err
		}
	}
}

// assemble puts the fragments of a message together.
func (c *Conn) assemble(f wsframe.Frame) (whole bool, op wsframe.Opcode, payload []byte, err error) {
	switch begun := c.partsOf != wsframe.Continuation; {
	case begun != (f.Op == wsframe.Continuation):
		return false, 0, nil, fmt.Errorf("%w: fragments in disorder", wsframe.ErrProtocol)
	case !begun && f.Final:
		return true, f.Op, f.Payload, nil
	case !begun:
		c.partsOf, c.parts = f.Op, c.parts[:0]
	}
	if len(c.parts)+len(f.Payload) > MaxPayload {
		return false, 0, nil, fmt.Errorf("%w: a message of more than %d bytes", wsframe.ErrProtocol, MaxPayload)
	}
	c.parts = append(c.parts, f.Payload...)
	if !f.Final {
		return false, 0, nil, nil
	}
	op, c.partsOf = c.partsOf, wsframe.Continuation
	return true, op, c.parts, nil
}

// frame returns the next frame, whatever it is.
func (c *Conn) frame() (wsframe.Frame, error) {
	for {
		f, need, err := parseFrame(c.buf[c.from:c.to])
		if err != nil {
			return f, err
		}
		if need == 0 {
			c.from += f.Size
			return f, nil
		}
		if err := c.fill(need); err != nil {
			return f, err
		}
	}
}

// fill reads more, with room for a frame of need bytes.
func (c *Conn) fill(need int) error {
	if c.from > 0 {
		c.to = copy(c.buf, c.buf[c.from:c.to])
		c.from = 0
	}
	if need > len(c.buf) {
		c.buf = append(c.buf, make([]byte, need-len(c.buf))...)
	}
	n, err := c.Net.Read(c.buf[c.to:])
	c.at = time.Now()
	c.to += n
	if n > 0 {
		return nil // an error comes again
	}
	return err
}

// More tells whether a whole frame has been read already, so that Next does not
// wait for the network.
func (c *Conn) More() bool {
	_, need, err := parseFrame(c.buf[c.from:c.to])
	return need == 0 || err != nil
}

// At is when what Next returned was read from the network.
func (c *Conn) At() time.Time { return c.at }

// Pings is how many pings were answered.
func (c *Conn) Pings() int { return c.pings }

// Write writes encoded frames, whole ones.
func (c *Conn) Write(frames []byte) error {
	_, err := c.Net.Write(frames)
	return err
}

// Leave says goodbye and waits, until the deadline at most, for the server to
// end the connection. Whatever comes meanwhile is dropped.
func (c *Conn) Leave(timeout time.Duration) {
	defer c.Net.Close()
	if c.Net.SetDeadline(time.Now().Add(timeout)) != nil {
		return // it is closed
	}
	if c.Write(wsframe.AppendMasked(nil, wsframe.Close, c.Key, binary.BigEndian.AppendUint16(nil, 1000))) != nil {
		return
	}
	for {
		c.from, c.to = 0, 0
		if c.fill(0) != nil {
			return
		}
	}
}

func closeError(payload []byte) error {
	if len(payload) < 2 {
		return &CloseError{Code: 1005}
	}
	return &CloseError{Code: int(binary.BigEndian.Uint16(payload)), Reason: string(payload[2:])}
}
