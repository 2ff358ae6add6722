package register

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatebus/gatebus/bus"
)

const (
	// expireInterval is how often leases are looked at.
	expireInterval = Heartbeat / 4
	// paused is how late that may be before it says more about this process,
	// which was stopped or starved, than about the members.
	paused = Lease / 2
)

// Server is the registrar of one register: it hears every member, answers
// them, tells who is there, and tells workers of gateways that died.
type Server struct {
	// set at construction
	name     string
	protocol bus.Protocol
	conn     bus.Conn
	log      *slog.Logger

	cut atomic.Bool // see Status

	mu      sync.Mutex
	state   *state
	changes map[ChangeKind]int64
}

// ChangeKind is what happened to members of a role.
type ChangeKind struct {
	Role Role
	Type ChangeType
}

// NewServer makes the registrar of a register, over a connection to its own
// NATS server, or to a cluster that others run (see [Server.Status]). Self is what the register announces about itself; it acts for
// the registers only while it is on its own table. The log should name the
// register. It starts nothing.
func NewServer(self Member, conn bus.Conn, log *slog.Logger) *Server {
	return &Server{name: self.Name, protocol: self.Protocol, conn: conn, log: log, state: newState(self), changes: map[ChangeKind]int64{}}
}

// Status tells the registrar that its connection is up or down: while it is down
// nobody is heard, so nobody's silence means anything. A connection to a server in
// the same process needs no such word. It may be called from any goroutine.
func (s *Server) Status(up bool) { s.cut.Store(!up) }

// Members are those this register knows.
func (s *Server) Members(roles ...Role) []Member {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state.table.Members(roles...)
}

// Changes counts what this register has seen happen to members since it started. It
// may be called at any time.
func (s *Server) Changes() map[ChangeKind]int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.changes)
}

// check tells whether a member goes together with this register.
func (s *Server) check(m *Member) error {
	return s.protocol.Check("register "+s.name, string(m.Role)+" "+m.Name, m.Protocol)
}

// Incompatible are the members that speak a protocol of another major.
func (s *Server) Incompatible() []Member {
	return slices.DeleteFunc(s.Members(), func(m Member) bool { return s.check(&m) == nil })
}

// Run registers members until ctx ends.
func (s *Server) Run(ctx context.Context) error {
	sub, err := s.conn.Subscribe(s.receive, announceRoot+"*", leaveRoot+"*", AnswerSubjects, PendingSubject)
	if err != nil {
		return fmt.Errorf("register: %w", err)
	}
	subs := []bus.Subscription{sub}
	defer func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), Heartbeat)
		defer cancel()
		for _, s := range subs {
			_ = s.Drain(end) // a closed connection has ended it as well
		}
	}()
	// A register that has just started knows nobody yet: until it has heard
	// everybody once, the others answer better.
	warm := time.NewTimer(Heartbeat + Heartbeat/2)
	defer warm.Stop()
	tick := time.NewTicker(expireInterval)
	defer tick.Stop()
	tell := time.NewTicker(tellInterval)
	defer tell.Stop()
	last := time.Now()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-warm.C:
			sub, err := s.conn.QueueSubscribe(MembersSubject, membersQueue, s.list)
			if err != nil {
				return fmt.Errorf("register: %w", err)
			}
			subs = append(subs, sub)
		case <-tick.C:
			now := time.Now() // the tick may have waited
			s.step(now, now.Sub(last) > paused || s.cut.Load())
			last = now
		case <-tell.C:
			s.tellRegisters(time.Now())
		}
	}
}

// step lets time pass.
func (s *Server) step(now time.Time, paused bool) {
	s.mu.Lock()
	if paused {
		s.state.pause(now)
	}
	changes, send, lost := s.state.step(now)
	leads := s.state.notices.leads
	s.mu.Unlock()
	for i := range changes {
		s.tell(&changes[i])
	}
	for i := range send {
		s.ask(&send[i])
	}
	s.tellLost(lost, leads)
}

// receive handles whatever is for all registers, in order of arrival.
func (s *Server) receive(m *bus.Msg) {
	switch {
	case strings.HasPrefix(m.Subject, answerRoot):
		s.receiveAnswer(m)
	case m.Subject == PendingSubject:
		s.receivePending(m)
	default:
		s.receiveMember(m)
	}
}

// receiveMember handles an announcement or goodbye.
func (s *Server) receiveMember(m *bus.Msg) {
	member, err := decode[Member](m)
	answer := ack{Register: s.name, Protocol: s.protocol}
	var (
		change *Change
		wrong  int
	)
	if err == nil {
		now := time.Now()
		s.mu.Lock()
		if strings.HasPrefix(m.Subject, leaveRoot) {
			change = s.state.leave(now, &member)
		} else {
			change, wrong, err = s.state.announce(now, member)
		}
		s.mu.Unlock()
	}
	if wrong > 0 {
		s.log.Info("a gateway that was taken for dead is alive; no worker group is told", "gateway", member.Name, "epoch", member.Epoch.String())
	}
	var conflict *ConflictError
	switch {
	case errors.As(err, &conflict):
		answer.Conflict = &conflict.Holder
	case err != nil:
		answer.Error = err.Error()
		s.log.Warn("a member's message is not valid; it is ignored", "subject", m.Subject, "err", err)
	default:
		if err := s.check(&member); err != nil {
			answer.Error = err.Error()
			if change != nil && change.Type != Left {
				s.log.Error("a member speaks another protocol; it is shown, and nobody of this one links to it", "err", err)
			}
		}
	}
	s.tell(change)
	s.reply(m, answer)
}

func (s *Server) list(m *bus.Msg) {
	s.reply(m, list{Register: s.name, Protocol: s.protocol, Members: s.Members()})
}

func (s *Server) reply(m *bus.Msg, v any) {
	if m.Reply == "" {
		return
	}
	if err := s.conn.Publish(encode(m.Reply, v)); err != nil && !errors.Is(err, bus.ErrClosed) {
		s.log.Warn("cannot answer a member", "subject", m.Subject, "err", err)
	}
}

// tell counts and logs a change.
func (s *Server) tell(c *Change) {
	if c == nil {
		return
	}
	s.mu.Lock()
	s.changes[ChangeKind{c.Member.Role, c.Type}]++
	s.mu.Unlock()
	level := slog.LevelInfo
	if c.Type == Expired || c.Type == Displaced {
		level = slog.LevelWarn
	}
	s.log.Log(context.Background(), level, "member "+string(c.Type),
		"role", string(c.Member.Role), "name", c.Member.Name, "address", c.Member.Address, "epoch", c.Member.Epoch.String())
}
