package embedded_test

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/gatebus/gatebus/embedded"
	"github.com/gatebus/gatebus/internal/keys"
)

// member returns the membership of a register that listens for routes on addr.
func member(addr string, routes ...string) *embedded.Cluster {
	return &embedded.Cluster{Name: "test", Listen: addr, Routes: routes}
}

// reserve returns n addresses that were free a moment ago.
func reserve(t *testing.T, n int) []string {
	t.Helper()
	addrs := make([]string, n)
	for i := range addrs {
		l, err := net.Listen("tcp", loopback)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close() // only now, or the next one might be the same
		addrs[i] = l.Addr().String()
	}
	return addrs
}

// registers returns the configurations of three registers that list all of
// each other, on reserved route ports.
func registers(t *testing.T, k *keys.Keys) []embedded.Config {
	t.Helper()
	routes := reserve(t, 3)
	cfgs := make([]embedded.Config, len(routes))
	for i, addr := range routes {
		cfgs[i] = embedded.Config{
			Name:    fmt.Sprintf("r%d", i+1),
			Listen:  loopback,
			Keys:    k,
			Cluster: member(addr, routes...),
		}
	}
	return cfgs
}

// startCluster starts registers in the given order; the result is by number,
// not by order. It takes other ports if somebody took one meanwhile.
func startCluster(t *testing.T, k *keys.Keys, order []int) ([]*embedded.Server, []embedded.Config) {
	t.Helper()
next:
	for range 5 {
		cfgs := registers(t, k)
		servers := make([]*embedded.Server, len(cfgs))
		for _, i := range order {
			s, err := tryStart(t, cfgs[i])
			if errors.Is(err, embedded.ErrAddressInUse) {
				continue next
			}
			if err != nil {
				t.Fatal(err)
			}
			servers[i] = s
		}
		return servers, cfgs
	}
	t.Fatal("no free ports")
	return nil, nil
}

// workers connects to each server over TCP, as a role that may publish to inboxes
// and subscribe to them.
func workers(t *testing.T, k *keys.Keys, servers []*embedded.Server) []*nats.Conn {
	t.Helper()
	var opts []nats.Option
	if k != nil {
		opts = append(opts, as(k, keys.RoleWorker))
	}
	ncs := make([]*nats.Conn, len(servers))
	for i, s := range servers {
		ncs[i] = connect(t, s, opts...)
	}
	return ncs
}

// awaitMesh waits until a message from each connection reaches each one. There
// is no event for "interest has spread", so it publishes until it has.
func awaitMesh(t *testing.T, ncs []*nats.Conn) {
	t.Helper()
	for to, nc := range ncs {
		sub, err := nc.SubscribeSync(fmt.Sprintf("_INBOX.mesh.%d.*", to))
		if err != nil {
			t.Fatal(err)
		}
		flush(t, nc)
		defer sub.Unsubscribe()
		for from := range ncs {
			deadline := time.Now().Add(patience)
			subject := fmt.Sprintf("_INBOX.mesh.%d.%d", to, from)
			for heard := false; !heard; {
				if time.Now().After(deadline) {
					t.Fatalf("nothing from r%d reached r%d within %v", from+1, to+1, patience)
				}
				publish(t, ncs[from], subject, "")
				flush(t, ncs[from])
				m, err := sub.NextMsg(20 * time.Millisecond)
				heard = err == nil && m.Subject == subject
			}
		}
	}
}

func TestClusterAnyStartOrder(t *testing.T) {
	t.Parallel()
	for _, order := range [][]int{{0, 1, 2}, {2, 1, 0}, {1, 2, 0}} {
		t.Run(fmt.Sprint(order), func(t *testing.T) {
			t.Parallel()
			servers, _ := startCluster(t, nil, order)
			awaitMesh(t, workers(t, nil, servers))
		})
	}
}

func TestClusterMemberRestarts(t *testing.T) {
	t.Parallel()
	k := derive(t, "0123456789abcdef")
	servers, cfgs := startCluster(t, k, []int{0, 1, 2})
	awaitMesh(t, workers(t, k, servers))

	stop(t, servers[1])
	rest := []*embedded.Server{servers[0], servers[2]}
	awaitMesh(t, workers(t, k, rest)) // two go on without the third

	// The same ports again, of routes and of clients.
	cfgs[1].Listen = servers[1].Addr()
	again, err := tryStart(t, cfgs[1])
	if err != nil {
		t.Fatal(err)
	}
	awaitMesh(t, workers(t, k, []*embedded.Server{servers[0], again, servers[2]}))
}

