package worker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatebus/gatebus/bus"
)

// broken is a connection that takes nothing.
type broken struct{ bus.Conn }

func (broken) Publish(*bus.Msg) error { return errors.New("not connected") }

// A gateway that cannot be reached is left out of sends to many: nobody else
// suffers.
func TestSendsLeaveOutWhatIsDown(t *testing.T) {
	for _, c := range []struct {
		name string
		down func(f *fixture) *fakeGateway
	}{
		{"down", func(f *fixture) *fakeGateway { g := f.gateway("g2", 2); g.cut(); return g }},
		{"breaks just now", func(f *fixture) *fakeGateway {
			f.wrap = func(c bus.Conn) bus.Conn { return broken{c} }
			return f.gateway("g2", 2)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, Config{}, echoSlowly, func(t *testing.T, f *fixture) {
				g1 := f.gateway("g1", 1)
				c.down(f)
				cluster := f.w.Cluster()
				for _, err := range []error{
					cluster.SendAll(Text, []byte("1")),
					cluster.SendUID("ann", Text, []byte("2")),
					cluster.SendGroup("room", Text, []byte("3")),
				} {
					if err != nil {
						t.Fatal(err)
					}
				}
				synctest.Wait()
				equal(t, "on the other", g1.pushed(), "push.all=1 | push.uid.ann=2 | push.group.room=3")
				equal(t, "counted", f.w.Stats().Unreached, 3)
				if err := cluster.SendAll(Text, []byte{0xff}); err == nil {
					t.Error("a wrong argument is no error")
				}
				id := bus.NewClientID("g2", 2, 1)
				if err := cluster.Client(id).Send(Text, nil); !errors.Is(err, ErrNoGateway) {
					t.Errorf("send to one of its clients: %v", err)
				}
				equal(t, "counted", f.w.Stats().Unreached, 4)
			})
		})
	}
}

// What is wrong is an error even where nobody would get it.
func TestSendsCheckWithoutGateway(t *testing.T) {
	inBubble(t, Config{}, echoSlowly, func(t *testing.T, f *fixture) {
		if err := f.w.Cluster().SendAll(Text, []byte("x")); err != nil {
			t.Fatal(err)
		}
		if err := f.w.Cluster().SendUID("", Text, nil); err == nil {
			t.Error("an empty uid is accepted")
		}
	})
}

// bounded is a connection whose server takes messages of at most 10 bytes.
type bounded struct{ bus.Conn }

func (b bounded) Publish(m *bus.Msg) error {
	if len(m.Data) > 10 {
		return fmt.Errorf("publish: %w", bus.ErrTooLarge)
	}
	return b.Conn.Publish(m)
}

// An answer that the bus cannot take is a failure of the handler: without an
// answer the gateway would give the event out again and again.
func TestReplyTooLarge(t *testing.T) {
	h := func(_ context.Context, ev *Event) error {
		if ev.Kind == Open {
			return ev.Accept(Admission{UID: "somebody"})
		}
		ev.Reply(bytes.Repeat([]byte("x"), 11))
		return nil
	}
	inBubble(t, Config{}, h, func(t *testing.T, f *fixture) {
		f.wrap = func(c bus.Conn) bus.Conn { return bounded{c} }
		g := f.gateway("g1", 1)
		g.send(Text, "x")
		synctest.Wait()
		equal(t, "to a frame", g.got(), "close 1011 handler failed")
		g.send(Open, "{}")
		synctest.Wait()
		equal(t, "to open", g.got(), "reject 500 handler failed")
		equal(t, "failed", f.w.Stats().Failed, 2)
		if !strings.Contains(f.log.String(), "larger than the server takes") {
			t.Errorf("log: %s", f.log)
		}
		if err := f.w.Cluster().SendAll(Text, make([]byte, 11)); !errors.Is(err, bus.ErrTooLarge) {
			t.Errorf("SendAll: %v", err)
		}
		if err := f.w.Cluster().Client(bus.NewClientID("g1", 1, 1)).Send(Text, make([]byte, 11)); !errors.Is(err, bus.ErrTooLarge) || errors.Is(err, ErrNoGateway) {
			t.Errorf("Send: %v", err)
		}
	})
}

// mute is a connection whose requests are never answered.
type mute struct{ bus.Conn }

func (mute) Request(ctx context.Context, _ *bus.Msg) (*bus.Msg, error) {
	<-ctx.Done()
	return nil, context.Cause(ctx)
}

func TestCloseIsBounded(t *testing.T) {
	inBubble(t, Config{}, echoSlowly, func(t *testing.T, f *fixture) {
		f.wrap = func(c bus.Conn) bus.Conn { return mute{c} }
		g := f.gateway("g1", 1)
		client := f.w.Cluster().Client(bus.NewClientID("g1", 1, 1))
		start := time.Now()
		if _, err := client.Close(context.Background(), 4100, ""); err == nil || !strings.Contains(err.Error(), "no answer in 5s") {
			t.Fatal(err)
		}
		equal(t, "took", time.Since(start), 5*time.Second)
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		start = time.Now()
		if _, err := client.Close(ctx, 4100, ""); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		equal(t, "with a deadline", time.Since(start), time.Minute)
		g.cut()
		if _, err := client.Close(context.Background(), 4100, ""); !errors.Is(err, ErrNoGateway) {
			t.Fatalf("over a link that is down: %v", err)
		}
	})
}

func TestAcceptChecks(t *testing.T) {
	for _, c := range []struct {
		want string
		a    Admission
	}{
		{"uid", Admission{UID: strings.Repeat("x", bus.MaxToken+1)}},
		{"it is not valid UTF-8", Admission{UID: "\xff"}},
		{"group: bad name: it is empty", Admission{Groups: []string{"a", ""}}},
		{"it is not valid UTF-8", Admission{Groups: []string{"a", "\xff"}}},
		{"session", Admission{Session: []byte("{")}},
		{"session of 2049 bytes", Admission{Session: []byte(`"` + strings.Repeat("x", bus.MaxSession-1) + `"`)}},
		{"the session is not valid UTF-8", Admission{Session: []byte("\"\xff\"")}},
		{"subprotocol is not valid UTF-8", Admission{Subprotocol: "\xff"}},
	} {
		ev := Event{Kind: Open}
		if err := ev.Accept(c.a); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.40q: %v, want %q", c.a, err, c.want)
		}
	}
	ev := Event{Kind: Open}
	if err := ev.Accept(Admission{UID: "ann b", Groups: []string{"room.1"}, Session: []byte(`{"a": "ä"}`), Subprotocol: "chat"}); err != nil {
		t.Error(err)
	}
}
