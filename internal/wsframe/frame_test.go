package wsframe_test

import (
	"bytes"
	"errors"
	"math"
	"testing"

	"github.com/gatebus/gatebus/internal/wsframe"
)

// What is appended is parsed, at every size of the length's field, and says how
// much is missing while it is not all there.
func TestRoundTrip(t *testing.T) {
	key := wsframe.Key{1, 2, 3, 0x80}
	for _, n := range []int{0, 1, 7, 8, 9, 125, 126, 127, 65535, 65536, 100_001} {
		want := bytes.Repeat([]byte("abcdefghi"), n/9+1)[:n]
		for _, side := range []wsframe.Side{wsframe.Client, wsframe.Server} {
			b := wsframe.Append([]byte("x"), wsframe.Binary, want)
			if side == wsframe.Client {
				b = wsframe.AppendMasked([]byte("x"), wsframe.Binary, key, want)
			}
			b = b[1:]
			if over := len(b) - n; side == wsframe.Server && over > wsframe.MaxHeader {
				t.Errorf("%d bytes: %d more", n, over)
			}
			for _, short := range []int{0, 1, 2, 3, 4, 9, 10, 13, len(b) - 1} {
				if short >= len(b) || short < 0 {
					continue
				}
				_, need, err := wsframe.Parse(b[:short], side, math.MaxInt)
				if err != nil || need <= short || need > len(b) {
					t.Fatalf("%d of %d bytes: needs %d, %v", short, len(b), need, err)
				}
			}
			f, need, err := wsframe.Parse(append(b[:len(b):len(b)], 1, 2, 3), side, uint64(n))
			if err != nil || need != 0 || f.Size != len(b) || !f.Final || f.Op != wsframe.Binary || f.Length != uint64(n) {
				t.Fatalf("%d bytes: %+v, needs %d, %v", n, f, need, err)
			}
			if side == wsframe.Client {
				f.Key.Mask(f.Payload)
			}
			if !bytes.Equal(f.Payload, want) {
				t.Errorf("%d bytes come out wrong", n)
			}
			if n > 0 {
				f, need, err := wsframe.Parse(b, side, uint64(n)-1)
				if err != nil || need != 0 || f.Size != 0 || f.Length != uint64(n) {
					t.Errorf("above the limit: %+v, needs %d, %v", f, need, err)
				}
			}
		}
	}
}

// A payload can be masked in parts.
func TestMaskAt(t *testing.T) {
	key := wsframe.Key{1, 2, 3, 4}
	for at := range 20 {
		want, got := make([]byte, 40), make([]byte, 40)
		key.Mask(want)
		key.Mask(got[:at])
		key.At(at).Mask(got[at:])
		if !bytes.Equal(got, want) {
			t.Errorf("in parts at %d: %x", at, got)
		}
	}
}

func TestBroken(t *testing.T) {
	for _, c := range []struct {
		name string
		side wsframe.Side
		b    []byte
	}{
		{"reserved bit", wsframe.Client, []byte{0xc1, 0x80}},
		{"not masked", wsframe.Client, []byte{0x81, 0x00}},
		{"masked", wsframe.Server, []byte{0x81, 0x80}},
		{"opcode 3", wsframe.Client, []byte{0x83, 0x80}},
		{"opcode 11", wsframe.Client, []byte{0x8b, 0x80}},
		{"ping in fragments", wsframe.Client, []byte{0x09, 0x80}},
		{"ping of 126 bytes", wsframe.Client, []byte{0x89, 0xfe}},
	} {
		if f, need, err := wsframe.Parse(c.b, c.side, math.MaxInt); !errors.Is(err, wsframe.ErrProtocol) {
			t.Errorf("%s: %+v, needs %d, %v", c.name, f, need, err)
		}
	}
	for _, b := range [][]byte{
		{0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
		{0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0},
	} {
		f, need, err := wsframe.Parse(b, wsframe.Client, 1<<20)
		if err != nil || need != 0 || f.Size != 0 || f.Length < 1<<63 {
			t.Errorf("a length beyond all: %+v, needs %d, %v", f, need, err)
		}
	}
}

// Whatever the bytes are, what is parsed stands in them, and is the same when it
// is encoded and parsed again.
func FuzzParse(f *testing.F) {
	f.Add(wsframe.AppendMasked(nil, wsframe.Text, wsframe.Key{1, 2, 3, 4}, []byte("hello")), true)
	f.Add(wsframe.Append(nil, wsframe.Ping, []byte("hello")), false)
	f.Add([]byte{0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, true)
	f.Fuzz(func(t *testing.T, b []byte, client bool) {
		side := wsframe.Side(client)
		got, need, err := wsframe.Parse(b, side, 1<<16)
		switch {
		case err != nil:
			if need != 0 || !errors.Is(err, wsframe.ErrProtocol) {
				t.Fatalf("needs %d, %v", need, err)
			}
			return
		case need > 0:
			if need <= len(b) {
				t.Fatalf("needs %d and has %d", need, len(b))
			}
			return
		case got.Size == 0:
			if got.Length <= 1<<16 {
				t.Fatalf("%+v is too large", got)
			}
			return
		}
		if got.Size > len(b) || len(got.Payload) != int(got.Length) {
			t.Fatalf("%+v of %d bytes", got, len(b))
		}
		payload := bytes.Clone(got.Payload)
		again := wsframe.Append(nil, got.Op, payload)
		if client {
			got.Key.Mask(payload)
			again = wsframe.AppendMasked(nil, got.Op, got.Key, payload)
		}
		f, need, err := wsframe.Parse(again, side, 1<<16)
		if err != nil || need != 0 || f.Op != got.Op || !bytes.Equal(f.Payload, got.Payload) {
			t.Fatalf("%+v came back as %+v, needs %d, %v", got, f, need, err)
		}
	})
}
