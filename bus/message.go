package bus

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/nats-io/nats.go"
)

// Msg is a message on a bus. A receiver may keep it and its Data; a publisher
// may reuse Data once Publish has returned.
type Msg = nats.Msg

// Header holds the headers of a message. Keys are compared exactly as written.
type Header = nats.Header

// The headers of the protocol.
const (
	HeaderUID      = "Gb-Uid"      // on an event: the client's uid, when it has one
	HeaderSession  = "Gb-Session"  // on an event: the client's session, when it has one
	HeaderState    = "Gb-State"    // on an event: counts the changes of uid and session, once there was one
	HeaderDelivery = "Gb-Delivery" // on an event: 2, 3, … when it is given out again
	HeaderKind     = "Gb-Kind"     // on a reply or push: text or binary
	HeaderExcept   = "Gb-Except"   // on a push: client ids left out, separated by commas
	HeaderTo       = "Gb-To"       // on a push to clients, uids or groups: which, escaped, separated by commas
	HeaderStatus   = "Gb-Status"   // on a reply: busy, working, close …, reject …
	// HeaderRoute is "sticky" on an event whose client's next events go to the
	// worker that names itself in its reply; HeaderWorker is that name, a
	// [WorkerAddress].
	HeaderRoute  = "Gb-Route"
	HeaderWorker = "Gb-Worker"
)

// RouteSticky is the value of HeaderRoute.
const RouteSticky = "sticky"

// ErrMessage is wrapped by the errors about messages that are not of the protocol.
var ErrMessage = errors.New("not a message of the protocol")

// noResponders is the status by which a NATS server says that nobody listens.
const noResponders = "503"

// IsNoResponders tells whether m came back because its subject had no
// subscriber. m.Subject is then the reply subject of what was published.
func IsNoResponders(m *Msg) bool {
	return len(m.Header) > 0 && len(m.Data) == 0 && m.Header.Get("Status") == noResponders
}

// NoResponders makes the message that [IsNoResponders] recognises.
func NoResponders(reply, subject string) *Msg {
	return &Msg{Subject: reply, Header: Header{"Status": {noResponders}, "Nats-Subject": {subject}}}
}

// Event is what happened to a client, as a gateway tells it to a worker.
type Event struct {
	Gateway GatewayID
	// Group is the worker group that it is for, or At the one worker; the
	// other is empty.
	Group string
	At    WorkerAddress
	// Sticky asks the worker to name itself in its reply ([NameWorker]): it
	// will get the client's next events.
	Sticky   bool
	Kind     Kind
	Client   ClientID
	Seq      uint64 // counts the events of a client from 1
	Delivery int    // 1, or 2, 3, … when it is given out again
	UID      string // of the client, "" if it has none
	Session  string // of the client, JSON, "" if it has none
	// State counts the changes of UID and Session after open: which of two events of
	// a client has the newer ones.
	State uint64
	// Trace is where the event stands in a trace; nil if it is not traced.
	Trace *Trace
	// Data is the raw frame of Text and Binary; JSON of [OpenInfo] for Open
	// and of [CloseInfo] for Close.
	Data []byte
}

// Msg is the event as a message.
func (e *Event) Msg() (*Msg, error) {
	header, err := ClientHeader(e.UID, e.Session, e.State)
	if err != nil {
		return nil, err
	}
	m := &Msg{
		Subject: EventSubject(e.Gateway, e.Group, e.Kind),
		Reply:   ReplySubject(e.Gateway, e.Client, e.Seq),
		Header:  header,
		Data:    e.Data,
	}
	if e.At != "" {
		m.Subject = DirectSubject(e.Gateway, e.At, e.Kind)
	}
	if e.Sticky {
		MarkSticky(m)
	}
	MarkDelivery(m, e.Delivery)
	MarkTrace(m, e.Trace)
	return m, nil
}

// MaxSession is the longest session, in bytes of JSON: it travels as one
// header line with every event of its client.
const MaxSession = 2048

// ErrSessionSize is wrapped by the errors about sessions that are too long; it is an
// ErrMessage.
var ErrSessionSize = fmt.Errorf("%w: too long", ErrMessage)

