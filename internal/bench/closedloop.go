package bench

import (
	"context"
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"

	"github.com/gatebus/gatebus/internal/bench/report"
	"github.com/gatebus/gatebus/internal/bench/wsclient"
	"github.com/gatebus/gatebus/internal/wsframe"
)

// closedClient sends the next frame when an answer has come. All that the
// answers of one read make room for leaves in one write.
type closedClient struct {
	// set at construction
	index  int
	conn   *wsclient.Conn
	text   *numbered
	rec    *shard
	faults *faults
	window int
	stop   *atomic.Bool

	// owned by run
	sent, next uint32      // numbers: to be sent, to be answered
	times      []time.Time // when the unanswered ones were sent, by number
	out        []byte
}

// closedLoop is a round of clients with a window.
func closedLoop(ctx context.Context, o *Options, s *side, m *meter) (report.Round, *hdr.Histogram, error) {
	conns, err := connectAll(ctx, o.Clients, s.targets, m)
	if err != nil {
		return report.Round{}, nil, err
	}
	var (
		rec     = newRecorder()
		faults  faults
		stop    atomic.Bool
		running sync.WaitGroup
	)
	for i, c := range conns {
		client := &closedClient{
			index: i, conn: c, text: newNumbered(uint32(i), o.Size, c.Key), rec: rec.shard(i),
			faults: &faults, window: o.Window, stop: &stop, times: make([]time.Time, o.Window),
		}
		running.Go(client.run)
	}
	w, err := m.measure(ctx, rec, ended(&running), o.Warmup, o.For)
	stop.Store(true)
	for _, c := range conns {
		expectWithin(c, grace)
	}
	return finish(conns, &running, &faults, w, err, report.Rate)
}

// ended is closed when all goroutines of a group have ended.
func ended(wg *sync.WaitGroup) <-chan struct{} {
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	return done
}

// finish waits for the clients of a round, who know already that they have to
// end, and sums up. err is that of the measurement: if it has failed, they end at once.
func finish(conns connections, running *sync.WaitGroup, f *faults, w *window, err error, rate string) (report.Round, *hdr.Histogram, error) {
	if err != nil {
		conns.abort()
		running.Wait()
		if errors.Is(err, errOver) && f.get().Sum() > 0 {
			return report.Round{Figures: report.Figures{}, Faults: f.get()}, nil, nil
		}
		return report.Round{}, nil, err
	}
	running.Wait()
	conns.leave()
	return report.Round{Figures: w.figures(rate), Faults: f.get(), Series: w.series}, w.hist, nil
}

// run sends until it has to stop, and ends when all is answered.
func (c *closedClient) run() {
	free := c.window
	for {
		if !c.stop.Load() && free > 0 {
			if err := c.send(free); err != nil {
				c.faults.broken(c.index, err)
				return
			}
			free = 0
		}
		if c.next == c.sent {
			return
		}
		for {
			op, data, err := c.conn.Next()
			if err != nil {
				c.failed(err)
				return
			}
			free += c.answered(op, data)
			if !c.conn.More() {
				break
			}
		}
	}
}

func (c *closedClient) failed(err error) {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.faults.missing(c.index, c.sent-c.next)
		return
	}
	c.faults.broken(c.index, err)
}

func (c *closedClient) send(n int) error {
	c.out = c.out[:0]
	now := time.Now()
	for range n {
		c.times[int(c.sent)%len(c.times)] = now
		c.out = c.text.append(c.out, c.sent)
		c.sent++
	}
	return c.conn.Write(c.out)
}

// answered takes an answer, and returns how many frames are not unanswered any
// more.
func (c *closedClient) answered(op wsframe.Opcode, data []byte) int {
	v, got := c.text.check(data, c.next)
	if op != wsframe.Text {
		v = wrong
	}
	if v == early && c.sent-got-1 >= uint32(c.window) { // never sent
		v = wrong
	}
	before := c.next
	switch v {
	case right:
		c.next++
	case wrong:
		c.faults.wrong(c.index, data, c.text.text(c.next))
		c.next++
		c.rec.note()
		return 1
	case again:
		c.faults.order(c.index, got, c.next)
		return 0
	case early:
		c.faults.order(c.index, got, c.next)
		c.next = got + 1
	}
	c.rec.record(c.conn.At().Sub(c.times[int(got)%len(c.times)]))
	return int(c.next - before)
}
