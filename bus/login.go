package bus

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

// renewPause is how long it takes until credentials that a server refused, or that no
// server could be asked about, are tried again.
const renewPause = time.Second

// errRenewed is why a connection was down that logs in anew.
var errRenewed = errors.New("it logs in anew")

// Login is how a connection proves who it is, and whom it believes. Both can change
// while the connection is there; whether there is any of it cannot.
type Login struct {
	// Public is a public nkey ("U…"), and Sign signs with its private half what a
	// server has made up. Both or none; none leaves what Config.Options say.
	Public string
	Sign   func(nonce []byte) ([]byte, error)
	// TLS is what is spoken; nil leaves what Config.Options say. Whether there is one
	// must not change.
	TLS *tls.Config
}

func (l Login) apply(o *nats.Options) {
	if l.Public != "" {
		o.Nkey, o.SignatureCB = l.Public, l.Sign
	}
	if l.TLS != nil {
		o.Secure, o.TLSConfig = true, l.TLS
	}
}

// login has a connection ask for its Login before each attempt.
//
// nats.go takes an nkey and a TLS configuration once for all attempts. But it asks a
// dialer for each, with the lock of the connection held, under which it reads the
// options after that: there they can be changed.
type login struct {
	ask  func() Login              // nil: there is nothing to ask
	made atomic.Pointer[nats.Conn] // nil: the first attempt
	// opts are those of the connection, less what follows from its being there.
	opts     nats.Options
	renewing atomic.Bool
}

func (l *login) prepare(ask func() Login, o *nats.Options) {
	if ask == nil {
		return
	}
	first := ask()
	if first.Public == "" && first.TLS == nil {
		return // and that does not change
	}
	l.ask, l.opts = ask, *o
	first.apply(o)
	if server := o.InProcessServer; server != nil {
		o.InProcessServer = inProcess{l, server}
	} else {
		o.CustomDialer = dialer{l, net.Dialer{Timeout: o.Timeout}}
	}
}

// refresh is called before an attempt, with the lock of the connection held.
func (l *login) refresh() {
	if nc := l.made.Load(); nc != nil {
		l.ask().apply(&nc.Opts)
	}
}

type dialer struct {
	*login
	net net.Dialer
}

// Dial implements nats.CustomDialer.
func (d dialer) Dial(network, address string) (net.Conn, error) {
	d.refresh()
	return d.net.Dial(network, address)
}

type inProcess struct {
	*login
	server nats.InProcessConnProvider
}

// InProcessConn implements nats.InProcessConnProvider.
func (p inProcess) InProcessConn() (net.Conn, error) {
	p.refresh()
	return p.server.InProcessConn()
}

// Renew has the connection log in with what Config.Login says by now. It returns at
// once. In the background it first tries on a connection of its own whether a server
// takes that, again each second until one does, and leaves this connection as it is
// meanwhile. Then this one is made anew, for which it is down for some milliseconds:
// what was published before is sent, subscriptions stay, and what others publish in
// between does not arrive here. A connection that is down logs in so at its next attempt
// anyway. Without Config.Login there is nothing to do. It may be called at any time, by
// any goroutine.
func (c *NATS) Renew() {
	if c.login.ask == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stop.Err() != nil || !c.login.renewing.CompareAndSwap(false, true) {
		return // one that is under way asks for what is said by then
	}
	c.running.Go(c.renew)
}

func (c *NATS) renew() {
	told := false
	for {
		taken, err := c.login.try(c.stop)
		if err == nil {
			c.login.renewing.Store(false) // first: what changes from here on is for another one
			switch {
			case c.login.ask().Public == taken.Public:
				_ = c.nc.ForceReconnect() // fails only when it is closed
				return
			case !c.login.renewing.CompareAndSwap(false, true):
				return // the other one has begun by now
			}
			continue // nobody has asked about what there is by now
		}
		if !told {
			told = true
			c.log.Warn("no server takes the new credentials; the connection stays as it is while they are tried on", "name", c.nc.Opts.Name, "err", err)
		}
		select {
		case <-time.After(renewPause):
		case <-c.stop.Done():
			return
		}
	}
}

// lasting dials connections that end with a context.
type lasting struct {
	ctx context.Context
	net net.Dialer
}

// Dial implements nats.CustomDialer.
func (d lasting) Dial(network, address string) (net.Conn, error) {
	c, err := d.net.DialContext(d.ctx, network, address)
	if err == nil {
		context.AfterFunc(d.ctx, func() { _ = c.Close() }) // a second time does no harm
	}
	return c, err
}

// try connects once as the connection would now, until ctx ends, and says with what.
func (l *login) try(ctx context.Context) (asked Login, err error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	o := l.opts
	o.AllowReconnect, o.RetryOnFailedConnect = false, false
	o.ConnectedCB, o.ReconnectedCB, o.DisconnectedErrCB, o.ReconnectErrCB = nil, nil, nil, nil
	o.AsyncErrorCB = func(*nats.Conn, *nats.Subscription, error) {}
	asked = l.ask()
	asked.apply(&o)
	if o.InProcessServer == nil {
		o.CustomDialer = lasting{ctx, net.Dialer{Timeout: o.Timeout}}
	}
	nc, err := o.Connect()
	if err != nil {
		return asked, fmt.Errorf("bus: %w", err)
	}
	defer nc.Close()
	flush, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	return asked, nc.FlushWithContext(flush)
}