// ClientHeader makes the headers that every event of a client with this uid,
// session and state carries; nil if it has none of them. The session is JSON on one
// line.
func ClientHeader(uid, session string, state uint64) (Header, error) {
	if uid == "" && session == "" && state == 0 {
		return nil, nil
	}
	h := Header{}
	if state > 0 {
		h[HeaderState] = []string{strconv.FormatUint(state, 10)}
	}
	if uid != "" {
		token, err := Escape(uid)
		if err != nil {
			return nil, fmt.Errorf("bus: uid: %w", err)
		}
		h[HeaderUID] = []string{token}
	}
	if session != "" {
		var b bytes.Buffer
		if err := json.Compact(&b, []byte(session)); err != nil {
			return nil, fmt.Errorf("bus: %w: session: %w", ErrMessage, err)
		}
		if b.Len() > MaxSession {
			return nil, fmt.Errorf("bus: %w: session of %d bytes, the limit is %d", ErrSessionSize, b.Len(), MaxSession)
		}
		h[HeaderSession] = []string{b.String()}
	}
	return h, nil
}

// MarkDelivery sets the header that tells a redelivery from the first one. The
// message gets headers of its own: those that it has may be shared by all
// events of a client.
func MarkDelivery(m *Msg, delivery int) {
	if delivery > 1 {
		setHeader(m, HeaderDelivery, strconv.Itoa(delivery))
	}
}

// setHeader sets a header of this message alone.
func setHeader(m *Msg, key, value string) {
	if m.Header = maps.Clone(m.Header); m.Header == nil {
		m.Header = Header{}
	}
	m.Header[key] = []string{value}
}

// ParseEvent reverses [Event.Msg]. Data is shared with the message.
func ParseEvent(m *Msg) (Event, error) {
	g, group, at, kind, err := parseEventSubject(m.Subject)
	if err != nil {
		return Event{}, err
	}
	rg, client, seq, err := ParseReplySubject(m.Reply)
	if err != nil {
		return Event{}, fmt.Errorf("bus: %w: event without a proper reply subject: %w", ErrMessage, err)
	}
	if rg != g {
		return Event{}, fmt.Errorf("bus: %w: event of gateway %q to be answered at %q", ErrMessage, g, m.Reply)
	}
	e := Event{
		Gateway: g, Group: group, At: at, Kind: kind,
		Client: client, Seq: seq, Delivery: 1, Data: m.Data,
		Sticky: m.Header.Get(HeaderRoute) == RouteSticky,
	}
	if v := m.Header.Get(HeaderDelivery); v != "" {
		if e.Delivery, err = strconv.Atoi(v); err != nil || e.Delivery < 1 {
			return Event{}, fmt.Errorf("bus: %w: %s %q is not a count", ErrMessage, HeaderDelivery, v)
		}
	}
	if v := m.Header.Get(HeaderUID); v != "" {
		if e.UID, err = Unescape(v); err != nil {
			return Event{}, fmt.Errorf("bus: %w: %s: %w", ErrMessage, HeaderUID, err)
		}
	}
	if v := m.Header.Get(HeaderState); v != "" {
		if e.State, err = strconv.ParseUint(v, 10, 64); err != nil {
			return Event{}, fmt.Errorf("bus: %w: %s %q is not a count", ErrMessage, HeaderState, v)
		}
	}
	e.Session = m.Header.Get(HeaderSession)
	e.Trace = TraceOf(m)
	return e, nil
}

// parseEventSubject reads the subject of an event for a group or for one worker.
func parseEventSubject(s string) (g GatewayID, group string, at WorkerAddress, k Kind, err error) {
	if IsDirect(s) {
		g, at, k, err = ParseDirectSubject(s)
	} else {
		g, group, k, err = ParseEventSubject(s)
	}
	return g, group, at, k, err
}

