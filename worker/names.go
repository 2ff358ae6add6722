package worker

import (
	"sync"
	"time"

	"github.com/gatebus/gatebus/bus"
)

// expectFor is for how long a name is taken for present that an answer to an open
// event has given: by then the gateway has said so, or has not let the client in.
const expectFor = time.Minute

// names is what a gateway has told of the uids and groups that its clients have: a
// push to another one need not go there. While that is not known for sure, it does.
type names struct {
	mu      sync.RWMutex
	request uint64     // numbers what was asked; 0: nothing was
	on      bus.ConnID // the connection that it was asked on
	known   bool       // all has been told
	lost    uint64     // messages of the link that were dropped by then
	present map[bus.Target]struct{}
	// expected are those that an answer from here has given, and until when.
	expected map[bus.Target]time.Time
}

// ask begins anew, on a connection; the request is to be sent then. lost is how many
// messages of it were dropped so far.
func (n *names) ask(on bus.ConnID, lost uint64) (request uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.request++
	n.on, n.lost, n.known, n.present = on, lost, false, map[bus.Target]struct{}{}
	return n.request
}

// asked tells whether what is known, or on its way, is of this connection, and whole.
func (n *names) asked(on bus.ConnID, lost uint64) bool {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.request > 0 && n.on == on && n.lost == lost
}

// forget says that nothing is known, until it is asked for.
func (n *names) forget() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.on, n.known, n.present = 0, false, nil
}

// receive takes what a gateway of the epoch tells, on the connection of the address.
func (n *names) receive(m *bus.Msg, epoch bus.Epoch, at bus.WorkerAddress) error {
	to, err := bus.ParseNamesSubject(m.Subject)
	if err != nil {
		return err
	}
	of, rest, err := bus.BatchEpoch(m.Data)
	if err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.present == nil || to != "" && to != at {
		return nil // was not asked for, or on a former connection
	}
	if of != epoch {
		n.known, n.present = false, nil // another life of the gateway: its link will ask
		return nil
	}
	if to != "" {
		var request uint64
		if request, rest, err = bus.NamesRequestOf(rest); err != nil || request != n.request {
			return err
		}
	}
	for len(rest) > 0 {
		var c bus.NameChange
		var end bool
		if c, end, rest, err = bus.NextName(rest); err != nil {
			n.known, n.present = false, nil
			return err
		}
		switch {
		case end && to == "":
			n.on, n.known = 0, false // changes were lost; to be asked for again
		case end:
			n.known = true
		case c.Present:
			n.present[c.Target] = struct{}{}
		default:
			delete(n.present, c.Target)
		}
	}
	return nil
}

// expect says that the gateway is about to give a client these.
func (n *names) expect(uid string, groups []string) {
	if uid == "" && len(groups) == 0 {
		return
	}
	until := time.Now().Add(expectFor)
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.request == 0 {
		return // everything goes there
	}
	if n.expected == nil {
		n.expected = map[bus.Target]time.Time{}
	}
	if uid != "" {
		n.expected[bus.Target{Scope: bus.ToUID, Name: uid}] = until
	}
	for _, g := range groups {
		n.expected[bus.Target{Scope: bus.ToGroup, Name: g}] = until
	}
}

// sweep forgets what is expected no more.
func (n *names) sweep(now time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for t, until := range n.expected {
		if now.After(until) {
			delete(n.expected, t)
		}
	}
}

// may tells whether the gateway may have clients that a push is for.
func (n *names) may(t bus.Target) bool {
	if t.Scope != bus.ToUID && t.Scope != bus.ToGroup {
		return true
	}
	n.mu.RLock()
	defer n.mu.RUnlock()
	if !n.known {
		return true
	}
	if _, ok := n.present[t]; ok {
		return true
	}
	_, ok := n.expected[t]
	return ok
}
