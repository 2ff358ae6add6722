package wsclient

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Opcode says what a frame is.
type Opcode byte

// The opcodes of RFC 6455.
const (
	Continuation Opcode = 0x0
	Text         Opcode = 0x1
	Binary       Opcode = 0x2
	Close        Opcode = 0x8
	Ping         Opcode = 0x9
	Pong         Opcode = 0xa
)

const (
	finalBit   = 0x80
	maskBit    = 0x80
	opcodeBits = 0x0f
	lengthBits = 0x7f

	// maxControl is the largest payload of a control frame.
	maxControl = 125
	// MaxPayload is the largest frame that is read, in bytes.
	MaxPayload = 16 << 20
)

// ErrProtocol is wrapped by the errors about peers that break RFC 6455.
var ErrProtocol = errors.New("the server breaks the WebSocket protocol")

// Key is what a client masks the payload of its frames with.
type Key [4]byte

// Mask masks or unmasks data that stands at offset in a payload.
func (k Key) Mask(data []byte, offset int) {
	for i := range data {
		data[i] ^= k[(offset+i)&3]
	}
}

// AppendFrame appends a whole frame of a client to dst.
func AppendFrame(dst []byte, op Opcode, key Key, payload []byte) []byte {
	dst = append(dst, finalBit|byte(op))
	switch n := len(payload); {
	case n <= maxControl:
		dst = append(dst, maskBit|byte(n))
	case n <= 0xffff:
		dst = binary.BigEndian.AppendUint16(append(dst, maskBit|126), uint16(n))
	default:
		dst = binary.BigEndian.AppendUint64(append(dst, maskBit|127), uint64(n))
	}
	dst = append(dst, key[:]...)
	at := len(dst)
	dst = append(dst, payload...)
	key.Mask(dst[at:], 0)
	return dst
}

// AppendServerFrame appends a whole frame of a server, which is not masked.
func AppendServerFrame(dst []byte, op Opcode, payload []byte) []byte {
	dst = append(dst, finalBit|byte(op))
	switch n := len(payload); {
	case n <= maxControl:
		dst = append(dst, byte(n))
	case n <= 0xffff:
		dst = binary.BigEndian.AppendUint16(append(dst, 126), uint16(n))
	default:
		dst = binary.BigEndian.AppendUint64(append(dst, 127), uint64(n))
	}
	return append(dst, payload...)
}

// frame is one frame of a server as it stands in a buffer.
type frame struct {
	op      Opcode
	final   bool
	payload []byte
	size    int // with its header
}

// parseFrame reads the frame at the start of b. If it is not all there, need is
// the number of bytes that it takes at least.
func parseFrame(b []byte) (f frame, need int, err error) {
	if len(b) < 2 {
		return f, 2, nil
	}
	f.op, f.final = Opcode(b[0]&opcodeBits), b[0]&finalBit != 0
	head, n := 2, uint64(b[1]&lengthBits)
	switch {
	case b[0]&^(finalBit|opcodeBits) != 0:
		return f, 0, fmt.Errorf("%w: reserved bits are set", ErrProtocol)
	case b[1]&maskBit != 0:
		return f, 0, fmt.Errorf("%w: a server must not mask", ErrProtocol)
	case f.op >= Close && (n > maxControl || !f.final):
		return f, 0, fmt.Errorf("%w: a control frame is too long or in parts", ErrProtocol)
	case f.op > Pong || f.op > Binary && f.op < Close:
		return f, 0, fmt.Errorf("%w: opcode %#x", ErrProtocol, byte(f.op))
	case n == 126:
		if head = 4; len(b) < head {
			return f, head, nil
		}
		n = uint64(binary.BigEndian.Uint16(b[2:]))
	case n == 127:
		if head = 10; len(b) < head {
			return f, head, nil
		}
		n = binary.BigEndian.Uint64(b[2:])
	}
	if n > MaxPayload {
		return f, 0, fmt.Errorf("%w: a frame of %d bytes; the limit here is %d", ErrProtocol, n, MaxPayload)
	}
	f.size = head + int(n)
	if len(b) < f.size {
		return f, f.size, nil
	}
	f.payload = b[head:f.size:f.size]
	return f, 0, nil
}
