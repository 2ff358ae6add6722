// Package keys derives every credential of a gatebus installation from one
// shared secret.
//
// All processes of an installation are given the same secret and derive the
// same keys from it, each by itself, so nothing has to be distributed or
// stored beside the secret:
//
//   - A user key pair (an nkey: ed25519) for each [Role]. A server needs only
//     the public half; a client proves that it has the private half by signing
//     the server's nonce. Neither the secret nor a private key ever crosses
//     the wire.
//   - A user name and password for cluster routes, because NATS routes know no
//     nkeys. The password does cross the wire, to the peer that is dialed, in
//     the clear unless the link has TLS. It is derived one way: who reads it
//     can join the cluster, but learns neither the secret nor a user key.
//
// Derivation is HKDF-SHA256 (RFC 5869) with a fixed salt and one info string
// for each purpose. Processes of different versions must derive the same, so
// salt and info strings never change their meaning; the version at their ends
// is there so that a new scheme can stand beside the old one. Golden vectors in
// the tests hold all of it in place.
//
// The strength of every key is that of the secret. HKDF does not stretch:
// take a random secret (32 random bytes in hex or base64, for example), not a
// password.
//
// Keys are immutable and safe for concurrent use.
package keys

import (
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
)

// MinSecretLen is the least length of a secret, in bytes. It is a guard
// against slips such as "changeme", not a measure of strength.
const MinSecretLen = 16

// RouteUser is the user name of cluster routes. It is no secret.
const RouteUser = "gatebus-route"

// ErrShortSecret says that a secret is shorter than [MinSecretLen].
var ErrShortSecret = errors.New("secret too short")

const (
	salt      = "gatebus"
	routeInfo = "gatebus route v1"

	// derivedLen is the length of each derived value: an ed25519 seed.
	derivedLen = 32
)

// userInfo returns the HKDF info string of the user key of r.
func userInfo(r Role) string { return "gatebus user " + string(r) + " v1" }

// Keys holds what was derived from one secret. It does not keep the secret.
// Printing or logging it shows no key.
type Keys struct {
	users         map[Role]userKey
	routePassword string
}

type userKey struct {
	pair   nkeys.KeyPair
	public string
}

// Derive derives all keys from secret. Every byte counts: a trailing newline
// makes other keys, so trim what was read from a file first. A secret shorter
// than [MinSecretLen] bytes is refused with [ErrShortSecret].
func Derive(secret string) (*Keys, error) {
	if len(secret) < MinSecretLen {
		return nil, fmt.Errorf("keys: %w: %d bytes, need at least %d",
			ErrShortSecret, len(secret), MinSecretLen)
	}
	k := &Keys{users: make(map[Role]userKey, len(roles))}
	for _, r := range roles {
		u, err := deriveUser(secret, r)
		if err != nil {
			return nil, fmt.Errorf("keys: user %s: %w", r, err)
		}
		k.users[r] = u
	}
	raw, err := derive(secret, routeInfo)
	if err != nil {
		return nil, fmt.Errorf("keys: route password: %w", err)
	}
	// Hex, because the password has to stand in a route URL as it is.
	k.routePassword = hex.EncodeToString(raw)
	return k, nil
}

func derive(secret, info string) ([]byte, error) {
	return hkdf.Key(sha256.New, []byte(secret), []byte(salt), info, derivedLen)
}

func deriveUser(secret string, r Role) (userKey, error) {
	raw, err := derive(secret, userInfo(r))
	if err != nil {
		return userKey{}, err
	}
	pair, err := nkeys.FromRawSeed(nkeys.PrefixByteUser, raw)
	if err != nil {
		return userKey{}, err
	}
	public, err := pair.PublicKey()
	if err != nil {
		return userKey{}, err
	}
	return userKey{pair: pair, public: public}, nil
}

// Public returns the public nkey of the user of role r ("U…"). It panics if r
// is not one of [Roles]; [ParseRole] checks a role that comes from outside.
func (k *Keys) Public(r Role) string { return k.user(r).public }

// Signer returns the function that signs a server's nonce as the user of role
// r. Together with [Keys.Public] it is what nats.Nkey asks for. It panics if r
// is not one of [Roles].
func (k *Keys) Signer(r Role) func(nonce []byte) ([]byte, error) {
	return k.user(r).pair.Sign
}

// ConnectOptions returns what a connection of role r needs: that it can sign,
// and its inboxes. It panics if r is not one of [Roles].
func (k *Keys) ConnectOptions(r Role) []nats.Option {
	return []nats.Option{nats.Nkey(k.Public(r), k.Signer(r)), nats.CustomInboxPrefix(InboxPrefix(r))}
}

// Seed returns the private key of the user of role r in the form that NATS
// tools read ("SU…"), for workers in other languages and the nats command. Who
// has it can act as that role, but learns no other key from it. The slice
// belongs to the caller. It panics if r is not one of [Roles].
func (k *Keys) Seed(r Role) []byte {
	seed, err := k.user(r).pair.Seed()
	if err != nil {
		// A pair made from a raw seed always has one.
		panic(fmt.Sprintf("keys: seed of %s: %v", r, err))
	}
	return append([]byte(nil), seed...)
}

// RoleOf returns the role whose user has the public nkey public. It reports
// false if there is none, as for every key derived from another secret.
func (k *Keys) RoleOf(public string) (Role, bool) {
	for _, r := range roles {
		if k.users[r].public == public {
			return r, true
		}
	}
	return "", false
}

// RoutePassword returns the password of [RouteUser]: 64 hex digits, which need
// no escaping in a URL.
func (k *Keys) RoutePassword() string { return k.routePassword }

// Same tells whether both were derived from the same secret.
func (k *Keys) Same(o *Keys) bool {
	return k == o || k != nil && o != nil && subtle.ConstantTimeCompare([]byte(k.routePassword), []byte(o.routePassword)) == 1
}

func (k *Keys) user(r Role) userKey {
	u, ok := k.users[r]
	if !ok {
		panic(fmt.Sprintf("keys: unknown role %q", string(r)))
	}
	return u
}

// Format keeps keys out of whatever is printed, with any verb.
func (Keys) Format(f fmt.State, _ rune) { fmt.Fprint(f, redacted) }

// LogValue keeps keys out of logs.
func (Keys) LogValue() slog.Value { return slog.StringValue(redacted) }

const redacted = "keys(redacted)"
