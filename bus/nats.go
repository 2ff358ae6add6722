package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/time/rate"
)

const (
	// subscriptionBuffer is how many messages one Subscribe call holds while
	// its callback runs. At a million messages a second it covers a pause of
	// 65 ms; it costs 8 bytes an entry.
	subscriptionBuffer = 1 << 16

	// A connection that says nothing is pinged every pingInterval and given up
	// after pingsOut unanswered pings: half-open links end within 15 s. NATS's
	// own defaults take about 6 minutes.
	pingInterval = 5 * time.Second
	pingsOut     = 2

	// writeTimeout is how long a server may take nothing of what is published: then the
	// connection is given up, and who publishes waits no longer. NATS's own default is a
	// minute, for which one frozen gateway would keep all who push.
	writeTimeout = 5 * time.Second

	// complaints are the lines that a connection has in the log at first about what goes
	// wrong in the background, and complaintEvery is between two when there were so many:
	// who asks a gateway to answer where it may not can make as many as he likes.
	complaints     = 10
	complaintEvery = 10 * time.Second

	connectTimeout = 2 * time.Second
	reconnectWait  = 200 * time.Millisecond
	// reconnectJitter spreads the clients of a server that comes back.
	reconnectJitter = 200 * time.Millisecond
)

// Config says how Dial connects.
type Config struct {
	// URLs are the servers; any of them will do. Ignored when InProcess is set.
	URLs []string
	// InProcess is a server in this process, reached without a socket.
	InProcess nats.InProcessConnProvider
	// Name is what the server's connection list shows.
	Name string
	// Pinned keeps the connection to URLs: servers that these tell of are
	// ignored. A link to one gateway is pinned.
	Pinned bool
	// Options are added last: credentials, TLS.
	Options []nats.Option
	// Login, if set, is asked before each attempt to connect, and goes before what
	// Options say of the same. It must not block, nor use the connection.
	Login func() Login
	// Log gets what goes wrong in the background; nil discards it.
	Log *slog.Logger
	// OnStatus, if set, is called at every change, one call at a time: true
	// when the connection is up (subscriptions stand again: what is published
	// on the connection from then on meets them), false with the cause when it
	// is down or the first attempt has failed. It may be called before Dial
	// returns and is not called after Close has, which waits for it; so it must
	// not call Close, nor wait for somebody who does.
	OnStatus func(up bool, cause error)
}

// NATS is a Conn to a NATS server.
type NATS struct {
	// set at construction
	nc     *nats.Conn
	pinned bool // to one server
	log    *slog.Logger
	login  login
	warn   *rate.Sometimes
	stop   context.Context // ends when Close is called
	cancel context.CancelFunc

	mu      sync.Mutex     // held while running grows or the connection is closed
	running sync.WaitGroup // pumps, and drains under way

	statusMu sync.Mutex // held while onStatus runs
	status   status
	onStatus func(up bool, cause error) // nil: nobody asks, or closed
}

// status is what OnStatus was told last.
type status uint8

const (
	untold status = iota
	up
	down
)

var _ Conn = (*NATS)(nil)

// Dial makes a connection that repairs itself for as long as it is not
// closed. It does not wait for a server: that one is unreachable is no error,
// OnStatus tells when it is reached. An error means that the configuration is
// wrong.
func Dial(cfg Config) (*NATS, error) {
	if cfg.InProcess == nil && len(cfg.URLs) == 0 {
		return nil, errors.New("bus: no server to connect to")
	}
	log := cfg.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	stop, cancel := context.WithCancel(context.Background())
	c := &NATS{
		log:    log,
		warn:   newComplaints(),
		pinned: cfg.Pinned || cfg.InProcess != nil,
		stop:   stop, cancel: cancel,
		onStatus: cfg.OnStatus,
	}
	opts := nats.GetDefaultOptions()
	opts.Servers = cfg.URLs
	opts.Name = cfg.Name
	opts.Timeout = connectTimeout
	opts.PingInterval = pingInterval
	opts.MaxPingsOut = pingsOut
	opts.RetryOnFailedConnect = true
	opts.MaxReconnect = -1
	opts.ReconnectWait = reconnectWait
	opts.ReconnectJitter = reconnectJitter
	opts.ReconnectJitterTLS = reconnectJitter
	opts.ReconnectBufSize = -1 // what a lost connection held must not be replayed stale
	opts.IgnoreDiscoveredServers = cfg.Pinned
	opts.IgnoreAuthErrorAbort = true // a secret being rotated is not for ever
	opts.NoCallbacksAfterClientClose = true
	if opts.InProcessServer = cfg.InProcess; cfg.InProcess == nil { // else it cannot be frozen alone
		opts.FlusherTimeout = writeTimeout
		opts.ReconnectOnFlusherError = true
	}
	opts.AsyncErrorCB = c.asyncError
	if cfg.OnStatus != nil {
		opts.ConnectedCB = func(*nats.Conn) { c.tell(up, nil) }
		opts.ReconnectedCB = func(*nats.Conn) { c.tell(up, nil) }
		opts.DisconnectedErrCB = func(_ *nats.Conn, err error) {
			if err == nil {
				err = errRenewed
			}
			c.tell(down, err)
		}
		opts.ReconnectErrCB = func(_ *nats.Conn, err error) { c.tell(down, err) }
	}
	for _, o := range cfg.Options {
		if err := o(&opts); err != nil {
			cancel()
			return nil, fmt.Errorf("bus: connect option: %w", err)
		}
	}
	c.login.prepare(cfg.Login, &opts)
	strayProof(&opts)
	nc, err := opts.Connect()
	if err != nil {
		cancel()
		return nil, fmt.Errorf("bus: connect to %v: %w", cfg.URLs, err)
	}
	c.nc = nc
	c.login.made.Store(nc)
	return c, nil
}

