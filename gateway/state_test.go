package gateway

import (
	"log/slog"
	"strconv"
	"sync"
	"testing"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/bus/membus"
)

// newGateway is a gateway that does not run.
func newGateway(t *testing.T) *Gateway {
	t.Helper()
	var b membus.Bus
	conn := b.Connect()
	t.Cleanup(conn.Close)
	g, err := New(DefaultConfig(), 1, conn, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// atOnce runs functions at the same time.
func atOnce(fns ...func()) {
	var wg sync.WaitGroup
	begin := make(chan struct{})
	for _, fn := range fns {
		wg.Go(func() { <-begin; fn() })
	}
	close(begin)
	wg.Wait()
}

// A session that is changed while the client is let in is not lost.
func TestSessionChangedWhileAdmitted(t *testing.T) {
	g := newGateway(t)
	var groups []string
	for i := range 100 { // so many take a moment
		groups = append(groups, strconv.Itoa(i))
	}
	for i := range 3000 {
		c := g.newClient(g.listeners[0], "default")
		g.index.add(c)
		c.accepted = true
		atOnce(
			func() {
				if _, err := g.index.admit(c, &bus.OpenReply{UID: "ann", Groups: groups}); err != nil {
					t.Error(err)
				}
			},
			func() {
				if _, err := c.changeSession(&bus.SessionRequest{Set: []byte(`1`)}); err != nil {
					t.Error(err)
				}
			},
		)
		if session, version, state := c.given.sessionOf(); session != "1" || version != 1 || state != 1 {
			t.Fatalf("client %d: session %q, version %d, state %d", i, session, version, state)
		}
		g.index.remove(c)
	}
}

// Who unbinds a uid takes no other one away, though a client gets that at the same time.
func TestUnbindWhileBound(t *testing.T) {
	g := newGateway(t)
	for i := range 20000 {
		c := g.newClient(g.listeners[0], "default")
		g.index.add(c)
		if _, err := g.bind(bus.BindRequest{Client: c.id, UID: "ann"}); err != nil {
			t.Fatal(err)
		}
		atOnce(
			func() {
				if _, err := g.unbind(bus.UnbindRequest{Selector: bus.Selector{UID: "ann"}}); err != nil {
					t.Error(err)
				}
			},
			func() {
				if _, err := g.bind(bus.BindRequest{Client: c.id, UID: "bob"}); err != nil {
					t.Error(err)
				}
			},
		)
		if c.uid != "bob" || c.given.uidOf() != "bob" {
			t.Fatalf("client %d has the uid %q, and %q in its events", i, c.uid, c.given.uidOf())
		}
		g.index.remove(c)
	}
}
