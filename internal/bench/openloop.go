package bench

import (
	"context"
	"errors"
	"os"
	"sync"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"

	"github.com/gatebus/gatebus/internal/bench/report"
	"github.com/gatebus/gatebus/internal/bench/wsclient"
	"github.com/gatebus/gatebus/internal/wsframe"
)

// schedule says when frames are due: the frames of all clients in turn, at a
// fixed rate.
type schedule struct {
	start   time.Time
	rate    float64
	clients int
	from    time.Duration // what is due from then on
	to      time.Duration // and before then is measured
}

// due is when the number of a client is due, counted from the start.
func (s *schedule) due(client int, number uint32) time.Duration {
	k := float64(number)*float64(s.clients) + float64(client)
	return time.Duration(k * float64(time.Second) / s.rate)
}

// openClient sends what is due, whatever has been answered. Only when so much is
// unanswered that a write could block, what is due waits in its schedule, and is
// sent when answers come; its latency counts from when it was due all the same.
type openClient struct {
	// set at construction
	index    int
	conn     *wsclient.Conn
	text     *numbered // its payload is owned by run, its frame does not change
	rec      *shard
	faults   *faults
	schedule *schedule
	limit    uint32 // how many may be unanswered

	mu    sync.Mutex
	due   uint32 // guarded by mu, as all below
	sent  uint32
	next  uint32
	over  bool // nothing more will be due
	ended bool // the connection is
	out   []byte
}

// openLoop is a round of clients at a fixed rate.
func openLoop(ctx context.Context, o *Options, s *side, m *meter) (report.Round, *hdr.Histogram, error) {
	conns, err := connectAll(ctx, o.Clients, s.targets, m)
	if err != nil {
		return report.Round{}, nil, err
	}
	var (
		rec     = newRecorder()
		faults  faults
		running sync.WaitGroup
		clients []*openClient
	)
	sched := &schedule{start: time.Now(), rate: o.Rate, clients: o.Clients, from: o.Warmup, to: o.Warmup + o.For}
	for i, c := range conns {
		client := &openClient{
			index: i, conn: c, text: newNumbered(uint32(i), o.Size, c.Key), rec: rec.shard(i),
			faults: &faults, schedule: sched, limit: uint32(max(1, maxUnanswered/8/o.Size)),
		}
		clients = append(clients, client)
		running.Go(client.run)
	}
	pacing, stop := context.WithCancel(ctx)
	lag := newHistogram()
	paced := make(chan struct{})
	go func() {
		defer close(paced)
		sched.pace(pacing, clients, lag)
	}()
	w, err := m.measure(ctx, rec, ended(&running), o.Warmup, o.For)
	stop()
	<-paced
	for _, c := range clients {
		c.finish()
	}
	round, _, err := finish(conns, &running, &faults, w, err, report.Rate)
	if err != nil || w == nil {
		return round, nil, err
	}
	rest, _ := rec.take() // what was due before the end and answered after it
	w.hist.Merge(rest)
	round.Figures = w.figures(report.Rate)
	round.Figures[report.Lag] = quantile(lag, 99)
	return round, w.hist, nil
}

// pace has the clients send what is due until all is or ctx ends, and records
// how late that was in what is measured: that much of a latency is the
// generator's.
func (s *schedule) pace(ctx context.Context, clients []*openClient, lag *hdr.Histogram) {
	for number := uint32(0); ; number++ {
		for i, c := range clients {
			at := s.due(i, number)
			if at >= s.to {
				return
			}
			now := time.Since(s.start)
			for ; now < at; now = time.Since(s.start) {
				pause(min(at-now, 100*time.Millisecond))
				if ctx.Err() != nil {
					return
				}
			}
			if at >= s.from {
				_ = lag.RecordValue(clamp(now - at)) // it is in range
			}
			c.offer()
		}
		if ctx.Err() != nil {
			return
		}
	}
}

// offer has one more frame due.
func (c *openClient) offer() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return
	}
	c.due++
	if err := c.sendLocked(); err != nil {
		_ = c.conn.Net.Close() // run sees it
	}
}

// sendLocked sends what is due, as far as that is possible now.
func (c *openClient) sendLocked() error {
	n := min(c.due, c.next+c.limit)
	if int32(n-c.sent) <= 0 {
		return nil
	}
	c.out = c.out[:0]
	for ; c.sent != n; c.sent++ {
		c.out = c.text.append(c.out, c.sent)
	}
	return c.conn.Write(c.out)
}

// finish says that nothing more is due. What is unanswered may still come.
func (c *openClient) finish() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
	left := grace
	if c.next == c.due {
		left = 0
	}
	expectWithin(c.conn, left)
}

// run takes the answers until all have come.
func (c *openClient) run() {
	for {
		op, data, err := c.conn.Next()
		if err != nil {
			c.failed(err)
			return
		}
		done, err := c.answered(op, data)
		if err != nil {
			c.failed(err)
			return
		}
		if done {
			return
		}
	}
}

func (c *openClient) failed(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	missing := c.due - c.next
	switch timeout := errors.Is(err, os.ErrDeadlineExceeded); {
	case timeout && c.over && missing == 0: // all was answered before it was over
	case timeout:
		c.faults.missing(c.index, missing)
	default:
		c.faults.broken(c.index, err)
	}
}

func (c *openClient) answered(op wsframe.Opcode, data []byte) (done bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	v, got := c.text.check(data, c.next)
	if op != wsframe.Text || v == early && int32(c.sent-got) <= 0 {
		v = wrong
	}
	switch v {
	case wrong:
		c.faults.wrong(c.index, data, c.text.text(c.next))
		got = c.next
	case again:
		c.faults.order(c.index, got, c.next)
		return false, nil
	case early:
		c.faults.order(c.index, got, c.next)
	}
	c.next = got + 1
	if due := c.schedule.due(c.index, got); due >= c.schedule.from && due < c.schedule.to {
		c.rec.record(c.conn.At().Sub(c.schedule.start) - due)
	} else {
		c.rec.note()
	}
	if err := c.sendLocked(); err != nil {
		return false, err
	}
	return c.over && c.next == c.due, nil
}
