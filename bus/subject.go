package bus

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// ErrSubject is wrapped by the errors about subjects that are not of the protocol.
var ErrSubject = errors.New("not a subject of the protocol")

// Kind says what an event or frame is. The zero Kind is none.
type Kind uint8

// The kinds of events. Text and Binary are also the kinds of frames.
const (
	Open Kind = iota + 1
	Text
	Binary
	Close
)

var kinds = [...]string{Open: "open", Text: "text", Binary: "binary", Close: "close"}

// String is the kind as it stands in subjects and headers.
func (k Kind) String() string {
	if int(k) < len(kinds) && k != 0 {
		return kinds[k]
	}
	return "kind(" + strconv.Itoa(int(k)) + ")"
}

// Frame tells whether the kind is one of a frame: text or binary.
func (k Kind) Frame() bool { return k == Text || k == Binary }

// ParseKind reverses [Kind.String].
func ParseKind(s string) (Kind, error) {
	switch s {
	case "text":
		return Text, nil
	case "binary":
		return Binary, nil
	case "open":
		return Open, nil
	case "close":
		return Close, nil
	}
	return 0, fmt.Errorf("bus: kind %q: it is one of open, text, binary, close", s)
}

// The subjects: gw.<gateway>.<verb>.…
const (
	root        = "gw."
	verbIn      = "in"
	verbOut     = "out"
	verbPush    = "push"
	verbDo      = "do"
	verbAt      = "at"
	verbAsk     = "ask"
	verbHeld    = "held"
	verbBatch   = "batch"
	verbReplies = "replies"
	verbNames   = "names"
)

// EventSubject is where a gateway publishes events of one kind for a worker
// group: gw.<gateway>.in.<group>.<kind>.
func EventSubject(g GatewayID, group string, k Kind) string {
	return root + string(g) + "." + verbIn + "." + group + "." + k.String()
}

// EventSubjects is what a worker of the group subscribes to, with the group's
// name as its queue: gw.<gateway>.in.<group>.*.
func EventSubjects(g GatewayID, group string) string {
	return root + string(g) + "." + verbIn + "." + group + ".*"
}

// ParseEventSubject reverses [EventSubject].
func ParseEventSubject(s string) (g GatewayID, group string, k Kind, err error) {
	g, rest, err := cut(s, verbIn)
	if err != nil {
		return "", "", 0, err
	}
	group, kind, ok := strings.Cut(rest, ".")
	if !ok {
		return "", "", 0, fmt.Errorf("bus: %w: %q lacks a kind", ErrSubject, s)
	}
	if err := CheckName(group); err != nil {
		return "", "", 0, fmt.Errorf("bus: %w: %q: group: %w", ErrSubject, s, err)
	}
	if k, err = ParseKind(kind); err != nil {
		return "", "", 0, fmt.Errorf("bus: %w: %q: %w", ErrSubject, s, err)
	}
	return g, group, k, nil
}

// ReplySubject is where the event number seq of a client is answered:
// gw.<gateway>.out.<client>.<seq>.
func ReplySubject(g GatewayID, c ClientID, seq uint64) string {
	var digits [20]byte // stays on the stack: one allocation in all
	return root + string(g) + "." + verbOut + "." + string(c) + "." + string(strconv.AppendUint(digits[:0], seq, 10))
}

// ReplySubjects covers every reply to a gateway: gw.<gateway>.out.*.*.
func ReplySubjects(g GatewayID) string { return root + string(g) + "." + verbOut + ".*.*" }

// ParseReplySubject reverses [ReplySubject].
func ParseReplySubject(s string) (g GatewayID, c ClientID, seq uint64, err error) {
	g, rest, err := cut(s, verbOut)
	if err != nil {
		return "", "", 0, err
	}
	client, num, ok := strings.Cut(rest, ".")
	if !ok || client == "" {
		return "", "", 0, fmt.Errorf("bus: %w: %q is not gw.<gateway>.out.<client>.<seq>", ErrSubject, s)
	}
	seq, err = strconv.ParseUint(num, 10, 64)
	if err != nil || num[0] == '+' || num[0] == '0' && len(num) > 1 {
		return "", "", 0, fmt.Errorf("bus: %w: %q: %q is not an event number", ErrSubject, s, num)
	}
	return g, ClientID(client), seq, nil
}

// DirectSubject is where a gateway publishes events for one worker, which has
// named itself by the address: gw.<gateway>.at.<address>.<kind>.
func DirectSubject(g GatewayID, at WorkerAddress, k Kind) string {
	return root + string(g) + "." + verbAt + "." + string(at) + "." + k.String()
}

