package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// The frame protocol of GatewayWorker: an unsigned 32-bit number, big end first,
// that says how long the frame is, its own four bytes included; then the body.
const headerLen = 4

// maxBody is the longest body, in bytes, that is read or written. It is what a
// gateway takes unless max_frame says otherwise, and what a small device has
// memory for.
const maxBody = 64 << 10

// errFrame is wrapped by the errors about bytes that are not of the protocol.
// After one, nothing can be read any more: where the next frame begins is lost.
var errFrame = errors.New("not the frame protocol")

// appendFrame adds a frame to b.
func appendFrame(b, body []byte) ([]byte, error) {
	if len(body) > maxBody {
		return b, fmt.Errorf("frame: a body of %d bytes; at most %d", len(body), maxBody)
	}
	b = binary.BigEndian.AppendUint32(b, uint32(headerLen+len(body)))
	return append(b, body...), nil
}

// readFrame reads the body of one frame. The error is io.EOF if the connection
// ended between two frames, and io.ErrUnexpectedEOF if it did within one.
func readFrame(r io.Reader) ([]byte, error) {
	var header [headerLen]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return nil, err
	}
	total := binary.BigEndian.Uint32(header[:])
	switch {
	case total < headerLen:
		return nil, fmt.Errorf("frame: %w: a length of %d, which includes its own %d bytes", errFrame, total, headerLen)
	case total > headerLen+maxBody:
		return nil, fmt.Errorf("frame: %w: a length of %d; at most %d", errFrame, total, headerLen+maxBody)
	}
	body := make([]byte, total-headerLen)
	if _, err := io.ReadFull(r, body); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	return body, nil
}
