package bus

import (
	"errors"
	"fmt"
	"os"

	"github.com/nats-io/nats.go"
)

// Credentials are how a connection logs in to a NATS cluster that gatebus does not
// run itself. The zero Credentials are none. User and Password go together; of
// them, Creds and NKey only one can be set.
type Credentials struct {
	User     string
	Password string
	// Creds is the path of a file with a user's JWT and seed, as nsc makes it. It
	// is read at each attempt to connect.
	Creds string
	// NKey is the path of a file with the seed of a user ("SU…"). It is read at each
	// attempt to connect; its user must stay the same.
	NKey string
}

// IsZero tells whether there are none.
func (c Credentials) IsZero() bool { return c == Credentials{} }

// Options are what [Config.Options] need. The error says what is wrong with the
// credentials, or that their file cannot be read; it does not hold a secret.
func (c Credentials) Options() ([]nats.Option, error) {
	ways := 0
	for _, set := range []bool{c.User != "" || c.Password != "", c.Creds != "", c.NKey != ""} {
		if set {
			ways++
		}
	}
	switch {
	case ways > 1:
		return nil, errors.New("bus: credentials: a user with password, a file creds and a file nkey are three ways to log in; choose one")
	case c.Creds != "":
		if _, err := os.Stat(c.Creds); err != nil {
			return nil, fmt.Errorf("bus: credentials: creds: %w", err)
		}
		return []nats.Option{nats.UserCredentials(c.Creds)}, nil
	case c.NKey != "":
		option, err := nats.NkeyOptionFromSeed(c.NKey)
		if err != nil {
			return nil, fmt.Errorf("bus: credentials: nkey: %s holds no seed of a user: %w", c.NKey, err)
		}
		return []nats.Option{option}, nil
	case c.User == "" && c.Password != "":
		return nil, errors.New("bus: credentials: there is a password without a user")
	case ways == 1:
		return []nats.Option{nats.UserInfo(c.User, c.Password)}, nil
	}
	return nil, nil
}
