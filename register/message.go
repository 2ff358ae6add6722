package register

import (
	"encoding/json"
	"fmt"

	"github.com/gatebus/gatebus/bus"
)

// The subjects on the registers: reg.announce.<role>, reg.leave.<role> and
// reg.members. Every register hears the first two and answers them with an
// ack; one that is warm answers the last with a list.
const (
	announceRoot   = "reg.announce."
	leaveRoot      = "reg.leave."
	membersSubject = "reg.members"
	membersQueue   = "registers"
)

func announceSubject(r Role) string { return announceRoot + string(r) }
func leaveSubject(r Role) string    { return leaveRoot + string(r) }

// ack is a register's answer to an announcement or goodbye.
type ack struct {
	Register string `json:"register"`
	// Conflict is who has the name instead.
	Conflict *Member `json:"conflict,omitempty"`
	// Error says what is wrong with the message.
	Error string `json:"error,omitempty"`
}

// list is a register's answer to the question for members.
type list struct {
	Register string   `json:"register"`
	Members  []Member `json:"members"`
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