// Members that are not listed are found through those that are.
func TestClusterGossip(t *testing.T) {
	t.Parallel()
	first := start(t, embedded.Config{Name: "r1", Listen: loopback, Cluster: member(loopback)})
	servers := []*embedded.Server{first}
	for i := range 2 {
		servers = append(servers, start(t, embedded.Config{
			Name:    fmt.Sprintf("r%d", i+2),
			Listen:  loopback,
			Cluster: member(loopback, first.ClusterAddr()),
		}))
	}
	awaitMesh(t, workers(t, nil, servers))

	// Without the one that all know, the others are still linked.
	stop(t, first)
	awaitMesh(t, workers(t, nil, servers[1:]))
}

// A client of a register learns of the other registers as they advertise
// themselves; a client of a bus learns of nobody.
func TestAdvertise(t *testing.T) {
	t.Parallel()
	first := start(t, embedded.Config{
		Name: "r1", Listen: loopback, Advertise: "r1.example:4222", Cluster: member(loopback),
	})
	second := start(t, embedded.Config{
		Name: "r2", Listen: loopback, Advertise: "r2.example:0", Cluster: member(loopback, first.ClusterAddr()),
	})
	awaitMesh(t, workers(t, nil, []*embedded.Server{first, second}))
	got := connect(t, first).DiscoveredServers()
	if want := second.ClientURL(); !slices.Contains(got, want) {
		t.Errorf("discovered %q, want %q among them", got, want)
	}
	if got := connect(t, start(t, bus())).DiscoveredServers(); len(got) != 0 {
		t.Errorf("a client of a bus discovered %q", got)
	}
}

func TestWrongSecretOnRoutes(t *testing.T) {
	t.Parallel()
	log, logged := lines()
	right := derive(t, "the right secret")
	first := start(t, embedded.Config{
		Name: "r1", Listen: loopback, Keys: right, Cluster: member(loopback), Log: log,
	})
	for name, k := range map[string]*keys.Keys{"wrong": derive(t, "the wrong secret"), "none": nil} {
		stranger := start(t, embedded.Config{
			Name: "r2", Listen: loopback, Keys: k, Cluster: member(loopback, first.ClusterAddr()),
		})
		await(t, "refusal of secret "+name, logged, containing("level=WARN", "authentication error"))
		if n := first.NumRoutes(); n != 0 {
			t.Errorf("secret %s: %d routes", name, n)
		}
		stop(t, stranger)
	}
	friend := start(t, embedded.Config{
		Name: "r3", Listen: loopback, Keys: right, Cluster: member(loopback, first.ClusterAddr()),
	})
	awaitMesh(t, workers(t, right, []*embedded.Server{first, friend}))
}

// While a secret is being replaced, members that use the old one and such that
// use the new one are one cluster, whoever dials whom.
func TestRoutesWhileASecretIsReplaced(t *testing.T) {
	t.Parallel()
	older, newer := derive(t, "the older secret"), derive(t, "the newer secret")
	first := start(t, embedded.Config{
		Name: "r1", Listen: loopback, Keys: older, Accept: []*keys.Keys{newer}, Cluster: member(loopback),
	})
	second := start(t, embedded.Config{
		Name: "r2", Listen: loopback, Keys: newer, Accept: []*keys.Keys{older, newer}, Cluster: member(loopback, first.ClusterAddr()),
	})
	// It finds the second through the first, and dials it.
	third := start(t, embedded.Config{
		Name: "r3", Listen: loopback, Keys: older, Accept: []*keys.Keys{newer}, Cluster: member(loopback, first.ClusterAddr()),
	})
	all := []*embedded.Server{first, second, third}
	awaitMesh(t, workers(t, older, all))
	awaitMesh(t, workers(t, newer, all))
	events := watch(t, first)
	connect(t, first, nats.Name("w"), as(newer, keys.RoleWorker))
	ev := await(t, "connect", events, client("w", embedded.ClientConnected))
	if ev.Role != keys.RoleWorker || ev.User != newer.Public(keys.RoleWorker) {
		t.Errorf("a worker with the newer secret is reported as %+v", ev)
	}
	refused(t, first, "a third secret", as(derive(t, "some other secret"), keys.RoleWorker))
}
