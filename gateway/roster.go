package gateway

import (
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatebus/gatebus/bus"
)

// The gateway looks who is on its bus when a connection ends and when a worker
// says hello. Plain workers don't: so it looks every rosterNewcomer for as long
// as rosterInterval after somebody has connected, and every rosterInterval for
// those who join later.
const (
	rosterInterval = 250 * time.Millisecond
	rosterNewcomer = 5 * time.Millisecond
)

// roster knows the workers of each group that take batches, as long as all of
// the group do. Of those the gateway itself picks one for an event; where others
// are among them, the queue group does.
type roster struct {
	// set at construction
	gw     *Gateway
	server bus.Server    // nil: nobody is known
	wake   chan struct{} // buffered: it is worth while to look
	came   chan struct{} // buffered: somebody has connected

	now atomic.Pointer[rollCall]

	mu    sync.Mutex // held by look
	links map[bus.ConnID]*link
	// plain are the connections that were seen in a group and cannot be asked
	// what they hold, with those groups; until they end, since one may have left
	// its group and still be at work.
	plain map[bus.ConnID]map[string]struct{}
}

// rollCall is what a look has found. It is not changed.
type rollCall struct {
	groups map[string]*team // only groups all of whose members take batches
	at     map[bus.WorkerAddress]*link
	// workers is how many there are of each group, those that take no batches too.
	workers map[string]int
}

func newRoster(gw *Gateway, server bus.Server) *roster {
	r := &roster{gw: gw, server: server, wake: make(chan struct{}, 1), came: make(chan struct{}, 1), links: map[bus.ConnID]*link{}, plain: map[bus.ConnID]map[string]struct{}{}}
	r.now.Store(&rollCall{})
	return r
}

// nudge has the gateway look soon.
func (r *roster) nudge() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// run looks who is there until ctx ends.
func (r *roster) run(ctx context.Context) {
	next := time.NewTimer(rosterInterval)
	defer next.Stop()
	var eager time.Time // until when
	for {
		start := time.Now()
		r.look()
		interval := rosterInterval
		if time.Now().Before(eager) {
			interval = rosterNewcomer
		}
		// With very many workers a look takes its time: not more than a
		// twentieth of a core.
		next.Reset(max(interval, 20*time.Since(start)))
		select {
		case <-ctx.Done():
			return
		case <-r.came:
			eager = time.Now().Add(rosterInterval)
		case <-r.wake:
		case <-next.C:
		}
	}
}

// look makes a new roll call if something has changed.
func (r *roster) look() {
	r.mu.Lock()
	defer r.mu.Unlock()
	groups, subs, err := r.subscriptions()
	if err != nil {
		r.now.Store(&rollCall{}) // the server is going down
		return
	}
	instances := map[bus.ConnID]string{}
	asked := map[bus.ConnID]bool{}
	for _, s := range subs {
		if s.Subject == bus.AskSubject(r.gw.name) {
			asked[s.Conn] = true
		}
		if i := bus.InstanceOf(r.gw.name, s.Subject); i != "" {
			instances[s.Conn] = i
		}
	}
	for id := range r.links {
		if _, ok := instances[id]; !ok {
			delete(r.links, id)
		}
	}
	call := &rollCall{groups: map[string]*team{}, at: map[bus.WorkerAddress]*link{}, workers: map[string]int{}}
	for id, instance := range instances {
		l := r.links[id]
		if l == nil {
			l = newLink(r.gw, id, bus.NewWorkerAddress(instance, id))
			r.links[id] = l
		}
		call.at[l.at] = l
	}
	for group, members := range groups {
		call.workers[group] = countWorkers(members)
		for _, s := range members {
			if !asked[s.Conn] {
				if r.plain[s.Conn] == nil {
					r.plain[s.Conn] = map[string]struct{}{}
				}
				r.plain[s.Conn][group] = struct{}{}
			}
		}
		if links := r.linksOf(members); len(links) > 0 {
			call.groups[group] = &team{links: links}
		}
	}
	r.now.Store(call)
}

// subscriptions are those to the events of each group, and then all: who is in a
// group joined it last.
func (r *roster) subscriptions() (groups map[string][]bus.ServerSubscription, all []bus.ServerSubscription, err error) {
	groups = map[string][]bus.ServerSubscription{}
	for group, subjects := range r.gw.subjects {
		for _, subject := range subjects {
			subs, err := r.server.Subscriptions(subject)
			if err != nil {
				return nil, nil, err
			}
			groups[group] = append(groups[group], subs...)
		}
	}
	all, err = r.server.Subscriptions("")
	return groups, all, err
}

// linksOf are the workers of a group if all of them take batches, else nil.
func (r *roster) linksOf(members []bus.ServerSubscription) []*link {
	var links []*link
	for _, s := range members {
		switch l := r.links[s.Conn]; {
		case s.Queue == "": // not one of the group
		case l == nil:
			return nil
		case !slices.Contains(links, l):
			links = append(links, l)
		}
	}
	return links
}

// countWorkers is how many connections are in the queue group.
func countWorkers(members []bus.ServerSubscription) int {
	conns := map[bus.ConnID]struct{}{}
	for _, s := range members {
		if s.Queue != "" {
			conns[s.Conn] = struct{}{}
		}
	}
	return len(conns)
}

// others are the groups with workers who cannot be asked what they hold.
func (r *roster) others() map[string]struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	groups := map[string]struct{}{}
	for _, of := range r.plain {
		maps.Copy(groups, of)
	}
	return groups
}

// changed is told when a connection was made or has ended. Who has ended gets
// nothing more when it returns.
func (r *roster) changed(id bus.ConnID, up bool) {
	if !up {
		r.mu.Lock()
		delete(r.plain, id)
		r.mu.Unlock()
		r.look()
		return
	}
	select {
	case r.came <- struct{}{}:
	default:
	}
}

// pick chooses who of the group gets an event of so many bytes; nil if the queue group is
// to. Of a client that is bound that is the worker it is bound to; nil if that takes no
// batches.
func (r *roster) pick(group string, bound bus.WorkerAddress, bytes int) *link {
	call := r.now.Load()
	if bound != "" {
		return call.at[bound]
	}
	team := call.groups[group]
	if team == nil {
		return nil
	}
	if r.gw.config().Routing == RouteSticky {
		return team.next(nil) // its client may stay there: nobody gets many in a row
	}
	return team.pick(bytes)
}

// link is the worker at the address, nil if it takes no batches or is gone.
func (r *roster) link(at bus.WorkerAddress) *link { return r.now.Load().at[at] }

// bounced gives out again what a worker was sent that takes no more: the batch
// of the number and those after it.
func (r *roster) bounced(to bus.ConnID, number uint64) {
	r.look()
	events, stamps := r.gw.dispatch.sentTo(to, number)
	var back []*client
	for i, e := range events {
		if e.client.bounced(e, stamps[i]) {
			back = append(back, e.client)
		}
	}
	// Only now: those behind an event go out with it.
	for _, c := range back {
		c.advance()
	}
}

// disconnect ends the connection in a worker's address, and tells whether it did: not if
// it is that of somebody else, who gets nothing of what is for the address.
func (r *roster) disconnect(at bus.WorkerAddress) bool {
	id, ok := at.Conn()
	if !ok || r.server == nil {
		return false
	}
	subs, err := r.server.Subscriptions(bus.DirectSubject(r.gw.name, at, bus.Text))
	own := func(s bus.ServerSubscription) bool { return s.Conn == id }
	return err == nil && slices.ContainsFunc(subs, own) && r.server.Disconnect(id) == nil
}
