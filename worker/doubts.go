package worker

import (
	"slices"
	"time"

	"github.com/gatebus/gatebus/bus"
)

const (
	// checkInterval is between two questions to a gateway whether there were changes,
	// unless half of what can be kept is: what they and their answers cost does not grow
	// with the pushes. With 16 gateways on two cores, 10 ms took a third of what pushes
	// cost.
	checkInterval = 50 * time.Millisecond
	// maxDoubts and maxDoubtful are how many pushes are kept for a gateway, and of how many
	// bytes, with the names that they are for: some times what a core can push until an
	// answer comes. Beyond them, as with a gateway that does not answer, all go there.
	maxDoubts   = 4096
	maxDoubtful = 1 << 20
)

// doubts are the pushes for names that a gateway has not told of. It may have, and what
// it told be on its way still, while the sender has learned of it in a faster way: so
// they are kept until the gateway, asked after they were sent, has said that all is told.
// Then they are dropped; a name that appears before has them sent to the gateway, with all
// that were sent before them: who has just come in with several names gets what is for
// any of them in its order.
type doubts struct {
	kept  []doubt
	bytes int
	asked time.Time   // when the gateway was; zero: no answer is due
	first int         // so many of them were sent before that
	next  time.Time   // when to ask again, at the earliest
	timer *time.Timer // to do so; nil: it does not run
}

type doubt struct {
	push *bus.Push // not to be changed
	msg  *bus.Msg
	size int // what it counts for, in bytes
}

func newDoubt(p *bus.Push, m *bus.Msg) doubt {
	d := doubt{p, m, len(m.Data)}
	for _, values := range m.Header {
		for _, v := range values {
			d.size += len(v)
		}
	}
	for _, name := range p.Names {
		d.size += len(name)
	}
	return d
}

// has tells whether the push is for one of the names.
func (d doubt) has(names map[bus.Target]struct{}) bool {
	if s := d.push.Target.Scope; s == bus.ToUIDs || s == bus.ToGroups {
		return slices.ContainsFunc(d.push.Names, func(name string) bool {
			_, ok := names[bus.Target{Scope: s.One(), Name: name}]
			return ok
		})
	}
	_, ok := names[d.push.Target]
	return ok
}

// keep keeps a push, which must not change any more, if the gateway seems to have no
// client that it is for; else it is to go there.
func (n *names) keep(p *bus.Push, m *bus.Msg) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.mayLocked(p) {
		return false
	}
	d := newDoubt(p, m)
	if len(n.doubts.kept) == maxDoubts || n.doubts.bytes+d.size > maxDoubtful {
		n.releaseLocked() // before this one, as they came
		return false
	}
	n.doubts.kept = append(n.doubts.kept, d)
	n.doubts.bytes += d.size
	n.checkLocked(time.Now())
	return true
}

// checkLocked asks the gateway, now or in a while, if it is not asked already.
func (n *names) checkLocked(now time.Time) {
	d := &n.doubts
	if !d.asked.IsZero() || len(d.kept) == 0 {
		return
	}
	if wait := d.next.Sub(now); wait > 0 && len(d.kept) < maxDoubts/2 && d.bytes < maxDoubtful/2 {
		if d.timer == nil {
			d.timer = time.AfterFunc(wait, func() {
				n.mu.Lock()
				defer n.mu.Unlock()
				d.timer = nil
				n.checkLocked(time.Now())
			})
		}
		return
	}
	d.asked, d.first, d.next = now, len(d.kept), now.Add(checkInterval)
	n.publish(n.check(n.on, n.request))
}

// checkedLocked takes the answer: nobody had the names of those that were sent before
// the question.
func (n *names) checkedLocked() {
	d := &n.doubts
	n.spared(d.first)
	d.cut(d.first)
	d.asked = time.Time{}
	n.checkLocked(time.Now())
}

// cut takes the first of what is kept off.
func (d *doubts) cut(count int) {
	for _, k := range d.kept[:count] {
		d.bytes -= k.size
	}
	d.kept = slices.Delete(d.kept, 0, count)
	d.first = max(d.first-count, 0)
}

// appearedLocked sends the gateway what it was thought to have no client for, before
// anything that is sent from now on.
func (n *names) appearedLocked() {
	n.sendLocked(func(k doubt) bool { return n.mayLocked(k.push) })
}

// sendLocked sends the gateway what is kept up to the last of those chosen.
func (n *names) sendLocked(chosen func(doubt) bool) {
	d := &n.doubts
	count := len(d.kept)
	for count > 0 && !chosen(d.kept[count-1]) {
		count--
	}
	for _, k := range d.kept[:count] {
		n.publish(k.msg)
	}
	d.cut(count)
}

// releaseFor sends the gateway what is kept for those of the names of a push that it has
// not told of: the push, which goes there for another one, is to come after it.
func (n *names) releaseFor(p *bus.Push) {
	if n.certain() {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	unknown := map[bus.Target]struct{}{}
	for _, name := range p.Names {
		if t := (bus.Target{Scope: p.Target.Scope.One(), Name: name}); !n.hasLocked(t) {
			unknown[t] = struct{}{}
		}
	}
	if len(unknown) > 0 {
		n.sendLocked(func(k doubt) bool { return k.has(unknown) })
	}
}

// certain tells whether nothing is kept.
func (n *names) certain() bool {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return len(n.doubts.kept) == 0
}

// release sends the gateway all that is kept: something is to come after it.
func (n *names) release() {
	if n.certain() {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.releaseLocked()
}

// releaseLocked sends the gateway all that is kept.
func (n *names) releaseLocked() {
	d := &n.doubts
	for _, k := range d.kept {
		n.publish(k.msg)
	}
	d.kept, d.bytes, d.first = nil, 0, 0
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
}
