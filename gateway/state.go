package gateway

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/gatebus/gatebus/bus"
)

// What a client can be given is refused for one of these.
var (
	errUIDTaken       = errors.New("gateway: another client has the uid")
	errSessionChanged = errors.New("gateway: the session has changed meanwhile")
	errLimit          = errors.New("gateway: limit")
)

// given is what a client was given, as its events carry it: nothing of it changes.
type given struct {
	uid     string
	session string     // JSON on one line, "" if there is none
	version uint64     // of the session
	state   uint64     // counts the changes since the client was accepted
	header  bus.Header // of its events
}

// with is the same with another uid and session. An error says that these cannot be.
func (g *given) with(uid, session string, accepted bool) (*given, error) {
	next := given{uid: uid, session: session}
	var before string
	if g != nil {
		before, next.version, next.state = g.session, g.version, g.state
	}
	if session == "null" {
		next.session = ""
	}
	if next.session != before {
		next.version++
	}
	if accepted {
		next.state++
	}
	var err error
	if next.header, err = bus.ClientHeader(next.uid, next.session, next.state); err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	next.session = next.header.Get(bus.HeaderSession)
	return &next, nil
}

func (g *given) sessionOf() (session string, version, state uint64) {
	if g == nil {
		return "", 0, 0
	}
	return g.session, g.version, g.state
}

func (g *given) uidOf() string {
	if g == nil {
		return ""
	}
	return g.uid
}

// admit gives a client what the reply to its open event says, all of it or nothing.
func (g *Gateway) admit(c *client, open *bus.OpenReply) error {
	if open.UID == "" && len(open.Groups) == 0 && len(open.Session) == 0 {
		return nil
	}
	rivals, err := g.index.admit(c, open)
	if err != nil {
		return err
	}
	g.names.flush() // workers are to know before they hear more of the client
	closeAll(rivals, closing{code: bus.CloseReplaced, reason: replacedReason})
	return nil
}

// bindToken gives a client the uid of its token, before a worker is asked about it.
func (g *Gateway) bindToken(c *client, uid string) {
	g.index.mu.Lock()
	_, err := g.index.renameLocked(c, uid)
	g.index.mu.Unlock()
	if err != nil { // cannot be: it was tried
		panic(err)
	}
	g.names.flush() // workers are to know before they hear of the client
}

// replacedReason is what a client is told that another one of its uid replaces.
const replacedReason = "replaced by another connection"

// closeAll closes clients, with no lock held.
func closeAll(cs []*client, end closing) (n int) {
	for _, c := range cs {
		if !c.presence.offline() {
			n++
			c.closeNow(end)
		}
	}
	return n
}

// admit is Gateway.admit within the index: it returns the clients that are to make
// room. A client that was removed meanwhile stays out.
func (x *index) admit(c *client, open *bus.OpenReply) (rivals []*client, err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.clients[c.number] != c {
		return nil, nil
	}
	if err := x.roomLocked(c, open.Groups); err != nil {
		return nil, err
	}
	c.mu.Lock() // to the end: its session may be changed at the same time
	defer c.mu.Unlock()
	uid := open.UID
	if uid == "" {
		uid = c.given.uidOf() // from while it was handled
	}
	session, _, _ := c.given.sessionOf()
	if len(open.Session) > 0 {
		session = string(open.Session)
	}
	next, err := c.given.with(uid, session, false)
	if err != nil {
		return nil, err
	}
	if open.UID != "" {
		if rivals, err = x.rivalsLocked(c, open.UID, open.Others); err != nil {
			return nil, err
		}
		x.bindLocked(c, open.UID)
	}
	for _, name := range open.Groups {
		x.joinLocked(c, name)
	}
	c.given = next
	return rivals, nil
}

// rivalsLocked are the other clients of the uid that are to be closed for c; the
// error is errUIDTaken if it is not to have it.
func (x *index) rivalsLocked(c *client, uid string, others bus.Others) (rivals []*client, err error) {
	if others == bus.AllowOthers {
		return nil, nil
	}
	for o := range x.uids[uid] {
		if o != c && !o.presence.offline() {
			rivals = append(rivals, o)
		}
	}
	if others == bus.RefuseOthers && len(rivals) > 0 {
		return nil, errUIDTaken
	}
	return rivals, nil
}

// bindLocked gives a client the uid, or with "" none.
func (x *index) bindLocked(c *client, uid string) {
	if c.uid == uid {
		return
	}
	if c.uid != "" && x.uids.remove(c.uid, c) {
		x.changed(bus.ToUID, c.uid, false)
	}
	c.claim = time.Now().UnixMicro()
	if c.uid = uid; uid == "" {
		return
	}
	if x.uids.add(uid, c) {
		x.changed(bus.ToUID, uid, true)
	}
}

// roomLocked tells whether a client may join the groups.
func (x *index) roomLocked(c *client, groups []string) error {
	n := len(c.groups)
	for i, name := range groups {
		if _, in := x.groups[name][c]; !in && !slices.Contains(groups[:i], name) {
			n++
		}
	}
	if n > bus.MaxGroups {
		return fmt.Errorf("%w: %s would be in %d groups, a client may be in %d", errLimit, c.id, n, bus.MaxGroups)
	}
	return nil
}

// joinLocked puts a client into a group, if it is not in it.
func (x *index) joinLocked(c *client, group string) {
	if _, in := x.groups[group][c]; in {
		return
	}
	c.groups = append(c.groups, group)
	if x.groups.add(group, c) {
		x.changed(bus.ToGroup, group, true)
	}
}

// leaveLocked takes a client out of a group, if it is in it.
func (x *index) leaveLocked(c *client, group string) {
	i := slices.Index(c.groups, group)
	if i < 0 {
		return
	}
	c.groups = slices.Delete(c.groups, i, i+1)
	if x.groups.remove(group, c) {
		x.changed(bus.ToGroup, group, false)
	}
}

// bind gives a client a uid, after it was admitted or while it is. The claim is of no
// client if that is gone.
func (x *index) bind(c *client, uid string, others bus.Others) (claim bus.Claim, state uint64, rivals []*client, err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.clients[c.number] != c {
		return claim, 0, nil, nil
	}
	if rivals, err = x.rivalsLocked(c, uid, others); err != nil {
		return claim, 0, nil, err
	}
	if state, err = x.renameLocked(c, uid); err != nil {
		return claim, 0, nil, err
	}
	c.claim = time.Now().UnixMicro() // anew, though it may have had the uid
	return bus.Claim{Client: c.id, At: c.claim}, state, rivals, nil
}

// renameLocked changes a client's uid, on the index and in its events.
func (x *index) renameLocked(c *client, uid string) (state uint64, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	session, _, state := c.given.sessionOf()
	if c.given.uidOf() == uid {
		return state, nil
	}
	next, err := c.given.with(uid, session, c.accepted)
	if err != nil {
		return 0, err
	}
	x.bindLocked(c, uid)
	c.given = next
	return next.state, nil
}

// changeSession changes a client's session, if it is of the version.
func (c *client) changeSession(r *bus.SessionRequest) (now *given, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	session, version, _ := c.given.sessionOf()
	switch {
	case r.Version != nil && *r.Version != version:
		return c.given, errSessionChanged
	case r.Set != nil:
		session = string(r.Set)
	case r.Merge != nil:
		if session, err = bus.MergeSession(session, r.Merge); err != nil {
			return c.given, err
		}
	default:
		return c.given, nil
	}
	next, err := c.given.with(c.given.uidOf(), session, c.accepted)
	if err != nil {
		return c.given, err
	}
	c.given = next
	return next, nil
}
