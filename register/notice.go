package register

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/gatebus/gatebus/bus"
)

// DownAckWait is how long the registers wait for an answer, or for the next
// sign of progress, from a worker that was told of a dead gateway.
const DownAckWait = 2 * time.Second

const (
	// settleFor passes between the end of a life and the first word of it: by
	// then every register has seen the end, and a gateway that is alive after
	// all has said so.
	settleFor = Heartbeat + Heartbeat/2
	// askAgain is the pause after nobody was there to ask, or a worker has
	// handed a notice back.
	askAgain = Lease
	// A worker that failed, or died over a notice, is followed by another one
	// after a pause that starts with firstPause and doubles up to maxPause;
	// after maxTries, which is about half an hour, the notice is given up.
	firstPause = time.Second
	maxPause   = 2 * time.Minute
	maxTries   = 20
	// noticeLife is how long a notice is kept, and how long a group is owed
	// notices after its last worker was heard: a whole group may restart
	// while a gateway dies.
	noticeLife = time.Hour
	// maxPending is how many notices are kept; beyond, the oldest is given up.
	maxPending = 1024
	// maxOut is how many of them are with workers at a time.
	maxOut = 64
	// maxSettled is how many answered ones are remembered.
	maxSettled = 4 * maxPending
	// maxGroups is how many worker groups are remembered.
	maxGroups = 256
)

// life is one life of one gateway.
type life struct {
	gateway bus.GatewayID
	epoch   bus.Epoch
}

func lifeOf(m *Member) life { return life{bus.GatewayID(m.Name), m.Epoch} }

// noticeKey is what one group is to be told. Among the settled, no group
// stands for all.
type noticeKey struct {
	life
	group string
}

// notice is what a worker group has yet to be told.
type notice struct {
	key     noticeKey
	address string    // of the gateway
	since   time.Time // when the gateway was last thought to be alive
	due     time.Time // when it is to be given out; or answered, if it is out
	out     bool      // a worker is at it
	tries   int       // how often it was out and came to nothing
}

func (p *notice) down() GatewayDown {
	return GatewayDown{Gateway: p.key.gateway, Epoch: p.key.epoch, Address: p.address}
}

// NoticeStats are the counters of a register about the news of dead gateways
// since its start, and two gauges.
type NoticeStats struct {
	Leads   bool  `json:"leads"`   // gauge: this register is the one that tells the workers
	Pending int   `json:"pending"` // gauge: notices that no worker has taken yet
	Sent    int64 `json:"sent"`    // given out by this register, again and again included
	Acked   int64 `json:"acked"`   // acknowledged by a worker
	Back    int64 `json:"back"`    // handed back: the worker still reaches the gateway, or is busy
	Failed  int64 `json:"failed"`  // tries that failed, or were not answered
	GivenUp int64 `json:"given_up"`
}

// notices are the ends of gateways that worker groups have yet to be told, as
// one register knows them: a state machine without clock, I/O or locks, beside
// the Table whose changes it is fed.
type notices struct {
	pending map[noticeKey]*notice
	settled map[noticeKey]time.Time // acknowledged, withdrawn or given up, and when
	groups  map[string]time.Time    // when a worker of it was last heard
	leads   bool
	from    time.Time // when leads, nothing is given out before
	lost    []notice  // given up since the last step
	count   NoticeStats
}

func newNotices() *notices {
	return &notices{
		pending: map[noticeKey]*notice{}, settled: map[noticeKey]time.Time{}, groups: map[string]time.Time{},
	}
}

// heard takes in that a member is alive. It returns how many notices that
// proves wrong: they are dropped, and if this life ends it is news again.
func (n *notices) heard(now time.Time, m *Member) (wrong int) {
	switch m.Role {
	case RoleWorker:
		n.heardGroup(now, m.Group)
	case RoleGateway:
		wrong = n.drop(lifeOf(m))
		if len(n.settled) > 0 {
			l := lifeOf(m)
			maps.DeleteFunc(n.settled, func(k noticeKey, _ time.Time) bool { return k.life == l })
		}
	}
	return wrong
}

func (n *notices) heardGroup(now time.Time, group string) {
	if bus.CheckName(group) != nil {
		return
	}
	if _, known := n.groups[group]; !known && len(n.groups) >= maxGroups {
		delete(n.groups, earliest(n.groups))
	}
	n.groups[group] = now
}

// changed takes in what happened on the table.
func (n *notices) changed(now time.Time, c *Change) {
	switch {
	case c.Member.Role == RoleGateway && c.Type == Expired:
		n.raise(now, &c.Member)
	case c.Member.Role == RoleGateway && c.Type == Restarted:
		n.raise(now, c.Old)
	case c.Member.Role == RoleWorker && c.Type == Joined:
		for _, p := range n.pending { // those that nobody was there for
			if p.key.group == c.Member.Group && !p.out && p.tries == 0 {
				p.due = latest(now, p.since.Add(settleFor))
			}
		}
	}
}

// raise makes the notices of the end of a gateway: one for each group that had
// workers lately, and for those that the gateway says it serves.
func (n *notices) raise(now time.Time, m *Member) {
	groups := slices.Collect(maps.Keys(n.groups))
	for group := range strings.SplitSeq(m.Group+","+m.MoreGroups, ",") {
		if bus.CheckName(group) == nil {
			groups = append(groups, group)
		}
	}
	slices.Sort(groups)
	groups = slices.Compact(groups)
	for _, g := range groups {
		n.add(now, &notice{key: noticeKey{lifeOf(m), g}, address: m.Address, since: now})
	}
}

