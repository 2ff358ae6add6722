package register

import (
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatebus/gatebus/bus"
)

// Who speaks a protocol of another major than the registers has not joined, knows why,
// and is on the list all the same: an operator is to see it. Its peers hear of it.
func TestOtherMajorDoesNotJoin(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		log := &strings.Builder{}
		conn := c.bus.Connect()
		defer conn.Close()
		r := NewServer(Member{Role: RoleRegister, Name: "r1", Protocol: "1.1"}, conn, slog.New(slog.NewTextHandler(log, nil)))
		start(t, r.Run)
		synctest.Wait()
		w := c.join(watcher, RoleGateway)
		later, foreign := gatewayMember("g1", 1), gatewayMember("g2", 2)
		later.Protocol, foreign.Protocol = "1.7", "2.0"
		g1, g2 := c.join(later), c.join(foreign)
		expect(t, "told", w.told(), "joined g1", "joined g2")
		if !w.Joined() || !g1.Joined() || g2.Joined() {
			t.Errorf("joined: %v %v %v", w.Joined(), g1.Joined(), g2.Joined())
		}
		var e *bus.ProtocolError
		if err := g2.Conflict(); !errors.As(err, &e) || e.Theirs != "1.1" || e.Ours != "2.0" || e.Peer != "register r1" || e.Self != "this gateway" {
			t.Errorf("conflict: %v", err)
		}
		time.Sleep(3 * Lease)
		synctest.Wait()
		expect(t, "on the register", names(r.Members(RoleGateway)), "g1", "g2")
		expect(t, "incompatible", names(r.Incompatible()), "g2")
		// A member of before there were versions does not look at them; it is told in words.
		answer, err := conn.Request(t.Context(), encode(AnnounceSubject(RoleGateway), Member{Role: RoleGateway, Name: "g3", Epoch: 3, Address: "g3:1", Protocol: "3.0"}))
		if err != nil {
			t.Fatal(err)
		}
		if a, err := decode[ack](answer); err != nil || !strings.Contains(a.Error, "gateway g3 speaks protocol") || a.Protocol != "1.1" {
			t.Errorf("%+v, %v", a, err)
		}
		want := map[string]int{"register": 2, "gateway": 1} // errors: of each life one
		for who, log := range map[string]string{"register": log.String(), "gateway": g2.log.String()} {
			if n := strings.Count(log, "level=ERROR"); n != want[who] || !strings.Contains(log, "2.0") || !strings.Contains(log, "1.1") {
				t.Errorf("the %s says %d times:\n%s", who, n, log)
			}
		}
	})
}

// A register of a later major, or one that says nothing of a protocol, is judged by the
// member itself; and a member that knows nothing of protocols is told in words.
func TestRegisterOfAnotherMajor(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		conn := c.bus.Connect()
		defer conn.Close()
		var answer atomic.Pointer[ack]
		answer.Store(&ack{Register: "r9", Protocol: "2.0"})
		_, err := conn.Subscribe(func(m *bus.Msg) { _ = conn.Publish(encode(m.Reply, answer.Load())) }, announceRoot+"*", leaveRoot+"*")
		if err != nil {
			t.Fatal(err)
		}
		g := gatewayMember("g1", 1)
		g.Protocol = "1.1"
		n := c.join(g)
		if err := n.Conflict(); n.Joined() || err == nil || !strings.Contains(err.Error(), "register r9 speaks protocol") {
			t.Errorf("joined: %v, %v", n.Joined(), err)
		}
		answer.Store(&ack{Register: "r9"})
		time.Sleep(2 * Heartbeat)
		synctest.Wait()
		if err := n.Conflict(); !n.Joined() || err != nil || !strings.Contains(n.log.String(), "joined") {
			t.Errorf("joined: %v, %v", n.Joined(), err)
		}
		answer.Store(&ack{Register: "r9", Error: "of another protocol"})
		time.Sleep(2 * Heartbeat)
		synctest.Wait()
		if err := n.Conflict(); n.Joined() || err == nil || err.Error() != "of another protocol" {
			t.Errorf("joined: %v, %v", n.Joined(), err)
		}
	})
}

// Who only watches knows why it hears of nobody, and says so once.
func TestWatcherOfAnotherMajor(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		conn := c.bus.Connect()
		defer conn.Close()
		var answer atomic.Pointer[list]
		answer.Store(&list{Register: "r9", Protocol: "2.0"})
		_, err := conn.Subscribe(func(m *bus.Msg) { _ = conn.Publish(encode(m.Reply, answer.Load())) }, MembersSubject)
		if err != nil {
			t.Fatal(err)
		}
		n := c.join(Member{Address: "none", Protocol: "1.1"}, RoleGateway)
		time.Sleep(3 * Heartbeat)
		synctest.Wait()
		if err := n.Conflict(); err == nil || !strings.Contains(err.Error(), "register r9 speaks protocol") {
			t.Errorf("conflict: %v", err)
		}
		if log := n.log.String(); strings.Count(log, "list of members") != 1 {
			t.Errorf("the log says\n%s", log)
		}
		answer.Store(&list{Register: "r9"})
		time.Sleep(2 * Heartbeat)
		synctest.Wait()
		if err := n.Conflict(); err != nil {
			t.Errorf("conflict: %v", err)
		}
	})
}