// OpenReply is what the reply to an open event may say, as JSON. Fields that
// it does not name are ignored, so that echoing the event accepts the client.
type OpenReply struct {
	UID         string          `json:"uid,omitempty"`
	Groups      []string        `json:"groups,omitempty"`
	Session     json.RawMessage `json:"session,omitempty"`
	Subprotocol string          `json:"subprotocol,omitempty"`
	// Others says what becomes of other clients of the gateway that have the uid.
	Others Others `json:"others,omitempty"`
}

// Payload is the reply as the payload of a message. An error says that the session is
// not JSON.
func (r *OpenReply) Payload() ([]byte, error) {
	data, err := marshal(r)
	if err != nil {
		return nil, fmt.Errorf("bus: %w: reply to open: %w", ErrMessage, err)
	}
	return data, nil
}

// ParseOpenReply reads the payload of the reply to an open event. A payload
// that is not a JSON object says nothing, and that is fine. Names that cannot
// be a uid or group are an error, and so is invalid UTF-8: encoding/json would
// make one and the same uid of different ones.
func ParseOpenReply(data []byte) (OpenReply, error) {
	var r OpenReply
	if data = bytes.TrimLeft(data, " \t\r\n"); len(data) == 0 || data[0] != '{' {
		return r, nil
	}
	if err := CheckJSON(data); err != nil {
		return OpenReply{}, fmt.Errorf("bus: %w: reply to open: %w", ErrMessage, err)
	}
	if err := json.Unmarshal(data, &r); err != nil {
		return OpenReply{}, fmt.Errorf("bus: %w: reply to open: %w", ErrMessage, err)
	}
	if r.UID != "" {
		if err := CheckToken(r.UID); err != nil {
			return OpenReply{}, fmt.Errorf("bus: %w: reply to open: uid: %w", ErrMessage, err)
		}
	}
	for _, g := range r.Groups {
		if err := CheckToken(g); err != nil {
			return OpenReply{}, fmt.Errorf("bus: %w: reply to open: group: %w", ErrMessage, err)
		}
	}
	if err := r.Others.check(); err != nil {
		return OpenReply{}, fmt.Errorf("reply to open: %w", err)
	}
	return r, nil
}

// CloseInfo is the payload of a close event: how the connection ended.
type CloseInfo struct {
	Client ClientID  `json:"client"`
	Code   CloseCode `json:"code"` // 1006 when it broke off
	Reason string    `json:"reason,omitempty"`
}

// Status is what a reply says besides its payload.
type Status uint8

// The statuses of a reply. Done, Closed and Rejected are final; after Busy and
// Working another reply is expected.
const (
	Done     Status = iota // the event is handled
	Busy                   // take it back: give the event to the group again
	Working                // still on it: wait for another ack_wait
	Closed                 // handled; close the client
	Rejected               // of an open event: refuse the client
)

// Reply is a worker's answer to an event.
type Reply struct {
	Status Status
	// Code and Reason are for the client: a close code when the status is
	// Closed (0 stands for CloseKicked), an HTTP status from 400 to 599 when it
	// is Rejected (0 stands for 403).
	Code   int
	Reason string
	// Kind is Text or Binary when the reply carries a frame for the client,
	// which may be empty; 0 when it carries none.
	Kind Kind
	// Data is the frame, or for an open event JSON of [OpenReply].
	Data []byte
}

// The codes of a reply that names none.
const (
	presetClose  = int(CloseKicked)
	presetReject = 403
)

// maxReason is the longest close reason, in bytes (RFC 6455 §5.5: a control
// frame holds 125 bytes, the code takes two).
const maxReason = 123

// TrimReason cuts a close reason to what a close frame can carry, at a
// character's edge.
func TrimReason(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= maxReason {
		return s
	}
	s = s[:maxReason]
	for len(s) > 0 {
		if r, n := utf8.DecodeLastRuneInString(s); r != utf8.RuneError || n != 1 {
			break
		}
		s = s[:len(s)-1]
	}
	return s
}

