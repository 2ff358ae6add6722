package bench

import (
	"context"
	"net"
	"sync"
)

// ServeRelay passes on bytes between each connection to a listener and one that it makes to
// an address, until ctx ends: a raw server behind it is as many hops away as a worker is
// from its clients, with nothing done on the way.
func ServeRelay(ctx context.Context, l net.Listener, to string) error {
	ctx, cancel := context.WithCancel(ctx)
	var relays sync.WaitGroup
	defer relays.Wait()
	defer cancel()
	defer context.AfterFunc(ctx, func() { _ = l.Close() })()
	for {
		c, err := l.Accept()
		switch {
		case err != nil && ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		}
		relays.Go(func() { relay(ctx, c, to) })
	}
}

// relay serves one connection. When one of the two ends, so does the other; a client whose
// server cannot be reached sees that.
func relay(ctx context.Context, c net.Conn, to string) {
	defer c.Close()
	d := net.Dialer{Timeout: dialTimeout}
	s, err := d.DialContext(ctx, "tcp", to)
	if err != nil {
		return
	}
	end := func() { _, _ = c.Close(), s.Close() }
	defer context.AfterFunc(ctx, end)()
	var back sync.WaitGroup
	back.Go(func() {
		pass(c, s)
		end()
	})
	pass(s, c)
	end()
	back.Wait()
}

// pass passes on what comes until one of the two ends. It reads and writes: io.Copy would
// need a pipe for each, too.
func pass(to, from net.Conn) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}