// DirectSubjects covers what goes to one worker, whatever the connection:
// gw.<gateway>.at.<instance>.*.*.
func DirectSubjects(g GatewayID, instance string) string {
	return root + string(g) + "." + verbAt + "." + instance + ".*.*"
}

// WorkerAddress is by what a worker names itself to a gateway that routes the
// events of a client to one worker: one or two tokens of a subject. The SDK's
// are <instance>.<connection>, so that what was meant for a former connection
// of a worker can be told.
type WorkerAddress string

// NewWorkerAddress makes the address of an instance on a connection.
func NewWorkerAddress(instance string, id ConnID) WorkerAddress {
	return WorkerAddress(instance + "." + strconv.FormatUint(uint64(id), 10))
}

// Check tells whether the address can be part of a subject.
func (a WorkerAddress) Check() error {
	first, second, two := strings.Cut(string(a), ".")
	err := CheckName(first)
	if two && err == nil {
		err = CheckName(second)
	}
	if err != nil {
		return fmt.Errorf("bus: %w: worker address %q: %w", ErrSubject, a, err)
	}
	return nil
}

// ParseDirectSubject reverses [DirectSubject].
func ParseDirectSubject(s string) (g GatewayID, at WorkerAddress, k Kind, err error) {
	g, rest, err := cut(s, verbAt)
	if err != nil {
		return "", "", 0, err
	}
	i := strings.LastIndexByte(rest, '.')
	if i < 0 {
		return "", "", 0, fmt.Errorf("bus: %w: %q lacks a kind", ErrSubject, s)
	}
	at = WorkerAddress(rest[:i])
	if err := at.Check(); err != nil {
		return "", "", 0, err
	}
	if k, err = ParseKind(rest[i+1:]); err != nil {
		return "", "", 0, fmt.Errorf("bus: %w: %q: %w", ErrSubject, s, err)
	}
	return g, at, k, nil
}

// AskSubject is where a gateway asks all workers which of its events they
// hold: gw.<gateway>.ask.held. A worker that is subscribed there answers
// every question with [Held]; one that is silent for long is taken for dead.
func AskSubject(g GatewayID) string { return root + string(g) + "." + verbAsk + "." + verbHeld }

// HeldSubject is where the question of the given number is answered:
// gw.<gateway>.held.<number>.
func HeldSubject(g GatewayID, number uint64) string {
	return root + string(g) + "." + verbHeld + "." + strconv.FormatUint(number, 10)
}

// HeldSubjects covers every answer to a question of a gateway:
// gw.<gateway>.held.*.
func HeldSubjects(g GatewayID) string { return root + string(g) + "." + verbHeld + ".*" }

// ParseHeldSubject reverses [HeldSubject].
func ParseHeldSubject(s string) (g GatewayID, number uint64, err error) {
	g, rest, err := cut(s, verbHeld)
	if err != nil {
		return "", 0, err
	}
	if number, err = strconv.ParseUint(rest, 10, 64); err != nil {
		return "", 0, fmt.Errorf("bus: %w: %q: %q is not the number of a question", ErrSubject, s, rest)
	}
	return g, number, nil
}

// Scope is whom a push goes to.
type Scope string

// The scopes of a push.
const (
	ToClient Scope = "client"
	ToUID    Scope = "uid"
	ToGroup  Scope = "group"
	ToAll    Scope = "all"
	// The names of these are in [HeaderTo].
	ToClients Scope = "clients"
	ToUIDs    Scope = "uids"
	ToGroups  Scope = "groups"
)

// several tells whether a push of the scope names its targets in a header.
func (s Scope) several() bool { return s == ToClients || s == ToUIDs || s == ToGroups }

// One is the scope of each of the names of a push to several; s itself of others.
func (s Scope) One() Scope {
	switch s {
	case ToClients:
		return ToClient
	case ToUIDs:
		return ToUID
	case ToGroups:
		return ToGroup
	}
	return s
}

// Target is whom a push goes to: one client, the clients of a uid, those of a
// group, all, or several of a kind. Name is raw, not escaped; it is empty for all and
// for several.
type Target struct {
	Scope Scope
	Name  string
}

// PushSubject is where a push to the target is published:
// gw.<gateway>.push.<scope>[.<name>]. Names are escaped here; one that cannot
// be part of a subject is refused.
func PushSubject(g GatewayID, t Target) (string, error) {
	if err := CheckName(string(g)); err != nil {
		return "", fmt.Errorf("bus: push: gateway: %w", err)
	}
	prefix := root + string(g) + "." + verbPush + "."
	switch t.Scope {
	case ToAll, ToClients, ToUIDs, ToGroups:
		return prefix + string(t.Scope), nil
	case ToClient, ToUID, ToGroup:
		name, err := Escape(t.Name)
		if err != nil {
			return "", fmt.Errorf("bus: push to a %s: %w", t.Scope, err)
		}
		return prefix + string(t.Scope) + "." + name, nil
	}
	return "", fmt.Errorf("bus: push: unknown scope %q", t.Scope)
}

