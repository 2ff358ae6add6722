package wsclient

import (
	"fmt"

	"github.com/gatebus/gatebus/internal/wsframe"
)

// MaxPayload is the largest frame that is read, in bytes.
const MaxPayload = 16 << 20

// parseFrame reads the frame of a server at the start of b. If it is not all
// there, need is the number of bytes that it takes at least.
func parseFrame(b []byte) (f wsframe.Frame, need int, err error) {
	f, need, err = wsframe.Parse(b, wsframe.Server, MaxPayload)
	if err == nil && need == 0 && f.Size == 0 {
		err = fmt.Errorf("%w: a frame of %d bytes; the limit here is %d", wsframe.ErrProtocol, f.Length, MaxPayload)
	}
	return f, need, err
}