// Msg is the reply to an event of the given kind, as a message to the reply
// subject. Headers are set only where the payload alone would not say it.
func (r *Reply) Msg(event Kind, subject string) *Msg {
	m := &Msg{Subject: subject, Data: r.Data}
	status, code := "", r.Code
	switch r.Status {
	case Done:
		if event != Open && r.Kind == 0 {
			m.Data = nil // the payload would be taken for a frame
		}
		if r.Kind != 0 && (r.Kind != event || len(r.Data) == 0) {
			m.Header = Header{HeaderKind: {r.Kind.String()}}
		}
		return m
	case Busy:
		status = "busy"
	case Working:
		status = "working"
	case Closed:
		status = "close"
		if code == 0 && r.Reason != "" { // a reason stands after a code
			code = presetClose
		}
	case Rejected:
		status = "reject"
		if code == 0 && r.Reason != "" {
			code = presetReject
		}
	}
	if code != 0 {
		status += " " + strconv.Itoa(code)
		if reason := headerValue(r.Reason); reason != "" {
			status += " " + reason
		}
	}
	m.Header = Header{HeaderStatus: {status}}
	if r.Kind != 0 && r.Status == Closed {
		m.Header[HeaderKind] = []string{r.Kind.String()}
	} else {
		m.Data = nil
	}
	return m
}

// headerValue makes s fit into one header line.
func headerValue(s string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s))
}

// ParseReply reverses [Reply.Msg] for the reply to an event of the given kind.
// Data is shared with the message.
func ParseReply(event Kind, m *Msg) (Reply, error) {
	if len(m.Header) == 0 { // the hot path
		return plainReply(event, m.Data), nil
	}
	r := plainReply(event, m.Data)
	if v := m.Header.Get(HeaderKind); v != "" && event != Close {
		k, err := ParseKind(v)
		if err != nil || !k.Frame() {
			return Reply{}, fmt.Errorf("bus: %w: %s %q: it is text or binary", ErrMessage, HeaderKind, v)
		}
		if event != Open {
			r.Kind = k
		}
	}
	word, rest, _ := strings.Cut(m.Header.Get(HeaderStatus), " ")
	switch word {
	case "":
		return r, nil
	case "busy":
		return Reply{Status: Busy}, nil
	case "working":
		return Reply{Status: Working}, nil
	case "close":
		r.Status = Closed
		if r.Kind == 0 {
			r.Data = nil
		}
		err := r.parseCode(rest, presetClose, func(c int) error { return CheckCloseCode(CloseCode(c)) })
		return r, err
	case "reject":
		if event != Open {
			return Reply{}, fmt.Errorf("bus: %w: %s reject answers only an open event", ErrMessage, HeaderStatus)
		}
		r = Reply{Status: Rejected}
		err := r.parseCode(rest, presetReject, checkHTTPError)
		return r, err
	}
	return Reply{}, fmt.Errorf("bus: %w: %s %q: it is busy, working, close or reject", ErrMessage, HeaderStatus, word)
}

// plainReply is a reply without headers: a frame of the kind it answers. The
// reply to a close event is only an acknowledgement.
func plainReply(event Kind, data []byte) Reply {
	if event == Close {
		return Reply{}
	}
	r := Reply{Data: data}
	if event.Frame() && len(data) > 0 {
		r.Kind = event
	}
	return r
}

// parseCode reads "4401 some reason" into Code and Reason.
func (r *Reply) parseCode(s string, preset int, check func(int) error) error {
	r.Code = preset
	code, reason, _ := strings.Cut(strings.TrimLeft(s, " "), " ")
	if code == "" {
		return nil
	}
	n, err := strconv.Atoi(code)
	if err == nil {
		err = check(n)
	}
	if err != nil {
		*r = Reply{}
		return fmt.Errorf("bus: %w: %s: code %q: %w", ErrMessage, HeaderStatus, code, err)
	}
	r.Code, r.Reason = n, headerValue(reason)
	return nil
}

// checkHTTPError tells whether a client may be refused with the HTTP status.
func checkHTTPError(code int) error {
	if code < 400 || code > 599 {
		return errors.New("a client is refused with an HTTP status from 400 to 599")
	}
	return nil
}

// Push is a frame for some clients.
type Push struct {
	Target Target
	// Names are the clients, uids or groups of a target that has several. A client
	// that is meant more than once gets the frame once.
	Names  []string
	Kind   Kind // Text or Binary
	Data   []byte
	Except []ClientID // left out
}

