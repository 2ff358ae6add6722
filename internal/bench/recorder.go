package bench

import (
	"runtime"
	"sync"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
)

// The range and precision of latencies.
const (
	shortest = 100 * time.Nanosecond
	longest  = 2 * time.Minute
	digits   = 3
)

func newHistogram() *hdr.Histogram {
	return hdr.New(shortest.Nanoseconds(), longest.Nanoseconds(), digits)
}

// recorder takes latencies from many goroutines.
type recorder struct {
	shards []shard
	spare  *hdr.Histogram // of the one goroutine that takes
}

// shard has a share of the clients, so that they seldom wait for each other.
type shard struct {
	mu    sync.Mutex
	hist  *hdr.Histogram
	count int64    // what has come, be it in hist or not
	_     [40]byte // the next one's lock is on another cache line
}

func newRecorder() *recorder {
	r := &recorder{shards: make([]shard, 2*runtime.GOMAXPROCS(0)), spare: newHistogram()}
	for i := range r.shards {
		r.shards[i].hist = newHistogram()
	}
	return r
}

// shard is where the i-th client records.
func (r *recorder) shard(i int) *shard { return &r.shards[i%len(r.shards)] }

// record counts one answer and its latency.
func (s *shard) record(d time.Duration) {
	s.mu.Lock()
	s.count++
	_ = s.hist.RecordValue(clamp(d)) // it is in range
	s.mu.Unlock()
}

// note counts one answer whose latency is not wanted.
func (s *shard) note() {
	s.mu.Lock()
	s.count++
	s.mu.Unlock()
}

func clamp(d time.Duration) int64 {
	return min(max(d, 0), longest).Nanoseconds()
}

// take empties the recorder. The histogram is the caller's to keep.
func (r *recorder) take() (*hdr.Histogram, int64) {
	sum, count := newHistogram(), int64(0)
	for i := range r.shards {
		s := &r.shards[i]
		r.spare.Reset()
		s.mu.Lock()
		s.hist, r.spare = r.spare, s.hist
		count += s.count
		s.count = 0
		s.mu.Unlock()
		sum.Merge(r.spare)
	}
	return sum, count
}
