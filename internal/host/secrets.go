package host

import (
	"crypto/tls"
	"fmt"
	"slices"

	"github.com/nats-io/nats.go"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/configs"
	"github.com/gatebus/gatebus/embedded"
	"github.com/gatebus/gatebus/internal/certs"
	"github.com/gatebus/gatebus/internal/keys"
)

// secrets are what is derived of the secrets of a configuration; nil: there are none.
// They are not changed.
type secrets struct {
	own    *keys.Keys
	accept []*keys.Keys
}

func newSecrets(cfg *configs.Config) (*secrets, error) {
	if cfg.Secret == "" {
		return nil, nil
	}
	own, err := keys.Derive(string(cfg.Secret))
	if err != nil {
		return nil, fmt.Errorf("secret: %w", err)
	}
	s := &secrets{own: own}
	if cfg.AcceptSecret != "" {
		k, err := keys.Derive(string(cfg.AcceptSecret))
		if err != nil {
			return nil, fmt.Errorf("accept_secret: %w", err)
		}
		s.accept = []*keys.Keys{k}
	}
	return s, nil
}

// ownKeys are those that this process proves with, nil without a secret.
func (s *secrets) ownKeys() *keys.Keys {
	if s == nil {
		return nil
	}
	return s.own
}

// acceptedKeys are those that others may have beside.
func (s *secrets) acceptedKeys() []*keys.Keys {
	if s == nil {
		return nil
	}
	return s.accept
}

// same tells whether both accept the same and prove with the same.
func (s *secrets) same(o *secrets) bool {
	return s.ownKeys().Same(o.ownKeys()) && slices.EqualFunc(s.acceptedKeys(), o.acceptedKeys(), (*keys.Keys).Same)
}

// filesOf are the files of the certificates on the links of NATS.
func filesOf(cfg *configs.Config) certs.Files {
	return certs.Files{Cert: cfg.TLS.Cert, Key: cfg.TLS.Key, CA: cfg.TLS.CA}
}

// registerOptions are those of a role's connection to the registers, and registerLogin is how it logs in
// there: with a proof that it has the secret, and with TLS, if there are such.
func (h *Host) registerOptions(r keys.Role) []nats.Option {
	switch {
	case h.cfg.RegistersAreYours():
		return h.natsOptions(r)
	case h.secrets.Load() != nil:
		return inboxOptions(r)
	}
	return nil
}

func (h *Host) registerLogin(r keys.Role) func() bus.Login {
	if h.cfg.RegistersAreYours() {
		return h.tlsLogin
	}
	return func() bus.Login {
		l := h.tlsLogin()
		if k := h.secrets.Load().ownKeys(); k != nil {
			l.Public, l.Sign = k.Public(r), k.Signer(r)
		}
		return l
	}
}

// natsOptions are those of a role's connection to a NATS cluster that gatebus does not
// run; tlsLogin goes with them.
func (h *Host) natsOptions(r keys.Role) []nats.Option {
	return append(slices.Clone(h.nats), inboxOptions(r)...)
}

func inboxOptions(r keys.Role) []nats.Option {
	return []nats.Option{nats.CustomInboxPrefix(keys.InboxPrefix(r))}
}

// tlsLogin has what the files of the certificates say by now.
func (h *Host) tlsLogin() (l bus.Login) {
	if h.certs != nil {
		l.TLS = h.certs.Client()
	}
	return l
}

// inProcessLogin is how a role logs in to the server that it runs itself.
func inProcessLogin(s *embedded.Server, r keys.Role) func() bus.Login {
	return func() (l bus.Login) {
		l.Public, l.Sign = s.NKey(r)
		return l
	}
}

// change is what the parts are told when a configuration is read anew.
type change struct {
	h       *Host
	secrets bool // they are others
}

// clientTLS is what links to others speak by now; nil without TLS.
func (c change) clientTLS() *tls.Config { return c.h.tlsLogin().TLS }

// embedded is what a server is told, of which a register has routes.
func (c change) embedded(routes bool) embedded.Secrets {
	s := c.h.secrets.Load()
	next := embedded.Secrets{Keys: s.ownKeys(), Accept: s.acceptedKeys()}
	if routes {
		next.ClusterTLS = c.h.routeTLS()
	}
	return next
}
