package register

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/gatebus/gatebus/bus"
)

// serviceQueue is the queue group that the endpoints of micro services have.
const serviceQueue = micro.DefaultQueueGroup

// Service shows a member to `nats micro`. It answers as a service of package
// micro does, whose types it uses. That one answers whatever subject it is asked
// to: with the permissions of a member, an observer could have it push to
// clients, or say things to other members.
type Service struct{ subs []*nats.Subscription }

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
	for k, v := range map[string]string{
		"group": m.Group, "more_groups": m.MoreGroups, "clients": m.Clients, "protocol": m.Protocol.String(),
	} {
		if v != "" {
			metadata[k] = v
		}
	}
	own := micro.ServiceIdentity{Name: ServiceName(m.Role), ID: rand.Text(), Version: version, Metadata: metadata}
	endpoint := micro.EndpointInfo{Name: "stats", Subject: StatsSubject(m.Role, m.Name), QueueGroup: serviceQueue}
	started := time.Now().UTC()
	var asked, failed atomic.Int64
	ping := func() any { return micro.Ping{ServiceIdentity: own, Type: micro.PingResponseType} }
	info := func() any {
		return micro.Info{
			ServiceIdentity: own, Type: micro.InfoResponseType,
			Description: "gatebus " + string(m.Role) + " " + m.Name, Endpoints: []micro.EndpointInfo{endpoint},
		}
	}
	figures := func() any {
		data, err := json.Marshal(stats())
		if err != nil {
			return err
		}
		return micro.Stats{
			ServiceIdentity: own, Type: micro.StatsResponseType, Started: started,
			Endpoints: []*micro.EndpointStats{{
				Name: endpoint.Name, Subject: endpoint.Subject, QueueGroup: endpoint.QueueGroup,
				NumRequests: int(asked.Load()), NumErrors: int(failed.Load()), Data: data,
			}},
		}
	}

	s := &Service{}
	subscribe := func(subject, queue string, fn func() any) error {
		sub, err := nc.QueueSubscribe(subject, queue, func(q *nats.Msg) {
			if err := respond(q, fn()); err != nil && queue != "" {
				failed.Add(1)
			}
		})
		if err == nil {
			s.subs = append(s.subs, sub)
		}
		return err
	}
	var errs []error
	for verb, fn := range map[micro.Verb]func() any{micro.PingVerb: ping, micro.InfoVerb: info, micro.StatsVerb: figures} {
		for _, of := range [][2]string{{}, {own.Name}, {own.Name, own.ID}} {
			subject, err := micro.ControlSubject(verb, of[0], of[1])
			errs = append(errs, err, subscribe(subject, "", fn))
		}
	}
	errs = append(errs, subscribe(endpoint.Subject, endpoint.QueueGroup, func() any {
		asked.Add(1)
		return stats()
	}))
	if err := errors.Join(errs...); err != nil {
		s.Stop()
		return nil, fmt.Errorf("register: micro service: %w", err)
	}
	return s, nil
}

// respond answers a question with JSON, or with the error that it is, if the
// reply subject is not one on which others would take the answer for something
// else.
func respond(q *nats.Msg, v any) error {
	if q.Reply == "" || bus.IsProtocol(q.Reply) {
		return fmt.Errorf("register: %q is no subject for an answer", q.Reply)
	}
	err, failed := v.(error)
	var data []byte
	if !failed {
		data, err = json.Marshal(v)
	}
	answer := &nats.Msg{Data: data}
	if err != nil {
		answer.Header = nats.Header{micro.ErrorHeader: {err.Error()}, micro.ErrorCodeHeader: {"500"}}
	}
	return errors.Join(err, q.RespondMsg(answer))
}

// Stop takes the service off. The connection must still be open.
func (s *Service) Stop() {
	for _, sub := range s.subs {
		_ = sub.Unsubscribe() // fails only on a closed connection, which has taken it off
	}
}
