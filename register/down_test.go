package register

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/bus/membus"
)

// downTime is longer than a dead gateway goes untold, if the leader lives.
const downTime = Lease + settleFor + Heartbeat

// wholeRegister is a register with its own membership.
type wholeRegister struct {
	*Server
	log   *strings.Builder
	stop  func() // orderly
	crash func()
}

func (c *cluster) wholeRegister(name string, epoch bus.Epoch) *wholeRegister {
	self := Member{Role: RoleRegister, Name: name, Epoch: epoch, Address: name + ":4222"}
	conn := c.bus.Connect()
	r := &wholeRegister{log: &strings.Builder{}}
	r.Server = NewServer(self, conn, slog.New(slog.NewTextHandler(r.log, nil)))
	stopServer := start(c.t, r.Server.Run)
	synctest.Wait()
	client, err := NewClient(ClientConfig{Self: self})
	if err != nil {
		c.t.Fatal(err)
	}
	stopClient := start(c.t, func(ctx context.Context) error { return client.Run(ctx, conn) })
	r.stop = func() { stopClient(); stopServer(); conn.Close(); synctest.Wait() }
	r.crash = func() { conn.Close(); synctest.Wait() }
	c.t.Cleanup(conn.Close)
	synctest.Wait()
	return r
}

// receiver is a worker that is nothing but a member of the queue group, and of
// the membership if it has a member's name.
type receiver struct {
	*membus.Conn
	node *node

	mu   sync.Mutex
	told []string
	held []string // reply subjects
	say  string   // Gb-Status of the answers; empty: done, "-": none
}

func (c *cluster) receiver(name, group string) *receiver {
	c.t.Helper()
	r := &receiver{Conn: c.bus.Connect()}
	c.t.Cleanup(r.Conn.Close)
	_, err := r.QueueSubscribe(DownSubject(group), group, func(m *bus.Msg) {
		var d struct{ Gateway, Epoch, Address string } // as another language sees it
		if err := json.Unmarshal(m.Data, &d); err != nil {
			c.t.Error(err)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.told = append(r.told, fmt.Sprintf("%s-%s at %s", d.Gateway, d.Epoch, d.Address))
		if v := m.Header.Get(bus.HeaderDelivery); v != "" {
			r.told[len(r.told)-1] += " again " + v
		}
		if r.say == "-" {
			r.held = append(r.held, m.Reply)
			return
		}
		r.answer(c.t, m.Reply, r.say)
	})
	if err != nil {
		c.t.Fatal(err)
	}
	if name != "" {
		r.node = c.join(Member{Role: RoleWorker, Name: name, Epoch: 100, Group: group})
	}
	return r
}

func (r *receiver) answer(t *testing.T, reply, status string) {
	m := &bus.Msg{Subject: reply}
	if status != "" {
		m.Header = bus.Header{bus.HeaderStatus: {status}}
	}
	if err := r.Publish(m); err != nil {
		t.Error(err)
	}
}

// saying has the receiver answer so from now on.
func (r *receiver) saying(status string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.say = status
}

func (r *receiver) got() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	told := r.told
	r.told = nil
	return told
}

// die ends it as a process that is killed.
func (r *receiver) die() {
	r.Conn.Close()
	r.node.conn.Close()
}

func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestGatewayDownToOneOfEachGroup(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		registers := []*wholeRegister{c.wholeRegister("r1", 1), c.wholeRegister("r2", 2), c.wholeRegister("r3", 3)}
		x1, x2, y := c.receiver("x1", "x"), c.receiver("x2", "x"), c.receiver("y1", "y")
		g := c.join(gatewayMember("g1", 10))
		pass(3 * time.Second)
		g.conn.Close()
		pass(Lease)
		expect(t, "not while it may be back", append(x1.got(), x2.got()...))
		pass(downTime - Lease)
		expect(t, "one of x", append(x1.got(), x2.got()...), "g1-a at g1:1")
		expect(t, "one of y", y.got(), "g1-a at g1:1")
		pass(5 * time.Minute)
		expect(t, "once", append(append(x1.got(), x2.got()...), y.got()...))
		for i, r := range registers {
			s := r.Notices()
			sent := int64(0)
			if i == 0 {
				sent = 2
			}
			if s.Pending != 0 || s.Sent != sent || s.Acked != 2 || s.GivenUp != 0 || s.Leads != (i == 0) {
				t.Errorf("r%d: %+v", i+1, s)
			}
		}
		if !strings.Contains(registers[0].log.String(), "a worker has taken the news of a dead gateway") {
			t.Error(registers[0].log)
		}
	})
}

