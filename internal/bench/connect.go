package bench

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"

	"github.com/gatebus/gatebus/internal/bench/report"
	"github.com/gatebus/gatebus/internal/bench/wsclient"
)

// sources is how many loopback addresses connections come from in turn, so that
// the ports of one, which stay taken for a while after a connection, suffice.
const sources = 200

// connect is a round of handshakes.
func connect(ctx context.Context, o *Options, s *side, m *meter) (report.Round, *hdr.Histogram, error) {
	var (
		rec     = newRecorder()
		faults  faults
		stop    atomic.Bool
		running sync.WaitGroup
	)
	dialing, cancel := context.WithCancel(ctx)
	defer cancel()
	for i := range o.Clients {
		running.Go(func() {
			t := s.targets[i%len(s.targets)]
			for n := 0; !stop.Load(); n++ {
				start := time.Now()
				c, err := dial(dialing, t, turn(t, i+n))
				switch {
				case dialing.Err() != nil:
					if c != nil {
						_ = c.Net.Close()
					}
					return
				case err != nil:
					faults.broken(i, err)
					return
				}
				rec.shard(i).record(time.Since(start))
				c.Leave(leaveTimeout)
			}
		})
	}
	w, err := m.measure(ctx, rec, ended(&running), o.Warmup, o.For)
	stop.Store(true)
	if err != nil {
		cancel()
	}
	return finish(nil, &running, &faults, w, err, report.Connects)
}

// turn is where the n-th connection of a client comes from.
func turn(t wsclient.Target, n int) net.IP {
	if !t.Loopback() || !manySources {
		return nil
	}
	return net.IPv4(127, 0, 0, byte(1+n%sources))
}