// NATS is the connection underneath, for what this package does not cover,
// such as registering a micro service.
func (c *NATS) NATS() *nats.Conn { return c.nc }

// Server names the server that the connection is to, "" while it is down.
func (c *NATS) Server() string { return c.nc.ConnectedUrlRedacted() }

// tell calls onStatus if the status is a new one: nats.go reports every failed
// attempt, and what it has queued even after it was closed.
func (c *NATS) tell(s status, cause error) {
	c.statusMu.Lock()
	defer c.statusMu.Unlock()
	if c.onStatus != nil && c.stop.Err() == nil && c.status != s {
		c.status = s
		c.onStatus(s == up, cause)
	}
}

func newComplaints() *rate.Sometimes {
	return &rate.Sometimes{First: complaints, Interval: complaintEvery}
}

func (c *NATS) asyncError(_ *nats.Conn, sub *nats.Subscription, err error) {
	c.warn.Do(func() {
		if sub == nil {
			c.log.Warn("bus connection", "name", c.nc.Opts.Name, "err", err)
			return
		}
		c.log.Warn("bus subscription", "name", c.nc.Opts.Name, "subject", sub.Subject, "err", err)
	})
}

// Publish implements Conn.
func (c *NATS) Publish(m *Msg) error {
	if emulated != nil {
		return c.emulate(m)
	}
	if err := c.nc.PublishMsg(m); err != nil {
		return c.wrap("publish to "+m.Subject, err)
	}
	return nil
}

// emulate is Publish of another version.
func (c *NATS) emulate(m *Msg) error {
	for _, m := range emulated.Sent(m) { // none, perhaps
		if err := c.nc.PublishMsg(m); err != nil {
			return c.wrap("publish to "+m.Subject, err)
		}
	}
	return nil
}

// Request implements Conn.
func (c *NATS) Request(ctx context.Context, m *Msg) (*Msg, error) {
	if emulated != nil {
		m = emulated.Sent(m)[0]
	}
	r, err := c.nc.RequestMsgWithContext(ctx, m)
	if err != nil {
		return nil, c.wrap("request to "+m.Subject, causeOf(ctx, err))
	}
	return r, nil
}

// Flush implements Conn.
func (c *NATS) Flush(ctx context.Context) error {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Minute) // nats.go insists on a deadline
		defer cancel()
	}
	if err := c.nc.FlushWithContext(ctx); err != nil {
		return c.wrap("flush", causeOf(ctx, err))
	}
	return nil
}

// causeOf is the cause of ctx in the place of its error.
func causeOf(ctx context.Context, err error) error {
	if e := ctx.Err(); e != nil && errors.Is(err, e) {
		return context.Cause(ctx)
	}
	return err
}

// Close implements Conn.
func (c *NATS) Close() {
	c.mu.Lock()
	c.cancel()
	c.mu.Unlock()
	c.nc.Close()
	c.running.Wait()
	c.statusMu.Lock() // an OnStatus that runs has returned
	c.onStatus = nil
	c.statusMu.Unlock()
}

func (c *NATS) wrap(what string, err error) error {
	switch {
	case c.nc.IsClosed():
		return ErrClosed
	case errors.Is(err, nats.ErrNoResponders):
		return ErrNoResponders
	case errors.Is(err, nats.ErrMaxPayload):
		return fmt.Errorf("bus: %s: %w: %w", what, ErrTooLarge, err)
	case notConnected(err):
		return fmt.Errorf("bus: %s: not connected", what)
	}
	return fmt.Errorf("bus: %s: %w", what, err)
}

// notConnected tells the ways in which nats.go says that a connection that is
// not closed is down.
func notConnected(err error) bool {
	return errors.Is(err, nats.ErrReconnectBufExceeded) || // nothing is kept for later
		errors.Is(err, nats.ErrConnectionClosed) || // a flush was under way
		errors.Is(err, nats.ErrHeadersNotSupported) // never connected: it knows no server
}

// reconnectBits are those of a ConnID above which the number of the reconnection
// stands where a connection may be to several servers.
const reconnectBits = 48

// ID implements Conn. Each server numbers its connections by itself: one that may be
// to several counts how often it was made, too.
func (c *NATS) ID() ConnID {
	var made uint64
	if !c.pinned {
		made = c.nc.Stats().Reconnects << reconnectBits
	}
	id, err := c.nc.GetClientID()
	if err != nil { // never connected
		return 0
	}
	return ConnID(id | made)
}
