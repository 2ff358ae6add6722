package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/gatebus/gatebus/bus"
)

// Selector says which clients are meant: exactly one of its fields but Except is set.
type Selector = bus.Selector

// Others says what becomes of other clients that have the uid which a client is
// given.
type Others = bus.Others

// What becomes of them.
const (
	AllowOthers   = bus.AllowOthers   // they keep it: a uid may have many clients
	ReplaceOthers = bus.ReplaceOthers // they are closed, with 4003
	RefuseOthers  = bus.RefuseOthers  // if there is one, the client does not get the uid
)

// Bind gives the client a uid, in place of the one that it has; one that is gone is
// ErrNoClient. Others decides about other clients of the uid, on all gateways:
//
//   - With ReplaceOthers, of clients that are bound at the same time the later one
//     stays, by the clocks of their gateways, and a *PartialError names the gateways
//     that were not reached. If this one is not the later, it is closed and the error
//     is ErrUIDTaken.
//   - With RefuseOthers the error is ErrUIDTaken if there is another one; of several
//     that are bound at the very same moment, none may get it. If not all gateways
//     can be asked, that is the error, and the client has no uid. A client that had
//     another uid keeps it, unless the other one was bound in that moment.
//
// To take the uid back, or close the client, may take two seconds more than ctx has.
func (c Client) Bind(ctx context.Context, uid string, others Others) error {
	l, a, err := c.bind(ctx, uid, others)
	if err == nil {
		l.tookUID(c.id, uid, a.State)
	}
	return err
}

// undoPatience is how long what is to be taken back may take, after a deadline too.
const undoPatience = 2 * time.Second

// again is a context for what is to be taken back, whether ctx has ended or not: a
// gateway that was silent until then must not leave a half of what was to be done.
func again(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), undoPatience)
}

func (c Client) bind(ctx context.Context, uid string, others Others) (*link, bus.Answer, error) {
	ctx, cancel := patient(ctx)
	defer cancel()
	if others == RefuseOthers {
		if err := c.alone(ctx, uid); err != nil {
			return nil, bus.Answer{}, err
		}
	}
	l, a, err := c.do(ctx, bus.BindRequest{Client: c.id, UID: uid, Others: others})
	if err != nil {
		return l, a, err
	}
	l.names.expect(uid, nil)
	switch others {
	case RefuseOthers:
		// Whoever is bound from now on sees this one.
		if err = c.alone(ctx, uid); err != nil {
			ctx, cancel := again(ctx)
			defer cancel()
			_, _, undone := c.do(ctx, bus.UnbindRequest{Selector: Selector{Client: c.id}})
			err = errors.Join(err, undone)
		}
	case ReplaceOthers:
		err = c.replace(ctx, uid, a.Claim)
	}
	return l, a, err
}

// elsewhere are the links to the other gateways.
func (c Client) elsewhere() (links []*link) {
	g, epoch, _, _ := c.id.Parts()
	for _, l := range c.cluster.sorted() {
		if l.key() != (linkKey{g, epoch}) {
			links = append(links, l)
		}
	}
	return links
}

// alone finds out whether no client of another gateway has the uid.
func (c Client) alone(ctx context.Context, uid string) error {
	answers, err := c.cluster.ask(ctx, c.elsewhere(), bus.CountRequest{Of: bus.OfClients, UIDs: []string{uid}, Claims: true})
	for _, a := range answers {
		for _, n := range a.Counts {
			if n > 0 {
				return fmt.Errorf("worker: client %s: %w", c.id, ErrUIDTaken)
			}
		}
	}
	return err
}

// replace closes the clients of other gateways that have the uid by an earlier
// claim, or the client itself if there is a later one.
func (c Client) replace(ctx context.Context, uid string, claim *bus.Claim) error {
	answers, err := c.cluster.ask(ctx, c.elsewhere(), bus.CloseRequest{
		Selector: Selector{UID: uid, Except: []bus.ClientID{c.id}},
		Code:     bus.CloseReplaced, Reason: "replaced by another connection", Before: claim,
	})
	for _, a := range answers {
		if a.Later > 0 {
			ctx, cancel := again(ctx)
			defer cancel()
			_, closing := c.Close(ctx, int(bus.CloseReplaced), "replaced by another connection")
			return errors.Join(fmt.Errorf("worker: client %s: %w", c.id, ErrUIDTaken), closing)
		}
	}
	return err
}

// Unbind takes the client's uid away, if it has one.
func (c Client) Unbind(ctx context.Context) error {
	l, a, err := c.do(ctx, bus.UnbindRequest{Selector: Selector{Client: c.id}})
	if err == nil {
		l.tookUID(c.id, "", a.State)
	}
	return err
}

// Join has the client join groups; those that it is in already do no harm. It joins
// all of them or, on an error, none.
func (c Client) Join(ctx context.Context, groups ...string) error {
	l, _, err := c.do(ctx, bus.JoinRequest{Selector: Selector{Client: c.id}, Groups: groups})
	if err == nil {
		l.names.expect("", groups)
	}
	return err
}

// Leave has the client leave groups; those that it is not in do no harm.
func (c Client) Leave(ctx context.Context, groups ...string) error {
	_, _, err := c.do(ctx, bus.LeaveRequest{Selector: Selector{Client: c.id}, Groups: groups})
	return err
}

// Session is a client's session, JSON, nil if it has none; Version counts its
// changes.
type Session struct {
	Data    json.RawMessage
	Version uint64
}

// Session asks the gateway for the session as it is now.
func (c Client) Session(ctx context.Context) (Session, error) {
	return c.session(ctx, bus.SessionRequest{Client: c.id})
}