func TestGatewayGoodbyeIsNoNews(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		r := c.wholeRegister("r1", 1)
		x := c.receiver("x1", "x")
		g := c.join(gatewayMember("g1", 10))
		pass(3 * time.Second)
		g.leave()
		pass(5 * time.Minute)
		expect(t, "told", x.got())
		if s := r.Notices(); s.Sent != 0 || s.Pending != 0 {
			t.Errorf("%+v", s)
		}
	})
}

func TestGatewayRestartIsNewsOfItsFormerLife(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		c.wholeRegister("r1", 1)
		c.wholeRegister("r2", 2)
		x := c.receiver("x1", "x")
		g := c.join(gatewayMember("g1", 10))
		pass(3 * time.Second)
		g.conn.Close()
		c.join(gatewayMember("g1", 11))
		pass(settleFor + Heartbeat)
		expect(t, "told", x.got(), "g1-a at g1:1")
		pass(5 * time.Minute)
		expect(t, "told again", x.got())
	})
}

// The leader ends, orderly or not, in the middle of it: whether the answer came
// just before or comes just after, nobody is told twice.
func TestGatewayDownLeaderEnds(t *testing.T) {
	for _, orderly := range []bool{true, false} {
		for _, before := range []bool{true, false} {
			t.Run(fmt.Sprintf("orderly=%v answered=%v", orderly, before), func(t *testing.T) {
				inBubble(t, func(t *testing.T, c *cluster) {
					r1, r2 := c.wholeRegister("r1", 1), c.wholeRegister("r2", 2)
					x := c.receiver("x1", "x")
					if !before {
						x.saying("-")
					}
					g := c.join(gatewayMember("g1", 10))
					pass(3 * time.Second)
					g.conn.Close()
					for r1.Notices().Sent == 0 {
						pass(expireInterval)
					}
					if orderly {
						r1.stop()
					} else {
						r1.crash()
					}
					expect(t, "told", x.got(), "g1-a at g1:1")
					if !before {
						pass(time.Second)
						x.answer(t, x.held[0], "")
					}
					x.saying("")
					pass(5 * time.Minute)
					expect(t, "told again", x.got())
					if s := r2.Notices(); s.Sent != 0 || s.Pending != 0 || !s.Leads {
						t.Errorf("r2: %+v", s)
					}
				})
			})
		}
	}
}

// The leader dies before it could tell anybody: the next one does.
func TestGatewayDownLeaderDiesFirst(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		r1, r2 := c.wholeRegister("r1", 1), c.wholeRegister("r2", 2)
		c.wholeRegister("r3", 3)
		x := c.receiver("x1", "x")
		g := c.join(gatewayMember("g1", 10))
		pass(3 * time.Second)
		g.conn.Close() // with the register on the same host
		r1.crash()
		pass(downTime + DownAckWait)
		expect(t, "told", x.got(), "g1-a at g1:1")
		if s := r2.Notices(); s.Sent != 1 {
			t.Errorf("r2: %+v", s)
		}
		pass(5 * time.Minute)
		expect(t, "told again", x.got())
	})
}

// All registers are replaced, one by one, while nobody can be told: what is
// pending is handed on.
func TestGatewayDownOutlivesTheRegisters(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		r1 := c.wholeRegister("r1", 1)
		x := c.receiver("x1", "x")
		g := c.join(gatewayMember("g1", 10))
		pass(3 * time.Second)
		x.die()
		g.conn.Close()
		pass(time.Minute)
		r2 := c.wholeRegister("r2", 200)
		pass(tellInterval + Heartbeat)
		r1.stop()
		r3 := c.wholeRegister("r1", 300)
		pass(tellInterval + Heartbeat)
		r2.stop()
		pass(time.Minute)
		x = c.receiver("x2", "x")
		pass(Heartbeat)
		expect(t, "told at once", x.got(), "g1-a at g1:1")
		if s := r3.Notices(); s.Acked != 1 {
			t.Errorf("%+v", s)
		}
	})
}