// Msg is the push as a message to a gateway, or to all of them on a register.
func (p *Push) Msg(g GatewayID) (*Msg, error) {
	subject, err := PushSubject(g, p.Target)
	if err != nil {
		return nil, err
	}
	if !p.Kind.Frame() {
		return nil, fmt.Errorf("bus: %w: a push is text or binary, not %v", ErrMessage, p.Kind)
	}
	if p.Kind == Text && !utf8.Valid(p.Data) {
		return nil, fmt.Errorf("bus: %w: a text push must be valid UTF-8; send it as binary", ErrMessage)
	}
	m := &Msg{Subject: subject, Data: p.Data}
	if p.Kind != Text || len(p.Except) > 0 || p.Target.Scope.several() {
		m.Header = Header{}
	}
	if p.Target.Scope.several() {
		to, err := p.to()
		if err != nil {
			return nil, err
		}
		m.Header[HeaderTo] = []string{to}
	}
	if p.Kind != Text {
		m.Header[HeaderKind] = []string{p.Kind.String()}
	}
	if len(p.Except) > 0 {
		ids := make([]string, len(p.Except))
		for i, c := range p.Except {
			if _, _, _, err := c.Parts(); err != nil {
				return nil, err
			}
			ids[i] = string(c)
		}
		m.Header[HeaderExcept] = []string{strings.Join(ids, ",")}
	}
	return m, nil
}

// to is the value of HeaderTo.
func (p *Push) to() (string, error) {
	if len(p.Names) == 0 {
		return "", fmt.Errorf("bus: %w: a push to %s names none", ErrMessage, p.Target.Scope)
	}
	tokens := make([]string, len(p.Names))
	for i, name := range p.Names {
		var err error
		if tokens[i], err = Escape(name); err != nil {
			return "", fmt.Errorf("bus: push to %s: %w", p.Target.Scope, err)
		}
	}
	return strings.Join(tokens, ","), nil
}

// parseTo reads the values of HeaderTo.
func parseTo(values []string) (names []string, err error) {
	for _, v := range values {
		for token := range strings.SplitSeq(v, ",") {
			if token = strings.TrimSpace(token); token == "" {
				continue
			}
			name, err := Unescape(token)
			if err != nil {
				return nil, fmt.Errorf("bus: %w: %s: %w", ErrMessage, HeaderTo, err)
			}
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("bus: %w: %s says no names", ErrMessage, HeaderTo)
	}
	return names, nil
}

// ParsePush reverses [Push.Msg]. Without a [HeaderKind] the frame is text. Data
// is shared with the message.
func ParsePush(m *Msg) (Push, error) {
	_, target, err := ParsePushSubject(m.Subject)
	if err != nil {
		return Push{}, err
	}
	p := Push{Target: target, Kind: Text, Data: m.Data}
	if target.Scope.several() {
		if p.Names, err = parseTo(m.Header[HeaderTo]); err != nil {
			return Push{}, err
		}
	}
	if len(m.Header) > 0 {
		if v := m.Header.Get(HeaderKind); v != "" {
			if p.Kind, err = ParseKind(v); err != nil || !p.Kind.Frame() {
				return Push{}, fmt.Errorf("bus: %w: %s %q: it is text or binary", ErrMessage, HeaderKind, v)
			}
		}
		for _, v := range m.Header[HeaderExcept] {
			for id := range strings.SplitSeq(v, ",") {
				if id = strings.TrimSpace(id); id != "" {
					if _, _, _, err := ClientID(id).Parts(); err != nil {
						return Push{}, fmt.Errorf("bus: %w: %s: %w", ErrMessage, HeaderExcept, err)
					}
					p.Except = append(p.Except, ClientID(id))
				}
			}
		}
	}
	if p.Kind == Text && !utf8.Valid(p.Data) {
		return Push{}, fmt.Errorf("bus: %w: a text push must be valid UTF-8; set %s: binary", ErrMessage, HeaderKind)
	}
	return p, nil
}
