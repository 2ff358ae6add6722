package bus

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// The operations that a gateway can be asked to do, each with the type of its
// request. The answer is a [Result], or an [Answer] where more is to be said.
const (
	OpClose    = "close"    // CloseRequest: close clients
	OpBind     = "bind"     // BindRequest: give a client a uid
	OpUnbind   = "unbind"   // UnbindRequest: take clients' uids away
	OpJoin     = "join"     // JoinRequest: have clients join groups
	OpLeave    = "leave"    // LeaveRequest: have clients leave groups
	OpDissolve = "dissolve" // DissolveRequest: have everybody leave a group
	OpSession  = "session"  // SessionRequest: get or change a client's session; Answer
	OpInfo     = "info"     // InfoRequest: all about a client; Answer
	OpCount    = "count"    // CountRequest: how many; Answer
	OpList     = "list"     // ListRequest: which; Answer
	// OpHello has the gateway look who is on its bus: a worker has come or is
	// leaving. Without it that is seen a moment later: Hello; Answer.
	OpHello = "hello"
	// OpNames has the gateway tell a worker which uids and groups its clients
	// have: NamesRequest.
	OpNames = "names"
)

// The codes of a Result that says an error.
const (
	// CodeBadRequest: the request cannot be right; do not repeat it.
	CodeBadRequest = "bad_request"
	// CodeUnknown: the gateway does not know the operation: it is of another version.
	CodeUnknown = "unknown_operation"
	// CodeUIDTaken: another client has the uid, and it was not to be shared.
	CodeUIDTaken = "uid_taken"
	// CodeSessionChanged: the session is not of the version that was named.
	CodeSessionChanged = "session_changed"
	// CodeBusy: too many counts and lists wait already; ask again later.
	CodeBusy = "busy"
	// CodeProtocol: who greets speaks a protocol of another major.
	CodeProtocol = "other_protocol"
	// CodeLimit: the client would have more than it may, or the answer is too large.
	CodeLimit = "limit"
)

// Result is what a gateway answers to a push or command that has a reply
// subject, as JSON.
type Result struct {
	Gateway GatewayID `json:"gateway"`
	// Clients is how many clients were reached: the frame stands in their
	// queues, the close does, or they are as it was asked for.
	Clients int `json:"clients"`
	// Error says what was wrong with the request, "" if nothing; Code is one word
	// for it, for programs.
	Error string `json:"error,omitempty"`
	Code  string `json:"code,omitempty"`
	// Later is how many clients have the uid by a later claim than the one that a
	// CloseRequest names.
	Later int `json:"later,omitempty"`
}

// Msg is the result as a message to the given subject.
func (r Result) Msg(subject string) *Msg { return mustMsg(subject, r) }

// mustMsg is a message with JSON of what can be nothing else: strings, numbers, and
// JSON that was checked.
func mustMsg(subject string, v any) *Msg {
	data, err := marshal(v)
	if err != nil {
		panic(err)
	}
	return &Msg{Subject: subject, Data: data}
}

// marshal is JSON without what encoding/json does for HTML: of each <, > and & it
// would make six bytes, and what is within a limit would not stay so on its way.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte{'\n'}), nil
}

// ParseResult reads what [Result.Msg] wrote.
func ParseResult(data []byte) (Result, error) {
	var r Result
	if err := json.Unmarshal(data, &r); err != nil {
		return Result{}, fmt.Errorf("bus: %w: result: %w", ErrMessage, err)
	}
	return r, nil
}

// Answer is a Result with what was asked for.
type Answer struct {
	Result
	// Session is the session as it is now, and Version counts its changes; see
	// SessionRequest.
	Session json.RawMessage `json:"session,omitempty"`
	Version uint64          `json:"version,omitempty"`
	// State is the number of the client's uid and session together: an event that
	// has a lower one was sent before.
	State uint64 `json:"state,omitempty"`
	// Claim is by what a client has its uid.
	Claim *Claim `json:"claim,omitempty"`
	// Protocol is what the gateway speaks; of the answer to a Hello.
	Protocol Protocol `json:"protocol,omitempty"`
	// Count is how many there are, nil if that was not asked. Counts says it of each
	// one that was asked about, in the order of the question.
	Count  *int  `json:"count,omitempty"`
	Counts []int `json:"counts,omitempty"`
	// Items and Names are a page of a list, in ascending order. Next, if it is not
	// empty, is the After of the next page.
	Items []ClientInfo `json:"items,omitempty"`
	Names []NameCount  `json:"names,omitempty"`
	Next  string       `json:"next,omitempty"`
}

// Msg is the answer as a message to the given subject.
func (a *Answer) Msg(subject string) *Msg { return mustMsg(subject, a) }

// ParseAnswer reads what [Answer.Msg] wrote; of a plain Result too.
func ParseAnswer(data []byte) (Answer, error) {
	var a Answer
	if err := json.Unmarshal(data, &a); err != nil {
		return Answer{}, fmt.Errorf("bus: %w: answer: %w", ErrMessage, err)
	}
	return a, nil
}

// Request is the payload of a command: JSON.
type Request interface {
	op() string
	check() error
}

// RequestMsg is a request as a message to a gateway, or to all of them on a
// register.
func RequestMsg(g GatewayID, r Request) (*Msg, error) {
	if err := CheckName(string(g)); err != nil {
		return nil, fmt.Errorf("bus: %s: gateway: %w", r.op(), err)
	}
	if err := r.check(); err != nil {
		return nil, err
	}
	data, err := marshal(r)
	if err != nil { // of JSON in it
		return nil, fmt.Errorf("bus: %w: %s command: %w", ErrMessage, r.op(), err)
	}
	return &Msg{Subject: CommandSubject(g, r.op()), Data: data}, nil
}

// ParseRequest reads the payload of a command.
func ParseRequest[R Request](data []byte) (R, error) {
	var r, zero R
	err := CheckJSON(data)
	if err == nil {
		err = json.Unmarshal(data, &r)
	}
	if err != nil {
		return zero, fmt.Errorf("bus: %w: %s command: %w", ErrMessage, r.op(), err)
	}
	if err := r.check(); err != nil {
		return zero, err
	}
	return r, nil
}
