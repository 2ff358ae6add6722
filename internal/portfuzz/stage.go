package portfuzz

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/internal/keys"
	"github.com/gatebus/gatebus/internal/testbed"
)

// dialer connects.
type dialer func(context.Context) (net.Conn, error)

func tcp(addr string) dialer { return over("tcp", addr) }

func over(network, addr string) dialer {
	return func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, addr)
	}
}

// door is a listener for clients of front, or of wild.
type door struct {
	name, network, addr string
	protocol            string
	tls, proxied        bool
	paths               []string // that actors ask for
	guests              bool     // whether somebody behaves there
}

// bare connects and says nothing.
func (at door) bare() dialer { return over(at.network, at.addr) }

// dial connects and does what stands before the protocol.
func (at door) dial(ctx context.Context) (net.Conn, error) {
	c, err := at.bare()(ctx)
	if err != nil {
		return nil, err
	}
	if at.proxied {
		if deadline, ok := ctx.Deadline(); ok {
			_ = c.SetDeadline(deadline) // fails on a closed connection only
		}
		if _, err := c.Write([]byte(goodProxyHeader)); err != nil {
			c.Close()
			return nil, err
		}
	}
	if !at.tls {
		return c, nil
	}
	t := tls.Client(c, &tls.Config{InsecureSkipVerify: true}) // who listens there is known
	if err := t.HandshakeContext(ctx); err != nil {
		c.Close()
		return nil, err
	}
	return t, nil
}

// natsPort is where a NATS server listens for clients.
type natsPort struct {
	name, addr string
	gateway    bus.GatewayID // "": of a register
	roles      []keys.Role   // that get in
}

// stage is the gatebus that is fuzzed, and where it can be reached.
type stage struct {
	secret, token string
	keys          *keys.Keys
	cluster       *testbed.Cluster
	registers     []*testbed.Process
	gateways      []*testbed.Process
	workers       []*testbed.Process // and the API
	processes     []*testbed.Process // all of them
	doors         []door
	nats          []natsPort
	routes        []natsPort
	api           string            // host:port of the HTTP API
	admins        map[string]string // by the name of the process
}

// holdFor is shorter than by default: who is gone is forgotten sooner.
const holdFor = 5 * time.Second

// start starts it all and waits until everything works.
func start(ctx context.Context, tb testbed.TB) (*stage, error) {
	s := &stage{secret: rand.Text(), token: rand.Text(), admins: map[string]string{}}
	var err error
	if s.keys, err = keys.Derive(s.secret); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "gatebus-portfuzz-")
	if err != nil {
		return nil, fmt.Errorf("portfuzz: %w", err)
	}
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	s.cluster = testbed.NewCluster(tb, 2, "secret="+s.secret, "log.level=debug")
	s.registers = []*testbed.Process{s.cluster.Register(0), s.cluster.Register(1)}
	if err := s.startGateways(tb, dir); err != nil {
		return nil, err
	}
	s.workers = []*testbed.Process{s.cluster.Worker("w1"), s.cluster.Worker("w2"), s.startAPI(tb)}
	s.processes = slices.Concat(s.registers, s.gateways, s.workers)
	ctx, cancel := context.WithTimeoutCause(ctx, testbed.Patience, fmt.Errorf("not within %v", testbed.Patience))
	defer cancel()
	if err := testbed.WaitReady(ctx, s.processes...); err != nil {
		return nil, err
	}
	return s, s.find(ctx)
}

