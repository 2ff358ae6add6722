package metrics

import (
	"github.com/gatebus/gatebus/embedded"
	"github.com/gatebus/gatebus/register"
)

// Membership is what the registers' client of a role says.
type Membership interface {
	Joined() bool
	Missed() int64
}

var memberFamilies = []Family{
	{"gatebus_member_info", Gauge, []string{"role", "name", "epoch", "group", "address"}, "What runs here, one for each role; always 1."},
	{"gatebus_member_joined", Gauge, []string{"role"}, "Whether a register has confirmed the role within the last lease (5 s): 1 or 0."},
	{"gatebus_member_heartbeats_missed_total", Counter, []string{"role"}, "Announcements of the role that no register has confirmed."},
}

// Member is one role of the process.
type Member struct {
	register.Member
	Membership
}

// Members adds the roles of the process, all at once.
func (s *Set) Members(ms []Member) {
	s.add(memberFamilies, func(e *emitter) {
		for _, m := range ms {
			role := string(m.Role)
			e.send("gatebus_member_info", 1, role, m.Name, m.Epoch.String(), m.Group, m.Address)
			e.flag("gatebus_member_joined", m.Joined(), role)
			e.count("gatebus_member_heartbeats_missed_total", m.Missed(), role)
		}
	})
}

var natsFamilies = []Family{
	{"gatebus_nats_up", Gauge, []string{"server"}, "Whether the embedded NATS server runs: 1 or 0. The server is bus (a gateway's) or register."},
	{"gatebus_nats_connections", Gauge, []string{"server"}, "Connections of NATS clients, those in the process included."},
	{"gatebus_nats_connections_accepted_total", Counter, []string{"server"}, "Connections of NATS clients since the start."},
	{"gatebus_nats_routes", Gauge, []string{"server"}, "Connections to other registers; NATS makes several to each."},
	{"gatebus_nats_subscriptions", Gauge, []string{"server"}, "Subscriptions that the server knows."},
	{"gatebus_nats_slow_consumers_total", Counter, []string{"server"}, "Connections that the server ended because they did not take what waited for them (8 MiB, or 2 s)."},
	{"gatebus_nats_received_messages_total", Counter, []string{"server"}, "Messages that came in."},
	{"gatebus_nats_sent_messages_total", Counter, []string{"server"}, "Messages that went out, one for each connection that got it."},
	{"gatebus_nats_received_bytes_total", Counter, []string{"server"}, "Payload of the messages that came in."},
	{"gatebus_nats_sent_bytes_total", Counter, []string{"server"}, "Payload of the messages that went out."},
}

// NATS adds the embedded NATS servers of the process, all at once, by what they are for:
// bus or register.
func (s *Set) NATS(servers map[string]func() (embedded.Stats, error)) {
	s.add(natsFamilies, func(e *emitter) {
		for server, stats := range servers {
			n, err := stats()
			e.flag("gatebus_nats_up", err == nil, server)
			if err != nil {
				continue // it stops: there are no figures any more
			}
			e.count("gatebus_nats_connections", n.Connections, server)
			e.count("gatebus_nats_connections_accepted_total", n.TotalConnections, server)
			e.count("gatebus_nats_routes", n.Routes, server)
			e.count("gatebus_nats_subscriptions", n.Subscriptions, server)
			e.count("gatebus_nats_slow_consumers_total", n.SlowConsumers, server)
			e.count("gatebus_nats_received_messages_total", n.InMsgs, server)
			e.count("gatebus_nats_sent_messages_total", n.OutMsgs, server)
			e.count("gatebus_nats_received_bytes_total", n.InBytes, server)
			e.count("gatebus_nats_sent_bytes_total", n.OutBytes, server)
		}
	})
}
