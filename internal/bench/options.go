package bench

import (
	"errors"
	"fmt"
	"math"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gatebus/gatebus/internal/bench/wsclient"
)

// Kind is a kind of load.
type Kind string

// The kinds of load.
const (
	Echo    Kind = "echo"
	Fanout  Kind = "fanout"
	Connect Kind = "connect"
	Idle    Kind = "idle"
)

// The scopes of a fan-out.
const (
	ScopeAll   = "all"
	ScopeGroup = "group"
	ScopeUID   = "uid"
)

// Options say what to measure. [DefaultOptions] names every default.
type Options struct {
	Kind Kind

	// URLs are where clients connect, ws:// or wss://, shared among them. None
	// means servers of the bench's own.
	URLs []string
	// PIDs are the processes of the server at URLs, whose CPU time and memory
	// are measured.
	PIDs []int
	// Set are KEY=VALUE pairs of the configuration of the bench's own servers.
	Set []string
	// Gateways is how many gateways the bench's own servers are, each a process.
	// From 1. Clients are shared among the first Holding of them; 0 means all.
	// Workers is how many echo (Echo). From 1.
	Gateways, Holding, Workers int
	// Baseline says to measure the raw server as well, Relayed that this is behind a
	// relay ([ServeRelay]) then (Echo).
	Baseline, Relayed bool
	// Rounds is how many times each side is measured. From 1.
	Rounds int
	// For is how long a round measures. From 100ms.
	For time.Duration
	// Warmup is how long the load runs before that.
	Warmup time.Duration

	// Clients is how many connections there are; of Connect, how many are
	// made at a time. From 1.
	Clients int
	// Size is the payload of a frame, in bytes: from MinSize to MaxSize.
	Size int
	// Window is how many frames of a client are unanswered (Echo). From 1.
	Window int
	// Rate is how many frames a second are due, of all clients together (Echo);
	// 0 means a closed loop.
	Rate float64

	// Scope is whom pushes go to (Fanout): all, or one group or uid that all
	// members have.
	Scope string
	// SDK says to push as a worker of the SDK does, which knows where uids and
	// groups are, and not to every gateway (Fanout, with servers of the bench).
	SDK bool
	// InFlight is how many pushes are under way (Fanout). From 1.
	InFlight int
	// Bus is the NATS URL of the bus of the gateway at URLs, and Gateway its
	// name (Fanout).
	Bus, Gateway string
	// Register is the NATS URL of a register; pushes go there, and so to every
	// gateway, if it is set (Fanout).
	Register string
	// Group is the worker group in which the bench is the worker that lets
	// members in, for the scopes group and uid (Fanout).
	Group string

	// Settle is how long servers may give memory back before it is measured
	// (Idle).
	Settle time.Duration

	// Program is the gatebus binary that own servers are processes of.
	Program string
	// Show is called, from one goroutine, with how far it is; nil is fine.
	Show func(Status)
}

// The limits of options.
const (
	maxClients  = 200_000
	maxInFlight = 1024
	maxServers  = 64
	// maxUnanswered bounds the bytes that one client may have unanswered:
	// more than the buffers of two sockets could stop both sides for ever.
	maxUnanswered = 256 << 10
	minFor        = 100 * time.Millisecond
)

// DefaultOptions is the one place where the defaults stand.
func DefaultOptions(k Kind) Options {
	o := Options{
		Kind: k, Rounds: 3, For: 10 * time.Second, Warmup: 2 * time.Second,
		Clients: 500, Size: 128, Window: 1,
		Scope: ScopeAll, InFlight: 1, Gateway: "g1", Group: "default",
		Settle: 30 * time.Second, Gateways: 1, Workers: 1,
	}
	switch k {
	case Fanout:
		o.Clients = 1000
	case Connect:
		o.Clients = 50
	case Idle:
		o.Clients, o.Rounds, o.For, o.Warmup = 15_000, 1, 30*time.Second, 0
	}
	return o
}

// Validate names everything that is wrong, one error an option.
func (o *Options) Validate() error {
	var errs []error
	bad := func(name, format string, args ...any) {
		errs = append(errs, fmt.Errorf(name+": "+format, args...))
	}
	for _, n := range []struct {
		name       string
		value, max int
	}{
		{"clients", o.Clients, maxClients},
		{"window", o.Window, math.MaxInt},
		{"in-flight", o.InFlight, maxInFlight},
		{"rounds", o.Rounds, 1000},
		{"gateways", o.Gateways, maxServers},
		{"workers", o.Workers, maxServers},
	} {
		if n.value < 1 || n.value > n.max {
			bad(n.name, "%d is out of range; from 1 to %d", n.value, n.max)
		}
	}
	if o.Holding < 0 || o.Holding > o.Gateways {
		bad("holding", "%d is out of range; from 0, all of them, to the number of gateways", o.Holding)
	}
	if err := checkSize(o.Size); err != nil {
		errs = append(errs, err)
	} else if o.Kind == Echo && o.Window > 1 && o.Window > maxUnanswered/o.Size {
		bad("window", "%d frames of %d bytes are more than the %d bytes that one client may have unanswered", o.Window, o.Size, maxUnanswered)
	}
	if o.For < minFor {
		bad("for", "%v is too short; from %v", o.For, minFor)
	}
	if o.Warmup < 0 || o.Settle < 0 {
		bad("warmup, settle", "a time is not negative")
	}
	if o.Rate < 0 || o.Rate > 1e7 || math.IsNaN(o.Rate) {
		bad("rate", "%v is out of range; from 0, a closed loop, to 10000000", o.Rate)
	}
	if o.Rate > 0 && o.Window > 1 {
		bad("rate", "an open loop has no window; give one of the two")
	}
	if o.Relayed && (!o.Baseline || o.Kind != Echo) {
		bad("relayed", "it is for the baseline of an echo")
	}
	if !slices.Contains([]string{ScopeAll, ScopeGroup, ScopeUID}, o.Scope) {
		bad("scope", "%q: it is all, group or uid", o.Scope)
	}
	return errors.Join(append(errs, o.validateServer()...)...)
}

