package bus

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"
)

const (
	// MaxGroups is how many groups one client may be in.
	MaxGroups = 1024
	// MaxPage is how many items a page of a list has at most. A page has no more
	// than half a megabyte either, or one item; if that is too much for a message, the
	// answer is CodeLimit.
	MaxPage = 10000
	// DefaultPage is how many it has if the request does not say.
	DefaultPage = 1000
)

// CloseRequest asks a gateway to close clients.
type CloseRequest struct {
	Selector
	Code   CloseCode `json:"code,omitempty"` // 0 means CloseKicked
	Reason string    `json:"reason,omitempty"`
	// Text or Binary is a last frame that they are sent before the close.
	Text   *string `json:"text,omitempty"`
	Binary []byte  `json:"binary,omitempty"` // base64 in JSON
	// Abort ends the connections at once: what waits for the client is dropped, and
	// it sees no close code.
	Abort bool `json:"abort,omitempty"`
	// Before, with a uid, spares those that have it by a later claim; how many
	// those are is the Later of the result.
	Before *Claim `json:"before,omitempty"`
}

func (CloseRequest) op() string { return OpClose }

// Frame is the last frame, if there is one.
func (r *CloseRequest) Frame() (kind Kind, data []byte, ok bool) {
	switch {
	case r.Text != nil:
		return Text, []byte(*r.Text), true
	case r.Binary != nil:
		return Binary, r.Binary, true
	}
	return 0, nil, false
}

// Msg is the request as a message to a gateway, or to all of them on a register.
func (r CloseRequest) Msg(g GatewayID) (*Msg, error) { return RequestMsg(g, r) }

// ParseCloseRequest reads the payload of a close command; Code is set.
func ParseCloseRequest(data []byte) (CloseRequest, error) {
	r, err := ParseRequest[CloseRequest](data)
	if err == nil && r.Code == 0 {
		r.Code = CloseKicked
	}
	return r, err
}

func (r CloseRequest) check() error {
	if err := r.Selector.check(); err != nil {
		return err
	}
	switch {
	case r.Text != nil && r.Binary != nil:
		return fmt.Errorf("bus: %w: close: the last frame is text or binary, not both", ErrMessage)
	case r.Text != nil && !utf8.ValidString(*r.Text):
		return fmt.Errorf("bus: %w: close: text must be valid UTF-8; send it as binary", ErrMessage)
	case r.Before != nil && r.UID == "":
		return fmt.Errorf("bus: %w: close: before goes with a uid", ErrMessage)
	case r.Code == 0:
		return nil
	}
	return CheckCloseCode(r.Code)
}

// Others says what becomes of other clients that have the uid which a client is
// given.
type Others string

// What becomes of them.
const (
	AllowOthers   Others = ""        // they keep it: a uid may have many clients
	ReplaceOthers Others = "replace" // they are closed
	RefuseOthers  Others = "refuse"  // if there is one, the client does not get the uid
)

func (o Others) check() error {
	switch o {
	case AllowOthers, ReplaceOthers, RefuseOthers:
		return nil
	}
	return fmt.Errorf("bus: %w: others %q: it is %q, %q, or empty to allow them", ErrMessage, string(o), ReplaceOthers, RefuseOthers)
}

// Claim says since when a client has its uid. Of two clients, the one with the later
// claim has come later: by the clocks of their gateways, and if those say the same,
// by their ids.
type Claim struct {
	Client ClientID `json:"client"`
	At     int64    `json:"at"` // microseconds since 1970
}

// After tells whether the claim is later than o.
func (c Claim) After(o Claim) bool {
	if c.At != o.At {
		return c.At > o.At
	}
	return c.Client > o.Client
}

// BindRequest gives a client a uid, in place of the one that it has. Others are
// those of the same gateway; who wants to know of all asks the other gateways too.
// The answer has the Claim; Clients is 0 if the client is not there.
type BindRequest struct {
	Client ClientID `json:"client"`
	UID    string   `json:"uid"`
	Others Others   `json:"others,omitempty"`
	// Code and Reason close the others; 0 means CloseReplaced.
	Code   CloseCode `json:"code,omitempty"`
	Reason string    `json:"reason,omitempty"`
}

func (BindRequest) op() string { return OpBind }

func (r BindRequest) check() error {
	if _, _, _, err := r.Client.Parts(); err != nil {
		return err
	}
	if err := CheckToken(r.UID); err != nil {
		return fmt.Errorf("bus: uid: %w", err)
	}
	if err := r.Others.check(); err != nil {
		return err
	}
	if r.Code == 0 {
		return nil
	}
	return CheckCloseCode(r.Code)
}

// groupsRequest is what a JoinRequest and a LeaveRequest are.
type groupsRequest struct {
	Selector
	Groups []string `json:"groups"`
}

