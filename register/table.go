package register

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/gatebus/gatebus/bus"
)

const (
	// Heartbeat is how often a member announces itself.
	Heartbeat = time.Second
	// Lease is how long a member stays on the tables after it was last heard.
	Lease = 5 * Heartbeat
)

// Role is what a member does.
type Role string

// The roles.
const (
	RoleRegister Role = "register"
	RoleGateway  Role = "gateway"
	RoleWorker   Role = "worker"
)

// Member is what a process says about one of its roles.
type Member struct {
	Role Role   `json:"role"`
	Name string `json:"name"`
	// Epoch tells two lives of the same name apart.
	Epoch bus.Epoch `json:"epoch"`
	// Address is where the others reach it, and what tells two processes of the
	// same name from one that was started again: host:port of a gateway's bus
	// or a register's client port. Nobody connects to a worker; its is the name
	// of its host.
	Address string `json:"address"`
	// Bus are the NATS URLs, with commas between, of a gateway's bus that it does
	// not run itself, but shares with others; empty if it does. Address only tells
	// processes apart then.
	Bus string `json:"bus,omitempty"`
	// Group is the worker group that a worker is of, or that a gateway serves.
	Group string `json:"group,omitempty"`
	// MoreGroups are the other worker groups that a gateway serves, separated
	// by commas.
	MoreGroups string `json:"more_groups,omitempty"`
	// AckWait is how patient a gateway is with silent workers, in milliseconds.
	AckWait int64 `json:"ack_wait_ms,omitempty"`
	// Clients is the address that a gateway's clients connect to.
	Clients string `json:"clients,omitempty"`
	// Version is the build of gatebus.
	Version string `json:"version,omitempty"`
	// Protocol is the version of the protocol that it speaks; empty for 1.0.
	Protocol bus.Protocol `json:"protocol,omitempty"`
}

// check tells whether a member can stand on a table.
func (m *Member) check() error {
	switch m.Role {
	case RoleRegister, RoleGateway, RoleWorker:
	default:
		return fmt.Errorf("register: unknown role %q", m.Role)
	}
	if err := bus.CheckName(m.Name); err != nil {
		return fmt.Errorf("register: %s: name: %w", m.Role, err)
	}
	if m.Address == "" || m.Epoch == 0 {
		return fmt.Errorf("register: %s %s: it lacks an address or an epoch", m.Role, m.Name)
	}
	return nil
}

// ChangeType says what happened to a member.
type ChangeType string

// The types of changes.
const (
	Joined    ChangeType = "joined"
	Updated   ChangeType = "updated"   // says something new about itself
	Restarted ChangeType = "restarted" // a new life at the same address
	Displaced ChangeType = "displaced" // by a process elsewhere that had the name first
	Left      ChangeType = "left"      // it said goodbye
	Expired   ChangeType = "expired"   // it was not heard for a lease
)

// Change is what an event did to a table.
type Change struct {
	Type   ChangeType
	Member Member // as it is now, or was last
	// Old is who had the name before: the former life when restarted, the
	// other process when displaced.
	Old *Member
}

// ConflictError says that a name belongs to another process.
type ConflictError struct{ Holder Member }

func (e *ConflictError) Error() string {
	return fmt.Sprintf("register: the name %s is taken by the %s at %s (epoch %s): give each its own name",
		e.Holder.Name, e.Holder.Role, e.Holder.Address, e.Holder.Epoch)
}

type key struct {
	role Role
	name string
}

type entry struct {
	member Member
	due    time.Time // when the lease ends
}

// Table is the membership as one process sees it: a state machine without
// clock, I/O or locks. Its caller says what time it is.
type Table struct {
	members map[key]entry
}

// NewTable makes an empty table.
func NewTable() *Table { return &Table{members: map[key]entry{}} }

// Announce takes in what a member said about itself at the given time. It
// returns what that changed, nil if only the lease; and a ConflictError if the
// name belongs to another life or process.
func (t *Table) Announce(now time.Time, m Member) (*Change, error) {
	if err := m.check(); err != nil {
		return nil, err
	}
	k := key{m.Role, m.Name}
	cur, ok := t.members[k]
	old := cur.member
	change := &Change{Member: m}
	switch {
	case !ok:
		change.Type = Joined
	case m == old:
		change = nil
	case m.Epoch == old.Epoch:
		change.Type = Updated
	case m.Address == old.Address && m.Epoch > old.Epoch:
		// The port can only be had by one: the former life is over.
		change.Type, change.Old = Restarted, &old
	case m.Address != old.Address && m.Epoch < old.Epoch:
		// Two live processes, seen after a split or a pause. The earlier one
		// wins everywhere, in whatever order the news arrives.
		change.Type, change.Old = Displaced, &old
	default:
		return nil, &ConflictError{Holder: old}
	}
	t.members[k] = entry{m, now.Add(Lease)}
	return change, nil
}

// Leave takes a member off that said goodbye. Another life of the same name
// is not touched.
func (t *Table) Leave(role Role, name string, epoch bus.Epoch) *Change {
	k := key{role, name}
	cur, ok := t.members[k]
	if !ok || cur.member.Epoch != epoch {
		return nil
	}
	delete(t.members, k)
	return &Change{Type: Left, Member: cur.member}
}

// Expire takes off the members whose lease is over, in order of role and name.
func (t *Table) Expire(now time.Time) []Change {
	var changes []Change
	for k, e := range t.members {
		if !now.Before(e.due) {
			delete(t.members, k)
			changes = append(changes, Change{Type: Expired, Member: e.member})
		}
	}
	slices.SortFunc(changes, func(a, b Change) int { return compare(a.Member, b.Member) })
	return changes
}

// Extend gives every member a full lease: for a while nobody could be heard.
func (t *Table) Extend(now time.Time) {
	for k, e := range t.members {
		e.due = now.Add(Lease)
		t.members[k] = e
	}
}

// has tells whether that life of a member is on the table.
func (t *Table) has(role Role, name string, epoch bus.Epoch) bool {
	e, ok := t.members[key{role, name}]
	return ok && e.member.Epoch == epoch
}

// Members are those on the table, in order of role and name; with roles, only
// those of them.
func (t *Table) Members(roles ...Role) []Member {
	var ms []Member
	for e := range maps.Values(t.members) {
		if len(roles) == 0 || slices.Contains(roles, e.member.Role) {
			ms = append(ms, e.member)
		}
	}
	slices.SortFunc(ms, compare)
	return ms
}

func compare(a, b Member) int {
	return cmp.Or(cmp.Compare(a.Role, b.Role), cmp.Compare(a.Name, b.Name))
}
