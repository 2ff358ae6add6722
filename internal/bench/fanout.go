package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"

	"github.com/gatebus/gatebus/internal/bench/report"
	"github.com/gatebus/gatebus/internal/bench/wsclient"
	"github.com/gatebus/gatebus/internal/wsframe"
)

// pusher sends a frame to all members. It is used by one goroutine.
type pusher interface {
	push(payload []byte) error
	// failed says that a push has not reached everybody.
	failed() <-chan error
	close()
}

// fan is a round of pushes.
type fan struct {
	members int
	rec     *recorder
	faults  *faults
	text    *numbered
	pusher  pusher

	slots []slot        // of the pushes under way, by number
	free  chan struct{} // a token for each push that may be sent
	stop  chan struct{}
	lost  chan struct{} // closed by fail
	once  sync.Once     // closes it
	over  atomic.Bool   // no more is sent after number last
	last  atomic.Uint32
}

// slot is one push under way.
type slot struct {
	sent atomic.Int64 // in ns since base
	left atomic.Int32 // members that have not read it
}

// base is what times in slots are counted from.
var base = time.Now()

// fanout is a round of pushes to members that only listen.
func fanout(ctx context.Context, o *Options, s *side, m *meter) (report.Round, *hdr.Histogram, error) {
	conns, err := connectAll(ctx, o.Clients, s.members(), m)
	if err != nil {
		return report.Round{}, nil, err
	}
	p, err := s.pusher(ctx, o)
	if err != nil {
		conns.abort()
		return report.Round{}, nil, err
	}
	defer p.close()
	var (
		rec     = newRecorder()
		faults  faults
		running sync.WaitGroup
	)
	f := &fan{
		members: o.Clients, rec: rec, faults: &faults, pusher: p,
		text:  newNumbered(0, o.Size, wsframe.Key{}),
		slots: make([]slot, 2*o.InFlight), free: make(chan struct{}, o.InFlight),
		stop: make(chan struct{}), lost: make(chan struct{}),
	}
	for i, c := range conns {
		running.Go(func() { f.member(i, c, o.Size) })
	}
	over := make(chan struct{})
	pushing := make(chan error, 1)
	go func() { pushing <- f.pushAll(o.InFlight, over) }()
	w, err := m.measure(ctx, rec, over, o.Warmup, o.For)
	close(f.stop)
	if e := <-pushing; e != nil {
		if err = e; faults.get().Sum() > 0 {
			err = errOver // the faults say why
		}
	}
	f.over.Store(true)
	for _, c := range conns {
		expectWithin(c, f.patience(err))
	}
	round, hist, err := finish(conns, &running, &faults, w, err, report.Deliveries)
	if err == nil && w != nil {
		round.Figures[report.Pushes] = round.Figures[report.Deliveries] / float64(o.Clients)
	}
	return round, hist, err
}

// patience is how long members may wait for pushes at the end: not at all when
// everything has come, or nothing will.
func (f *fan) patience(err error) time.Duration {
	if err != nil || f.done() {
		return 0
	}
	return grace
}

// done tells whether nothing is under way.
func (f *fan) done() bool { return len(f.free) == cap(f.free) }

// pushAll sends as many pushes as may be under way until it has to stop, and
// then waits for those that are. It closes over when a push does not come to its
// end.
func (f *fan) pushAll(inFlight int, over chan<- struct{}) error {
	for range inFlight {
		f.free <- struct{}{}
	}
	stuck := time.NewTimer(grace)
	defer stuck.Stop()
	for number := uint32(0); ; number++ {
		stuck.Reset(grace)
		select {
		case <-f.stop:
			f.settle(inFlight)
			return nil
		case err := <-f.pusher.failed():
			close(over)
			return err
		case <-f.lost:
			close(over)
			return errOver
		case <-stuck.C:
			close(over)
			return fmt.Errorf("%d pushes are under way, and none has reached all members within %v", inFlight, grace)
		case <-f.free:
		}
		s := &f.slots[int(number)%len(f.slots)]
		s.left.Store(int32(f.members))
		s.sent.Store(int64(time.Since(base)))
		f.last.Store(number)
		if err := f.pusher.push(f.text.text(number)); err != nil {
			close(over)
			return err
		}
	}
}

// settle waits until what is under way has arrived.
func (f *fan) settle(inFlight int) {
	deadline := time.NewTimer(grace)
	defer deadline.Stop()
	for range inFlight {
		select {
		case <-f.free:
		case <-f.lost:
			return
		case <-deadline.C:
			return
		}
	}
	for range inFlight {
		f.free <- struct{}{}
	}
}

// member reads what comes to one client.
func (f *fan) member(i int, c *wsclient.Conn, size int) {
	text, rec := newNumbered(0, size, wsframe.Key{}), f.rec.shard(i)
	for next := uint32(0); ; {
		op, data, err := c.Next()
		if err != nil {
			f.memberFailed(i, next, err)
			return
		}
		v, got := text.check(data, next)
		if v == wrong || op != wsframe.Text {
			f.faults.wrong(i, data, text.text(next))
			f.fail()
			return
		}
		if v != right {
			f.faults.order(i, got, next)
			f.fail()
			return
		}
		s := &f.slots[int(got)%len(f.slots)]
		rec.record(c.At().Sub(base) - time.Duration(s.sent.Load()))
		if s.left.Add(-1) == 0 {
			f.free <- struct{}{}
		}
		next = got + 1
	}
}

func (f *fan) memberFailed(i int, next uint32, err error) {
	var timeout net.Error
	if f.over.Load() && errors.As(err, &timeout) && timeout.Timeout() {
		if left := f.last.Load() + 1 - next; left > 0 {
			f.faults.missing(i, left)
		}
		return
	}
	f.faults.broken(i, err)
	f.fail()
}

// fail ends the round: a push of which one member has not had its part does not
// come to its end.
func (f *fan) fail() { f.once.Do(func() { close(f.lost) }) }
