package ledger

import (
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"
	"time"
)

// FrameOf is the frame of a connection with a number, from 0. It says how long
// the worker shall take for it, and varies in length.
func FrameOf(conn string, number int) string {
	f := fmt.Sprintf("%s %d %d ", conn, number, WorkFor(conn, number).Microseconds())
	return f + strings.Repeat("·", int(hashOf(conn, number)>>32%100)) // two bytes, to notice a mangled encoding
}

// ParseFrame takes a frame apart.
func ParseFrame(data string) (conn string, number int, work time.Duration, err error) {
	parts := strings.SplitN(data, " ", 4)
	if len(parts) != 4 {
		return "", 0, 0, fmt.Errorf("ledger: frame %.40q", data)
	}
	number, err = strconv.Atoi(parts[1])
	if err != nil {
		return "", 0, 0, fmt.Errorf("ledger: frame %.40q: %w", data, err)
	}
	micros, err := strconv.Atoi(parts[2])
	if err != nil {
		return "", 0, 0, fmt.Errorf("ledger: frame %.40q: %w", data, err)
	}
	return parts[0], number, time.Duration(micros) * time.Microsecond, nil
}

// WorkFor is how long a worker takes for a frame: most take none, so that much
// gets through; some take long enough to be caught in the middle, and a few longer
// than ack_wait, so that only signs of progress keep them from being given out
// again.
func WorkFor(conn string, number int) time.Duration {
	switch n := hashOf(conn, number) % 2000; {
	case n < 1:
		return 3 * time.Second
	case n < 20:
		return 200 * time.Millisecond
	case n < 200:
		return 5 * time.Millisecond
	}
	return 0
}

func hashOf(conn string, number int) uint64 {
	h := fnv.New64a()
	_, _ = fmt.Fprintf(h, "%s/%d", conn, number) // cannot fail
	x := h.Sum64()                               // whose low bits are poor
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	return x ^ x>>33
}