func (r groupsRequest) check() error {
	if err := r.Selector.check(); err != nil {
		return err
	}
	if len(r.Groups) == 0 {
		return fmt.Errorf("bus: %w: groups: it names none", ErrMessage)
	}
	return checkTokens("group", r.Groups)
}

// JoinRequest has clients join groups; those that are in one stay in it.
type JoinRequest groupsRequest

func (JoinRequest) op() string     { return OpJoin }
func (r JoinRequest) check() error { return groupsRequest(r).check() }

// LeaveRequest has clients leave groups.
type LeaveRequest groupsRequest

func (LeaveRequest) op() string     { return OpLeave }
func (r LeaveRequest) check() error { return groupsRequest(r).check() }

// UnbindRequest takes the uids of clients away.
type UnbindRequest struct{ Selector }

func (UnbindRequest) op() string     { return OpUnbind }
func (r UnbindRequest) check() error { return r.Selector.check() }

// DissolveRequest has everybody leave a group.
type DissolveRequest struct {
	Group string `json:"group"`
}

func (DissolveRequest) op() string     { return OpDissolve }
func (r DissolveRequest) check() error { return checkTokens("group", []string{r.Group}) }

// SessionRequest changes a client's session, or asks for it if neither Set nor
// Merge is there. The answer has the session as it is then, its Version and State.
type SessionRequest struct {
	Client ClientID `json:"client"`
	// Set takes the place of the session; null removes it.
	Set json.RawMessage `json:"set,omitempty"`
	// Merge is merged into it, as RFC 7396 says: objects key by key, null deletes.
	Merge json.RawMessage `json:"merge,omitempty"`
	// Version, if it is named, is the one that the session must be of; it is 0 as
	// long as the client never had one. Else the answer is CodeSessionChanged, with
	// the session as it is.
	Version *uint64 `json:"if_version,omitempty"`
}

func (SessionRequest) op() string { return OpSession }

func (r SessionRequest) check() error {
	if _, _, _, err := r.Client.Parts(); err != nil {
		return err
	}
	if r.Set != nil && r.Merge != nil {
		return fmt.Errorf("bus: %w: session: set or merge, not both", ErrMessage)
	}
	for _, data := range []json.RawMessage{r.Set, r.Merge} {
		if data == nil {
			continue
		}
		if err := CheckJSON(data); err != nil {
			return fmt.Errorf("bus: %w: session: %w", ErrMessage, err)
		}
		if len(data) > maxSessionInput {
			return fmt.Errorf("bus: %w: session of %d bytes, the limit is %d", ErrSessionSize, len(data), MaxSession)
		}
	}
	return nil
}

// maxSessionInput bounds what is parsed to change a session: white space is
// allowed for, and keys that are deleted.
const maxSessionInput = 4 * MaxSession

// maxMergeDepth bounds how deep objects are merged into each other. Each level is parsed
// anew, by a gateway that does nothing else meanwhile.
const maxMergeDepth = 32

// MergeSession merges a patch into a session, as RFC 7396 says. Numbers stay as
// they are written. "" is no session. A patch whose objects are more than 32 deep is
// an error.
func MergeSession(session string, patch json.RawMessage) (string, error) {
	merged, err := mergePatch(json.RawMessage(session), patch, maxMergeDepth)
	if err != nil {
		return "", fmt.Errorf("bus: %w: session: %w", ErrMessage, err)
	}
	return string(merged), nil
}

func mergePatch(target, patch json.RawMessage, depth int) (json.RawMessage, error) {
	var changes map[string]json.RawMessage
	if err := json.Unmarshal(patch, &changes); err != nil {
		if wrong := (*json.UnmarshalTypeError)(nil); errors.As(err, &wrong) {
			return patch, nil // not an object: it takes the place of what was there
		}
		return nil, err
	}
	if changes == nil { // null
		return patch, nil
	}
	if depth == 0 {
		return nil, fmt.Errorf("a patch has objects in objects, %d deep at most", maxMergeDepth)
	}
	var merged map[string]json.RawMessage
	if err := json.Unmarshal(target, &merged); err != nil || merged == nil {
		merged = map[string]json.RawMessage{} // what was there is no object
	}
	for key, change := range changes {
		if string(change) == "null" {
			delete(merged, key)
			continue
		}
		value, err := mergePatch(merged[key], change, depth-1)
		if err != nil {
			return nil, err
		}
		merged[key] = value
	}
	return marshal(merged)
}

// The fields of a ClientInfo that a ListRequest can ask for, beside the id.
const (
	FieldUID     = "uid"
	FieldGroups  = "groups"
	FieldSession = "session"
	FieldOpen    = "open" // what the client asked for, and since when it is connected
)

// InfoRequest asks for all fields of a client. Items of the answer has it, or
// nothing.
type InfoRequest struct {
	Client ClientID `json:"client"`
}

