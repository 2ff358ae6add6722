package bustest

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"testing"

	"github.com/gatebus/gatebus/bus"
)

// RunServer checks what package bus promises of a bus.Server. start is called
// once for each case: it makes a fresh bus, which it takes down with t.Cleanup,
// and returns what connects to it and the server itself.
func RunServer(t *testing.T, start func(t *testing.T) (connect func() bus.Conn, server bus.Server)) {
	for name, run := range map[string]func(*fixture, bus.Server){
		"ids":                     ids,
		"subscriptions":           subscriptions,
		"on connect":              onConnect,
		"on disconnect":           onDisconnect,
		"disconnect":              disconnect,
		"question after messages": questionAfterMessages,
	} {
		t.Run(name, func(t *testing.T) {
			connect, server := start(t)
			run(&fixture{T: t, connect: connect}, server)
		})
	}
}

func ids(f *fixture, server bus.Server) {
	seen := map[bus.ConnID]bool{0: true}
	for range 3 {
		c := f.conn()
		f.flush(c)
		if id := c.ID(); seen[id] {
			f.Errorf("ID %d a second time", id)
		} else {
			seen[id] = true
		}
	}
}

// wantSubscribed checks who covers the subject, as "connection subject queue".
func (f *fixture) wantSubscribed(server bus.Server, subject string, want ...string) {
	f.Helper()
	subs, err := server.Subscriptions(subject)
	if err != nil {
		f.Fatalf("Subscriptions(%s): %v", subject, err)
	}
	var got []string
	for _, s := range subs {
		got = append(got, subscribed(s.Conn, s.Subject, s.Queue))
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		f.Errorf("Subscriptions(%s) = %q, want %q", subject, got, want)
	}
}

func subscribed(id bus.ConnID, subject, queue string) string {
	return fmt.Sprintf("%d %s %s", id, subject, queue)
}

func subscriptions(f *fixture, server bus.Server) {
	a, b, c := f.conn(), f.conn(), f.conn()
	f.subscribe(a, ignore, "who.is.there")
	f.subscribe(a, ignore, "who.*.there")
	leave := f.join(b, "who.>", "q", ignore)
	f.subscribe(c, ignore, "who.else")
	f.wantSubscribed(server, "who.is.there",
		subscribed(a.ID(), "who.is.there", ""), subscribed(a.ID(), "who.*.there", ""), subscribed(b.ID(), "who.>", "q"))
	f.wantSubscribed(server, "who.else", subscribed(b.ID(), "who.>", "q"), subscribed(c.ID(), "who.else", ""))
	f.wantSubscribed(server, "nobody")
	f.wantSubscribed(server, "",
		subscribed(a.ID(), "who.is.there", ""), subscribed(a.ID(), "who.*.there", ""),
		subscribed(b.ID(), "who.>", "q"), subscribed(c.ID(), "who.else", ""))
	f.drain(leave)
	f.flush(b)
	f.wantSubscribed(server, "who.else", subscribed(c.ID(), "who.else", ""))
}

// onConnect: whoever comes is told.
func onConnect(f *fixture, server bus.Server) {
	told := make(chan bus.ConnID, 100)
	stop, err := server.OnConnection(func(id bus.ConnID, up bool) {
		if up {
			told <- id
		}
	})
	if err != nil {
		f.Fatalf("OnConnection: %v", err)
	}
	defer stop()
	for range 3 {
		c := f.conn()
		f.flush(c)
		for wait(f, "the connection", told) != c.ID() {
		}
	}
}

// onDisconnect: whoever ends has no subscription any more when it is told.
func onDisconnect(f *fixture, server bus.Server) {
	told := make(chan bus.ConnID, 100)
	stop, err := server.OnConnection(func(id bus.ConnID, up bool) {
		if !up {
			told <- id
		}
	})
	if err != nil {
		f.Fatalf("OnConnection: %v", err)
	}
	for range 20 {
		c := f.connect()
		f.join(c, "ends", "q", ignore)
		id := c.ID()
		c.Close()
		for wait(f, "the end", told) != id {
		}
		f.wantSubscribed(server, "ends")
	}
	stop()
	c := f.connect()
	f.flush(c)
	c.Close()
	select {
	case id := <-told:
		f.Errorf("told of %d after stop", id)
	default:
	}
}

// disconnect: what is cut off hears nothing more, and the others get its share.
func disconnect(f *fixture, server bus.Server) {
	told := make(chan bus.ConnID, 100)
	stop, err := server.OnConnection(func(id bus.ConnID, up bool) {
		if !up {
			told <- id
		}
	})
	if err != nil {
		f.Fatalf("OnConnection: %v", err)
	}
	defer stop()
	pub, stays, goes := f.conn(), f.conn(), f.conn()
	r := newRecord()
	f.join(stays, "cut", "q", r.add)
	f.join(goes, "cut", "q", ignore)
	id := goes.ID()
	if err := server.Disconnect(id); err != nil {
		f.Fatalf("Disconnect: %v", err)
	}
	if got := wait(f, "the end", told); got != id {
		f.Errorf("told of %d, want %d", got, id)
	}
	f.wantSubscribed(server, "cut", subscribed(stays.ID(), "cut", "q"))
	f.publishN(pub, "cut", 0, 100)
	f.wantNumbers(r.await(f, 100), 0, 100)
	if err := server.Disconnect(id); err != nil {
		f.Errorf("Disconnect of what is gone: %v", err)
	}
}

// questionAfterMessages is what asking workers for what they hold stands on: a
// question to all comes after the messages before it, whoever of a queue group
// got them; and its answers come after what was published before them.
func questionAfterMessages(f *fixture, _ bus.Server) {
	const n = 2000
	gateway := f.conn()
	got := newRecord()
	f.subscribe(gateway, got.add, "reply.>")
	for range 3 {
		c := f.conn()
		handled := 0
		_, err := c.QueueSubscribe("ev.*", "q", func(m *bus.Msg) {
			if m.Subject == "ask" {
				_ = c.Publish(&bus.Msg{Subject: "reply.held", Data: numbered("", handled).Data})
				return
			}
			handled++
			_ = c.Publish(&bus.Msg{Subject: "reply.ev", Data: m.Data})
		}, "ask")
		if err != nil {
			f.Fatalf("QueueSubscribe: %v", err)
		}
		f.flush(c)
	}
	f.publishN(gateway, "ev.x", 0, n)
	f.publish(gateway, &bus.Msg{Subject: "ask"})
	if err := gateway.Flush(context.Background()); err != nil {
		f.Fatalf("Flush: %v", err)
	}
	replies, told, answers := 0, 0, 0
	for _, m := range got.await(f, n+3) {
		if m.Subject == "reply.ev" {
			replies++
			continue
		}
		answers++
		handled, err := strconv.Atoi(string(m.Data))
		if err != nil {
			f.Fatal(err)
		}
		told += handled
		if answers == 3 && (told != n || replies != n) {
			f.Errorf("at the last answer: %d handled by what the workers say, %d by their replies; want %d", told, replies, n)
		}
	}
	if answers != 3 {
		f.Errorf("%d answers, want 3", answers)
	}
}
