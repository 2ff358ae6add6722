package register

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/gatebus/gatebus/bus"
)

// expireInterval is how often leases are looked at.
const expireInterval = Heartbeat / 4

// Server is the registrar of one register: it hears every member, answers
// them, and tells who is there.
type Server struct {
	// set at construction
	name string
	conn bus.Conn
	log  *slog.Logger

	mu    sync.Mutex
	table *Table
}

// NewServer makes the registrar of the register called name, over a connection
// to its own NATS server. The log should name the register. It starts nothing.
func NewServer(name string, conn bus.Conn, log *slog.Logger) *Server {
	return &Server{name: name, conn: conn, log: log, table: NewTable()}
}

// Members are those this register knows.
func (s *Server) Members(roles ...Role) []Member {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.table.Members(roles...)
}

// Run registers members until ctx ends.
func (s *Server) Run(ctx context.Context) error {
	sub, err := s.conn.Subscribe(s.receive, announceRoot+"*", leaveRoot+"*")
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
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-warm.C:
			sub, err := s.conn.QueueSubscribe(membersSubject, membersQueue, s.list)
			if err != nil {
				return fmt.Errorf("register: %w", err)
			}
			subs = append(subs, sub)
		case now := <-tick.C:
			s.mu.Lock()
			changes := s.table.Expire(now)
			s.mu.Unlock()
			for i := range changes {
				s.tell(&changes[i])
			}
		}
	}
}

// receive handles an announcement or goodbye.
func (s *Server) receive(m *bus.Msg) {
	member, err := decode[Member](m)
	answer := ack{Register: s.name}
	var change *Change
	if err == nil {
		s.mu.Lock()
		if strings.HasPrefix(m.Subject, leaveRoot) {
			change = s.table.Leave(member.Role, member.Name, member.Epoch)
		} else {
			change, err = s.table.Announce(time.Now(), member)
		}
		s.mu.Unlock()
	}
	var conflict *ConflictError
	switch {
	case errors.As(err, &conflict):
		answer.Conflict = &conflict.Holder
	case err != nil:
		answer.Error = err.Error()
		s.log.Warn("a member's message is not valid; it is ignored", "subject", m.Subject, "err", err)
	}
	s.tell(change)
	s.reply(m, answer)
}

func (s *Server) list(m *bus.Msg) {
	s.reply(m, list{Register: s.name, Members: s.Members()})
}

func (s *Server) reply(m *bus.Msg, v any) {
	if m.Reply == "" {
		return
	}
	if err := s.conn.Publish(encode(m.Reply, v)); err != nil && !errors.Is(err, bus.ErrClosed) {
		s.log.Warn("cannot answer a member", "subject", m.Subject, "err", err)
	}
}

// tell logs a change.
func (s *Server) tell(c *Change) {
	if c == nil {
		return
	}
	level := slog.LevelInfo
	if c.Type == Expired || c.Type == Displaced {
		level = slog.LevelWarn
	}
	s.log.Log(context.Background(), level, "member "+string(c.Type),
		"role", string(c.Member.Role), "name", c.Member.Name, "address", c.Member.Address, "epoch", c.Member.Epoch.String())
}