// PushSubjects covers every push to a gateway: gw.<gateway>.push.>.
func PushSubjects(g GatewayID) string { return root + string(g) + "." + verbPush + ".>" }

// ParsePushSubject reverses [PushSubject].
func ParsePushSubject(s string) (GatewayID, Target, error) {
	g, rest, err := cut(s, verbPush)
	if err != nil {
		return "", Target{}, err
	}
	scope, token, named := strings.Cut(rest, ".")
	t := Target{Scope: Scope(scope)}
	switch t.Scope {
	case ToAll, ToClients, ToUIDs, ToGroups:
		if !named {
			return g, t, nil
		}
	case ToClient, ToUID, ToGroup:
		if t.Name, err = Unescape(token); err != nil {
			return "", Target{}, fmt.Errorf("bus: %w: %q: %w", ErrSubject, s, err)
		}
		return g, t, nil
	}
	return "", Target{}, fmt.Errorf("bus: %w: %q: a push goes to client.<id>, uid.<uid>, group.<group>, clients, uids, groups or all", ErrSubject, s)
}

// CommandSubject is where a gateway is asked to do an operation:
// gw.<gateway>.do.<operation>.
func CommandSubject(g GatewayID, op string) string {
	return root + string(g) + "." + verbDo + "." + op
}

// CommandSubjects covers every command to a gateway: gw.<gateway>.do.*.
func CommandSubjects(g GatewayID) string { return root + string(g) + "." + verbDo + ".*" }

// ParseCommandSubject reverses [CommandSubject].
func ParseCommandSubject(s string) (g GatewayID, op string, err error) {
	g, op, err = cut(s, verbDo)
	if err == nil {
		if e := CheckName(op); e != nil {
			err = fmt.Errorf("bus: %w: %q: operation: %w", ErrSubject, s, e)
		}
	}
	if err != nil {
		return "", "", err
	}
	return g, op, nil
}

// verb tells which of the subjects of a gateway s is (in, out, push, …), or ""
// if none.
func verb(s string) string {
	if !strings.HasPrefix(s, root) {
		return ""
	}
	_, rest, _ := strings.Cut(s[len(root):], ".")
	v, _, _ := strings.Cut(rest, ".")
	return v
}

// IsProtocol tells whether the subject is one of gatebus or NATS itself, on which
// nobody waits for the answer to a request of its own.
func IsProtocol(subject string) bool {
	return strings.HasPrefix(subject, root) || strings.HasPrefix(subject, "reg.") || strings.HasPrefix(subject, "$")
}

// IsReply tells whether the subject is one of [ReplySubjects].
func IsReply(subject string) bool { return verb(subject) == verbOut }

// IsPush tells whether the subject is one of [PushSubjects].
func IsPush(subject string) bool { return verb(subject) == verbPush }

// IsDirect tells whether the subject is one of an event for one worker.
func IsDirect(subject string) bool { return verb(subject) == verbAt }

// IsBatch tells whether the subject is one of a batch of events.
func IsBatch(subject string) bool { return verb(subject) == verbBatch }

// IsReplies tells whether the subject is one of [RepliesSubjects].
func IsReplies(subject string) bool { return verb(subject) == verbReplies }

// IsHeld tells whether the subject is one of [HeldSubjects].
func IsHeld(subject string) bool { return verb(subject) == verbHeld }

// IsCommand tells whether the subject is one of [CommandSubjects].
func IsCommand(subject string) bool { return verb(subject) == verbDo }

// cut takes gw.<gateway>.<verb>. off the front of a subject.
func cut(s, verb string) (g GatewayID, rest string, err error) {
	name, rest, ok := strings.Cut(strings.TrimPrefix(s, root), ".")
	if !ok || !strings.HasPrefix(s, root) {
		return "", "", fmt.Errorf("bus: %w: %q does not start with gw.<gateway>", ErrSubject, s)
	}
	if err := CheckName(name); err != nil {
		return "", "", fmt.Errorf("bus: %w: %q: gateway: %w", ErrSubject, s, err)
	}
	v, rest, ok := strings.Cut(rest, ".")
	if !ok || v != verb {
		return "", "", fmt.Errorf("bus: %w: %q is not gw.<gateway>.%s.…", ErrSubject, s, verb)
	}
	return GatewayID(name), rest, nil
}
