package embedded

import (
	"slices"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/internal/keys"
	"github.com/gatebus/gatebus/register"
)

// anyToken stands for one token that does not matter: the name of a gateway, say. A
// bus has one gateway only, and its name is not spelled out because a worker in
// another language subscribes to gw.*.in.<group>.*, which would be denied then.
const anyToken = "*"

// grant is what the user of a role may do on a server.
type grant struct {
	// local is for connections in process only: the role is what runs the
	// server. Over TCP the user is refused, whoever has its key.
	local bool
	// free is everything: publish and subscribe do not matter.
	free bool
	// publish and subscribe are all that is allowed. One that is subscribed to
	// as "subject queue" may only be so in a queue group of a matching name.
	publish, subscribe []string
	// never is what may not be published even so.
	never []string
}

// grants says which roles may connect to the server, and what for.
//
// It says so by subjects and not by NATS's allow_responses, for two reasons.
// Whoever may answer what it is asked may publish on any subject, if somebody
// else asks with that one as the reply subject. And each reply subject that is
// used once would be put on a list and taken off it. The other way round,
// everybody who answers can publish to inboxes; but an inbox can only be guessed
// by who cannot subscribe to it, and each role has its own
// ([keys.InboxPrefix]).
func (s *Server) grants() map[keys.Role]grant {
	if s.cfg.Cluster == nil {
		return busGrants()
	}
	return registerGrants()
}

// busGrants are those of the bus of a gateway. An observer has no business
// there: as a plain subscriber to events it would count as a worker that takes
// them, and taps are on the registers. It may ask.
func busGrants() map[keys.Role]grant {
	const g = bus.GatewayID(anyToken)
	push, do := bus.PushSubjects(g), bus.CommandSubjects(g)
	names := []string{bus.NamesSubject(g), bus.NamesSubject(g) + ".>"}
	return map[keys.Role]grant{
		// It publishes all events, and on this connection a permission would
		// cost a lookup for each.
		keys.RoleGateway: {local: true, free: true},
		keys.RoleWorker: {
			publish: []string{
				bus.ReplySubjects(g), bus.RepliesSubjects(g), bus.HeldSubjects(g),
				push, do,
			},
			subscribe: append([]string{
				inGroup(bus.EventSubjects(g, anyToken)),
				// Of those in other languages an address has one token or two.
				"gw.*.at.>", bus.BatchSubjects(g, anyToken),
				bus.AskSubject(g),
				inboxes(keys.RoleWorker),
			}, names...),
		},
		keys.RoleApplication: {
			publish:   []string{push, do},
			subscribe: append(names, inboxes(keys.RoleApplication)),
		},
		keys.RoleObserver: {
			publish:   questions(g),
			subscribe: []string{inboxes(keys.RoleObserver)},
		},
	}
}

// registerGrants are those of a register. What the members of a role announce,
// only they can.
func registerGrants() map[keys.Role]grant {
	const all, one = bus.AllGateways, bus.GatewayID(anyToken)
	anyRole := register.Role(anyToken)
	// A gateway is reached on registers by its own name, and by that of all.
	reach := []string{bus.PushSubjects(one), bus.CommandSubjects(one)}
	membership := func(r register.Role) []string {
		return []string{register.AnnounceSubject(r), register.LeaveSubject(r)}
	}
	gateways := membership(register.RoleGateway)
	// Registers and gateways answer what they are asked; a worker only what
	// an observer asks of the micro service that it is.
	answers := []string{
		inboxes(keys.RoleRegister), inboxes(keys.RoleGateway), inboxes(keys.RoleWorker),
		inboxes(keys.RoleApplication), inboxes(keys.RoleObserver),
	}
	return map[keys.Role]grant{
		// Its own permissions are for others: nobody can have it answer on a
		// subject that it has no business with.
		keys.RoleRegister: {
			local: true,
			publish: slices.Concat(membership(register.RoleRegister), answers, []string{
				register.MembersSubject, register.DownSubject(anyToken),
				register.AnswerSubjects, register.PendingSubject, bus.TapsSubject,
			}),
			subscribe: slices.Concat(membership(anyRole), service(register.RoleRegister), []string{
				register.MembersSubject, register.AnswerSubjects, register.PendingSubject,
				inboxes(keys.RoleRegister),
			}),
		},
		// What it mirrors for taps has the subjects of the real thing, pushes and
		// commands among it: so who has its key can push through other gateways.
		keys.RoleGateway: {
			publish: slices.Concat(gateways, answers[2:], reach, []string{
				register.MembersSubject,
				bus.EventSubjects(one, anyToken), "gw.*.at.>", bus.ReplySubjects(one), bus.TapSubjects(one),
			}),
			never: []string{bus.PushSubjects(all), bus.CommandSubjects(all)},
			subscribe: slices.Concat(reach, gateways, service(register.RoleGateway), []string{
				bus.TapsSubject, inboxes(keys.RoleGateway),
			}),
		},
		keys.RoleWorker: {
			publish: slices.Concat(membership(register.RoleWorker), reach, []string{
				register.MembersSubject, register.AnswerSubjects,
				inboxes(keys.RoleWorker), inboxes(keys.RoleObserver),
			}),
			subscribe: slices.Concat(gateways, service(register.RoleWorker), []string{
				inGroup(register.DownSubject(anyToken)),
				inboxes(keys.RoleWorker),
			}),
		},
		keys.RoleApplication: {
			publish:   slices.Concat(reach, []string{register.MembersSubject}),
			subscribe: slices.Concat(gateways, []string{inboxes(keys.RoleApplication)}),
		},
		keys.RoleObserver: {
			publish: slices.Concat(questions(one), []string{
				register.MembersSubject, register.StatsSubject(anyRole, anyToken),
				"$SRV.>", // the questions of nats micro
			}),
			// Not reg.down, whose plain subscribers count as workers.
			subscribe: slices.Concat(membership(anyRole), []string{
				"gw.>", // taps
				register.AnswerSubjects, register.PendingSubject,
				inboxes(keys.RoleObserver),
			}),
		},
	}
}

// questions are the commands that change nothing.
func questions(g bus.GatewayID) []string {
	return []string{
		bus.CommandSubject(g, bus.OpCount), bus.CommandSubject(g, bus.OpList), bus.CommandSubject(g, bus.OpInfo),
	}
}

// service is what a member listens on as a NATS micro service. The verbs are
// spelled out: $SRV.* would allow $SRV.> too, which is everybody's.
func service(r register.Role) []string {
	subjects := []string{register.StatsSubject(r, anyToken)}
	for _, verb := range []string{"PING", "INFO", "STATS"} {
		own := "$SRV." + verb
		subjects = append(subjects, own, own+"."+register.ServiceName(r), own+"."+register.ServiceName(r)+".*")
	}
	return subjects
}

// inGroup is a subject that may only be subscribed to in a queue group: a
// subscriber that is in none would get what is for one worker, and count as
// somebody who takes it.
func inGroup(subject string) string { return subject + " *" }

// inboxes are the subjects on which a role gets answers.
func inboxes(r keys.Role) string { return keys.InboxPrefix(r) + ".>" }

// user is the user of a role, in the terms of NATS.
func (g grant) user(public string, account *server.Account) *server.NkeyUser {
	u := &server.NkeyUser{Nkey: public, Account: account}
	if !g.free {
		u.Permissions = &server.Permissions{
			Publish:   &server.SubjectPermission{Allow: g.publish, Deny: g.never},
			Subscribe: &server.SubjectPermission{Allow: g.subscribe},
		}
	}
	return u
}
