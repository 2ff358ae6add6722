package bus

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strings"
)

// A gateway tells workers that ask for it ([OpNames]) which uids and groups its
// clients have, so that a push to one of those goes only where somebody has it.
// What there is when a worker asks is told to that worker's address, in parts, of
// which the last one ends with [AppendNamesEnd]; every change from then on, to all.
// The messages come in the order of the changes, and before the first event of the
// client that has caused one. Other ways than an event can be faster than they are to
// whom they tell of the client; who must not miss it asks again ([NamesRequest].Changes). Each begins with the gateway's epoch ([BeginBatch]),
// and one for a single worker with the number of its request after that.

// NamesSubject is where a gateway publishes which uids and groups its clients have,
// or have no more: gw.<gateway>.names.
func NamesSubject(g GatewayID) string { return root + string(g) + "." + verbNames }

// NamesFor is where it tells one worker which there are: gw.<gateway>.names.<address>.
func NamesFor(g GatewayID, at WorkerAddress) string { return NamesSubject(g) + "." + string(at) }

// NamesSubjects is what an instance of a worker subscribes to for both.
func NamesSubjects(g GatewayID, instance string) []string {
	return []string{NamesSubject(g), NamesSubject(g) + "." + instance + ".*"}
}

// IsNames tells whether the subject is one of [NamesSubjects].
func IsNames(subject string) bool { return verb(subject) == verbNames }

// ParseNamesSubject tells whom a message is for: an address, or "" for all.
func ParseNamesSubject(s string) (at WorkerAddress, err error) {
	g, rest, _ := strings.Cut(strings.TrimPrefix(s, root), ".")
	rest, ok := strings.CutPrefix(rest, verbNames)
	if !ok || CheckName(g) != nil || !strings.HasPrefix(s, root) || rest != "" && rest[0] != '.' {
		return "", fmt.Errorf("bus: %w: %q is not gw.<gateway>.names", ErrSubject, s)
	}
	if rest == "" {
		return "", nil
	}
	at = WorkerAddress(rest[1:])
	return at, at.Check()
}

// NameChange says that clients of a gateway have a uid or a group, or that none has
// it any more.
type NameChange struct {
	Target  Target // ToUID or ToGroup
	Present bool
}

const (
	namePresent = 1 << iota
	nameGroup
	nameEnd
	nameExtension
)

// AppendNamesExtension says more of the change that is appended next: data that begins
// with what it is. There is none yet; who does not know it skips it.
func AppendNamesExtension(b, data []byte) []byte {
	return appendString(append(b, nameExtension), string(data))
}

// Append puts the change behind others.
func (c NameChange) Append(b []byte) []byte {
	var flags byte
	if c.Present {
		flags |= namePresent
	}
	if c.Target.Scope == ToGroup {
		flags |= nameGroup
	}
	return appendString(append(b, flags), c.Target.Name)
}

// BeginNames is what a message for one worker begins with, after the epoch.
func BeginNames(b []byte, request uint64) []byte { return binary.AppendUvarint(b, request) }

// NamesRequestOf reads what [BeginNames] wrote.
func NamesRequestOf(b []byte) (request uint64, rest []byte, err error) {
	request, size := binary.Uvarint(b)
	if size <= 0 {
		return 0, nil, errBatch
	}
	return request, b[size:], nil
}

// AppendNamesEnd says that all that there was has been told.
func AppendNamesEnd(b []byte) []byte { return append(b, nameEnd) }

// NextName takes the first change off a message, or the end.
func NextName(b []byte) (c NameChange, end bool, rest []byte, err error) {
	for len(b) > 0 && b[0] == nameExtension {
		r := batchReader{b: b[1:]}
		r.data()
		b = r.b
	}
	if len(b) == 0 || b[0] > nameEnd {
		return c, false, nil, errBatch
	}
	if b[0] == nameEnd {
		return c, true, b[1:], nil
	}
	c.Present = b[0]&namePresent != 0
	c.Target.Scope = ToUID
	if b[0]&nameGroup != 0 {
		c.Target.Scope = ToGroup
	}
	r := batchReader{b: b[1:]}
	if name := r.data(); !r.bad {
		c.Target.Name = string(name)
	}
	if r.bad || c.Target.Name == "" {
		return NameChange{}, false, nil, errBatch
	}
	return c, false, r.b, nil
}

// NamesRequest asks a gateway to tell a worker, by its address, which uids and
// groups its clients have. A later one, of a higher number, takes the place of it.
type NamesRequest struct {
	Worker  WorkerAddress `json:"worker"`
	Request uint64        `json:"request"`
	// Changes asks not for what there is, which a request of this number has asked for,
	// but for the end alone, after every change so far: the worker knows then that it
	// has heard of what was the case when it asked.
	Changes bool `json:"changes,omitempty"`
}

// Msg is the request as a message to a gateway.
func (r NamesRequest) Msg(g GatewayID) *Msg {
	data, err := json.Marshal(r)
	if err != nil { // cannot be: a string and a number
		panic(err)
	}
	return &Msg{Subject: CommandSubject(g, OpNames), Data: data}
}

// ParseNamesRequest reads the payload of [NamesRequest.Msg].
func ParseNamesRequest(data []byte) (r NamesRequest, err error) {
	if err = json.Unmarshal(data, &r); err != nil {
		return NamesRequest{}, fmt.Errorf("bus: %w: names command: %w", ErrMessage, err)
	}
	return r, r.Worker.Check()
}
