package chaos

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gatebus/gatebus/internal/testbed"
)

// drain is how long a gateway takes to close its clients when it stops; short, as
// it is stopped often.
const drain = 2 * time.Second

// cluster is the processes and where they listen.
type cluster struct {
	net   *network // nil: all on loopback
	nodes []*node  // registers, gateways, workers
	doors []door
	// bus is the proxy before the bus of the last gateway.
	bus *proxy
}

// binaries are what runs.
type binaries struct {
	gatebus, worker string
	clock           bool // both take their clock's error from a file
}

// clockEnv names the environment variable with that file. gatebus ignores
// variables that begin with GATEBUS_TEST_.
const clockEnv = "GATEBUS_TEST_CLOCK"

// layOut decides on all addresses and command lines, and starts the proxies.
func layOut(shape Shape, h *history, n *network, bin binaries, dir, logs string) (_ *cluster, err error) {
	c := &cluster{net: n}
	defer func() {
		if err != nil {
			c.stopProxies()
		}
	}()
	secret := rand.Text()
	l := &layout{net: n, hosts: map[string]string{}}
	registers := l.each(shape.of('r'), 4222)
	routes := l.each(shape.of('r'), 6222)
	set := func(name, role string, kvs ...string) []string {
		args := []string{bin.gatebus, role}
		for _, kv := range append([]string{
			"registers=nats://" + strings.Join(registers, ",nats://"),
			"secret=" + secret, "insecure=true", // for the admin listener, which the harness reads
			"admin.listen=" + l.admin(name),
		}, kvs...) {
			args = append(args, "--set", kv)
		}
		return l.on(name, args)
	}
	add := func(name string, args func(life int) []string) {
		n := &node{name: name, role: name[0], args: args, log: filepath.Join(logs, name+".log"), admin: l.admin(name), history: h}
		if bin.clock {
			n.env = []string{clockEnv + "=" + clockFile(dir, name)}
		}
		c.nodes = append(c.nodes, n)
	}
	always := func(args []string) func(int) []string { return func(int) []string { return args } }
	for i, name := range shape.of('r') {
		add(name, always(set(name, "register", "register.name="+name, "register.listen="+registers[i],
			"register.cluster.listen="+routes[i], "register.cluster.routes="+strings.Join(routes, ","))))
	}
	clients, buses := l.each(shape.of('g'), clientsPort), l.each(shape.of('g'), 8300)
	for i, name := range shape.of('g') {
		kvs := []string{"gateway.name=" + name, "gateway.listen=" + clients[i], "gateway.bus.listen=" + buses[i], "gateway.drain=" + drain.String()}
		if i == shape.Gateways-1 {
			front := l.front()
			_, port, err := net.SplitHostPort(buses[i])
			if err == nil {
				c.bus, err = startProxy("bus", net.JoinHostPort(front, port), buses[i])
			}
			if err != nil {
				return c, err
			}
			kvs = append(kvs, "advertise="+front)
		}
		add(name, always(set(name, "gateway", kvs...)))
		d := door{name: name, addr: clients[i]}
		if d.proxy, err = startProxy(name, "127.0.0.1:0", clients[i]); err != nil {
			return c, err
		}
		if d.fragile, err = startProxy(name+" fragile", "127.0.0.1:0", clients[i]); err != nil {
			d.proxy.stop()
			return c, err
		}
		c.doors = append(c.doors, d)
	}
	for _, name := range shape.of('w') {
		add(name, func(life int) []string {
			return l.on(name, []string{
				bin.worker, "-name", name, "-registers", "nats://" + strings.Join(registers, ",nats://"), "-secret", secret,
				"-record", filepath.Join(dir, "records", name+"."+strconv.Itoa(life)), "-admin", l.admin(name),
			})
		})
	}
	return c, l.err
}

// layout gives out addresses.
type layout struct {
	net    *network
	hosts  map[string]string // on loopback, by name
	admins map[string]string
	err    error
}

func (l *layout) host(name string) string {
	if l.net != nil {
		return l.net.hosts[name]
	}
	h, ok := l.hosts[name]
	if !ok {
		h = testbed.Host(100 + len(l.hosts))
		l.hosts[name] = h
	}
	return h
}

// each are addresses for one listener of each of these, with this port where each
// has a host of its own.
func (l *layout) each(names []string, port int) []string {
	addrs := make([]string, len(names))
	for i, name := range names {
		addrs[i] = l.addr(name, port)
	}
	return addrs
}

func (l *layout) addr(name string, port int) string {
	if l.net != nil {
		return net.JoinHostPort(l.host(name), strconv.Itoa(port))
	}
	addr, err := testbed.FreeAddr(l.host(name))
	l.err = errors.Join(l.err, err)
	return addr
}

func (l *layout) admin(name string) string {
	if l.admins == nil {
		l.admins = map[string]string{}
	}
	if l.admins[name] == "" {
		l.admins[name] = l.addr(name, 8280)
	}
	return l.admins[name]
}

// front is the host of the proxy before a bus.
func (l *layout) front() string {
	if l.net != nil {
		return l.net.hosts[Clients]
	}
	return testbed.Host(99)
}

// on is a command line on a host.
func (l *layout) on(name string, args []string) []string {
	if l.net == nil {
		return args
	}
	return l.net.command(name, args)
}

func (c *cluster) node(name string) *node {
	return c.nodes[slices.IndexFunc(c.nodes, func(n *node) bool { return n.name == name })]
}

func (c *cluster) door(name string) *door {
	return &c.doors[slices.IndexFunc(c.doors, func(d door) bool { return d.name == name })]
}

// proxy is the one that the fault is about.
func (c *cluster) proxy(f Fault) *proxy {
	if f.actsOnBus() {
		return c.bus
	}
	return c.door(f.Targets[0]).proxy
}

// start starts all nodes and waits until they do their work.
func (c *cluster) start(ctx context.Context) error {
	for _, n := range c.nodes {
		if err := n.start(); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, readyPatience, fmt.Errorf("not within %v", readyPatience))
	defer cancel()
	for _, n := range c.nodes {
		if err := testbed.Poll(ctx, func() error { return c.works(ctx, n) }); err != nil {
			return fmt.Errorf("%w\n%s", err, tail(n.log, 15))
		}
	}
	return nil
}

// works tells whether a node is ready, and if it is a worker, linked to all
// gateways.
func (c *cluster) works(ctx context.Context, n *node) error {
	if err := n.isReady(ctx); err != nil || n.role != 'w' {
		return err
	}
	f, err := n.stats(ctx)
	if err == nil && f.Worker.Links < len(c.doors) {
		err = fmt.Errorf("chaos: %s is linked to %d gateways of %d", n.name, f.Worker.Links, len(c.doors))
	}
	return err
}

// stop ends all nodes orderly: first the workers, so that their last records are
// those of their stop.
func (c *cluster) stop() {
	for _, n := range slices.Backward(c.nodes) {
		if p := n.now.Load(); p != nil {
			n.stop()
		}
	}
}

// kill ends all that is still there.
func (c *cluster) kill() {
	for _, n := range c.nodes {
		if p := n.now.Load(); p != nil {
			p.expected.Store(true)
			_ = p.cmd.Process.Kill() // it has ended
			<-p.done
		}
	}
}

func (c *cluster) stopProxies() {
	for _, d := range c.doors {
		d.proxy.stop()
		d.fragile.stop()
	}
	if c.bus != nil {
		c.bus.stop()
	}
}
