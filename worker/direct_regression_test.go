package worker

import (
	"testing"

	"github.com/gatebus/gatebus/bus"
)

// anew is a connection that was made anew: it has another number.
type anew struct{ bus.Conn }

func (c anew) ID() bus.ConnID { return c.Conn.ID() + 1000 }

// What waits here from a former connection and comes again for the present one
// keeps its place: what comes after it must not be handled without it.
func TestRedeliveryOfWhatWaits(t *testing.T) {
	var h gates
	inBubble(t, Config{}, h.handle, func(t *testing.T, f *fixture) {
		g := f.gateway("g1", 1)
		l := g.link()
		old := l.address()
		g.directAt(old, "g1-1-1", "1", 1)
		g.directAt(old, "g1-1-1", "2", 1)
		equal(t, "in work", h.has(), "1")
		g.cut()
		l.mu.Lock()
		l.conn = anew{l.conn}
		l.mu.Unlock()
		g.mend()
		g.got()
		// Another worker has answered 1; this one got the client's next events.
		g.seq = 1
		g.directAt(l.address(), "g1-1-1", "2", 2)
		g.directAt(l.address(), "g1-1-1", "3", 1)
		equal(t, "begun", h.has(), "")
		h.let("1")
		equal(t, "begun", h.has(), "2")
		h.let("2")
		equal(t, "begun", h.has(), "3")
		h.let("3")
	})
}
