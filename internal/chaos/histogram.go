package chaos

import (
	"math"
	"time"
)

// histogram counts durations in classes that are 5 % wide. The zero histogram is
// empty.
type histogram struct {
	counts [512]int64
	n      int64
	most   time.Duration
}

const width = 1.05

func (h *histogram) add(d time.Duration) {
	i := 0
	if us := float64(d.Microseconds()); us > 1 {
		i = min(int(math.Log(us)/math.Log(width)), len(h.counts)-1)
	}
	h.counts[i]++
	h.n++
	h.most = max(h.most, d)
}

// quantile is the least duration that a share q of all do not exceed, to 5 %.
func (h *histogram) quantile(q float64) time.Duration {
	rank, seen := int64(math.Ceil(q*float64(h.n))), int64(0)
	for i, c := range h.counts {
		if seen += c; seen >= rank {
			return min(time.Duration(math.Pow(width, float64(i+1)))*time.Microsecond, h.most)
		}
	}
	return h.most
}
