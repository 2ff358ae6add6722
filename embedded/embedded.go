// Package embedded runs a NATS server inside the process. It is the only
// package of gatebus that knows nats-server; the others speak NATS through
// nats.go, in process or over TCP.
//
// There are two uses. A [Server] with a [Cluster] is a register: one member of
// a cluster, linked to the others by routes. A Server without is a bus: it
// stands alone and belongs to one gateway. Both are core NATS: no JetStream, no
// disk, no HTTP port. What they hold is gone when they stop.
//
// # Delivery
//
// A message goes to those who are subscribed when it arrives, in the order of
// its publisher's connection, at most once. A publisher is never made to wait
// for a slow subscriber: a subscriber that has 8 MB waiting, or takes nothing
// for 2 s, is disconnected, and what waited for it is lost. A connection whose
// peer is silent is closed: after about 3 s on a bus (1 s pings, two unanswered),
// about 15 s on a register (5 s pings).
//
// Within a cluster a message takes at most one hop: every register is linked to
// every other. A register that joins learns the interest of the others within
// milliseconds after its route is up; lost routes are dialed again about every
// second, for ever.
//
// # Who may connect
//
// With Keys, a client must sign as one of the users of [keys.Roles] and a
// route must show the password derived from the same secret, or from one that is
// accepted beside it. A user may publish and subscribe to what its role needs
// (permissions.go has the list) and nothing else; the role that runs the server,
// a gateway on its bus and a register on its own server, can only be had in
// process. [Server.SetSecrets] changes the keys while the server runs, and ends the
// connections of those whose key is not accepted any more. Without Keys
// everybody may connect, but only without credentials: a client that brings
// some is configured for another installation and is refused. In process or
// over TCP makes no difference.
//
// With TLS, who speaks none is refused, before it could show anything.
// Connections in process need none.
//
// All clients live in one NATS account, [Account]. The system account ($SYS) is
// open only to a key pair which the Server makes at each boot and shows to
// nobody, and only in process. Clients can still ask the server about their own
// account and their own user ($SYS.REQ.ACCOUNT.PING.CONNZ, $SYS.REQ.USER.INFO):
// NATS gives that to every account.
package embedded

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"
)

// Account is the NATS account of all clients.
const Account = "gatebus"

var (
	// ErrAddressInUse says that another socket has the address of a listener.
	ErrAddressInUse = errors.New("address already in use")
	// ErrNotRunning says that the server was not started yet, or was stopped.
	ErrNotRunning = errors.New("server is not running")
)

// Server is one NATS server. It runs once: New, Start, Stop. All methods are
// safe for concurrent use.
type Server struct {
	// Set by New.
	cfg       Config
	name      string
	log       *slog.Logger
	system    nkeys.KeyPair  // user of $SYS, for this process alone
	anonymous string         // public nkey of clients without credentials
	auth      *authenticator // nil: everybody may connect

	// Canceled by Stop; ends watchers and a Start under way.
	ctx    context.Context
	cancel context.CancelCauseFunc
	// Closed when nothing of the server runs any more.
	done chan struct{}

	mu       sync.Mutex // guards the keys and the TLS of routes in cfg, too
	state    state
	nats     *server.Server // while running
	addr     string         // kept after Stop
	cluster  string         // kept after Stop
	watchers sync.WaitGroup // Add only while running
}

type state int

const (
	created state = iota
	starting
	running
	stopping
	stopped
)

// New checks cfg and returns a Server that is not started. It opens nothing.
func New(cfg Config) (*Server, error) {
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("embedded: %w", err)
	}
	cfg.setDefaults()
	system, err := nkeys.CreateUser()
	if err != nil {
		return nil, fmt.Errorf("embedded: system user: %w", err)
	}
	anonymous, err := anonymousUser()
	if err != nil {
		return nil, fmt.Errorf("embedded: anonymous user: %w", err)
	}
	// Routes tell servers apart by name, and a peer may still hold the route of
	// the previous boot when the next one dials.
	name := cfg.Name + "-" + strings.ToLower(rand.Text()[:10])
	ctx, cancel := context.WithCancelCause(context.Background())
	s := &Server{
		cfg:       cfg,
		name:      name,
		log:       cfg.Log.With("server", name),
		system:    system,
		anonymous: anonymous,
		ctx:       ctx,
		cancel:    cancel,
		done:      make(chan struct{}),
	}
	if s.auth, err = s.newAuthenticator(); err != nil {
		return nil, fmt.Errorf("embedded: keys: %w", err)
	}
	return s, nil
}

// anonymousUser makes up the nkey that stands for clients without credentials.
// Nobody signs with it, so its private half is not kept.
func anonymousUser() (string, error) {
	pair, err := nkeys.CreateUser()
	if err != nil {
		return "", err
	}
	return pair.PublicKey()
}

// Name returns the server's name in NATS: Config.Name and a suffix that is
// unique to this boot.
func (s *Server) Name() string { return s.name }

// Addr returns the address on which clients are accepted, with the real port
// if port 0 was asked for. It is empty before Start and stays after Stop.
func (s *Server) Addr() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.addr
}

// ClusterAddr is like Addr for routes. It is empty for a bus.
func (s *Server) ClusterAddr() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cluster
}

// ClientURL returns the URL under which others reach the server: that of
// Config.Advertise or else of Addr. It is empty before Start.
func (s *Server) ClientURL() string {
	addr := s.Addr()
	if addr == "" {
		return ""
	}
	if s.cfg.Advertise != "" {
		host, port, _ := splitAddr(s.cfg.Advertise) // validated by New
		if port == 0 {
			_, port, _ = splitAddr(addr)
		}
		addr = net.JoinHostPort(host, strconv.Itoa(port))
	}
	return "nats://" + addr
}

// running returns the NATS server if there is one to talk to.
func (s *Server) running() (*server.Server, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != running {
		return nil, fmt.Errorf("embedded: %w", ErrNotRunning)
	}
	return s.nats, nil
}
