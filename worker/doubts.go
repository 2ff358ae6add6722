package worker

import (
	"slices"
	"time"

	"github.com/gatebus/gatebus/bus"
)

const (
	// checkInterval is between two questions to a gateway whether there were changes:
	// what they and their answers cost does not grow with the pushes.
	checkInterval = 10 * time.Millisecond
	// maxDoubts and maxDoubtful are how many pushes are kept for a gateway, and of how many
	// bytes: ten times what a core can push in checkInterval. Beyond them, as with a gateway
	// that does not answer, all go there.
	maxDoubts   = 4096
	maxDoubtful = 1 << 20
)

// doubts are the pushes for names that a gateway has not told of. It may have, and what
// it told be on its way still, while the sender has learned of it in a faster way: so
// they are kept until the gateway, asked after they were sent, has said that all is told.
// Then they are dropped; a name that appears before has them sent to the gateway.
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
}

// size is what a doubt counts for, in bytes.
func (d doubt) size() int { return len(d.msg.Data) }

// keep keeps a push, which must not change any more, if the gateway seems to have no
// client that it is for; else it is to go there.
func (n *names) keep(p *bus.Push, m *bus.Msg) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.mayLocked(p) {
		return false
	}
	d := doubt{p, m}
	if len(n.doubts.kept) == maxDoubts || n.doubts.bytes+d.size() > maxDoubtful {
		n.releaseLocked() // before this one, as they came
		return false
	}
	n.doubts.kept = append(n.doubts.kept, d)
	n.doubts.bytes += d.size()
	n.checkLocked(time.Now())
	return true
}

// checkLocked asks the gateway, now or in a while, if it is not asked already.
func (n *names) checkLocked(now time.Time) {
	d := &n.doubts
	if !d.asked.IsZero() || d.timer != nil || len(d.kept) == 0 {
		return
	}
	if wait := d.next.Sub(now); wait > 0 {
		d.timer = time.AfterFunc(wait, func() {
			n.mu.Lock()
			defer n.mu.Unlock()
			d.timer = nil
			n.checkLocked(time.Now())
		})
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
	for _, k := range d.kept[:d.first] {
		d.bytes -= k.size()
	}
	d.kept = slices.Delete(d.kept, 0, d.first)
	d.asked, d.first = time.Time{}, 0
	n.checkLocked(time.Now())
}

// appearedLocked sends the gateway what it was thought to have no client for, before
// anything that is sent from now on.
func (n *names) appearedLocked() {
	d := &n.doubts
	i, first := 0, d.first
	d.kept = slices.DeleteFunc(d.kept, func(k doubt) bool {
		i++
		if !n.mayLocked(k.push) {
			return false
		}
		n.publish(k.msg)
		d.bytes -= k.size()
		if i <= first {
			d.first--
		}
		return true
	})
}

// release sends the gateway all that is kept: something is to come after it.
func (n *names) release() {
	n.mu.RLock()
	none := len(n.doubts.kept) == 0
	n.mu.RUnlock()
	if none {
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
