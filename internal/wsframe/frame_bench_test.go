package wsframe_test

import (
	"bytes"
	"testing"

	"github.com/gatebus/gatebus/internal/wsframe"
)

// BenchmarkFrame reads a client's frame of 128 bytes and writes a server's.
func BenchmarkFrame(b *testing.B) {
	frame := wsframe.AppendMasked(nil, wsframe.Text, wsframe.Key{1, 2, 3, 4}, bytes.Repeat([]byte("x"), 128))
	out := make([]byte, 0, 256)
	b.ReportAllocs()
	for b.Loop() {
		f, _, err := wsframe.Parse(frame, wsframe.Client, 1<<16)
		if err != nil {
			b.Fatal(err)
		}
		f.Key.Mask(f.Payload)
		out = wsframe.Append(out[:0], f.Op, f.Payload)
		f.Key.Mask(f.Payload)
	}
}
