package e2e_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/nats-io/nats.go"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/gateway"
	"github.com/gatebus/gatebus/internal/keys"
	"github.com/gatebus/gatebus/internal/testbed"
	"github.com/gatebus/gatebus/worker"
)

// as connects a plain NATS client with the key that a role has by the secret.
func as(t *testing.T, url, secret string, r keys.Role, more ...nats.Option) *nats.Conn {
	t.Helper()
	k, err := keys.Derive(secret)
	must(t, err)
	opts := append(k.ConnectOptions(r), nats.NoReconnect(), nats.Timeout(testbed.Patience))
	nc, err := nats.Connect(url, append(opts, more...)...)
	must(t, err)
	t.Cleanup(nc.Close)
	return nc
}

// All roles do all of their work with the permissions that they have, and none
// tries what it may not.
func TestPermissionsSuffice(t *testing.T) {
	t.Parallel()
	cluster := testbed.NewCluster(t, 2, "secret="+clusterSecret)
	r1, r2 := cluster.Register(0), cluster.Register(1)
	g1, g2 := cluster.Gateway("g1"), cluster.Gateway("g2", "gateway.routing=sticky")
	w1, w2 := cluster.Worker("w1"), cluster.Worker("w2")
	must(t, testbed.WaitReady(soon(t), r1, r2, g1, g2, w1, w2))
	// A plain worker beside those of the SDK, which has each event go alone.
	plain := as(t, "nats://"+addr(t, g1, "bus"), clusterSecret, keys.RoleWorker)
	_, err := plain.QueueSubscribe("gw.*.in.default.*", "default", echo)
	must(t, err)
	must(t, plain.FlushTimeout(testbed.Patience))

	// An application reaches clients, and is no worker.
	app, err := worker.Connect(soon(t), worker.Config{Registers: strings.Split(cluster.URLs(), ","), Secret: clusterSecret})
	must(t, err)
	defer app.Close()
	c := dial(t, ws(t, g2))
	must(t, app.SendAll(bus.Text, []byte("hello all")))
	reads(t, c, "hello all")
	check := unharmed(t, ws(t, g1), ws(t, g2))

	// An observer sees who is there.
	observer := as(t, cluster.URLs(), clusterSecret, keys.RoleObserver)
	must(t, testbed.Poll(soon(t), func() error { // a register has just joined, perhaps
		m, err := observer.Request("reg.members", nil, testbed.Patience)
		if err != nil {
			return err
		}
		var list struct{ Members []struct{ Name string } }
		if err := json.Unmarshal(m.Data, &list); err != nil || len(list.Members) != 6 {
			return fmt.Errorf("the observer is told %s", m.Data)
		}
		return nil
	}))
	for _, subject := range []string{
		"$SRV.INFO.gatebus-register", "$SRV.INFO.gatebus-gateway", "$SRV.INFO.gatebus-worker",
		"reg.stats.register.r1", "reg.stats.gateway.g1", "reg.stats.worker.w1",
	} {
		if _, err := observer.Request(subject, nil, testbed.Patience); err != nil {
			t.Errorf("%s: %v", subject, err)
		}
	}
	tap, err := observer.SubscribeSync("gw.>")
	must(t, err)
	must(t, observer.FlushTimeout(testbed.Patience))
	must(t, testbed.Poll(soon(t), func() error {
		write(t, c, "is seen")
		reads(t, c, "is seen")
		_, err := tap.NextMsg(100 * time.Millisecond)
		return err
	}))
	must(t, tap.Unsubscribe())
	if _, err := observer.Request("gw.all.do.count", []byte(`{"of":"clients"}`), testbed.Patience); err != nil {
		t.Errorf("count: %v", err)
	}

	check()
	must(t, w1.Signal(sigterm))
	exits(t, w1, 0)
	must(t, g1.Signal(sigterm))
	exits(t, g1, 0)
	for _, p := range []*testbed.Process{r1, r2, g1, g2, w1, w2} {
		if strings.Contains(strings.ToLower(p.Log()), "permissions violation") {
			t.Errorf("%s tried what it may not:\n%s", p.Name, p.Log())
		}
	}
}

// An observer cannot have a gateway or a register say what it may not say
// itself, by asking with a reply subject of its choice.
func TestNobodySpeaksForAnObserver(t *testing.T) {
	t.Parallel()
	cluster := testbed.NewCluster(t, 1, "secret="+clusterSecret)
	r, g, w := cluster.Register(0), cluster.Gateway("g1"), cluster.Worker("w1")
	must(t, testbed.WaitReady(soon(t), r, g, w))
	c := dial(t, ws(t, g))
	echoes(t, c, "hello")
	for _, url := range []string{"nats://" + addr(t, g, "bus"), cluster.URLs()} {
		observer := as(t, url, clusterSecret, keys.RoleObserver)
		for _, asks := range []string{"gw.g1.do.count", "reg.members", "reg.stats.gateway.g1", "reg.stats.worker.w1"} {
			for _, reply := range []string{"gw.g1.push.all", "gw.all.push.all", "gw.g1.in.default.text"} {
				must(t, observer.PublishRequest(asks, reply, []byte(`{"of":"clients"}`)))
			}
		}
		must(t, observer.FlushTimeout(testbed.Patience))
	}
	awaitStats(t, g, "a bad request", func(s gateway.Stats) bool { return s.BadRequest > 0 })
	echoes(t, c, "nothing was pushed in between")
	must(t, c.SetReadDeadline(time.Now().Add(100*time.Millisecond)))
	if _, data, err := c.ReadMessage(); err == nil {
		t.Errorf("the client was pushed %s", data)
	}
	if s := workerStats(t, w); s.Handled > 3 { // open, and two frames
		t.Errorf("the worker handled %d events", s.Handled)
	}
}

// A stolen key of a worker is no gateway's: what it says of one is not heard.
func TestAWorkersKeyIsNoGateways(t *testing.T) {
	t.Parallel()
	cluster := testbed.NewCluster(t, 1, "secret="+clusterSecret)
	r, g, w := cluster.Register(0), cluster.Gateway("g1"), cluster.Worker("w1")
	must(t, testbed.WaitReady(soon(t), r, g, w))
	quiet := nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})
	thief := as(t, cluster.URLs(), clusterSecret, keys.RoleWorker, quiet)
	must(t, thief.Publish("reg.announce.gateway", []byte(`{"role":"gateway","name":"evil","epoch":"zz","address":"127.0.0.1:1","group":"default"}`)))
	must(t, thief.Publish("reg.leave.gateway", []byte(`{"role":"gateway","name":"g1"}`)))
	must(t, thief.FlushTimeout(testbed.Patience))
	if err := thief.LastError(); err == nil || !strings.Contains(err.Error(), "reg.leave.gateway") {
		t.Errorf("the register says %v", err)
	}
	onBus := as(t, "nats://"+addr(t, g, "bus"), clusterSecret, keys.RoleWorker, quiet)
	must(t, onBus.Publish("gw.g1.in.default.text", []byte("not from a client")))
	must(t, onBus.FlushTimeout(testbed.Patience))
	c := dial(t, ws(t, g))
	echoes(t, c, "hello")
	if s := workerStats(t, w); s.Handled != 2 || s.Links != 1 { // open and text
		t.Errorf("the worker has %d links and handled %d events", s.Links, s.Handled)
	}
	must(t, c.WriteControl(websocket.CloseMessage, nil, time.Now().Add(testbed.Patience)))
}
