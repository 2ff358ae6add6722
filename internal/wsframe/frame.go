// Package wsframe encodes and decodes the frames of WebSocket (RFC 6455 5.2), of
// both sides, in buffers of the caller's: it allocates nothing and keeps nothing.
// Extensions are not known: a reserved bit is an error.
package wsframe

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

// Control tells whether frames of the opcode stand between those of messages.
func (op Opcode) Control() bool { return op >= Close }

const (
	finalBit   = 0x80
	maskBit    = 0x80
	opcodeBits = 0x0f
	lengthBits = 0x7f

	// MaxControl is the largest payload of a control frame, in bytes.
	MaxControl = 125
	// MaxHeader is how much longer than its payload a frame of a server is at
	// most, in bytes.
	MaxHeader = 10
)

// ErrProtocol is wrapped by the errors about peers that break RFC 6455.
var ErrProtocol = errors.New("the WebSocket protocol is broken")

// Side is who sends a frame: those of clients are masked.
type Side bool

// The sides.
const (
	Server Side = false
	Client Side = true
)

// Key is what a client masks the payload of a frame with.
type Key [4]byte

// Mask masks a payload, or unmasks it.
func (k Key) Mask(p []byte) {
	half := uint64(binary.LittleEndian.Uint32(k[:]))
	key := half<<32 | half
	for len(p) >= 8 {
		binary.LittleEndian.PutUint64(p, binary.LittleEndian.Uint64(p)^key)
		p = p[8:]
	}
	for i := range p {
		p[i] ^= k[i&3]
	}
}

// At is the key for what stands at an offset in a payload.
func (k Key) At(offset int) Key {
	return Key{k[offset&3], k[(offset+1)&3], k[(offset+2)&3], k[(offset+3)&3]}
}

// Append appends a whole frame of a server.
func Append(dst []byte, op Opcode, payload []byte) []byte {
	return append(appendHeader(dst, op, 0, len(payload)), payload...)
}

// AppendMasked appends a whole frame of a client.
func AppendMasked(dst []byte, op Opcode, key Key, payload []byte) []byte {
	dst = append(appendHeader(dst, op, maskBit, len(payload)), key[:]...)
	at := len(dst)
	dst = append(dst, payload...)
	key.Mask(dst[at:])
	return dst
}

func appendHeader(dst []byte, op Opcode, mask byte, n int) []byte {
	dst = append(dst, finalBit|byte(op))
	switch {
	case n <= MaxControl:
		return append(dst, mask|byte(n))
	case n <= 0xffff:
		return binary.BigEndian.AppendUint16(append(dst, mask|126), uint16(n))
	}
	return binary.BigEndian.AppendUint64(append(dst, mask|127), uint64(n))
}

// Frame is a frame as it stands in a buffer.
type Frame struct {
	Op    Opcode
	Final bool // the last of its message
	// Payload is masked with Key, if it is a client's.
	Payload []byte
	Key     Key
	// Length is that of the payload, also while it has not come whole; 0 as
	// long as it is not known.
	Length uint64
	Size   int // with the header, in bytes
}

// Parse reads the frame of a side at the start of b. If it is not all there, need
// is how many bytes b has to have at least, for another try. A payload of more
// than limit bytes is never there: need is then 0, and Size too.
func Parse(b []byte, from Side, limit uint64) (f Frame, need int, err error) {
	if len(b) < 2 {
		return f, 2, nil
	}
	f.Op, f.Final = Opcode(b[0]&opcodeBits), b[0]&finalBit != 0
	head := 2
	f.Length = uint64(b[1] & lengthBits)
	if err := f.check(b, from); err != nil {
		return f, 0, err
	}
	switch f.Length {
	case 126:
		if head = 4; len(b) < head {
			f.Length = 0
			return f, head, nil
		}
		f.Length = uint64(binary.BigEndian.Uint16(b[2:]))
	case 127:
		if head = 10; len(b) < head {
			f.Length = 0
			return f, head, nil
		}
		f.Length = binary.BigEndian.Uint64(b[2:])
	}
	if f.Length > limit {
		return f, 0, nil
	}
	at := head
	if from == Client {
		if at += len(f.Key); len(b) >= at {
			copy(f.Key[:], b[head:])
		}
	}
	f.Size = at + int(f.Length)
	if len(b) < f.Size {
		return f, f.Size, nil
	}
	f.Payload = b[at:f.Size:f.Size]
	return f, 0, nil
}

// check finds what is wrong in the first two bytes.
func (f *Frame) check(b []byte, from Side) error {
	masked := b[1]&maskBit != 0
	switch {
	case b[0]&^(finalBit|opcodeBits) != 0:
		return fmt.Errorf("%w: reserved bits are set, and no extension was agreed", ErrProtocol)
	case from == Client && !masked:
		return fmt.Errorf("%w: a client must mask its frames", ErrProtocol)
	case from == Server && masked:
		return fmt.Errorf("%w: a server must not mask its frames", ErrProtocol)
	case f.Op > Pong || f.Op > Binary && !f.Op.Control():
		return fmt.Errorf("%w: there is no opcode %#x", ErrProtocol, byte(f.Op))
	case f.Op.Control() && (f.Length > MaxControl || !f.Final):
		return fmt.Errorf("%w: a control frame is longer than %d bytes or in fragments", ErrProtocol, MaxControl)
	}
	return nil
}
