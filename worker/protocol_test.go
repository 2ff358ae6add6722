package worker

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/bus/membus"
	"github.com/gatebus/gatebus/register"
)

func echo(_ context.Context, ev *Event) error {
	ev.Reply(ev.Data)
	return nil
}

// refusedOne checks that the worker refuses one gateway, and says of whom and why.
func refusedOne(t *testing.T, f *fixture, gateway string, theirs bus.Protocol) {
	t.Helper()
	var e *bus.ProtocolError
	if err := f.w.Refused(); !errors.As(err, &e) || e.Peer != "gateway "+gateway || e.Theirs != theirs || e.Ours != bus.CurrentProtocol() {
		t.Fatalf("refused: %v", err)
	}
	equal(t, "refused", f.w.Stats().Refused, 1)
	if log := f.log.String(); strings.Count(log, "it speaks another protocol") != 1 || !strings.Contains(log, string(theirs)) {
		t.Errorf("the log says\n%s", log)
	}
}

// A gateway of another major is not linked to; one of another minor is.
func TestOtherMajorIsNotLinked(t *testing.T) {
	inBubble(t, Config{}, echo, func(t *testing.T, f *fixture) {
		f.protocol = "1.999"
		later := f.gateway("g1", 1)
		f.protocol = "2.0"
		foreign := f.gateway("g2", 2)
		time.Sleep(3 * register.Heartbeat) // it goes on to say so
		synctest.Wait()
		later.send(bus.Text, "hello")
		synctest.Wait()
		equal(t, "of a later minor", later.got(), "hello")
		foreign.send(bus.Text, "hello")
		synctest.Wait()
		equal(t, "of another major", foreign.got(), "no responders")
		equal(t, "links", f.w.Stats().Links, 1)
		refusedOne(t, f, "g2", "2.0")

		foreign.leave()
		synctest.Wait()
		if err := f.w.Refused(); err != nil {
			t.Errorf("it has left: %v", err)
		}
	})
}

// A gateway that is replaced at its address by one of another major finds nobody there
// who was linked to the one before, and the other way round.
func TestOtherMajorAtTheSameAddress(t *testing.T) {
	inBubble(t, Config{}, echo, func(t *testing.T, f *fixture) {
		f.gateway("g1", 1).vanish()
		f.protocol = "2.0"
		foreign := f.gateway("g1", 2)
		refusedOne(t, f, "g1", "2.0")
		equal(t, "links", f.w.Stats().Links, 0)

		foreign.vanish()
		f.protocol = "1.0"
		back := f.gateway("g1", 3)
		if err := f.w.Refused(); err != nil {
			t.Errorf("it is back: %v", err)
		}
		back.send(bus.Text, "hello")
		synctest.Wait()
		equal(t, "answer", back.got(), "hello")
	})
}

// Who heard of a gateway from a register that does not pass on what it speaks, and was
// linked, leaves it when it says so itself.
func TestOtherMajorIsLearnedLate(t *testing.T) {
	inBubble(t, Config{}, echo, func(t *testing.T, f *fixture) {
		g := f.gateway("g1", 1)
		equal(t, "links", f.w.Stats().Links, 1)
		g.vanish()
		data, err := json.Marshal(register.Member{Role: register.RoleGateway, Name: "g1", Epoch: 1, Address: "g1:8300", Protocol: "3.1"})
		if err != nil {
			t.Fatal(err)
		}
		conn := f.registers.Connect()
		defer conn.Close()
		if err := conn.Publish(&bus.Msg{Subject: register.AnnounceSubject(register.RoleGateway), Data: data}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		equal(t, "links", f.w.Stats().Links, 0)
		refusedOne(t, f, "g1", "3.1")
		g.send(bus.Text, "hello")
		synctest.Wait()
		equal(t, "of another major", g.got(), "no responders")
	})
}

// Who connects to registers of another major is told so, not that there are none.
func TestConnectToRegistersOfAnotherMajor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var registers membus.Bus
		conn := registers.Connect()
		defer conn.Close()
		_, err := conn.Subscribe(func(m *bus.Msg) {
			_ = conn.Publish(&bus.Msg{Subject: m.Reply, Data: []byte(`{"register":"r9","protocol":"2.0","members":[]}`)})
		}, register.MembersSubject)
		if err != nil {
			t.Fatal(err)
		}
		w, err := newWorker(Config{Log: slog.New(slog.DiscardHandler)}, nil)
		if err != nil {
			t.Fatal(err)
		}
		c := &Connection{Cluster: w.cluster, done: make(chan struct{})}
		run, stop := context.WithCancel(t.Context())
		own := registers.Connect()
		defer own.Close()
		c.stop = stop
		go func() { defer close(c.done); c.err = w.run(run, own) }()
		defer c.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		var e *bus.ProtocolError
		if err := c.await(ctx); !errors.As(err, &e) || e.Peer != "register r9" || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("connect: %v", err)
		}
	})
}
