package gateway

import (
	"testing"
	"testing/synctest"

	"github.com/gatebus/gatebus/bus"
)

// A worker of another major is disconnected when it says so, and others get what it had;
// one of another minor, or that says nothing, stays.
func TestWorkerOfAnotherMajorIsDisconnected(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, f *fixture) {
		greet := func(w *testWorker, p bus.Protocol) {
			w.publish(bus.Hello{Worker: w.address(), Protocol: p}.Msg("g1"))
			synctest.Wait()
		}
		foreign := f.dense("a")
		c := f.join(foreign, 1)
		c[0].send("x")
		equal(t, "first worker", foreign.has(), "x")
		stays := f.dense("b")
		greet(stays, "")
		greet(stays, "1.999")
		equal(t, "workers", f.gw.Workers()["default"], 2)
		greet(foreign, "2.0")
		equal(t, "workers", f.gw.Workers()["default"], 1)
		equal(t, "given out again", stays.has(), "x*")
		stays.answer()
		equal(t, "answer", c[0].got(), "x")
		s := f.gw.Stats()
		equal(t, "of another protocol", s.OtherProtocol, 1)
		equal(t, "bad requests", s.BadRequest, 0)
	})
}
