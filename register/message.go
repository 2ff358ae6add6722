package register

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/gatebus/gatebus/bus"
)

// The subjects on the registers.
//
// Every register hears reg.announce.<role> and reg.leave.<role> and answers
// them with an ack; one that is warm answers reg.members with a list.
//
// On reg.down.<group> the leader of the registers asks one worker of the group
// to take the news of a dead gateway; the answer goes to
// reg.answer.<group>.<gateway>.<epoch>, which every register hears. On
// reg.pending they tell each other of the news that nobody has taken yet.
const (
	root         = "reg."
	announceRoot = root + "announce."
	leaveRoot    = root + "leave."
	membersQueue = "registers"
	downRoot     = root + "down."
	answerRoot   = root + "answer."
	statsRoot    = root + "stats."
)

// The subjects that have no parts to vary.
const (
	// MembersSubject is where a register is asked who is there.
	MembersSubject = root + "members"
	// PendingSubject is where registers tell each other what is pending.
	PendingSubject = root + "pending"
	// AnswerSubjects covers where workers answer what they are asked on
	// [DownSubject].
	AnswerSubjects = answerRoot + ">"
)

// AnnounceSubject is where members of a role announce themselves, and every
// register answers.
func AnnounceSubject(r Role) string { return announceRoot + string(r) }

// LeaveSubject is where members of a role say goodbye.
func LeaveSubject(r Role) string { return leaveRoot + string(r) }

// StatsSubject is where a member answers with its figures; see [Serve].
func StatsSubject(r Role, name string) string { return statsRoot + string(r) + "." + name }

// ParseMembers reads a register's answer on [MembersSubject]: who it is, and the members
// that it knows.
func ParseMembers(m *bus.Msg) (from string, members []Member, err error) {
	l, err := decode[list](m)
	return l.Register, l.Members, err
}

// ack is a register's answer to an announcement or goodbye.
type ack struct {
	Register string       `json:"register"`
	Protocol bus.Protocol `json:"protocol,omitempty"` // of the register
	// Conflict is who has the name instead.
	Conflict *Member `json:"conflict,omitempty"`
	// Error says what is wrong with the message.
	Error string `json:"error,omitempty"`
}

// list is a register's answer to the question for members.
type list struct {
	Register string       `json:"register"`
	Protocol bus.Protocol `json:"protocol,omitempty"` // of the register
	Members  []Member     `json:"members"`
}

// GatewayDown is the news that a life of a gateway ended without a goodbye: the
// payload of a request on [DownSubject].
//
// The reply acknowledges it, whatever its payload. With the header
// [bus.HeaderStatus] it says something else, in the words of the reply to an
// open event: "busy", hand it back and ask the group again later; "working",
// still on it, wait for another [DownAckWait]; "reject 500 reason", it failed,
// ask the group again after a pause.
type GatewayDown struct {
	Gateway bus.GatewayID `json:"gateway"`
	Epoch   bus.Epoch     `json:"epoch"`
	// Address is where its bus was.
	Address string `json:"address,omitempty"`
}

// DownSubject is where one worker of the group is told of dead gateways:
// reg.down.<group>. Workers subscribe to it with the group's name as queue.
func DownSubject(group string) string { return downRoot + group }

// ParseGatewayDown reads the payload of a request on [DownSubject].
func ParseGatewayDown(m *bus.Msg) (GatewayDown, error) {
	down, err := decode[GatewayDown](m)
	if err == nil {
		err = down.check()
	}
	return down, err
}

func (d *GatewayDown) check() error {
	if err := bus.CheckName(string(d.Gateway)); err != nil {
		return fmt.Errorf("register: gateway down: %w", err)
	}
	if d.Epoch == 0 {
		return fmt.Errorf("register: gateway down: %s lacks an epoch", d.Gateway)
	}
	return nil
}

// pending is what a register tells the others of notices on its mind.
type pending struct {
	Register string          `json:"register"`
	Notices  []pendingNotice `json:"notices"`
}

type pendingNotice struct {
	Group string `json:"group"`
	GatewayDown
	Age int64 `json:"age_ms"`
}

func (p *pendingNotice) check() error {
	if err := bus.CheckName(p.Group); err != nil {
		return fmt.Errorf("register: pending: group: %w", err)
	}
	if p.Age < 0 || p.Age > noticeLife.Milliseconds() {
		return fmt.Errorf("register: pending: an age of %d ms", p.Age)
	}
	return p.GatewayDown.check()
}

// answerSubject is where a worker of the group answers a request about a life.
func answerSubject(k noticeKey) string {
	return answerRoot + k.group + "." + string(k.gateway) + "." + k.epoch.String()
}

// parseAnswerSubject reverses answerSubject.
func parseAnswerSubject(s string) (noticeKey, error) {
	parts := strings.Split(strings.TrimPrefix(s, answerRoot), ".")
	if len(parts) != 3 {
		return noticeKey{}, fmt.Errorf("register: %q is not reg.answer.<group>.<gateway>.<epoch>", s)
	}
	k := noticeKey{group: parts[0], life: life{gateway: bus.GatewayID(parts[1])}}
	if err := errors.Join(bus.CheckName(parts[0]), bus.CheckName(parts[1]), k.epoch.UnmarshalText([]byte(parts[2]))); err != nil {
		return noticeKey{}, fmt.Errorf("register: %q: %w", s, err)
	}
	return k, nil
}

// encode makes a message of a value of this package.
func encode(subject string, v any) *bus.Msg {
	data, err := json.Marshal(v)
	if err != nil { // cannot be: plain structs of strings and numbers
		panic(err)
	}
	return &bus.Msg{Subject: subject, Data: data}
}

// decode reads what encode wrote.
func decode[T any](m *bus.Msg) (T, error) {
	var v T
	if err := json.Unmarshal(m.Data, &v); err != nil {
		return v, fmt.Errorf("register: message on %s: %w", m.Subject, err)
	}
	return v, nil
}
