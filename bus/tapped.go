package bus

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Way says what a message that was mirrored is.
type Way string

// The ways of what is mirrored.
const (
	// WayIn is an event: what a client sent, that it came, or that it went.
	WayIn Way = "in"
	// WayOut is the answer to an event, with or without a frame; of a client that is
	// tapped alone, each frame that it is sent, pushes too.
	WayOut Way = "out"
	// WayPush is a push, as it was told to a gateway or to all.
	WayPush Way = "push"
	// WayDo is a command or question to a gateway or to all.
	WayDo Way = "do"
	// WaySkipped says that a gateway had too much to mirror.
	WaySkipped Way = "skipped"
)

// Tapped is one message of a tap, in parts. Names and payload are as they were: what
// shows them has to expect anything in them.
type Tapped struct {
	Gateway GatewayID `json:"gateway"` // "all" of a push or command to all
	Way     Way       `json:"way"`
	// Kind is open, text, binary or close; empty if there is no frame, or if it is not
	// said: an answer is of the kind of what it answers.
	Kind string `json:"kind,omitempty"`

	Client      ClientID `json:"client,omitempty"`       // of events and answers
	UID         string   `json:"uid,omitempty"`          // of events
	WorkerGroup string   `json:"worker_group,omitempty"` // that gets the event; of a client tapped alone it is not said
	Seq         uint64   `json:"seq,omitempty"`          // of events and answers
	Delivery    int      `json:"delivery,omitempty"`     // 2, 3, … of an event that is given out again
	Status      string   `json:"status,omitempty"`       // of answers: busy, working, close …, reject …
	To          Scope    `json:"to,omitempty"`           // of pushes
	Names       []string `json:"names,omitempty"`        // of pushes: to whom, unless to all
	Operation   string   `json:"operation,omitempty"`    // of commands
	Skipped     int64    `json:"skipped,omitempty"`      // how many, since it was last said

	// Size is that of the payload in bytes. Text is the payload if it is text, and Binary
	// if it is not; neither if it is Hidden.
	Size   int    `json:"size"`
	Text   string `json:"text,omitempty"`
	Binary []byte `json:"binary,omitempty"`
	Hidden bool   `json:"hidden,omitempty"` // the gateway does not show payloads
}

// ParseTapped takes a message of a tap apart. An error wraps [ErrSubject] if it is none,
// or [ErrMessage].
func ParseTapped(m *Msg) (t Tapped, err error) {
	name, rest, ok := strings.Cut(strings.TrimPrefix(m.Subject, root), ".")
	if !ok || !strings.HasPrefix(m.Subject, root) {
		return Tapped{}, fmt.Errorf("bus: %w: %q does not start with gw.<gateway>", ErrSubject, m.Subject)
	}
	t.Gateway = GatewayID(name)
	verb, rest, _ := strings.Cut(rest, ".")
	switch verb {
	case verbIn:
		var k Kind
		if _, t.WorkerGroup, k, err = ParseEventSubject(m.Subject); err == nil {
			err = t.event(m, k)
		}
	case verbOut:
		t.Way = WayOut
		if _, t.Client, t.Seq, err = ParseReplySubject(m.Subject); err == nil {
			t.Kind, t.Status = m.Header.Get(HeaderKind), m.Header.Get(HeaderStatus)
		}
	case verbPush:
		err = t.push(m)
	case verbDo:
		t.Way = WayDo
		_, t.Operation, err = ParseCommandSubject(m.Subject)
	case verbTap:
		err = t.alone(m, rest)
	default:
		err = fmt.Errorf("bus: %w: %q is not what taps show", ErrSubject, m.Subject)
	}
	if err != nil {
		return Tapped{}, err
	}
	if t.Way != WaySkipped {
		t.payload(m)
	}
	return t, nil
}

// event reads what stands in the headers of an event.
func (t *Tapped) event(m *Msg, k Kind) (err error) {
	t.Way, t.Kind, t.Client = WayIn, k.String(), ClientID(m.Header.Get(HeaderClient))
	if v := m.Header.Get(HeaderUID); v != "" {
		if t.UID, err = Unescape(v); err != nil {
			return fmt.Errorf("bus: %w: %s: %w", ErrMessage, HeaderUID, err)
		}
	}
	if v := m.Header.Get(HeaderSeq); v != "" {
		if t.Seq, err = strconv.ParseUint(v, 10, 64); err != nil {
			return fmt.Errorf("bus: %w: %s %q is not a number", ErrMessage, HeaderSeq, v)
		}
	}
	if v := m.Header.Get(HeaderDelivery); v != "" {
		if t.Delivery, err = strconv.Atoi(v); err != nil {
			return fmt.Errorf("bus: %w: %s %q is not a number", ErrMessage, HeaderDelivery, v)
		}
	}
	return nil
}

func (t *Tapped) push(m *Msg) error {
	_, target, err := ParsePushSubject(m.Subject)
	if err != nil {
		return err
	}
	t.Way, t.To, t.Kind = WayPush, target.Scope, Text.String()
	if target.Name != "" {
		t.Names = []string{target.Name}
	}
	if target.Scope.several() {
		if t.Names, err = parseTo(m.Header[HeaderTo]); err != nil {
			return err
		}
	}
	if v := m.Header.Get(HeaderKind); v != "" {
		t.Kind = v
	}
	return nil
}

// alone reads what is mirrored of one client, or that something was not mirrored.
func (t *Tapped) alone(m *Msg, rest string) error {
	if m.Subject == SkippedSubject(t.Gateway) {
		var s Skipped
		if err := json.Unmarshal(m.Data, &s); err != nil {
			return fmt.Errorf("bus: %w: skipped: %w", ErrMessage, err)
		}
		t.Way, t.Skipped = WaySkipped, s.Skipped
		return nil
	}
	client, rest, _ := strings.Cut(rest, ".")
	direction, kind, _ := strings.Cut(rest, ".")
	k, err := ParseKind(kind)
	if err == nil {
		_, _, _, err = ClientID(client).Parts()
	}
	switch {
	case err != nil:
		return fmt.Errorf("bus: %w: %q: %w", ErrSubject, m.Subject, err)
	case direction == verbIn:
		if err = t.event(m, k); err != nil {
			return err
		}
	case direction == verbOut:
		t.Way, t.Kind = WayOut, k.String()
	default:
		return fmt.Errorf("bus: %w: %q is not gw.<gateway>.tap.<client>.in|out.<kind>", ErrSubject, m.Subject)
	}
	t.Client = ClientID(client)
	return nil
}

func (t *Tapped) payload(m *Msg) {
	t.Size = len(m.Data)
	if n, err := strconv.Atoi(m.Header.Get(HeaderSize)); err == nil && n > 0 && t.Size == 0 {
		t.Size, t.Hidden = n, true
		return
	}
	if t.Kind == Binary.String() || !utf8.Valid(m.Data) {
		t.Binary = m.Data
		return
	}
	t.Text = string(m.Data)
}
