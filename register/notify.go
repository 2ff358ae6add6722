package register

import (
	"errors"
	"strconv"
	"time"

	"github.com/gatebus/gatebus/bus"
)

// tellInterval is how often registers tell each other what they have pending.
const tellInterval = Lease

// Notices is what became of the news of dead gateways.
func (s *Server) Notices() NoticeStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state.notices.stats()
}

// ask asks a worker of the group to take a notice. If it cannot, the notice
// counts as not answered.
func (s *Server) ask(p *notice) {
	m := encode(DownSubject(p.key.group), p.down())
	m.Reply = answerSubject(p.key)
	if p.tries > 0 {
		m.Header = bus.Header{bus.HeaderDelivery: {strconv.Itoa(p.tries + 1)}}
	}
	if err := s.conn.Publish(m); err != nil && !errors.Is(err, bus.ErrClosed) {
		s.log.Warn("cannot tell a worker of a dead gateway; trying on", p.attrs("err", err)...)
	}
}

// receiveAnswer handles what a worker says to a notice, whichever register has
// asked.
func (s *Server) receiveAnswer(m *bus.Msg) {
	now := time.Now()
	k, err := parseAnswerSubject(m.Subject)
	if err != nil {
		s.log.Warn("an answer about a dead gateway is not valid; it is ignored", "subject", m.Subject, "err", err)
		return
	}
	if bus.IsNoResponders(m) { // comes to the one that has asked
		s.mu.Lock()
		s.state.notices.nobody(now, k)
		s.mu.Unlock()
		return
	}
	r, err := bus.ParseReply(bus.Open, m)
	if err != nil {
		s.log.Warn("an answer about a dead gateway is not valid; it is ignored", "subject", m.Subject, "err", err)
		return
	}
	s.mu.Lock()
	p, leads := s.state.notices.pending[k], s.state.notices.leads
	var before notice
	if p != nil {
		before = *p
	}
	s.state.notices.answered(now, k, r.Status)
	s.mu.Unlock()
	if p == nil || !leads {
		return
	}
	switch r.Status {
	case bus.Done:
		s.log.Info("a worker has taken the news of a dead gateway", before.attrs()...)
	case bus.Working:
	case bus.Busy:
		s.log.Debug("a worker hands the news of a dead gateway back", before.attrs()...)
	default:
		s.log.Warn("a worker failed over the news of a dead gateway", before.attrs("code", r.Code, "reason", r.Reason)...)
	}
}

// tellRegisters tells the other registers what this one has pending: one that
// has started since, or was cut off, may be the next to act on it.
func (s *Server) tellRegisters(now time.Time) {
	s.mu.Lock()
	list := s.state.notices.tell(now)
	s.mu.Unlock()
	if len(list) == 0 {
		return
	}
	if err := s.conn.Publish(encode(PendingSubject, pending{s.name, list})); err != nil && !errors.Is(err, bus.ErrClosed) {
		s.log.Debug("cannot tell the other registers what is pending", "err", err)
	}
}

// receivePending handles what another register has pending, or this one.
func (s *Server) receivePending(m *bus.Msg) {
	p, err := decode[pending](m)
	if err != nil {
		s.log.Warn("a register's message is not valid; it is ignored", "subject", m.Subject, "err", err)
		return
	}
	s.mu.Lock()
	settled := s.state.told(time.Now(), p.Notices)
	s.mu.Unlock()
	for _, k := range settled {
		_ = s.conn.Publish(&bus.Msg{Subject: answerSubject(k)}) // it is told again with the next list
	}
}

// tellLost logs what was given up: an operator may want to clean up by hand.
func (s *Server) tellLost(lost []notice, leads bool) {
	for i := range lost {
		p := &lost[i]
		switch {
		case !leads:
			s.log.Debug("the news of a dead gateway is given up", p.attrs()...)
		case p.tries == 0:
			s.log.Info("nobody of the worker group wanted the news of a dead gateway; it is given up", p.attrs()...)
		default:
			s.log.Error("no worker could take the news of a dead gateway; it is given up", p.attrs()...)
		}
	}
}

// attrs are the notice, and more, for the log.
func (p *notice) attrs(more ...any) []any {
	return append([]any{
		"gateway", string(p.key.gateway), "epoch", p.key.epoch.String(), "address", p.address,
		"group", p.key.group, "tries", p.tries,
	}, more...)
}