// SetSession gives the client another session: JSON of up to bus.MaxSession bytes;
// nil takes it away. What others have changed meanwhile is lost; see MergeSession
// and UpdateSession. Events that this worker holds for the client have it too.
func (c Client) SetSession(ctx context.Context, session json.RawMessage) error {
	_, err := c.session(ctx, bus.SessionRequest{Client: c.id, Set: orNull(session)})
	return err
}

// MergeSession merges a patch into the session, in the gateway, as RFC 7396 says:
// objects key by key, and null deletes a key. What others change at the same time
// is not lost, unless it is the same key. Objects in a patch are up to 32 deep.
func (c Client) MergeSession(ctx context.Context, patch json.RawMessage) error {
	_, err := c.session(ctx, bus.SessionRequest{Client: c.id, Merge: orNull(patch)})
	return err
}

// UpdateSession has change make the new session of the old one (nil if there is none),
// and sets it if nobody has changed it meanwhile; otherwise change is called again,
// with what it is by then. That goes on until ctx ends, for five seconds if it has no
// deadline: then the error wraps ErrSessionChanged. An error of change ends it.
func (c Client) UpdateSession(ctx context.Context, change func(json.RawMessage) (json.RawMessage, error)) error {
	ctx, cancel := patient(ctx)
	defer cancel()
	now, err := c.Session(ctx)
	if err != nil {
		return err
	}
	for tries := 0; ; tries++ {
		next, err := change(now.Data)
		if err != nil {
			return err
		}
		now, err = c.SetSessionIf(ctx, now.Version, next)
		switch {
		case errors.Is(err, ErrSessionChanged): // again, if there is time
		case err != nil && tries > 0 && ctx.Err() != nil:
			return fmt.Errorf("%w, %d times: %w", ErrSessionChanged, tries, err)
		default:
			return err
		}
	}
}

// SetSessionIf is SetSession, if the session is of the version; otherwise the error
// is ErrSessionChanged. It returns the session as it is then.
func (c Client) SetSessionIf(ctx context.Context, version uint64, session json.RawMessage) (Session, error) {
	return c.session(ctx, bus.SessionRequest{Client: c.id, Set: orNull(session), Version: &version})
}

func orNull(data json.RawMessage) json.RawMessage {
	if len(data) == 0 {
		return json.RawMessage("null")
	}
	return data
}

func (c Client) session(ctx context.Context, r bus.SessionRequest) (Session, error) {
	l, a, err := c.do(ctx, r)
	if err == nil && (r.Set != nil || r.Merge != nil) {
		l.tookSession(c.id, string(a.Session), a.State)
	}
	return Session{a.Session, a.Version}, err
}

// CloseOptions say how clients are closed.
type CloseOptions struct {
	// Code is 1000, or an application's own, 4100 to 4999; 0 means 4002.
	Code int
	// Reason has at most 123 bytes; what is longer is cut.
	Reason string
	// Last is a last frame of the Kind, Text or Binary; none if Kind is 0.
	Kind Kind
	Last []byte
	// Abort ends the connections at once: what waits for the clients is dropped, Last
	// too, and they see no close code.
	Abort bool
}

func (o *CloseOptions) request(s Selector) (bus.CloseRequest, error) {
	r := bus.CloseRequest{Selector: s, Code: bus.CloseCode(o.Code), Reason: o.Reason, Abort: o.Abort}
	switch o.Kind {
	case 0:
	case Text:
		text := string(o.Last)
		r.Text = &text
	case Binary:
		r.Binary = append([]byte{}, o.Last...)
	default:
		return r, fmt.Errorf("worker: close: a last frame is Text or Binary, not %v", o.Kind)
	}
	return r, nil
}

// CloseWith closes the client. It tells whether the client was there.
func (c Client) CloseWith(ctx context.Context, o CloseOptions) (bool, error) {
	r, err := o.request(Selector{Client: c.id})
	if err != nil {
		return false, err
	}
	_, _, err = c.do(ctx, r)
	if errors.Is(err, ErrNoClient) {
		return false, nil
	}
	return err == nil, err
}

// Close closes the selected clients of all gateways, and says how many there were.
// The error may be a *PartialError.
func (c *Cluster) Close(ctx context.Context, s Selector, o CloseOptions) (clients int, err error) {
	r, err := o.request(s)
	if err != nil {
		return 0, err
	}
	return c.sum(ctx, r)
}

// Unbind takes the uids of the selected clients away, and says how many clients there
// were. The error may be a *PartialError.
func (c *Cluster) Unbind(ctx context.Context, s Selector) (clients int, err error) {
	return c.sum(ctx, bus.UnbindRequest{Selector: s})
}

// Join has the selected clients join groups, and says how many clients there were.
// The error may be a *PartialError; on one gateway all of them join, or none.
func (c *Cluster) Join(ctx context.Context, s Selector, groups ...string) (clients int, err error) {
	n, err := c.sum(ctx, bus.JoinRequest{Selector: s, Groups: groups})
	for _, l := range c.w.allLinks() {
		l.names.expect("", groups)
	}
	return n, err
}

// Leave has the selected clients leave groups, and says how many clients there were.
// The error may be a *PartialError.
func (c *Cluster) Leave(ctx context.Context, s Selector, groups ...string) (clients int, err error) {
	return c.sum(ctx, bus.LeaveRequest{Selector: s, Groups: groups})
}

// Dissolve has everybody leave a group, and says how many clients there were. The
// error may be a *PartialError.
func (c *Cluster) Dissolve(ctx context.Context, group string) (clients int, err error) {
	return c.sum(ctx, bus.DissolveRequest{Group: group})
}
