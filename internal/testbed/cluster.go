package testbed

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
)

// Cluster is what the processes of one gatebus have in common. All of them
// listen on addresses of their own; a gateway's "drain" is short.
type Cluster struct {
	// Registers are the addresses of the registers for NATS clients.
	Registers []string
	// Set are the key=value pairs that every process is given.
	Set []string
	// File is the configuration file that every process is given; empty means none.
	File string

	// Env are the NAME=VALUE pairs that processes which are started from now on have in
	// their environment, and Path is their program; empty means gatebus.
	Env  []string
	Path string

	tb     TB
	routes []string
	hosts  int
}

// Secret is that of every cluster that is not given one: none, unless the variable
// GATEBUS_TEST_SECRET has one, for all tests to be run with a secret.
var Secret = os.Getenv("GATEBUS_TEST_SECRET")

// NewCluster lays out a cluster of so many registers. With none, there is an
// address in Registers all the same, where nobody answers until Register(0) is
// started. Nothing is started yet.
func NewCluster(tb TB, registers int, set ...string) *Cluster {
	tb.Helper()
	c := &Cluster{tb: tb, Set: set}
	hasSecret := func(kv string) bool { return strings.HasPrefix(kv, "secret=") || strings.HasPrefix(kv, "secret_file=") }
	if Secret != "" && !slices.ContainsFunc(set, hasSecret) {
		c.Set = append([]string{"secret=" + Secret}, set...)
	}
	for i := range max(registers, 1) {
		host := Host(1 + i)
		c.Registers = append(c.Registers, MustFreeAddr(tb, host))
		c.routes = append(c.routes, MustFreeAddr(tb, host))
	}
	c.hosts = len(c.Registers)
	return c
}

// URLs are the registers as a NATS client connects to them, separated by
// commas.
func (c *Cluster) URLs() string {
	urls := make([]string, len(c.Registers))
	for i, r := range c.Registers {
		urls[i] = "nats://" + r
	}
	return strings.Join(urls, ",")
}

// Register starts the i-th register, named r1, r2, ….
func (c *Cluster) Register(i int, set ...string) *Process {
	c.tb.Helper()
	name := fmt.Sprintf("r%d", i+1)
	return c.start(name, "register", append([]string{
		"register.name=" + name,
		"register.listen=" + c.Registers[i],
		"register.cluster.listen=" + c.routes[i],
		"register.cluster.routes=" + strings.Join(c.routes, ","),
	}, set...))
}

// Gateway starts a gateway. It is ready without a worker, for tests start that later or
// have one of another kind.
func (c *Cluster) Gateway(name string, set ...string) *Process {
	c.tb.Helper()
	host := c.host()
	return c.start(name, "gateway", append([]string{
		"gateway.name=" + name,
		"gateway.listen=" + MustFreeAddr(c.tb, host),
		"gateway.bus.listen=" + MustFreeAddr(c.tb, host),
		"gateway.drain=200ms",
	}, set...))
}

// Worker starts a worker that echoes.
func (c *Cluster) Worker(name string, set ...string) *Process {
	c.tb.Helper()
	return c.start(name, "worker", append([]string{
		"worker.name=" + name,
		"worker.handler.type=echo",
	}, set...))
}

func (c *Cluster) host() string {
	c.hosts++
	return Host(c.hosts)
}

func (c *Cluster) start(name, role string, set []string) *Process {
	c.tb.Helper()
	args := []string{role}
	if c.File != "" {
		args = append(args, "-c", c.File)
	}
	common := []string{"registers=" + c.URLs(), "admin.listen=" + MustFreeAddr(c.tb, Host(250)), "admin.ready_without=workers"}
	for _, kv := range append(append(common, c.Set...), set...) {
		args = append(args, "--set", kv)
	}
	return Start(c.tb, Spec{Name: name, Path: c.Path, Args: args, Env: c.Env})
}

// WaitReady waits until all of these processes do their work.
func WaitReady(ctx context.Context, processes ...*Process) error {
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		first error
	)
	for _, p := range processes {
		wg.Go(func() {
			if err := p.WaitReady(ctx); err != nil {
				mu.Lock()
				defer mu.Unlock()
				if first == nil {
					first = err
				}
			}
		})
	}
	wg.Wait()
	return first
}
