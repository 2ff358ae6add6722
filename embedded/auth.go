package embedded

import (
	"crypto/subtle"
	"encoding/base64"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"

	"github.com/gatebus/gatebus/internal/keys"
)

// authenticator decides who may connect where there are keys. NATS could do it with
// a list of users too, but would then give each connection its permissions anew when
// the list changes, one by one and while it publishes: what it sends in that moment
// could be denied, and be lost. Who is in here is not touched.
type authenticator struct {
	grants map[keys.Role]grant
	system string // public nkey of the user of $SYS
	// operator is the nkey of an operator that does not exist. Set as one that is
	// trusted, it keeps a reload of the options from looking for connections in the
	// list of users that there is not.
	operator string

	// set before the server starts
	accountOf struct{ clients, system *server.Account }

	accepted accepted
}

// newAuthenticator is nil where everybody may connect.
func (s *Server) newAuthenticator() (*authenticator, error) {
	if s.cfg.Keys == nil {
		return nil, nil
	}
	a := &authenticator{grants: s.grants()}
	var err error
	if a.system, err = s.system.PublicKey(); err != nil {
		return nil, err
	}
	operator, err := nkeys.CreateOperator()
	if err != nil {
		return nil, err
	}
	if a.operator, err = operator.PublicKey(); err != nil {
		return nil, err
	}
	a.accepted.set(s.cfg.accepted())
	return a, nil
}

// serve says which server it is for. That one must not have been started.
func (a *authenticator) serve(nats *server.Server) (err error) {
	if a.accountOf.clients, err = nats.LookupAccount(Account); err != nil {
		return err
	}
	a.accountOf.system, err = nats.LookupAccount(server.DEFAULT_SYSTEM_ACCOUNT)
	return err
}

// peer is what the client of a server can do beyond server.ClientAuthentication.
type peer interface {
	server.ClientAuthentication
	Account() *server.Account
	RegisterNkeyUser(*server.NkeyUser) error
}

// Check implements [server.Authentication] for clients. It is called when one
// connects, and for those that are there when the options are reloaded.
func (a *authenticator) Check(c server.ClientAuthentication) bool {
	p, ok := c.(peer)
	if !ok || c.Kind() != server.CLIENT {
		return false
	}
	public, inProcess := p.GetOpts().Nkey, isInProcess(p)
	if acc := p.Account(); acc == a.accountOf.clients || acc == a.accountOf.system {
		// Also if it names a key once more, which is to be its own.
		return a.stays(public, inProcess) && signed(p)
	}
	u, ok := a.user(public)
	if !ok || u.local && !inProcess || !signed(p) {
		return false
	}
	return p.RegisterNkeyUser(u.user(public, u.account)) == nil
}

// stays tells whether who is connected may stay. Connections of this process are not
// cut off for the key that they once had: what they do is the server's own business.
func (a *authenticator) stays(public string, inProcess bool) bool {
	_, known := a.user(public)
	return known || inProcess
}

// grantedUser is who has a key.
type grantedUser struct {
	grant
	account *server.Account
}

// user is who has that key; false if it is nobody.
func (a *authenticator) user(public string) (u grantedUser, ok bool) {
	if public == a.system {
		// The key never leaves the process; local makes it worthless outside.
		return grantedUser{grant{local: true, free: true}, a.accountOf.system}, true
	}
	role, ok := a.accepted.roleOf(public)
	if !ok {
		return u, false
	}
	g, ok := a.grants[role]
	return grantedUser{g, a.accountOf.clients}, ok
}

// signed tells whether a client has signed what the server made up for it with the
// key that it names.
func signed(p peer) bool {
	opts := p.GetOpts()
	sig, err := base64.RawURLEncoding.DecodeString(opts.Sig)
	if err != nil { // what older clients send
		if sig, err = base64.StdEncoding.DecodeString(opts.Sig); err != nil {
			return false
		}
	}
	key, err := nkeys.FromPublicKey(opts.Nkey)
	nonce := p.GetNonce()
	return err == nil && len(nonce) > 0 && key.Verify(nonce, sig) == nil
}

// isInProcess tells whether a client came without a socket.
func isInProcess(p server.ClientAuthentication) bool {
	addr := p.RemoteAddress()
	return addr != nil && addr.Network() == "pipe"
}

// routeCheck lets routes in that show the password of any of the keys: of
// registers whose secret is being replaced, some use the old one and some the
// new one.
type routeCheck struct{ a *authenticator }

// Check implements [server.Authentication].
func (c routeCheck) Check(peer server.ClientAuthentication) bool {
	opts := peer.GetOpts()
	ok := 0
	for _, k := range c.a.accepted.all() {
		ok |= subtle.ConstantTimeCompare([]byte(opts.Password), []byte(k.RoutePassword()))
	}
	return ok == 1 && opts.Username == keys.RouteUser
}

// accepted are the keys that others may prove with. It may be used by any goroutine.
type accepted struct {
	now atomic.Pointer[[]*keys.Keys]

	mu    sync.Mutex
	known []*keys.Keys // since the start: who was connected had one of them
}

func (a *accepted) set(all []*keys.Keys) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, k := range all {
		if !contains(a.known, k) {
			a.known = append(a.known, k)
		}
	}
	a.now.Store(&all)
}

func (a *accepted) all() []*keys.Keys { return *a.now.Load() }

// roleOf is the role with that public nkey, by the keys of now.
func (a *accepted) roleOf(public string) (keys.Role, bool) { return roleOf(a.all(), public) }

// wasRole is the role that had that public nkey at any time.
func (a *accepted) wasRole(public string) keys.Role {
	a.mu.Lock()
	defer a.mu.Unlock()
	role, _ := roleOf(a.known, public)
	return role
}

func roleOf(all []*keys.Keys, public string) (keys.Role, bool) {
	for _, k := range all {
		if role, ok := k.RoleOf(public); ok {
			return role, true
		}
	}
	return "", false
}

func contains(all []*keys.Keys, k *keys.Keys) bool {
	return slices.ContainsFunc(all, k.Same)
}
