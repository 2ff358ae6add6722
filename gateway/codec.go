package gateway

import (
	"bytes"
	"encoding/binary"
	"errors"
	"unicode/utf8"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/internal/wsframe"
)

// wire is how messages stand in the bytes of a connection. It has no state.
type wire uint8

const (
	wireWebSocket wire = iota // wsConn reads it, and writes what is not a message
	wireText
	wireFrame
	wireRaw
	wires // how many there are
)

func wireOf(p Protocol) wire {
	switch p {
	case ProtocolText:
		return wireText
	case ProtocolFrame:
		return wireFrame
	case ProtocolRaw:
		return wireRaw
	}
	return wireWebSocket
}

// frameHeader is the length before a message of wireFrame, in bytes, which it
// counts itself.
const frameHeader = 4

var (
	errTooBig      = errors.New("a message is larger than allowed")
	errFrameLength = errors.New("a frame whose length does not count its own 4 bytes")
)

// cut finds the first message in p, and how many bytes of p it takes; 0: it is not
// all there. seen is how many of p there were when that was last said. It is not
// for WebSocket.
func (w wire) cut(p []byte, seen, limit int) (message []byte, size int, err error) {
	switch w {
	case wireText:
		return cutLine(p, seen, limit)
	case wireFrame:
		return cutFrame(p, limit)
	}
	n := min(len(p), limit)
	return p[:n], n, nil
}

func cutLine(p []byte, seen, limit int) (line []byte, size int, err error) {
	end := bytes.IndexByte(p[seen:], '\n')
	if end < 0 {
		// Without its end, it may have one byte more, if that is not part of it.
		if n := len(p); n > limit+1 || n == limit+1 && p[limit] != '\r' {
			return nil, 0, errTooBig
		}
		return nil, 0, nil
	}
	end += seen
	line = bytes.TrimSuffix(p[:end], []byte("\r"))
	if len(line) > limit {
		return nil, 0, errTooBig
	}
	return line, end + 1, nil
}

func cutFrame(p []byte, limit int) (body []byte, size int, err error) {
	if len(p) < frameHeader {
		return nil, 0, nil
	}
	switch n := uint64(binary.BigEndian.Uint32(p)); {
	case n < frameHeader:
		return nil, 0, errFrameLength
	case n-frameHeader > uint64(limit):
		return nil, 0, errTooBig
	case uint64(len(p)) < n:
		return nil, 0, nil
	default:
		return p[frameHeader:n], int(n), nil
	}
}

// kind is the kind of the event that a message of a client is. It is not for
// WebSocket.
func (w wire) kind(message []byte) bus.Kind {
	if w == wireText && utf8.Valid(message) {
		return bus.Text
	}
	return bus.Binary
}

// append encodes a message.
func (w wire) append(b []byte, kind bus.Kind, message []byte) []byte {
	switch w {
	case wireWebSocket:
		return wsframe.Append(b, opcode(kind), message)
	case wireText:
		return append(append(b, message...), '\n')
	case wireFrame:
		return append(binary.BigEndian.AppendUint32(b, uint32(frameHeader+len(message))), message...)
	}
	return append(b, message...)
}

// prepare encodes a message once for many clients. It is not nil.
func (w wire) prepare(kind bus.Kind, message []byte) []byte {
	if w == wireRaw && message != nil {
		return message
	}
	return w.append(make([]byte, 0, len(message)+wsframe.MaxHeader), kind, message)
}
