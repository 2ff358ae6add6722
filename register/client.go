package register

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatebus/gatebus/bus"
)

// quietFor is how often it is said that no register can be reached.
const quietFor = 10 * time.Second

// nameTaken says what it means to a member that another one has its name.
var nameTaken = map[Role]string{
	RoleRegister: "this register's name is taken; it works on, and lists show the other",
	RoleGateway:  "this gateway's name is taken; no worker links to it",
	RoleWorker:   "this worker's name is taken; it works on, and lists show the other",
}

// ClientConfig says who a member is and what it wants to know.
type ClientConfig struct {
	// Self is announced. Its role, name, epoch and address must be set; a client
	// without a role only watches.
	Self Member
	// Watch are the roles whose members the client keeps track of.
	Watch []Role
	// OnChange, if set, is told of every change among the watched, one call
	// at a time. It must not block.
	OnChange func(Change)
	// Registers is what the registers are called in messages: their URLs.
	Registers []string
	Log       *slog.Logger
}

// Client keeps one member on the registers' tables, and a table of its own of
// those it watches.
type Client struct {
	// set at construction
	cfg  ClientConfig
	log  *slog.Logger
	conn bus.Conn
	up   chan bool // from Status; buffered, holds the latest
	// closed when a register has first told who is there
	caughtUp chan struct{}
	first    sync.Once
	// why the connection is down, as Status said last
	cause atomic.Pointer[error]
	// announcements that no register has confirmed
	missed atomic.Int64

	// owned by Run
	failing time.Time // since when no register answers; zero if one does
	warned  time.Time // when that was last said

	mu       sync.Mutex
	table    *Table
	acked    time.Time // when a register last confirmed the membership
	conflict error     // why this member is not accepted
	frozen   bool      // no register is heard: the table stands still
}

// NewClient makes a client. It does nothing before Run.
func NewClient(cfg ClientConfig) (*Client, error) {
	if cfg.Self.Role != "" {
		if err := cfg.Self.check(); err != nil {
			return nil, err
		}
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Client{
		cfg: cfg, log: cfg.Log, table: NewTable(), frozen: true,
		up: make(chan bool, 1), caughtUp: make(chan struct{}),
	}, nil
}

// Status tells the client that the connection to the registers is up or down.
// It is meant as bus.Config.OnStatus of that connection, and must be called
// from one goroutine at a time.
func (c *Client) Status(up bool, cause error) {
	if cause != nil {
		c.cause.Store(&cause)
	}
	select {
	case <-c.up: // an older status that was not looked at
	default:
	}
	c.up <- up
}

// Joined tells whether a register has confirmed the membership within the last
// lease.
func (c *Client) Joined() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.conflict == nil && !c.acked.IsZero() && time.Since(c.acked) < Lease
}

// Conflict says why the registers do not accept the member: a *ConflictError while another
// process has the name, a *bus.ProtocolError if the registers speak a protocol of another
// major, or what they said of its announcement. Of a client that only watches it says what
// is wrong with their list of members. It is nil otherwise.
func (c *Client) Conflict() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.conflict
}

// Missed counts the announcements, since the start, that no register has confirmed. It
// may be called at any time.
func (c *Client) Missed() int64 { return c.missed.Load() }

// Members are the watched members that are there, as far as is known.
func (c *Client) Members(roles ...Role) []Member {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.table.Members(roles...)
}

// CaughtUp is closed when a register has told for the first time who is there.
func (c *Client) CaughtUp() <-chan struct{} { return c.caughtUp }

