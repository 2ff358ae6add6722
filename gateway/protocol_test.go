package gateway

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

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

// Who says hello in the name of another connection does not have that disconnected, be it
// the gateway's own.
func TestForeignHelloHarmsNobodyElse(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, f *fixture) {
		w, other := f.dense("a"), f.dense("b")
		for _, at := range []bus.WorkerAddress{
			"", "a", bus.NewWorkerAddress("c", w.conn.ID()), bus.NewWorkerAddress("a", other.conn.ID()), bus.NewWorkerAddress("gw", f.gw.conn.ID()),
		} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			answer, err := w.conn.Request(ctx, bus.Hello{Worker: at, Protocol: "2.0"}.Msg("g1"))
			if err != nil {
				t.Fatalf("%q: %v", at, err)
			}
			if a, err := bus.ParseAnswer(answer.Data); err != nil || a.Code != bus.CodeProtocol || strings.Contains(a.Error, "  ") {
				t.Errorf("%q: %+v, %v", at, a, err)
			}
		}
		equal(t, "workers", f.gw.Workers()["default"], 2)
		if log := f.log.String(); !strings.Contains(log, "disconnected=false") {
			t.Error(log)
		}
	})
}
