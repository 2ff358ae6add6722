package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/gatebus/gatebus/bus"
)

// Kind says what an event or frame is.
type Kind = bus.Kind

// The kinds of events. Text and Binary are also the kinds of frames.
const (
	Open   = bus.Open
	Text   = bus.Text
	Binary = bus.Binary
	Close  = bus.Close
)

// Handler is the business logic.
type Handler interface {
	// Handle handles one event of one client. It is called for many clients
	// at the same time, for each one event after the other. When it returns
	// nil, the event's answer is sent; an error is logged and closes the
	// client with 1011. ctx ends when the worker has no more time to stop.
	Handle(ctx context.Context, ev *Event) error
}

// HandlerFunc makes a Handler of a function.
type HandlerFunc func(ctx context.Context, ev *Event) error

// Handle calls f.
func (f HandlerFunc) Handle(ctx context.Context, ev *Event) error { return f(ctx, ev) }

// Event is what happened to a client. It belongs to the handler until Handle
// returns; it must not be used by two goroutines at a time.
type Event struct {
	// Kind says what happened. With Open the client asks to be let in; unless
	// it is rejected, it is. With Close it is gone.
	Kind Kind
	// Data is the frame of a Text or Binary event. For Open and Close see
	// OpenInfo and CloseInfo.
	Data []byte
	// Client is who it happened to.
	Client Client
	// UID and Session are what the client has: as of when the event was sent, or as
	// this worker has changed them since. Empty if nothing.
	UID     string
	Session json.RawMessage
	// Seq numbers the events of the client from 1; with the client's id, it tells a
	// redelivery from a new event.
	Seq uint64
	// Delivery is 1, or 2, 3, … if the event was given out before.
	Delivery int
	// Cluster reaches all clients of all gateways.
	Cluster *Cluster

	reply    bus.Reply
	admitted Admission // what the reply to an Open event gives
	misuse   error     // what the handler may not answer; nil if nothing
}

// Reply answers a frame with a frame of the same kind; for Open and Close
// events it does nothing, so that a handler may reply to whatever comes. The
// last call counts. data may be empty.
func (e *Event) Reply(data []byte) {
	if e.Kind.Frame() {
		e.ReplyAs(e.Kind, data)
	}
}

// ReplyAs answers a frame with a frame of the given kind, Text or Binary; any
// other is a failure of the handler. For Open and Close events it does nothing.
func (e *Event) ReplyAs(kind Kind, data []byte) {
	switch {
	case !kind.Frame():
		e.misuse = fmt.Errorf("worker: ReplyAs with the kind %v: a frame is Text or Binary", kind)
	case e.Kind.Frame():
		e.reply.Kind, e.reply.Data = kind, data
	}
}

// Admission is what an accepted client is given.
type Admission struct {
	// UID names the user behind the client: UTF-8, up to bus.MaxToken bytes;
	// empty for none. Clients can share one.
	UID string
	// Groups are joined. Each is named as a uid is, and not empty.
	Groups []string
	// Session is JSON that comes with every later event of the client, at
	// most bus.MaxSession bytes.
	Session json.RawMessage
	// Subprotocol is the WebSocket subprotocol; one of those that the client
	// has offered.
	Subprotocol string
	// Others says what becomes of other clients that have the UID, on all gateways: see
	// [Client.Bind]. With RefuseOthers the client is refused with 409 if there is one,
	// and with 503 if not all gateways can be asked.
	Others Others
}

// check finds what the gateway would refuse.
func (a *Admission) check() error {
	if _, err := bus.ClientHeader(a.UID, string(a.Session), 0); err != nil {
		return err
	}
	for _, g := range a.Groups {
		if _, err := bus.Escape(g); err != nil {
			return fmt.Errorf("group: %w", err)
		}
	}
	for what, s := range map[string]string{
		"the session": string(a.Session), "the subprotocol": a.Subprotocol,
	} {
		if !utf8.ValidString(s) { // encoding/json would change it in silence
			return fmt.Errorf("%s is not valid UTF-8", what)
		}
	}
	return nil
}

// Accept answers an Open event with more than yes. On an error, which says
// what cannot be, the answer is as it was before.
func (e *Event) Accept(a Admission) error {
	if e.Kind != Open {
		return errors.New("worker: Accept answers an Open event only")
	}
	if err := a.check(); err != nil {
		return fmt.Errorf("worker: accept: %w", err)
	}
	r := bus.OpenReply{UID: a.UID, Groups: a.Groups, Session: a.Session, Subprotocol: a.Subprotocol}
	data, err := r.Payload()
	if err != nil {
		return fmt.Errorf("worker: accept: %w", err)
	}
	e.reply, e.admitted = bus.Reply{Data: data}, a
	return nil
}

// Reject answers an Open event: the client is refused with the HTTP status,
// which must be from 400 to 599. Of another event it is a failure of the
// handler: there is [Event.CloseClient].
func (e *Event) Reject(status int, reason string) {
	if e.Kind != Open {
		e.misuse = fmt.Errorf("worker: Reject of a %v event: only an Open event can be; use CloseClient", e.Kind)
		return
	}
	e.reply = bus.Reply{Status: bus.Rejected, Code: status, Reason: reason}
}

// CloseClient answers with a close of the client, after the frame of Reply if
// there is one. The code is 1000 or an application's own, 4100 to 4999; 0 means
// 4002.
func (e *Event) CloseClient(code int, reason string) {
	if code == 0 {
		code = int(bus.CloseKicked)
	}
	e.reply.Status, e.reply.Code, e.reply.Reason = bus.Closed, code, reason
}

// OpenInfo is what the client of an Open event asks for.
func (e *Event) OpenInfo() (bus.OpenInfo, error) {
	var info bus.OpenInfo
	if e.Kind != Open {
		return info, fmt.Errorf("worker: a %v event has no OpenInfo", e.Kind)
	}
	if err := json.Unmarshal(e.Data, &info); err != nil {
		return info, fmt.Errorf("worker: open event: %w", err)
	}
	return info, nil
}

// CloseInfo is how the client of a Close event ended.
func (e *Event) CloseInfo() (bus.CloseInfo, error) {
	var info bus.CloseInfo
	if e.Kind != Close {
		return info, fmt.Errorf("worker: a %v event has no CloseInfo", e.Kind)
	}
	if err := json.Unmarshal(e.Data, &info); err != nil {
		return info, fmt.Errorf("worker: close event: %w", err)
	}
	return info, nil
}

// checkReply finds what the gateway would refuse, where the handler's author
// can see it.
func (e *Event) checkReply() error {
	switch r := &e.reply; {
	case e.misuse != nil:
		return e.misuse
	case r.Kind == Text && !utf8.Valid(r.Data):
		return errors.New("worker: a text reply must be valid UTF-8; use ReplyAs(worker.Binary, …)")
	case r.Status == bus.Closed:
		return bus.CheckCloseCode(bus.CloseCode(r.Code))
	case r.Status == bus.Rejected && (r.Code < 400 || r.Code > 599):
		return fmt.Errorf("worker: reject with HTTP status %d: it must be from 400 to 599", r.Code)
	}
	return nil
}
