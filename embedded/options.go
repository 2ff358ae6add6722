package embedded

import (
	"net/url"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"

	"github.com/gatebus/gatebus/internal/keys"
)

const (
	pingInterval = 5 * time.Second
	// On a bus, a worker that is frozen or cut off must be off the queue group
	// before one event can come to it max_deliver times: by default that is
	// 5 × 2 s, and two pings that go unanswered take 3 s.
	busPingInterval = time.Second
	maxPingsOut     = 2
	writeDeadline   = 2 * time.Second
	// tlsTimeout is how long a peer may take for the handshake of TLS, and
	// then for saying who it is. By default it is 2 s, which a loaded machine
	// may need for itself.
	tlsTimeout = 5 * time.Second

	// closedClients is how many past connections NATS remembers for a
	// monitoring port that is not there. Its default is 10,000.
	closedClients = 64

	// errorReports is how many failed dials of a route, one about every
	// second, make one line in the log after the first.
	errorReports = 30
)

// options builds the options of NATS. They are built anew for each server,
// because NATS writes into them.
func (s *Server) options() (*server.Options, error) {
	host, port, err := listenOn(s.cfg.Listen)
	if err != nil {
		return nil, err
	}
	o := &server.Options{
		ServerName:      s.name,
		Host:            host,
		Port:            port,
		ClientAdvertise: s.cfg.Advertise,

		// NATS would end the process on SIGTERM and SIGINT; ending is ours.
		NoSigs: true,

		MaxPayload:       s.cfg.MaxPayload,
		MaxPending:       maxPending,
		WriteDeadline:    writeDeadline,
		PingInterval:     pingInterval,
		MaxPingsOut:      maxPingsOut,
		MaxClosedClients: closedClients,

		ConnectErrorReports:   errorReports,
		ReconnectErrorReports: errorReports,

		// By default the read loop of a publisher sleeps while a subscriber is
		// slow. The publisher on a bus is the whole gateway: one stuck worker
		// then costs all others about 90 times their throughput.
		NoFastProducerStall: true,
	}
	if s.cfg.TLS != nil {
		o.TLSConfig, o.TLSTimeout = s.cfg.TLS, tlsTimeout.Seconds()
	}
	if err := s.setUsers(o); err != nil {
		return nil, err
	}
	if s.cfg.Cluster == nil {
		// A client of a bus must not learn of other servers.
		o.Cluster.NoAdvertise = true
		o.PingInterval = busPingInterval
		return o, nil
	}
	return o, s.setCluster(o)
}

// setUsers sets accounts and who may use them.
//
// Clients get an account of their own instead of the global one, for three
// reasons. With only $G and $SYS and no other authentication block, NATS adds
// an anonymous user to $G by itself, which would let everybody past Keys. In a
// cluster it would also set up JetStream's API in $G. And connections which
// were refused count as $G's when they end, so they don't show up as
// disconnects of ours.
func (s *Server) setUsers(o *server.Options) error {
	system := server.NewAccount(server.DEFAULT_SYSTEM_ACCOUNT)
	clients := server.NewAccount(Account)
	o.Accounts = []*server.Account{system, clients}
	o.SystemAccount = system.Name

	if a := s.auth; a != nil {
		system.Issuer = a.operator // or NATS would not take it
		o.TrustedKeys = []string{a.operator}
		o.CustomClientAuthentication, o.AlwaysEnableNonce = a, true
		return nil
	}
	public, err := s.system.PublicKey()
	if err != nil {
		return err
	}
	o.Nkeys = []*server.NkeyUser{{
		Nkey:    public,
		Account: system,
		// The key never leaves the process; this makes it worthless outside.
		AllowedConnectionTypes: map[string]struct{}{jwt.ConnectionTypeInProcess: {}},
	}}
	// An nkey that needs no signature, rather than a user without password: NATS
	// warns of plaintext passwords at every start for the latter.
	o.Nkeys = append(o.Nkeys, &server.NkeyUser{Nkey: s.anonymous, Account: clients})
	o.NoAuthUser = s.anonymous
	return nil
}

// setCluster sets what makes the server a member of a cluster.
func (s *Server) setCluster(o *server.Options) error {
	cl := s.cfg.Cluster
	host, port, err := listenOn(cl.Listen)
	if err != nil {
		return err
	}
	o.Cluster = server.ClusterOpts{
		Name:      cl.Name,
		Host:      host,
		Port:      port,
		Advertise: cl.Advertise,
		// Accounts are spread over the pool, and there is one: more than one
		// connection (and one for $SYS) would idle.
		PoolSize:      1,
		PingInterval:  pingInterval,
		MaxPingsOut:   maxPingsOut,
		WriteDeadline: writeDeadline,
	}
	if cl.TLS != nil {
		o.Cluster.TLSConfig, o.Cluster.TLSTimeout = cl.TLS, tlsTimeout.Seconds()
	}
	var user *url.Userinfo
	if k := s.currentKeys(); k != nil {
		// This is what the server says to members that it learns of; that it is
		// set has them told that they need to say something as well.
		o.Cluster.Username, o.Cluster.Password = keys.RouteUser, k.RoutePassword()
		o.CustomRouterAuthentication = routeCheck{s.auth}
		user = url.UserPassword(keys.RouteUser, k.RoutePassword())
	}
	for _, r := range cl.Routes {
		u, err := parseRoute(r)
		if err != nil {
			return err
		}
		u.User = user
		o.Routes = append(o.Routes, u)
	}
	return nil
}

// listenOn translates an address to NATS, where port 0 means the default port
// and -1 a free one.
func listenOn(addr string) (host string, port int, err error) {
	host, port, err = splitAddr(addr)
	if port == 0 {
		port = server.RANDOM_PORT
	}
	return host, port, err
}
