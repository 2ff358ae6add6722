package register

import (
	"encoding/json"
	"fmt"
	"regexp"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
)

// Service shows a member to `nats micro`.
type Service struct{ service micro.Service }

// semver is the version that NATS demands of a micro service.
var semver = regexp.MustCompile(`^v?(\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?)(\+.*)?$`)

// ServiceName is what the members of a role are called as NATS micro services.
func ServiceName(r Role) string { return "gatebus-" + string(r) }

// Serve registers a member as the NATS micro service gatebus-<role>, with what
// it says about itself as metadata and its statistics as those of an endpoint
// reg.stats.<role>.<name>, which also answers requests with them. It is for
// people and tools to look at; the membership does not rest on it.
func Serve(nc *nats.Conn, m Member, stats func() any) (*Service, error) {
	version := "0.0.0-devel"
	if v := semver.FindStringSubmatch(m.Version); v != nil {
		version = v[1]
	}
	metadata := map[string]string{
		"role": string(m.Role), "name": m.Name, "epoch": m.Epoch.String(), "address": m.Address,
	}
	for k, v := range map[string]string{"group": m.Group, "more_groups": m.MoreGroups, "clients": m.Clients} {
		if v != "" {
			metadata[k] = v
		}
	}
	service, err := micro.AddService(nc, micro.Config{
		Name:        ServiceName(m.Role),
		Version:     version,
		Description: "gatebus " + string(m.Role) + " " + m.Name,
		Metadata:    metadata,
		StatsHandler: func(*micro.Endpoint) any {
			return stats()
		},
	})
	if err != nil {
		return nil, fmt.Errorf("register: micro service: %w", err)
	}
	err = service.AddEndpoint("stats", micro.HandlerFunc(func(r micro.Request) {
		data, err := json.Marshal(stats())
		if err != nil {
			_ = r.Error("500", err.Error(), nil) // the asker is told, or gone
			return
		}
		_ = r.Respond(data) // the asker is answered, or gone
	}), micro.WithEndpointSubject(StatsSubject(m.Role, m.Name)))
	if err != nil {
		_ = service.Stop() // the first error says it
		return nil, fmt.Errorf("register: micro service: %w", err)
	}
	return &Service{service}, nil
}

// Stop takes the service off. The connection must still be open.
func (s *Service) Stop() { _ = s.service.Stop() } // fails only on a closed connection, which has taken it off
