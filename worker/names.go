package worker

import (
	"slices"
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
	// set at construction
	publish func(*bus.Msg)                               // to the gateway
	check   func(on bus.ConnID, request uint64) *bus.Msg // asks whether there were changes
	spared  func(pushes int)                             // counts

	mu      sync.RWMutex
	request uint64     // numbers what was asked; 0: nothing was
	on      bus.ConnID // the connection that it was asked on
	known   bool       // all has been told
	lost    uint64     // messages of the link that were dropped by then
	present map[bus.Target]struct{}
	// expected are those that an answer from here has given, and until when.
	expected map[bus.Target]time.Time
	doubts   doubts
}

// ask begins anew, on a connection; the request is to be sent then. lost is how many
// messages of it were dropped so far.
func (n *names) ask(on bus.ConnID, lost uint64) (request uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.request++
	n.unknownLocked()
	n.on, n.lost, n.present = on, lost, map[bus.Target]struct{}{}
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
	n.unknownLocked()
	n.on = 0
}

// unknownLocked says that nothing is sure any more: what was kept goes to the gateway.
func (n *names) unknownLocked() {
	n.known, n.present = false, nil
	n.releaseLocked()
	n.doubts.asked = time.Time{} // its answer is of no use
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
		n.unknownLocked() // another life of the gateway: its link will ask
		return nil
	}
	if to != "" {
		var request uint64
		if request, rest, err = bus.NamesRequestOf(rest); err != nil || request != n.request {
			return err
		}
	}
	appeared := false
	for len(rest) > 0 {
		var c bus.NameChange
		var end bool
		if c, end, rest, err = bus.NextName(rest); err != nil {
			n.unknownLocked()
			return err
		}
		switch {
		case end && to == "":
			n.unknownLocked()
			n.on = 0 // changes were lost; to be asked for again
			return nil
		case end && n.known:
			n.checkedLocked()
		case end:
			n.known = true
		case c.Present:
			n.present[c.Target] = struct{}{}
			appeared = true
		default:
			delete(n.present, c.Target)
		}
	}
	if appeared {
		n.appearedLocked()
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
	n.appearedLocked()
}

// sweep forgets what is expected no more, and all if the gateway does not answer.
func (n *names) sweep(now time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for t, until := range n.expected {
		if now.After(until) {
			delete(n.expected, t)
		}
	}
	if asked := n.doubts.asked; !asked.IsZero() && now.Sub(asked) >= sweepInterval {
		n.unknownLocked()
		n.on = 0
	}
}

// may tells whether the gateway may have clients that a push is for.
func (n *names) may(p *bus.Push) bool {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.mayLocked(p)
}

func (n *names) mayLocked(p *bus.Push) bool {
	if !n.known {
		return true
	}
	switch p.Target.Scope {
	case bus.ToUID, bus.ToGroup:
		return n.hasLocked(p.Target)
	case bus.ToUIDs, bus.ToGroups:
		return slices.ContainsFunc(p.Names, func(name string) bool {
			return n.hasLocked(bus.Target{Scope: p.Target.Scope.One(), Name: name})
		})
	default:
		return true
	}
}

func (n *names) hasLocked(t bus.Target) bool {
	if _, ok := n.present[t]; ok {
		return true
	}
	_, ok := n.expected[t]
	return ok
}