// startGateways starts front, which has every kind of listener, and wild.
func (s *stage) startGateways(tb testbed.TB, dir string) error {
	host := testbed.Host(100)
	authority := testbed.NewAuthority(tb, dir, "ca")
	cert, key := authority.Issue(tb, "front", time.Time{}, host)
	hmac := filepath.Join(dir, "hmac")
	if err := os.WriteFile(hmac, []byte(hex.EncodeToString([]byte(rand.Text()))), 0o600); err != nil {
		return fmt.Errorf("portfuzz: %w", err)
	}
	add := func(name, protocol string, change func(*door)) *door {
		at := door{name: "front/" + name, network: "tcp", protocol: protocol, guests: true}
		if protocol == "websocket" {
			at.paths = []string{"/", "/fuzz"}
		}
		if change(&at); at.network == "tcp" {
			at.addr = testbed.MustFreeAddr(tb, host)
		}
		s.doors = append(s.doors, at)
		return &s.doors[len(s.doors)-1]
	}
	plain := func(*door) {}
	withTLS := func(at *door) { at.tls = true }
	withProxy := func(at *door) { at.proxied = true }
	withUnix := func(at *door) { at.network, at.addr = "unix", filepath.Join(dir, "front.sock") }
	main := add("main", "websocket", plain).addr
	add("proxied", "websocket", withProxy)
	add("tls", "websocket", withTLS)
	add("text", "text", plain)
	add("frame", "frame", plain)
	add("raw", "raw", plain)
	add("unix", "frame", withUnix)
	add("text-tls", "text", withTLS)
	add("frame-proxied", "frame", withProxy)
	var listeners []string
	for _, at := range s.doors[1:] {
		l := fmt.Sprintf("{name: %s, listen: %q, protocol: %s", strings.TrimPrefix(at.name, "front/"), strings.TrimPrefix(at.network+":", "tcp:")+at.addr, at.protocol)
		if at.proxied {
			l += ", proxy_protocol: true"
		}
		if at.tls {
			l += fmt.Sprintf(", tls: {cert: %q, key: %q}", cert, key)
		}
		listeners = append(listeners, l+"}")
	}
	common := []string{
		"gateway.hold=" + holdFor.String(), "gateway.jwt.source=query token", "gateway.jwt.keys.hmac_file=" + hmac,
		"gateway.jwt.algorithms=HS256", "gateway.trusted_proxies=127.0.0.0/8,unix", "gateway.close_timeout=1s",
	}
	g1 := s.cluster.Gateway(string(front), append(common, "gateway.listen="+main, "gateway.paths=/fuzz="+group, "gateway.listeners=["+strings.Join(listeners, ", ")+"]")...)
	g2 := s.cluster.Gateway(string(wild), append(common, "gateway.routing=sticky", "gateway.limits.clients=200", "gateway.limits.frames_per_second=2000", "gateway.limits.buffered_bytes=8388608")...)
	s.gateways = []*testbed.Process{g1, g2}
	return nil
}

// startAPI starts a process that has the HTTP API and the dashboard.
func (s *stage) startAPI(tb testbed.TB) *testbed.Process {
	args := []string{"api"}
	for _, kv := range []string{
		"registers=" + s.cluster.URLs(), "secret=" + s.secret, "admin.listen=" + testbed.MustFreeAddr(tb, testbed.Host(250)),
		"api.tokens=" + s.token, "log.level=debug",
	} {
		args = append(args, "--set", kv)
	}
	return testbed.Start(tb, testbed.Spec{Name: "api", Args: args})
}

// find asks the processes where they listen.
func (s *stage) find(ctx context.Context) error {
	for _, p := range s.processes {
		addr, err := p.Addr(ctx, "admin")
		if err != nil {
			return err
		}
		s.admins[p.Name] = addr
	}
	s.api = s.admins["api"]
	outside := []keys.Role{keys.RoleWorker, keys.RoleApplication, keys.RoleObserver}
	for i, p := range s.registers {
		routes, err := p.Addr(ctx, "cluster")
		if err != nil {
			return err
		}
		s.nats = append(s.nats, natsPort{name: p.Name, addr: s.cluster.Registers[i], roles: append([]keys.Role{keys.RoleGateway}, outside...)})
		s.routes = append(s.routes, natsPort{name: p.Name + "-routes", addr: routes})
	}
	for i, p := range s.gateways {
		addr, err := p.Addr(ctx, "bus")
		if err != nil {
			return err
		}
		s.nats = append(s.nats, natsPort{name: p.Name + "-bus", addr: addr, gateway: []bus.GatewayID{front, wild}[i], roles: outside})
	}
	clients, err := s.gateways[1].Addr(ctx, "clients")
	s.doors = append(s.doors, door{name: "wild/main", network: "tcp", addr: clients, protocol: "websocket", paths: []string{"/"}})
	return err
}

// actors are all there are; of which those count that only names, by how their names begin.
func (s *stage) actors(only []string) (all []*actor) {
	for _, at := range s.doors {
		all = append(all, s.clientActors(at)...)
	}
	for name, addr := range s.admins {
		all = append(all, &actor{name: name + "/http", dial: tcp(addr), say: s.requests})
	}
	for _, at := range s.nats {
		all = append(all, s.roleActors(at)...)
	}
	for _, at := range s.routes {
		all = append(all,
			&actor{name: at.name + "/stranger", dial: tcp(at.addr), say: s.routeSays(false)},
			&actor{name: at.name + "/peer", dial: tcp(at.addr), say: s.routeSays(true)})
	}
	if len(only) == 0 {
		return all
	}
	var chosen []*actor
	for _, a := range all {
		for _, begin := range only {
			if strings.HasPrefix(a.name, begin) {
				chosen = append(chosen, a)
				break
			}
		}
	}
	return chosen
}
