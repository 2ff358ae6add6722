package chaos

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// network gives each process a host of its own: a network namespace, with a veth
// pair to a router, which is another namespace. The clients' host is the machine
// itself. Rules of nftables in the router cut hosts off from each other.
//
// Names hold the id of this process, so that several harnesses do not meet, and
// so that what one has left behind, because it was killed, can be told.
type network struct {
	router string
	hosts  map[string]string // addresses by name

	mu    sync.Mutex
	rules map[*cut]struct{}
}

// cut is a share of packets that is lost between two hosts.
type cut struct {
	a, b    string // names; b empty means everybody
	percent int
}

const (
	nsPrefix = "gbchaos-"
	// clientsPort is where gateways listen for clients: a cut of the clients' host
	// is one of this port only, as a proxy of the bus may be there too.
	clientsPort = 8282
)

// networkMissing says what is missing for a network; nil if nothing is.
func networkMissing() error {
	if os.Geteuid() != 0 {
		return errors.New("network namespaces need root")
	}
	for _, tool := range []string{"ip", "nft"} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("the command %s is not there", tool)
		}
	}
	probe := fmt.Sprintf("%s%d-probe", nsPrefix, os.Getpid())
	if err := run("", "ip", "netns", "add", probe); err != nil {
		return err
	}
	err := run("add table ip chaos", "ip", "netns", "exec", probe, "nft", "-f", "-")
	return errors.Join(err, run("", "ip", "netns", "del", probe))
}

// newNetwork makes the hosts with these names.
func newNetwork(names []string) (_ *network, err error) {
	sweepNetworks()
	pid := os.Getpid()
	n := &network{
		router: fmt.Sprintf("%s%d", nsPrefix, pid),
		hosts:  map[string]string{}, rules: map[*cut]struct{}{},
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.remove())
		}
	}()
	if err := run("", "ip", "netns", "add", n.router); err != nil {
		return nil, err
	}
	// A subnet of the range that is set aside for tests of networks (RFC 2544),
	// which no real network has.
	subnet := fmt.Sprintf("198.%d.%d", 18+pid/256%2, pid%256)
	link := linkName(pid)
	var inRouter, inRoot strings.Builder
	for i, name := range append([]string{Clients}, names...) {
		own, far := fmt.Sprintf("%s.%d", subnet, 4*i+2), fmt.Sprintf("%s.%d", subnet, 4*i+1)
		n.hosts[name] = own
		if name == Clients {
			fmt.Fprintf(&inRouter, "link set lo up\nlink add h0 type veth peer name %s netns %d\n", link, pid)
			fmt.Fprintf(&inRoot, "addr add %s/30 dev %s\nlink set %s up\nroute add %s.0/24 via %s\n", own, link, link, subnet, far)
		} else {
			if err := run("", "ip", "netns", "add", n.namespace(name)); err != nil {
				return nil, err
			}
			fmt.Fprintf(&inRouter, "link add h%d type veth peer name eth0 netns %s\n", i, n.namespace(name))
		}
		fmt.Fprintf(&inRouter, "addr add %s/30 dev h%d\nlink set h%d up\n", far, i, i)
	}
	if err := run(inRouter.String(), "ip", "-n", n.router, "-batch", "-"); err != nil {
		return nil, err
	}
	if err := run(inRoot.String(), "ip", "-batch", "-"); err != nil {
		return nil, err
	}
	for i, name := range names {
		batch := fmt.Sprintf("link set lo up\naddr add %s/30 dev eth0\nlink set eth0 up\nroute add default via %s.%d\n", n.hosts[name], subnet, 4*(i+1)+1)
		if err := run(batch, "ip", "-n", n.namespace(name), "-batch", "-"); err != nil {
			return nil, err
		}
	}
	return n, run("1", "ip", "netns", "exec", n.router, "tee", "/proc/sys/net/ipv4/ip_forward")
}

func (n *network) namespace(host string) string { return n.router + "-" + host }

// command is a command line that runs on a host. The process has the id that it
// is started with.
func (n *network) command(host string, args []string) []string {
	return append([]string{"ip", "netns", "exec", n.namespace(host)}, args...)
}

// lose begins to lose packets, and returns what ends it.
func (n *network) lose(c cut) (heal func() error, _ error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.rules[&c] = struct{}{}
	heal = func() error {
		n.mu.Lock()
		defer n.mu.Unlock()
		delete(n.rules, &c)
		return n.applyLocked()
	}
	return heal, n.applyLocked()
}

// applyLocked puts all rules in force at once.
func (n *network) applyLocked() error {
	var rules strings.Builder
	rules.WriteString("add table ip chaos\ndelete table ip chaos\ntable ip chaos {\nchain forward {\ntype filter hook forward priority 0\n")
	for c := range n.rules {
		lost := "drop"
		if c.percent < 100 {
			lost = fmt.Sprintf("numgen random mod 100 < %d drop", c.percent)
		}
		a := n.hosts[c.a]
		switch {
		case c.b == "":
			fmt.Fprintf(&rules, "ip saddr %s %s\nip daddr %s %s\n", a, lost, a, lost)
		case c.a == Clients:
			fmt.Fprintf(&rules, "ip saddr %s tcp sport %d %s\nip daddr %s tcp dport %d %s\n", n.hosts[c.b], clientsPort, lost, n.hosts[c.b], clientsPort, lost)
		default:
			b := n.hosts[c.b]
			fmt.Fprintf(&rules, "ip saddr %s ip daddr %s %s\nip saddr %s ip daddr %s %s\n", a, b, lost, b, a, lost)
		}
	}
	rules.WriteString("}\n}\n")
	return run(rules.String(), "ip", "netns", "exec", n.router, "nft", "-f", "-")
}

// remove takes all of it away.
func (n *network) remove() error {
	var errs []error
	// A namespace goes some time after it is deleted; a link at once, and the next
	// network of this process needs its name.
	if link := linkName(os.Getpid()); hasLink(link) {
		errs = append(errs, run("", "ip", "link", "del", link))
	}
	for name := range maps.Keys(n.hosts) {
		if name != Clients {
			errs = append(errs, deleteNamespace(n.namespace(name)))
		}
	}
	return errors.Join(append(errs, deleteNamespace(n.router))...)
}

func linkName(pid int) string { return fmt.Sprintf("gbc%d", pid) }

func hasLink(name string) bool {
	_, err := net.InterfaceByName(name)
	return err == nil
}

func deleteNamespace(name string) error {
	if !slices.Contains(namespaces(), name) {
		return nil
	}
	return run("", "ip", "netns", "del", name)
}

func namespaces() []string {
	out, err := exec.Command("ip", "netns", "list").Output()
	if err != nil {
		return nil
	}
	var names []string
	for line := range strings.Lines(string(out)) {
		name, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		names = append(names, name)
	}
	return names
}

// sweepNetworks removes what harnesses have left that are gone.
func sweepNetworks() {
	for _, name := range namespaces() {
		rest, ours := strings.CutPrefix(name, nsPrefix)
		pid, _, _ := strings.Cut(rest, "-")
		if ours && isGone(pid) {
			_ = run("", "ip", "netns", "del", name) // another harness may have been faster
		}
	}
}

// isGone tells whether no process has this id.
func isGone(pid string) bool {
	if _, err := strconv.Atoi(pid); err != nil {
		return false
	}
	_, err := os.Stat("/proc/" + pid)
	return errors.Is(err, os.ErrNotExist)
}

// run runs a command that is over quickly.
func run(stdin string, args ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Stdin = strings.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("chaos: %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
	return nil
}
