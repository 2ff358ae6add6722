package bus

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// EventID names an event among all of all gateways, as the last two tokens of
// its reply subject do: <client>.<seq>.
type EventID struct {
	Client ClientID
	Seq    uint64
}

func (id EventID) String() string {
	return string(id.Client) + "." + strconv.FormatUint(id.Seq, 10)
}

// MarshalText makes JSON of it.
func (id EventID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reverses MarshalText.
func (id *EventID) UnmarshalText(b []byte) error {
	client, num, ok := strings.Cut(string(b), ".")
	seq, err := strconv.ParseUint(num, 10, 64)
	if !ok || client == "" || err != nil {
		return fmt.Errorf("bus: %w: event %q is not <client>.<seq>", ErrMessage, b)
	}
	id.Client, id.Seq = ClientID(client), seq
	return nil
}

// Held is what a worker answers to a gateway that asks what it holds, as JSON:
// the events that it has got and not yet answered when the question comes.
type Held struct {
	// Connection is the worker's own number: Conn.ID, which the server's INFO
	// has as client_id.
	Connection ConnID    `json:"connection"`
	Events     []EventID `json:"events"`
	// More says that another message with more of them follows.
	More bool `json:"more,omitempty"`
}

// maxHeldEvents is how many events one message names: with the longest client
// ids it is well below a server's limit of 1 MiB.
const maxHeldEvents = 4096

// Msgs is the answer as messages to the subject that the question names.
func (h *Held) Msgs(subject string) []*Msg {
	var msgs []*Msg
	for rest := h.Events; ; {
		part := Held{Connection: h.Connection, Events: rest}
		if len(rest) > maxHeldEvents {
			part.Events, part.More = rest[:maxHeldEvents], true
		}
		rest = rest[len(part.Events):]
		data, err := json.Marshal(part)
		if err != nil { // cannot be: strings and numbers
			panic(err)
		}
		msgs = append(msgs, &Msg{Subject: subject, Data: data})
		if !part.More {
			return msgs
		}
	}
}

// ParseHeld reverses one of [Held.Msgs].
func ParseHeld(data []byte) (Held, error) {
	var h Held
	if err := json.Unmarshal(data, &h); err != nil {
		return Held{}, fmt.Errorf("bus: %w: held: %w", ErrMessage, err)
	}
	return h, nil
}
