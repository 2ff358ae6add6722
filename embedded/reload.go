package embedded

import (
	"crypto/tls"
	"errors"
	"fmt"
	"math"
	"net"
	"slices"
	"strconv"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/gatebus/gatebus/internal/keys"
)

// ErrOpen is wrapped by the error of SetKeys for a server that was started without
// keys, or is to have none.
var ErrOpen = errors.New("whether there are keys at all is decided when the server starts")

// Secrets are what of a Config can change while the server runs; see there.
type Secrets struct {
	Keys   *keys.Keys
	Accept []*keys.Keys
	// ClusterTLS is Config.Cluster.TLS; nil leaves that as it is.
	ClusterTLS *tls.Config
}

// SetSecrets has the server heed other keys from now on. Connections whose key is
// still accepted, and those of this process, are not touched. The others are ended
// before it returns: what they have sent until then is heard, and no more. What this
// process connects with the options of [Server.ConnectOptions] or [Server.NKey] uses
// the new keys at its next attempt.
//
// A register's routes are dialed anew if Keys have changed, and those that were made
// with a password that is not accepted any more are ended: for a moment, mostly some
// milliseconds and at most a few seconds, messages do not get from one register to
// another then. A route to a register that is not listed but was found keeps the
// password that it was made with, and is lost when that is not accepted any more: a
// warning says so. Watchers of a register ([Server.OnClient]) are told once more of who
// stays.
//
// The error wraps ErrOpen or [ErrNotRunning], and then nothing has changed, or says
// what NATS did not take. It may be called from any goroutine, one call at a time.
func (s *Server) SetSecrets(next Secrets) error {
	if s.auth == nil || next.Keys == nil {
		return fmt.Errorf("embedded: %w", ErrOpen)
	}
	nats, err := s.running()
	if err != nil {
		return err
	}
	s.mu.Lock()
	changed := !next.Keys.Same(s.cfg.Keys)
	s.cfg.Keys, s.cfg.Accept = next.Keys, slices.Clone(next.Accept)
	if next.ClusterTLS != nil && s.cfg.Cluster != nil {
		s.cfg.Cluster.TLS = next.ClusterTLS
	}
	all := s.cfg.accepted()
	s.mu.Unlock()
	s.auth.accepted.set(all)
	if n := s.endStrangers(nats); n > 0 {
		s.log.Warn("connections were ended whose key is not accepted any more", "connections", n)
	}
	if s.cfg.Cluster == nil {
		return nil
	}
	// Only NATS can change what it shows to the routes that it dials, and end those
	// that it has accepted.
	opts, err := s.options()
	if err == nil {
		err = nats.ReloadOptions(opts)
	}
	if err != nil {
		return fmt.Errorf("embedded: routes: %w", err)
	}
	if changed {
		s.warnOfFound(nats)
	}
	return nil
}

// warnOfFound names the registers whose routes NATS will dial with the old password.
func (s *Server) warnOfFound(nats *server.Server) {
	routes, err := nats.Routez(nil)
	if err != nil { // it stops
		return
	}
	for _, r := range routes.Routes {
		if r.DidSolicit && !r.IsConfigured {
			s.log.Warn("a register is not in the list of routes; when the old secret is not accepted any more it is lost, until this register is restarted: list all registers",
				"register", r.RemoteName, "address", net.JoinHostPort(r.IP, strconv.Itoa(r.Port)))
		}
	}
}

// endStrangers ends the connections that may not stay. Who is just connecting is
// either refused, or named here: NATS takes note of the key before it asks.
func (s *Server) endStrangers(nats *server.Server) (ended int) {
	there, err := nats.Connz(&server.ConnzOptions{Username: true, Limit: math.MaxInt32})
	if err != nil { // it stops
		return 0
	}
	for _, c := range there.Conns {
		client := nats.GetClient(c.Cid)
		if client == nil || c.AuthorizedUser == "" || s.auth.stays(c.AuthorizedUser, isInProcess(client)) {
			continue
		}
		if nats.DisconnectClientByID(c.Cid) == nil {
			ended++
		}
	}
	return ended
}

// currentKeys are those that the server proves with, nil if there are none.
func (s *Server) currentKeys() *keys.Keys {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cfg.Keys
}
