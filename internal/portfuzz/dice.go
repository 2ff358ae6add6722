package portfuzz

import (
	"encoding/binary"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
)

// dice make what is said: the same for the same seed, actor and number.
type dice struct{ *rand.Rand }

func newDice(seed uint64, actor string, n uint64) dice {
	h := fnv.New64a()
	_, _ = h.Write([]byte(actor)) // a hash takes everything
	_, _ = h.Write(binary.BigEndian.AppendUint64(nil, n))
	return dice{rand.New(rand.NewPCG(seed, h.Sum64()))}
}

// once is true one time in n.
func (d dice) once(n int) bool { return d.IntN(n) == 0 }

// of is one of these.
func of[T any](d dice, these ...T) T { return these[d.IntN(len(these))] }

// number is one at which something overflows, or any.
func (d dice) number() uint64 {
	if d.once(4) {
		return d.Uint64() >> d.IntN(64)
	}
	return of[uint64](d, 0, 1, 2, 3, 4, 5, 7, 8, 125, 126, 127, 128, 255, 256, 4095, 4096, 65535, 65536, 65537,
		1<<20, 1<<24, 1<<31-1, 1<<31, 1<<32-1, 1<<32, 1<<62, 1<<63-1, 1<<63, 1<<64-1)
}

// digits is such a number as text, or what is nearly one.
func (d dice) digits() string {
	n := strconv.FormatUint(d.number(), 10)
	return of(d, n, n, n, "-"+n, "+"+n, " "+n, n+n+n, "0x"+n, "0"+n, n+".5", "1e999", "", "NaN")
}

// length is how long something is, seldom much.
func (d dice) length(most int) int {
	n := 1 << d.IntN(11)
	if d.once(12) {
		n = most
	}
	return d.IntN(min(n, most) + 1)
}

// bytes are any, at most that many.
func (d dice) bytes(most int) []byte {
	b := make([]byte, d.length(most))
	for i := range b {
		b[i] = byte(d.Uint32())
	}
	return b
}

// words are what parsers look out for.
var words = []string{
	"", " ", "\t", "\r\n", "\n", "\r", "\r\n\r\n", "\x00", "\xff", "\xc3\x28", "\xed\xa0\x80", "\ufeff", ":", ";", ",", "=", "%", "%00", "%zz", "%FF",
	"..", "/../", "//", "?", "#", "&", "\"", "\\u0000", "\\ud800", "{", "}", "[", "]", "{}", "null", "true", "-1", "1e999", "NaN",
	"GET ", "PROXY ", "HTTP/1.1", "\x0d\x0a\x0d\x0a\x00\x0d\x0aQUIT\x0a", "\x16\x03\x01", "*", ">", ".", "$SYS.", "_INBOX.", "MSG", "PUB ", "+OK\r\n", "-ERR ''\r\n",
	"websocket", "chunked", "0\r\n\r\n", "ffffffffffffffff",
}

// word is one of those, or a name.
func (d dice) word() string {
	switch d.IntN(5) {
	case 0:
		return d.digits()
	case 1:
		return strings.Repeat(of(d, words...), d.IntN(64))
	case 2:
		return string(d.bytes(300))
	case 3:
		return d.name()
	}
	return of(d, words...)
}

// name is one of a few that can be, or seldom one that cannot.
func (d dice) name() string {
	if d.once(6) {
		return of(d, "a.b", "*", ">", "", "%2E", "\x00", "é", strings.Repeat("n", 257), "a b", "$SYS", "-", "_")
	}
	return "fuzz" + strconv.Itoa(d.IntN(8))
}

// mutate changes a few things of b, or leaves it.
func (d dice) mutate(b []byte) []byte {
	b = slices.Clone(b)
	if d.once(4) {
		return b
	}
	for range 1 + d.IntN(4) {
		at := d.IntN(len(b) + 1)
		end := min(len(b), at+d.length(len(b)-at))
		switch d.IntN(8) {
		case 0: // a bit
			if at < len(b) {
				b[at] ^= 1 << d.IntN(8)
			}
		case 1:
			if at < len(b) {
				b[at] = byte(d.Uint32())
			}
		case 2: // less
			b = slices.Delete(b, at, end)
		case 3: // more
			b = slices.Insert(b, at, d.bytes(64)...)
		case 4: // twice
			b = slices.Insert(b, at, slices.Clone(b[at:end])...)
		case 5:
			b = slices.Replace(b, at, end, []byte(d.word())...)
		case 6:
			b = slices.Insert(b, at, []byte(d.word())...)
		case 7: // cut off
			if d.once(3) {
				b = b[:at]
			}
		}
	}
	return b[:min(len(b), maxSaid)]
}

// text is mutate for a string.
func (d dice) text(s string) string { return string(d.mutate([]byte(s))) }

// maybe is s, or seldom something that is like it.
func (d dice) maybe(s string) string {
	if d.once(8) {
		return d.text(s)
	}
	return s
}