// add keeps a notice unless it is known, or settled.
func (n *notices) add(now time.Time, p *notice) {
	if n.pending[p.key] != nil || n.isSettled(p.key) {
		return
	}
	if len(n.pending) >= maxPending {
		n.giveUp(now, n.inOrder()[0])
	}
	p.due = now.Add(settleFor)
	n.pending[p.key] = p
}

// withdraw takes in a gateway's goodbye, however late.
func (n *notices) withdraw(now time.Time, l life) {
	n.drop(l)
	n.settle(now, noticeKey{life: l})
}

func (n *notices) drop(l life) int {
	before := len(n.pending)
	if before > 0 {
		maps.DeleteFunc(n.pending, func(k noticeKey, _ *notice) bool { return k.life == l })
	}
	return before - len(n.pending)
}

// settle ends a notice, and keeps it from being raised by a register that is
// behind.
func (n *notices) settle(now time.Time, k noticeKey) {
	delete(n.pending, k)
	if _, known := n.settled[k]; !known && len(n.settled) >= maxSettled {
		delete(n.settled, earliest(n.settled))
	}
	n.settled[k] = now
}

func (n *notices) isSettled(k noticeKey) bool {
	_, one := n.settled[k]
	_, all := n.settled[noticeKey{life: k.life}]
	return one || all
}

// answered takes in what a worker says to a notice, be it given out by this
// register or another one.
func (n *notices) answered(now time.Time, k noticeKey, s bus.Status) {
	p := n.pending[k]
	switch {
	case s == bus.Done:
		if p != nil || !n.isSettled(k) { // the end may not have been seen here yet
			n.count.Acked++
		}
		n.settle(now, k)
	case p == nil:
	case s == bus.Working:
		p.out, p.due = true, now.Add(DownAckWait)
	case s == bus.Busy:
		n.count.Back++
		p.out, p.due = false, now.Add(askAgain)
		p.since = now // the gateway may live: its time has not begun
	default:
		n.failed(now, p)
	}
}

// nobody takes in that no worker of the group listens.
func (n *notices) nobody(now time.Time, k noticeKey) {
	if p := n.pending[k]; p != nil && p.out {
		p.out, p.due = false, now.Add(askAgain)
	}
}

// failed takes in that a worker failed, or did not answer.
func (n *notices) failed(now time.Time, p *notice) {
	n.count.Failed++
	p.out = false
	if p.tries++; p.tries >= maxTries {
		n.giveUp(now, p)
		return
	}
	p.due = now.Add(min(firstPause<<(p.tries-1), maxPause))
}

func (n *notices) giveUp(now time.Time, p *notice) {
	n.count.GivenUp++
	n.lost = append(n.lost, *p)
	n.settle(now, p.key)
}

// lead says whether this register is the one that gives notices out. A new
// leader first waits for what its predecessor has given out to be answered.
func (n *notices) lead(now time.Time, leads bool) {
	if leads && !n.leads {
		n.from = now.Add(DownAckWait)
	}
	n.leads = leads
}

// step returns what is to be given out now, and what was given up.
func (n *notices) step(now time.Time) (send, lost []notice) {
	old := func(t time.Time) bool { return now.Sub(t) >= noticeLife }
	maps.DeleteFunc(n.groups, func(_ string, t time.Time) bool { return old(t) })
	maps.DeleteFunc(n.settled, func(_ noticeKey, t time.Time) bool { return old(t) })
	out := 0
	inOrder := n.inOrder()
	for _, p := range inOrder {
		switch {
		case old(p.since):
			n.giveUp(now, p)
		case p.out && !now.Before(p.due):
			n.failed(now, p)
		case p.out:
			out++
		}
	}
	for _, p := range inOrder {
		if !n.leads || now.Before(n.from) || out >= maxOut {
			break
		}
		if n.pending[p.key] == nil || p.out || now.Before(p.due) {
			continue
		}
		p.out, p.due = true, now.Add(DownAckWait)
		out++
		n.count.Sent++
		send = append(send, *p)
	}
	lost, n.lost = n.lost, nil
	return send, lost
}

// told takes in what another register has pending.
func (n *notices) told(now time.Time, p *pendingNotice) {
	n.add(now, &notice{
		key:     noticeKey{life{p.Gateway, p.Epoch}, p.Group},
		address: p.Address,
		since:   now.Add(-time.Duration(p.Age) * time.Millisecond),
	})
}

// tell is what the other registers may not know.
func (n *notices) tell(now time.Time) []pendingNotice {
	var list []pendingNotice
	for _, p := range n.inOrder() {
		list = append(list, pendingNotice{Group: p.key.group, GatewayDown: p.down(), Age: now.Sub(p.since).Milliseconds()})
	}
	return list
}

func (n *notices) stats() NoticeStats {
	s := n.count
	s.Leads, s.Pending = n.leads, len(n.pending)
	return s
}

// inOrder are the pending ones, the oldest first.
func (n *notices) inOrder() []*notice {
	return slices.SortedFunc(maps.Values(n.pending), func(a, b *notice) int {
		return cmp.Or(a.since.Compare(b.since), cmp.Compare(a.key.gateway, b.key.gateway),
			cmp.Compare(a.key.epoch, b.key.epoch), cmp.Compare(a.key.group, b.key.group))
	})
}

// earliest is the key of the earliest time.
func earliest[K comparable](m map[K]time.Time) (first K) {
	var at time.Time
	for k, t := range m {
		if at.IsZero() || t.Before(at) {
			first, at = k, t
		}
	}
	return first
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
