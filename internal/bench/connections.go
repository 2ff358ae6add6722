package bench

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gatebus/gatebus/internal/bench/wsclient"
)

const (
	// dialers is how many connections are made at the same time.
	dialers = 64
	// dialTimeout bounds one handshake.
	dialTimeout = 20 * time.Second
	// grace is how long after the end of a load answers may come.
	grace = 10 * time.Second
	// leaveTimeout bounds the goodbye of a client.
	leaveTimeout = 2 * time.Second
	// perSource is how many connections come from one address: fewer than the
	// ports that a system has for them.
	perSource = 20_000
)

// source is where the i-th client of a target comes from: nil, any address,
// while there are enough ports.
func source(t wsclient.Target, i int) net.IP {
	if n := i / perSource; n > 0 && n < sources && manySources && t.Loopback() {
		return net.IPv4(127, 0, 0, byte(1+n))
	}
	return nil
}

// dial connects one client.
func dial(ctx context.Context, t wsclient.Target, from net.IP) (*wsclient.Conn, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, dialTimeout, fmt.Errorf("no answer to the handshake within %v", dialTimeout))
	defer cancel()
	return t.Dial(ctx, from)
}

// connections are those of all clients of a round.
type connections []*wsclient.Conn

// connectAll connects so many clients, shared among the targets. On an error
// none is left.
func connectAll(ctx context.Context, n int, targets []wsclient.Target, m *meter) (connections, error) {
	m.phase("connecting", 0)
	conns := make(connections, n)
	group, dialing := errgroup.WithContext(ctx)
	next := make(chan int)
	group.Go(func() error {
		defer close(next)
		for i := range n {
			select {
			case next <- i:
			case <-dialing.Done():
				return nil // what ended it is told elsewhere
			}
		}
		return nil
	})
	for range min(n, dialers) {
		group.Go(func() error {
			for i := range next {
				t := targets[i%len(targets)]
				c, err := dial(dialing, t, source(t, i/len(targets)))
				if err != nil {
					return fmt.Errorf("connect client %d of %d: %w", i+1, n, err)
				}
				conns[i] = c
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		conns.abort()
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		conns.abort()
		return nil, context.Cause(ctx)
	}
	return conns, nil
}

// abort closes all at once.
func (cs connections) abort() {
	for _, c := range cs {
		if c != nil {
			_ = c.Net.Close()
		}
	}
}

// leave closes all orderly. Nobody may read them.
func (cs connections) leave() {
	var wg sync.WaitGroup
	queue := make(chan *wsclient.Conn)
	for range min(len(cs), dialers) {
		wg.Go(func() {
			for c := range queue {
				c.Leave(leaveTimeout)
			}
		})
	}
	for _, c := range cs {
		queue <- c
	}
	close(queue)
	wg.Wait()
}

// expectWithin has reads fail after a time.
func expectWithin(c *wsclient.Conn, d time.Duration) {
	_ = c.Net.SetReadDeadline(time.Now().Add(d)) // fails only on one that is closed
}
