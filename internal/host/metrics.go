package host

import (
	"errors"
	"net/http"

	"github.com/gatebus/gatebus/configs"
	"github.com/gatebus/gatebus/embedded"
	"github.com/gatebus/gatebus/internal/admin"
	"github.com/gatebus/gatebus/internal/metrics"
	"github.com/gatebus/gatebus/internal/usage"
	"github.com/gatebus/gatebus/register"
)

// shown is what the roles of this process show to Prometheus.
type shown struct {
	*metrics.Set
	members []metrics.Member
	servers map[string]func() (embedded.Stats, error)
}

// member adds a role, known by those who watch it by its name and epoch.
func (s *shown) member(self register.Member, m metrics.Membership) {
	s.members = append(s.members, metrics.Member{Member: self, Membership: m})
}

// metrics answers Prometheus.
func (h *Host) metrics() http.Handler {
	s := &shown{Set: metrics.New(), servers: map[string]func() (embedded.Stats, error){}}
	for _, p := range h.parts {
		p.show(s)
	}
	s.Members(s.members)
	s.NATS(s.servers)
	s.Reloads(h.reloaded.get)
	if h.tracing != nil {
		s.Tracing(h.tracing.Spans)
	}
	return s.Handler(h.log)
}

// report is what the statistics of every role have beside its own figures.
type report struct {
	Process usage.Usage     `json:"process"`
	NATS    *embedded.Stats `json:"nats,omitempty"` // nil where there is no server, or it stops
	// MissedHeartbeats counts the announcements that no register has confirmed.
	MissedHeartbeats int64 `json:"missed_heartbeats"`
}

func newReport(server *embedded.Server, client *register.Client) report {
	r := report{Process: usage.Now(), MissedHeartbeats: client.Missed()}
	if server == nil { // it is a client of somebody else's
		return r
	}
	if n, err := server.Stats(); err == nil {
		r.NATS = &n
	}
	return r
}

// serverCheck is that the NATS server of a role runs.
func serverCheck(name string, server *embedded.Server) admin.Check {
	return admin.Check{Name: name, Missing: func() error {
		if _, err := server.Stats(); err != nil {
			return errors.New("the NATS server does not run")
		}
		return nil
	}}
}

// joinedCheck is that a register has confirmed the role, and under its name.
func joinedCheck(role configs.Role, m interface {
	Joined() bool
	Conflict() error
}) admin.Check {
	return admin.Check{Name: configs.ReadyJoined, Missing: func() error {
		if err := m.Conflict(); err != nil {
			return err
		}
		if !m.Joined() {
			return errors.New("no register has confirmed this " + string(role) + " yet")
		}
		return nil
	}}
}
