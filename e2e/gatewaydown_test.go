package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/gatebus/gatebus/internal/testbed"
	"github.com/gatebus/gatebus/register"
	"github.com/gatebus/gatebus/worker"
)

// news is what the receivers of one worker group were told of dead gateways.
type news struct {
	mu   sync.Mutex
	told []string
}

func (n *news) tell(gateway, epoch string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.told = append(n.told, gateway+"-"+epoch)
}

// is tells whether they were told of these lives and no others.
func (n *news) is(want ...string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if fmt.Sprint(n.told) != fmt.Sprint(want) {
		return fmt.Errorf("told of %v, want %v", n.told, want)
	}
	return nil
}

// plainReceiver is one of the queue group, as any NATS client can be.
func plainReceiver(t *testing.T, n *news, url, group string) {
	t.Helper()
	opts := append(workerOptions(t), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond))
	nc, err := nats.Connect(url, opts...)
	must(t, err)
	t.Cleanup(nc.Close)
	_, err = nc.QueueSubscribe("reg.down."+group, group, func(m *nats.Msg) {
		var down struct{ Gateway, Epoch string }
		if err := json.Unmarshal(m.Data, &down); err != nil {
			t.Error(err)
		}
		n.tell(down.Gateway, down.Epoch)
		m.Respond(nil)
	})
	must(t, err)
	must(t, nc.FlushTimeout(testbed.Patience))
}

// downHandler echoes, and is told of dead gateways.
type downHandler struct {
	worker.HandlerFunc
	news *news
}

func (h downHandler) GatewayDown(_ context.Context, down worker.GatewayDown) error {
	h.news.tell(string(down.Gateway), down.Epoch.String())
	return nil
}

// sdkReceiver is a worker in this process.
func sdkReceiver(t *testing.T, n *news, name, group, registers string) *worker.Worker {
	t.Helper()
	h := downHandler{news: n, HandlerFunc: func(_ context.Context, ev *worker.Event) error { ev.Reply(ev.Data); return nil }}
	w, err := worker.New(worker.Config{
		Secret: testbed.Secret,
		Name:   name, Group: group, Registers: strings.Split(registers, ","), Log: slog.New(slog.DiscardHandler),
	}, h)
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		must(t, <-done)
	})
	return w
}

// lifeOf is name and epoch of a gateway, as a register knows it.
func lifeOf(t *testing.T, url, gateway string) (life string) {
	t.Helper()
	nc := connect(t, url)
	must(t, testbed.Poll(soon(t), func() error {
		m, err := nc.Request("reg.members", nil, time.Second)
		if err != nil {
			return noResponders(err)
		}
		var list struct {
			Members []struct{ Role, Name, Epoch string }
		}
		if err := json.Unmarshal(m.Data, &list); err != nil {
			return err
		}
		for _, m := range list.Members {
			if m.Role == "gateway" && m.Name == gateway {
				life = m.Name + "-" + m.Epoch
				return nil
			}
		}
		return fmt.Errorf("no gateway %s in %s", gateway, m.Data)
	}))
	return life
}

func TestDeadGatewayIsToldToOneWorkerOfEachGroup(t *testing.T) {
	t.Parallel()
	cluster := testbed.NewCluster(t, 2)
	r1 := cluster.Register(0)
	must(t, testbed.WaitReady(soon(t), r1))
	r2 := cluster.Register(1) // the younger one
	must(t, testbed.WaitReady(soon(t), r2))
	g1, g2, g3 := cluster.Gateway("g1"), cluster.Gateway("g2"), cluster.Gateway("g3")
	var plain, sdk news
	url2 := "nats://" + cluster.Registers[1]
	plainReceiver(t, &plain, cluster.URLs(), "default")
	plainReceiver(t, &plain, url2, "default")
	w1, w2 := sdkReceiver(t, &sdk, "s1", "sdk", cluster.URLs()), sdkReceiver(t, &sdk, "s2", "sdk", url2)
	w3 := cluster.Worker("w3")
	must(t, testbed.WaitReady(soon(t), g1, g2, g3, w3))
	must(t, testbed.Poll(soon(t), func() error {
		if n := w1.Stats().Links + w2.Stats().Links; n != 6 {
			return fmt.Errorf("the workers have %d links", n)
		}
		return nil
	}))
	must(t, awaitLinks(t, w3, 3))
	life1, life3 := lifeOf(t, url2, "g1"), lifeOf(t, url2, "g3")

	told := func(want ...string) {
		t.Helper()
		must(t, testbed.Poll(soon(t), func() error { return plain.is(want...) }))
		must(t, testbed.Poll(soon(t), func() error { return sdk.is(want...) }))
	}
	start := time.Now()
	g1.Kill()
	told(life1)
	t.Logf("told after %v", time.Since(start).Round(time.Millisecond))

	must(t, g2.Signal(syscall.SIGTERM)) // none
	exits(t, g2, 0)

	// The leader dies with the next one. A lease, and more, is over then, so that
	// g2 would have been told too.
	g3.Kill()
	r1.Kill()
	told(life1, life3)

	// Killed and back at once.
	g1 = g1.Again()
	must(t, g1.WaitReady(soon(t)))
	again := lifeOf(t, url2, "g1")
	g1.Kill()
	g1 = g1.Again()
	start = time.Now()
	told(life1, life3, again)
	t.Logf("told of a restart after %v", time.Since(start).Round(time.Millisecond))
	must(t, g1.WaitReady(soon(t)))
}

// A register that was stopped for longer than a lease, with the connections
// open, takes nobody for dead.
func TestFrozenRegisterTellsNoNews(t *testing.T) {
	t.Parallel()
	cluster := testbed.NewCluster(t, 1)
	r, g, w := cluster.Register(0), cluster.Gateway("g1"), cluster.Worker("w1")
	must(t, testbed.WaitReady(soon(t), r, g, w))
	must(t, r.Signal(syscall.SIGSTOP))
	<-time.After(7 * time.Second) // the passing of time is the event
	must(t, r.Signal(syscall.SIGCONT))
	must(t, testbed.WaitReady(soon(t), g, w))
	if strings.Contains(r.Log(), "expired") {
		t.Error("a member has expired")
	}
}

// A receiver that comes late has missed nothing: NATS says that nobody was
// there.
func TestNatsCommandIsACompleteReceiver(t *testing.T) {
	t.Parallel()
	cluster := testbed.NewCluster(t, 2)
	r1 := cluster.Register(0)
	must(t, r1.WaitReady(soon(t)))
	r2, g := cluster.Register(1), cluster.Gateway("g1")
	must(t, r2.WaitReady(soon(t)))
	url := "nats://" + cluster.Registers[1]
	life := lifeOf(t, url, "g1")
	g.Kill()
	notices := func(ok func(register.NoticeStats) bool) {
		t.Helper()
		must(t, testbed.Poll(soon(t), func() error {
			s, err := r1.Stats(soon(t))
			if err == nil && !ok(s.Register.Notices) {
				err = fmt.Errorf("%+v", s.Register.Notices)
			}
			return err
		}))
	}
	notices(func(s register.NoticeStats) bool { return s.Sent == 1 })
	natsCommand(t, "reply", "-s", url, "--queue", "default", "reg.down.default", "")
	_, err := r1.WaitLog(soon(t), "a worker has taken the news of a dead gateway.*epoch="+strings.TrimPrefix(life, "g1-"))
	must(t, err)
	notices(func(s register.NoticeStats) bool {
		return s == register.NoticeStats{Leads: true, Sent: 2, Acked: 1}
	})
}