// All groups that a gateway serves are told, also those that had no worker yet.
func TestGatewayDownToAllItServed(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		c.wholeRegister("r1", 1)
		g := c.join(Member{Role: RoleGateway, Name: "g1", Epoch: 10, Group: "x", MoreGroups: "y,z,*"})
		pass(3 * time.Second)
		x, y, z := c.receiver("", "x"), c.receiver("", "y"), c.receiver("", "z") // plain: no members
		g.conn.Close()
		pass(downTime)
		expect(t, "x", x.got(), "g1-a at g1:1")
		expect(t, "y", y.got(), "g1-a at g1:1")
		expect(t, "z", z.got(), "g1-a at g1:1")
	})
}

// A register whose clock is behind leads as soon as it starts, and is told what
// it does not know.
func TestGatewayDownLeaderIsNew(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		c.wholeRegister("r2", 200)
		g := c.join(Member{Role: RoleGateway, Name: "g1", Epoch: 10, Group: "x"})
		pass(3 * time.Second)
		g.conn.Close()
		pass(time.Minute)
		r1 := c.wholeRegister("r1", 1)
		pass(tellInterval + Heartbeat)
		x := c.receiver("", "x") // plain: no member
		pass(askAgain + Heartbeat)
		expect(t, "told", x.got(), "g1-a at g1:1")
		if s := r1.Notices(); s.Sent == 0 {
			t.Errorf("r1: %+v", s)
		}
	})
}

func TestGatewayDownWorkerDies(t *testing.T) {
	for _, say := range []string{"-", "working", "reject 500 oops"} {
		t.Run(say, func(t *testing.T) {
			inBubble(t, func(t *testing.T, c *cluster) {
				c.wholeRegister("r1", 1)
				x1 := c.receiver("x1", "x")
				x1.saying(say)
				g := c.join(gatewayMember("g1", 10))
				pass(3 * time.Second)
				g.conn.Close()
				for len(x1.got()) == 0 {
					pass(expireInterval)
				}
				x1.die()
				x2 := c.receiver("x2", "x")
				pass(DownAckWait + firstPause + Heartbeat)
				expect(t, "the other one", x2.got(), "g1-a at g1:1 again 2")
				pass(5 * time.Minute)
				expect(t, "told again", x2.got())
			})
		})
	}
}

func TestGatewayDownHandedBack(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		r1, r2 := c.wholeRegister("r1", 1), c.wholeRegister("r2", 2)
		x := c.receiver("x1", "x")
		x.saying("busy")
		g := c.join(gatewayMember("g1", 10))
		pass(3 * time.Second)
		g.conn.Close()
		pass(noticeLife + 5*time.Minute)
		n := len(x.got())
		if most := int((noticeLife + 5*time.Minute) / askAgain); n < most-5 || n > most {
			t.Errorf("asked %d times", n)
		}
		if p1, p2 := r1.Notices().Pending, r2.Notices().Pending; p1 != 1 || p2 != 1 {
			t.Errorf("pending: %d, %d", p1, p2)
		}
		c.join(gatewayMember("g1", 10))
		pass(5 * time.Minute)
		expect(t, "of one that is back", x.got())
		if p1, p2 := r1.Notices().Pending, r2.Notices().Pending; p1 != 0 || p2 != 0 {
			t.Errorf("pending: %d, %d", p1, p2)
		}
		if !strings.Contains(r1.log.String(), "a gateway that was taken for dead is alive") {
			t.Error(r1.log)
		}
	})
}

func TestGatewayDownNobodyWantsToKnow(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		r := c.wholeRegister("r1", 1)
		c.join(Member{Role: RoleWorker, Name: "w1", Epoch: 100, Group: "x"})
		g := c.join(gatewayMember("g1", 10))
		pass(3 * time.Second)
		g.conn.Close()
		pass(noticeLife + time.Minute)
		if s := r.Notices(); s.Pending != 0 || s.GivenUp != 1 || s.Failed != 0 {
			t.Errorf("%+v", s)
		}
		if log := r.log.String(); !strings.Contains(log, "nobody of the worker group wanted the news") || strings.Contains(log, "ERROR") {
			t.Error(log)
		}
	})
}

