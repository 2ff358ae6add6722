package metrics

import "github.com/gatebus/gatebus/register"

var registerFamilies = []Family{
	{"gatebus_register_members", Gauge, []string{"role"}, "Members that this register knows."},
	{"gatebus_register_members_incompatible", Gauge, nil, "Members that speak a protocol of another major than this register."},
	{"gatebus_register_member_changes_total", Counter, []string{"role", "change"}, "What happened to members: joined, updated, restarted, displaced (by one that had the name first), left (with a goodbye), expired (without)."},
	{"gatebus_register_leader", Gauge, nil, "Whether this register is the one that tells workers of dead gateways: 1 or 0."},
	{"gatebus_register_notices_pending", Gauge, nil, "News of dead gateways that no worker has taken yet."},
	{"gatebus_register_notices_sent_total", Counter, nil, "News of dead gateways given out by this register, again and again included."},
	{"gatebus_register_notices_acknowledged_total", Counter, nil, "News of dead gateways that a worker has taken."},
	{"gatebus_register_notices_returned_total", Counter, nil, "News of dead gateways handed back: the worker still reaches the gateway, or is busy."},
	{"gatebus_register_notices_failed_total", Counter, nil, "Tries to tell of a dead gateway that failed or were not answered."},
	{"gatebus_register_notices_dropped_total", Counter, nil, "News of dead gateways that were given up."},
}

// Registrar is where the figures of a register come from.
type Registrar interface {
	Members(...register.Role) []register.Member
	Changes() map[register.ChangeKind]int64
	Incompatible() []register.Member
	Notices() register.NoticeStats
}

var (
	roles   = []register.Role{register.RoleRegister, register.RoleGateway, register.RoleWorker}
	changes = []register.ChangeType{
		register.Joined, register.Updated, register.Restarted, register.Displaced, register.Left, register.Expired,
	}
)

// Register adds a register.
func (s *Set) Register(r Registrar) {
	s.add(registerFamilies, func(e *emitter) {
		counted := r.Changes()
		for _, role := range roles {
			e.count("gatebus_register_members", int64(len(r.Members(role))), string(role))
			for _, change := range changes { // those that have not happened too: rates need a first value
				e.count("gatebus_register_member_changes_total", counted[register.ChangeKind{Role: role, Type: change}], string(role), string(change))
			}
		}
		e.count("gatebus_register_members_incompatible", int64(len(r.Incompatible())))
		n := r.Notices()
		e.flag("gatebus_register_leader", n.Leads)
		e.count("gatebus_register_notices_pending", int64(n.Pending))
		e.count("gatebus_register_notices_sent_total", n.Sent)
		e.count("gatebus_register_notices_acknowledged_total", n.Acked)
		e.count("gatebus_register_notices_returned_total", n.Back)
		e.count("gatebus_register_notices_failed_total", n.Failed)
		e.count("gatebus_register_notices_dropped_total", n.GivenUp)
	})
}
