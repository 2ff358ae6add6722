package gateway

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatebus/gatebus/bus"
)

// On a bus that runs elsewhere, what is sent to a worker can be lost while the worker
// stays: an event must not overtake such a one, so only one is out.
func TestStickyElsewhere(t *testing.T) {
	inBubbleElsewhere(t, sticky, func(t *testing.T, f *fixture) {
		a := f.sdk("a")
		c := f.join(a, 1)
		b := f.sdk("b")
		send(c[0], frames(1, 3))
		equal(t, "only the first", a.has(), "=1")
		time.Sleep(f.gw.config().AckWait) // it was lost
		synctest.Wait()
		equal(t, "given out again, to any", a.has()+b.has(), "1*")
		for range 3 {
			a.answer()
			b.answer()
		}
		equal(t, "answers", c[0].got(), "1 2 3")
	})
}

// Registers on the same cluster bring what is for all gateways; what is for this one
// comes over the bus, once.
func TestAttachShared(t *testing.T) {
	inBubbleElsewhere(t, nil, func(t *testing.T, f *fixture) {
		w := f.sdk("w")
		c := f.join(w, 1)
		registers := f.bus.Connect() // the same cluster
		defer registers.Close()
		if err := f.gw.AttachShared(registers); err != nil {
			t.Fatal(err)
		}
		for _, g := range []bus.GatewayID{"g1", bus.AllGateways} {
			p := bus.Push{Target: bus.Target{Scope: bus.ToAll}, Kind: bus.Text, Data: []byte(g)}
			m, err := p.Msg(g)
			if err == nil {
				err = registers.Publish(m)
			}
			if err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		equal(t, "each once", c[0].got(), "g1 all")
		if f.gw.Workers() != nil {
			t.Error("it knows who is on a bus that runs elsewhere")
		}
	})
}