// Run announces the member over conn until ctx ends, and then says goodbye. It
// does not end for want of a register: it keeps trying. A client that has ended may run
// again: it is announced anew.
func (c *Client) Run(ctx context.Context, conn bus.Conn) error {
	c.conn = conn
	var subjects []string
	for _, r := range c.cfg.Watch {
		subjects = append(subjects, AnnounceSubject(r), LeaveSubject(r))
	}
	if len(subjects) > 0 {
		sub, err := conn.Subscribe(c.receive, subjects...)
		if err != nil {
			return fmt.Errorf("register: watch: %w", err)
		}
		defer func() {
			end, cancel := context.WithTimeout(context.WithoutCancel(ctx), Heartbeat)
			defer cancel()
			_ = sub.Drain(end) // a closed connection has ended it as well
		}()
	}
	beat := time.NewTimer(c.beat(ctx))
	defer beat.Stop()
	expire := time.NewTicker(expireInterval)
	defer expire.Stop()
	for {
		select {
		case <-ctx.Done():
			return c.leave(ctx)
		case up := <-c.up:
			if up {
				c.cause.Store(nil)
				beat.Reset(c.beat(ctx)) // the registers may have forgotten us
			} else {
				c.freeze()
			}
		case <-beat.C:
			beat.Reset(c.beat(ctx))
		case now := <-expire.C:
			c.expire(now)
		}
	}
}

// beat announces the member and returns when to do so again. That no register
// is there is worth a word when it lasts.
func (c *Client) beat(ctx context.Context) time.Duration {
	start := time.Now()
	if c.announce(ctx) {
		c.failing = time.Time{}
		return Heartbeat
	}
	if ctx.Err() != nil {
		return Heartbeat // cut short: that says nothing about the registers
	}
	c.missed.Add(1)
	c.freeze()
	if c.failing.IsZero() {
		c.failing, c.warned = start, time.Time{}
	}
	now := time.Now()
	if now.Sub(c.failing) < Heartbeat || now.Sub(c.warned) < quietFor {
		return Heartbeat / 4
	}
	c.warned = now
	attrs := []any{"registers", strings.Join(c.cfg.Registers, ", ")}
	if cause := c.cause.Load(); cause != nil {
		attrs = append(attrs, "err", *cause)
	}
	c.log.Warn("no register can be reached; trying on", attrs...)
	return Heartbeat / 4
}

// announce tells the registers about this member, and whether one confirmed.
func (c *Client) announce(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, Heartbeat)
	defer cancel()
	if c.cfg.Self.Role == "" {
		return c.observe(ctx)
	}
	m, err := c.conn.Request(ctx, encode(AnnounceSubject(c.cfg.Self.Role), c.cfg.Self))
	if err != nil {
		return false
	}
	a, err := decode[ack](m)
	if err == nil {
		err = c.accepted(&a)
	}
	if err != nil {
		c.refused(a.Register, err)
		return true // it was reached all the same
	}
	now := time.Now()
	c.mu.Lock()
	first := c.acked.IsZero() || now.Sub(c.acked) >= Lease
	before := c.conflict
	c.acked, c.conflict = now, nil
	if a.Conflict != nil {
		c.conflict = &ConflictError{Holder: *a.Conflict}
	}
	conflict := c.conflict
	thaw := c.frozen
	if thaw {
		c.frozen = false
		c.table.Extend(now)
	}
	c.mu.Unlock()
	switch {
	case conflict != nil && before == nil:
		c.log.Error(nameTaken[c.cfg.Self.Role], "name", c.cfg.Self.Name, "err", conflict)
	case conflict == nil && (first || before != nil):
		c.log.Info("joined", "through", a.Register)
	}
	if thaw && len(c.cfg.Watch) > 0 {
		c.catchUp(ctx)
	}
	return true
}

// accepted tells whether a register takes this member, by its answer.
func (c *Client) accepted(a *ack) error {
	self := c.cfg.Self
	if err := self.Protocol.Check("this "+string(self.Role), "register "+a.Register, a.Protocol); err != nil {
		return err
	}
	if a.Error != "" {
		return errors.New(a.Error)
	}
	return nil
}

// refused notes that a register does not accept this member. It says so when the reason
// is a new one.
func (c *Client) refused(through string, err error) {
	c.mu.Lock()
	before := c.conflict
	c.conflict = err
	c.mu.Unlock()
	if before == nil || before.Error() != err.Error() {
		c.log.Error("a register does not accept this member", "through", through, "err", err)
	}
}