func TestGatewayDownGivenUp(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		r := c.wholeRegister("r1", 1)
		x := c.receiver("x1", "x")
		x.saying("reject 500 oops")
		g := c.join(gatewayMember("g1", 10))
		pass(3 * time.Second)
		g.conn.Close()
		pass(noticeLife + time.Minute)
		if n := len(x.got()); n != maxTries {
			t.Errorf("told %d times", n)
		}
		if s := r.Notices(); s.Pending != 0 || s.GivenUp != 1 || s.Failed != maxTries {
			t.Errorf("%+v", s)
		}
		if log := r.log.String(); !strings.Contains(log, "no worker could take the news of a dead gateway") || !strings.Contains(log, "reason=oops") {
			t.Error(log)
		}
	})
}

// What is kept is bounded, whatever happens.
func TestNoticesAreBounded(t *testing.T) {
	n := newNotices()
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range 2 * maxGroups {
		n.heardGroup(now.Add(time.Duration(i)), fmt.Sprintf("x%d", i))
	}
	if _, first := n.groups["x0"]; len(n.groups) != maxGroups || first {
		t.Errorf("%d groups, the first among them: %v", len(n.groups), first)
	}
	clear(n.groups)
	n.heardGroup(now, "x")
	n.lead(now.Add(-time.Minute), true)
	const lives = maxPending + maxSettled + 10
	for i := range lives {
		m := gatewayMember("g1", bus.Epoch(i+1))
		n.raise(now.Add(time.Duration(i)), &m)
	}
	if len(n.pending) != maxPending || n.count.GivenUp != lives-maxPending || len(n.settled) != maxSettled {
		t.Errorf("%d pending, %d settled, %+v", len(n.pending), len(n.settled), n.stats())
	}
	send, lost := n.step(now.Add(time.Minute))
	if len(send) != maxOut || send[0].key.epoch != lives-maxPending+1 || len(lost) != lives-maxPending {
		t.Errorf("%d given out, %d lost", len(send), len(lost))
	}
	if send, _ := n.step(now.Add(time.Minute + time.Second)); len(send) != 0 {
		t.Errorf("%d more given out", len(send))
	}
	n.step(now.Add(2 * noticeLife))
	if s, _ := n.step(now.Add(4 * noticeLife)); len(s)+len(n.pending)+len(n.settled)+len(n.groups) != 0 {
		t.Errorf("hours later: %d, %d, %d", len(n.pending), len(n.settled), len(n.groups))
	}
}

func TestGatewayDownBadMessages(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		r := c.wholeRegister("r1", 1)
		c.receiver("x1", "x")
		conn := c.bus.Connect()
		defer conn.Close()
		for _, m := range []*bus.Msg{
			{Subject: "reg.answer.x"},
			{Subject: "reg.answer.x.g1.A"},
			{Subject: "reg.answer.x.g1.1.2"},
			{Subject: "reg.answer.%.g1.1"},
			{Subject: "reg.answer.x.g1.1", Header: bus.Header{bus.HeaderStatus: {"what"}}},
			{Subject: "reg.pending", Data: []byte("{")},
			{Subject: "reg.pending", Data: []byte(`{"notices":[{},{"group":"x","gateway":"g1"},{"group":"x.y","gateway":"g1","epoch":"1"},{"group":"x","gateway":"g1","epoch":"1","age_ms":-1},{"group":"x","gateway":"g1","epoch":"1","age_ms":9000000000000000000}]}`)},
		} {
			if err := conn.Publish(m); err != nil {
				t.Fatal(err)
			}
		}
		pass(time.Minute)
		if s := r.Notices(); s != (NoticeStats{Leads: true}) {
			t.Errorf("%+v", s)
		}
		if n := strings.Count(r.log.String(), "it is ignored"); n != 6 {
			t.Errorf("said %d times: %s", n, r.log)
		}
	})
}

// A register that is cut off from a NATS cluster that it is a client of takes nobody for
// dead meanwhile, and notices afterwards who is.
func TestRegisterThatIsCutOff(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		r := c.wholeRegister("r1", 1)
		x := c.receiver("x1", "x")
		g := c.join(gatewayMember("g1", 10))
		pass(3 * time.Second)
		r.Status(false)
		g.conn.Close()
		pass(time.Minute)
		if n := len(r.Members(RoleGateway)); n != 1 {
			t.Errorf("it knows %d gateways while it hears nobody, want 1", n)
		}
		expect(t, "told while it hears nobody", x.got())
		r.Status(true)
		pass(downTime)
		expect(t, "told afterwards", x.got(), "g1-a at g1:1")
	})
}
