package gateway

import (
	"testing"
	"time"

	"github.com/gatebus/gatebus/bus"
)

// A worker that wakes up and hands a first delivery back, while the second one
// is with another, does not make the third one look like the second.
func TestLateBusyIsNoOtherDelivery(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, f *fixture) {
		f.gw.dispatch.census = nil // as on a bus elsewhere
		a := f.sdk("a")
		c := f.join(a, 1)
		c[0].send("x")
		equal(t, "first", a.has(), "x")
		b := f.sdk("b")
		a.leave()
		time.Sleep(f.gw.config().AckWait)
		equal(t, "second", b.has(), "x*")
		a.set(func(w *testWorker) {
			ev := w.held[0]
			w.publish((&bus.Reply{Status: bus.Busy}).Msg(ev.Kind, bus.ReplySubject("g1", ev.Client, ev.Seq)))
		})
		time.Sleep(busyPause)
		equal(t, "third", b.has(), "x**")
		b.answer()
		equal(t, "answer", c[0].got(), "x")
	})
}
