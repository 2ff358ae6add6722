package bench

import (
	"bytes"
	"encoding/hex"
	"fmt"

	"github.com/gatebus/gatebus/internal/wsframe"
)

// A payload names its client and its number, eight hexadecimal digits each, and
// is filled up with letters.
const (
	nameDigits   = 8
	numberDigits = 8
	// MinSize is the smallest payload, in bytes.
	MinSize = nameDigits + numberDigits
	// MaxSize is the largest, in bytes. A gateway takes 64 KiB by default.
	MaxSize = 4 << 20
)

// numbered makes the payloads of one client, and checks what comes back.
type numbered struct {
	key     wsframe.Key
	payload []byte // with the number that was last asked for
	frame   []byte // the same as an encoded frame
	at      int    // where the payload stands in it
}

func newNumbered(client uint32, size int, key wsframe.Key) *numbered {
	n := &numbered{key: key, payload: make([]byte, size)}
	for i := range n.payload {
		n.payload[i] = 'a' + byte((int(client)+i)%26)
	}
	putHex(n.payload[:nameDigits], client)
	putHex(n.payload[nameDigits:MinSize], 0)
	n.frame = wsframe.AppendMasked(nil, wsframe.Text, key, n.payload)
	n.at = len(n.frame) - size
	return n
}

// append appends the frame with a number to dst.
func (n *numbered) append(dst []byte, number uint32) []byte {
	var digits [numberDigits]byte
	putHex(digits[:], number)
	n.key.At(nameDigits).Mask(digits[:])
	at := len(dst) + n.at + nameDigits
	dst = append(dst, n.frame...)
	copy(dst[at:], digits[:])
	return dst
}

// text is the payload with a number, good until the next call of it or check.
func (n *numbered) text(number uint32) []byte {
	putHex(n.payload[nameDigits:MinSize], number)
	return n.payload
}

// verdict is what an answer is.
type verdict uint8

const (
	right verdict = iota
	wrong         // not what was sent, or to somebody else
	early         // the number got, from, is to come later
	again         // it has come before
)

// check compares an answer with the number that must come next. got is the
// number that the answer has, unless it is wrong.
func (n *numbered) check(answer []byte, next uint32) (v verdict, got uint32) {
	if bytes.Equal(answer, n.text(next)) {
		return right, next
	}
	if len(answer) != len(n.payload) || !bytes.Equal(answer[:nameDigits], n.payload[:nameDigits]) ||
		!bytes.Equal(answer[MinSize:], n.payload[MinSize:]) {
		return wrong, 0
	}
	got, ok := parseHex(answer[nameDigits:MinSize])
	switch {
	case !ok:
		return wrong, 0
	case int32(got-next) > 0: // numbers wrap around
		return early, got
	}
	return again, got
}

const hexDigits = "0123456789abcdef"

func putHex(b []byte, v uint32) {
	for i := len(b) - 1; i >= 0; i-- {
		b[i] = hexDigits[v&15]
		v >>= 4
	}
}

func parseHex(b []byte) (uint32, bool) {
	var raw [4]byte
	if n, err := hex.Decode(raw[:], b); err != nil || n != 4 {
		return 0, false
	}
	return uint32(raw[0])<<24 | uint32(raw[1])<<16 | uint32(raw[2])<<8 | uint32(raw[3]), true
}

// checkSize tells whether payloads may be so large.
func checkSize(size int) error {
	if size < MinSize || size > MaxSize {
		return fmt.Errorf("size: %d bytes; from %d, which number the frame, to %d", size, MinSize, MaxSize)
	}
	return nil
}
