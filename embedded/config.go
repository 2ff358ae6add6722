package embedded

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/gatebus/gatebus/internal/keys"
)

const (
	// DefaultMaxPayload is the default of Config.MaxPayload: 1 MiB, which is
	// also the default of NATS.
	DefaultMaxPayload = 1 << 20

	// maxPending is how much may wait for one connection. The default of NATS,
	// 64 MB, lets one stuck worker hold that much of other people's frames, and
	// memory.
	maxPending = 8 << 20
)

// Config describes a Server.
type Config struct {
	// Name is shown by NATS, with a suffix that is unique to each boot.
	// Required; letters, digits and signs, no space.
	Name string

	// Listen is the host:port for clients. Required. The host must be there,
	// because NATS takes an empty one for 0.0.0.0; say that if it is meant.
	// Port 0 takes a free port.
	Listen string

	// Advertise is the host:port which clients are told, when it is not Listen
	// (behind address translation, or when Listen is 0.0.0.0). Port 0 stands
	// for the port listened on. Empty: that of Listen.
	Advertise string

	// Keys demands that clients and routes prove that they have the same
	// secret. Nil: everybody may connect.
	Keys *keys.Keys

	// Accept are the keys of other secrets that clients and routes may prove
	// with as well, while one takes the place of another. The server itself
	// proves with Keys. Without Keys it must be empty.
	Accept []*keys.Keys

	// TLS is demanded of clients that come over TCP, and who speaks none is
	// refused; whether they must show a certificate is its ClientAuth. Nil: no TLS.
	TLS *tls.Config

	// MaxPayload is the size limit of a message in bytes, headers included; a
	// client that sends more is disconnected. 0: DefaultMaxPayload. At most
	// 8 MiB.
	MaxPayload int32

	// Log gets what NATS logs. Its errors and warnings keep their level (where
	// a peer is at fault, errors become warnings); its notices come at
	// slog.LevelDebug, except that of a slow consumer, which is a warning; its
	// debug lines come at LevelTrace. The handler is called with locks of NATS
	// held, so it must not call the Server. Nil: nothing is logged.
	Log *slog.Logger

	// Cluster makes the server a member of a cluster. Nil: it stands alone.
	Cluster *Cluster
}

// Cluster describes a member of a cluster of registers.
type Cluster struct {
	// Name must be the same on all members. Required; no space.
	Name string

	// Listen is the host:port for routes, with the rules of Config.Listen.
	Listen string

	// Advertise is the host:port which other members are told, when it is not
	// Listen. Port 0 stands for the port listened on.
	Advertise string

	// Routes lists the members as host:port or nats-route://host:port. It may
	// name this server too, so that all members can share one list, and members
	// which are not up: they are dialed until they are. Members that are not
	// listed are found through those that are.
	//
	// A member proves to those it dials that it has the secret, but they don't
	// prove it in return: whoever listens on one of these addresses is taken
	// for a member. The network has to see to that, or TLS.
	Routes []string

	// TLS is for routes, those that are dialed and those that come in, so it is
	// the configuration of a client and of a server in one. Routes without TLS
	// are refused then. Nil: no TLS.
	TLS *tls.Config
}

// validate reports everything that is wrong, by field.
func (c *Config) validate() error {
	var errs []error
	bad := func(field string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", field, err))
		}
	}
	bad("Name", checkName(c.Name))
	bad("Listen", checkListen(c.Listen))
	bad("Advertise", checkAdvertise(c.Advertise))
	if c.Keys == nil && len(c.Accept) > 0 {
		bad("Accept", errors.New("without Keys everybody is accepted"))
	}
	if c.MaxPayload < 0 || c.MaxPayload > maxPending {
		bad("MaxPayload", fmt.Errorf("%d is not between 0 and %d", c.MaxPayload, maxPending))
	}
	if cl := c.Cluster; cl != nil {
		bad("Cluster.Name", checkName(cl.Name))
		bad("Cluster.Listen", checkListen(cl.Listen))
		bad("Cluster.Advertise", checkAdvertise(cl.Advertise))
		for i, r := range cl.Routes {
			_, err := parseRoute(r)
			bad(fmt.Sprintf("Cluster.Routes[%d]", i), err)
		}
	}
	return errors.Join(errs...)
}

// setDefaults fills in what may be left out, and takes copies of what the
// caller could change later.
func (c *Config) setDefaults() {
	if c.MaxPayload == 0 {
		c.MaxPayload = DefaultMaxPayload
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	c.Accept = slices.Clone(c.Accept)
	if c.Cluster != nil {
		cl := *c.Cluster
		cl.Routes = append([]string(nil), cl.Routes...)
		c.Cluster = &cl
	}
}

// accepted are all keys that others may prove with, each once.
func (c *Config) accepted() []*keys.Keys {
	var all []*keys.Keys
	for _, k := range append([]*keys.Keys{c.Keys}, c.Accept...) {
		if k != nil && !contains(all, k) {
			all = append(all, k)
		}
	}
	return all
}

func checkName(name string) error {
	if name == "" {
		return errors.New("empty")
	}
	for _, r := range name {
		if unicode.IsSpace(r) || !unicode.IsPrint(r) {
			return fmt.Errorf("%q has %q in it", name, r)
		}
	}
	return nil
}

func checkListen(addr string) error {
	_, _, err := splitAddr(addr)
	return err
}

func checkAdvertise(addr string) error {
	if addr == "" {
		return nil
	}
	host, _, err := splitAddr(addr)
	if err == nil && isUnspecified(host) {
		return fmt.Errorf("%q: nobody can connect to this host", addr)
	}
	return err
}

// splitAddr splits host:port and insists on both.
func splitAddr(addr string) (host string, port int, err error) {
	host, p, err := net.SplitHostPort(addr)
	if err != nil {
		return "", 0, fmt.Errorf("%q: want host:port", addr)
	}
	if host == "" {
		return "", 0, fmt.Errorf("%q: host missing (0.0.0.0 or [::] for all interfaces)", addr)
	}
	n, err := strconv.ParseUint(p, 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("%q: bad port %q", addr, p)
	}
	return host, int(n), nil
}

func isUnspecified(host string) bool {
	ip := net.ParseIP(host)
	return ip != nil && ip.IsUnspecified()
}

// parseRoute parses the address of a member. Credentials come from Keys alone:
// in an address they would end up in configuration files and logs.
func parseRoute(s string) (*url.URL, error) {
	if !strings.Contains(s, "://") {
		s = "nats-route://" + s
	}
	u, err := url.Parse(s)
	if err != nil {
		// Not the error of url.Parse: it shows the address with its password.
		return nil, errors.New("not a URL")
	}
	switch {
	case u.User != nil:
		return nil, fmt.Errorf("%q: credentials are not allowed here", u.Redacted())
	case u.Scheme != "nats-route" && u.Scheme != "nats":
		return nil, fmt.Errorf("%q: scheme is not nats-route", s)
	case strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("%q: want host:port only", s)
	}
	_, port, err := splitAddr(u.Host)
	if err != nil {
		return nil, err
	}
	if port == 0 {
		return nil, fmt.Errorf("%q: port 0", s)
	}
	return &url.URL{Scheme: "nats-route", Host: u.Host}, nil
}
