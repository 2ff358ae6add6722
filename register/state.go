package register

import (
	"cmp"
	"time"
)

// state is what one register knows: the members, and what worker groups have
// yet to be told. Like its parts it has no clock, I/O or locks.
type state struct {
	self    Member
	table   *Table
	notices *notices
}

func newState(self Member) *state {
	return &state{self: self, table: NewTable(), notices: newNotices()}
}

// announce takes in what a member says about itself; see [Table.Announce]. It
// also returns how many notices it proves wrong.
func (s *state) announce(now time.Time, m Member) (change *Change, wrong int, err error) {
	change, err = s.table.Announce(now, m)
	if err != nil {
		return nil, 0, err
	}
	wrong = s.notices.heard(now, &m)
	if change != nil {
		s.notices.changed(now, change)
	}
	return change, wrong, nil
}

// leave takes in a goodbye. That of a gateway counts even if it was taken for
// dead before.
func (s *state) leave(now time.Time, m *Member) *Change {
	if m.Role == RoleGateway && m.check() == nil {
		s.notices.withdraw(now, lifeOf(m))
	}
	return s.table.Leave(m.Role, m.Name, m.Epoch)
}

// told takes in what another register has pending. It returns what that one
// should forget.
func (s *state) told(now time.Time, list []pendingNotice) (settled []noticeKey) {
	for i := range list {
		p := &list[i]
		k := noticeKey{life{p.Gateway, p.Epoch}, p.Group}
		switch {
		case p.check() != nil || s.table.has(RoleGateway, string(p.Gateway), p.Epoch):
		case !s.notices.isSettled(k):
			s.notices.told(now, p)
		case s.notices.leads:
			settled = append(settled, k)
		}
	}
	return settled
}

// pause takes in that this register was stopped or starved for a while. Nobody
// is blamed for having been silent: what they said is still on its way in. Nor
// does it know yet who has led in its place.
func (s *state) pause(now time.Time) {
	s.table.Extend(now)
	s.notices.lead(now, false)
}

// step is what time does: leases end, and notices are due.
func (s *state) step(now time.Time) (changes []Change, send, lost []notice) {
	changes = s.table.Expire(now)
	for i := range changes {
		s.notices.changed(now, &changes[i])
	}
	s.notices.lead(now, s.oldest())
	send, lost = s.notices.step(now)
	return changes, send, lost
}

// oldest tells whether this register is the one that started first of those
// on the table, itself included. So it is one that has heard most, and a
// register that joins does not take over.
func (s *state) oldest() bool {
	registers := s.table.Members(RoleRegister)
	if len(registers) == 0 {
		return false
	}
	first := registers[0]
	for _, r := range registers[1:] {
		if cmp.Or(cmp.Compare(r.Epoch, first.Epoch), cmp.Compare(r.Name, first.Name)) < 0 {
			first = r
		}
	}
	return first.Name == s.self.Name && first.Epoch == s.self.Epoch
}