// observe is announce for a client that only watches: it tells whether a register
// is there.
func (c *Client) observe(ctx context.Context) bool {
	c.mu.Lock()
	thaw := c.frozen
	c.mu.Unlock()
	if !c.catchUp(ctx) {
		return false
	}
	if thaw {
		c.mu.Lock()
		c.frozen = false
		c.table.Extend(time.Now())
		c.mu.Unlock()
	}
	return true
}

// catchUp asks a register who is there, to know before the next heartbeats, and
// tells whether one has answered. A register that does not know yet, or none, is no
// harm: everybody announces itself within a heartbeat.
func (c *Client) catchUp(ctx context.Context) bool {
	m, err := c.conn.Request(ctx, &bus.Msg{Subject: MembersSubject})
	if err != nil {
		return false
	}
	l, err := decode[list](m)
	if err == nil {
		err = c.cfg.Self.Protocol.Check("this program", "register "+l.Register, l.Protocol)
	}
	if err != nil {
		c.unusable(err)
		return true
	}
	c.usable()
	defer c.first.Do(func() { close(c.caughtUp) })
	for _, member := range l.Members {
		for _, r := range c.cfg.Watch {
			if member.Role == r {
				c.heard(member)
			}
		}
	}
	return true
}

// unusable notes what is wrong with a register's list of members. One that only watches
// hears of the registers in no other way: that is why it does not join, and is said when
// it is new.
func (c *Client) unusable(err error) {
	known := false
	if c.cfg.Self.Role == "" {
		c.mu.Lock()
		known = c.conflict != nil && c.conflict.Error() == err.Error()
		c.conflict = err
		c.mu.Unlock()
	}
	if !known {
		c.log.Warn("a register's list of members is not valid", "err", err)
	}
}

// usable notes that nothing is wrong with it.
func (c *Client) usable() {
	if c.cfg.Self.Role == "" {
		c.mu.Lock()
		c.conflict = nil
		c.mu.Unlock()
	}
}

// receive handles the announcement or goodbye of a watched member.
func (c *Client) receive(m *bus.Msg) {
	member, err := decode[Member](m)
	if err != nil {
		return // the registers answer and log it
	}
	if !strings.HasPrefix(m.Subject, leaveRoot) {
		c.heard(member)
		return
	}
	c.mu.Lock()
	change := c.table.Leave(member.Role, member.Name, member.Epoch)
	c.tellLocked(change)
	c.mu.Unlock()
}

func (c *Client) heard(m Member) {
	c.mu.Lock()
	change, _ := c.table.Announce(time.Now(), m) // the registers tell who is in conflict
	c.tellLocked(change)
	c.mu.Unlock()
}

// tellLocked passes a change on. Holding the lock keeps changes in order.
func (c *Client) tellLocked(change *Change) {
	if change != nil && c.cfg.OnChange != nil {
		c.cfg.OnChange(*change)
	}
}

// freeze stops the clock of the table: no register is heard, so nobody's
// silence means anything.
func (c *Client) freeze() {
	c.mu.Lock()
	c.frozen = true
	c.mu.Unlock()
}

func (c *Client) expire(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.frozen {
		return
	}
	for _, change := range c.table.Expire(now) {
		c.tellLocked(&change)
	}
}

// leave says goodbye. It does so whatever is known of the registers: one may
// have heard the announcement that the end has cut short.
func (c *Client) leave(ctx context.Context) error {
	c.mu.Lock()
	c.acked = time.Time{}
	c.mu.Unlock()
	if c.cfg.Self.Role == "" {
		return nil
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), Heartbeat)
	defer cancel()
	if _, err := c.conn.Request(end, encode(LeaveSubject(c.cfg.Self.Role), c.cfg.Self)); err != nil {
		c.log.Debug("no register heard the goodbye", "err", err)
	}
	return nil
}