// validateServer checks what is said about the server to measure.
func (o *Options) validateServer() (errs []error) {
	bad := func(name, format string, args ...any) {
		errs = append(errs, fmt.Errorf(name+": "+format, args...))
	}
	for _, u := range o.URLs {
		if _, err := wsclient.ParseURL(u); err != nil {
			bad("url", "%w", err)
		}
	}
	for _, n := range []struct{ name, url string }{{"bus", o.Bus}, {"register", o.Register}} {
		u, err := url.Parse(n.url)
		if n.url != "" && (err != nil || u.Host == "" || u.Scheme != "nats" && u.Scheme != "tls") {
			bad(n.name, "%q is no NATS URL; write nats://host:port", n.url)
		}
	}
	for _, s := range o.Set {
		if !strings.Contains(s, "=") {
			bad("set", "%q is not KEY=VALUE", s)
		}
	}
	own := len(o.URLs) == 0
	switch {
	case own && len(o.PIDs) > 0:
		bad("pid", "it goes with url; the servers of the bench are measured anyway")
	case own && (o.Bus != "" || o.Register != ""):
		bad("bus, register", "they go with url")
	case !own && o.SDK:
		bad("sdk", "it is for the servers of the bench, and url names another")
	case !own && (o.Gateways > 1 || o.Workers > 1):
		bad("gateways, workers", "they are for the servers of the bench, and url names another")
	case !own && len(o.Set) > 0:
		bad("set", "it is for the servers of the bench, and url names another")
	case !own && o.Kind == Idle && o.Rounds > 1:
		bad("rounds", "a server has less memory to take the second time; measure idle connections once, or without url")
	case !own && o.Kind == Fanout && o.Scope != ScopeAll && o.Bus == "":
		bad("bus", "give the NATS URL of the gateway's bus: the bench is the worker there that puts members into a %s", o.Scope)
	case !own && o.Kind == Fanout && o.Bus == "" && o.Register == "":
		bad("bus", "give the NATS URL of the gateway's bus or of a register, where pushes go")
	}
	return errs
}

// holding is on how many gateways the clients are.
func (o *Options) holding() int {
	if o.Holding == 0 {
		return o.Gateways
	}
	return o.Holding
}

// connections is how many a server has at most.
func (o *Options) connections() int {
	if o.Relayed {
		return 2 * o.Clients // one on either side of the relay
	}
	return o.Clients
}

// Title says what the load is.
func (o *Options) Title() string {
	plural := func(n int, what string) string {
		if n == 1 {
			return "1 " + what
		}
		return fmt.Sprintf("%d %ss", n, what)
	}
	servers := ""
	if o.Gateways > 1 {
		servers = fmt.Sprintf(", %d gateways", o.Gateways)
		if h := o.holding(); h < o.Gateways {
			servers += fmt.Sprintf(" (clients at %d)", h)
		}
	}
	if o.Workers > 1 {
		servers += fmt.Sprintf(", %d workers", o.Workers)
	}
	if o.Relayed {
		servers += ", beside a relay"
	}
	switch o.Kind {
	case Fanout:
		if o.SDK {
			servers += ", by the SDK"
		}
		return fmt.Sprintf("Push to %s, %s, %d in flight, %d B%s", map[string]string{
			ScopeAll: "all", ScopeGroup: "a group", ScopeUID: "a uid",
		}[o.Scope], plural(o.Clients, "member"), o.InFlight, o.Size, servers)
	case Connect:
		return fmt.Sprintf("Connecting, %d at a time", o.Clients)
	case Idle:
		return plural(o.Clients, "idle connection")
	}
	if o.Rate > 0 {
		return fmt.Sprintf("Echo, %s, %g/s in all, %d B%s", plural(o.Clients, "client"), o.Rate, o.Size, servers)
	}
	return fmt.Sprintf("Echo, %s, %d in flight, %d B%s", plural(o.Clients, "client"), o.Window, o.Size, servers)
}

// Status is how far a bench is.
type Status struct {
	Title   string
	Side    string
	Round   int // from 1
	Rounds  int
	Phase   string // connecting, warming up, measuring, settling
	Elapsed time.Duration
	Total   time.Duration // of the phase; 0 if unknown
	Rate    float64       // a second, of what the load is about
	P50     time.Duration // 0 if unknown
	P99     time.Duration
}