func (InfoRequest) op() string { return OpInfo }

func (r InfoRequest) check() error {
	_, _, _, err := r.Client.Parts()
	return err
}

// ClientInfo is a client as a list shows it.
type ClientInfo struct {
	Client ClientID `json:"client"`
	UID    string   `json:"uid,omitempty"`
	Groups []string `json:"groups,omitempty"`
	// Session is JSON, and Version counts its changes.
	Session   json.RawMessage `json:"session,omitempty"`
	Version   uint64          `json:"version,omitempty"`
	Connected time.Time       `json:"connected,omitzero"`
	Open      *OpenInfo       `json:"open,omitempty"`
}

// NameCount is a uid or group, and how many clients have it.
type NameCount struct {
	Name    string `json:"name"`
	Clients int    `json:"clients"`
}

// Of says what is counted or listed.
type Of string

// What can be counted and listed.
const (
	OfClients Of = "clients"
	OfUIDs    Of = "uids"
	OfGroups  Of = "groups"
)

func (o Of) check() error {
	switch o {
	case OfClients, OfUIDs, OfGroups:
		return nil
	}
	return fmt.Errorf("bus: %w: of %q: it is clients, uids or groups", ErrMessage, string(o))
}

// CountRequest asks how many there are. Clients that are connecting, or whose end
// has begun, do not count.
//
// With Of alone, Count is the answer: of all clients, uids or groups of the gateway.
// A Group makes it those in the group: its clients, or their uids. Clients, UIDs or
// Groups, with OfClients, ask for the clients of each of them: Counts.
type CountRequest struct {
	Of      Of         `json:"of"`
	Group   string     `json:"group,omitempty"`
	Clients []ClientID `json:"clients,omitempty"`
	UIDs    []string   `json:"uids,omitempty"`
	Groups  []string   `json:"groups,omitempty"`
	// Claims counts with UIDs also clients that are connecting.
	Claims bool `json:"claims,omitempty"`
}

func (CountRequest) op() string { return OpCount }

func (r CountRequest) check() error {
	if err := r.Of.check(); err != nil {
		return err
	}
	n := 0
	for _, set := range []bool{r.Group != "", len(r.Clients) > 0, len(r.UIDs) > 0, len(r.Groups) > 0} {
		if set {
			n++
		}
	}
	switch {
	case n > 1:
		return fmt.Errorf("bus: %w: count: one of group, clients, uids and groups, not several", ErrMessage)
	case r.Of != OfClients && n > 0 && r.Group == "", r.Of == OfGroups && n > 0:
		return fmt.Errorf("bus: %w: count: of %s there is nothing of that kind to be counted", ErrMessage, r.Of)
	case r.Group != "":
		return checkTokens("group", []string{r.Group})
	}
	return errors.Join(checkClients(r.Clients), checkTokens("uid", r.UIDs), checkTokens("group", r.Groups))
}

// ListRequest asks for a page of a list, in ascending order: of clients by their
// numbers, of uids and groups by their bytes. Those that are connecting, or whose end
// has begun, are not on it.
type ListRequest struct {
	Of Of `json:"of"`
	// UIDs are whose clients are listed; Group, in which group they are, or whose
	// clients' uids. Not both.
	UIDs  []string `json:"uids,omitempty"`
	Group string   `json:"group,omitempty"`
	// After is the Next of the page before.
	After string `json:"after,omitempty"`
	Limit int    `json:"limit,omitempty"` // up to MaxPage; 0 means DefaultPage
	// Fields are what is told of a client beside its id; see FieldUID.
	Fields []string `json:"fields,omitempty"`
}

func (ListRequest) op() string { return OpList }

func (r ListRequest) check() error {
	if err := r.Of.check(); err != nil {
		return err
	}
	switch {
	case r.Limit < 0 || r.Limit > MaxPage:
		return fmt.Errorf("bus: %w: list: limit %d is not between 1 and %d", ErrMessage, r.Limit, MaxPage)
	case len(r.UIDs) > 0 && (r.Of != OfClients || r.Group != ""), r.Group != "" && r.Of == OfGroups:
		return fmt.Errorf("bus: %w: list: uids go with clients alone, a group with clients or uids", ErrMessage)
	case r.After != "" && r.Of == OfClients:
		if _, _, _, err := ClientID(r.After).Parts(); err != nil {
			return err
		}
	}
	for _, f := range r.Fields {
		switch f {
		case FieldUID, FieldGroups, FieldSession, FieldOpen:
		default:
			return fmt.Errorf("bus: %w: list: field %q: it is uid, groups, session or open", ErrMessage, f)
		}
	}
	if r.Group != "" {
		return checkTokens("group", []string{r.Group})
	}
	return checkTokens("uid", r.UIDs)
}
