package configs

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// RegisterAdvertise is the host:port under which others reach the register of
// this host; empty where there is none. Of a listener on port 0 the real port
// is known only to who opened it; [Config.AdvertiseAddr] takes that.
func (c *Config) RegisterAdvertise() string {
	if !c.RegisterIsOwn() {
		return ""
	}
	return c.AdvertiseAddr(c.Register.Listen)
}

// ClusterAdvertise is the host:port under which other registers reach the
// register of this host; empty where there is none.
func (c *Config) ClusterAdvertise() string {
	if !c.RegisterIsOwn() {
		return ""
	}
	return c.AdvertiseAddr(c.Register.Cluster.Listen)
}

// BusAdvertise is the host:port under which workers reach the bus of the
// gateway of this host; empty where there is none.
func (c *Config) BusAdvertise() string {
	if !c.BusIsOwn() {
		return ""
	}
	return c.AdvertiseAddr(c.Gateway.Bus.Listen)
}

// AdvertiseAddr is how others reach a listener of this host: the advertised
// host, if there is one, and the listener's port.
func (c *Config) AdvertiseAddr(listen string) string {
	_, port, err := net.SplitHostPort(listen)
	if err != nil || c.Advertise == "" {
		return listen
	}
	return net.JoinHostPort(c.Advertise, port)
}

// OwnRegister is the NATS URL under which this host reaches its own register;
// empty where there is none. It is the listen address even if another one is
// advertised, which may be that of a router that does not lead back here. The
// port is 0 where a free one is taken: who opens it puts the real one into
// Registers.
func (c *Config) OwnRegister() string {
	if !c.RegisterIsOwn() {
		return ""
	}
	host, port, err := hostPort(c.Register.Listen)
	if err != nil {
		return ""
	}
	if isWildcard(c.Register.Listen) {
		if ip, err := netip.ParseAddr(host); err == nil && ip.Is6() {
			host = "::1"
		} else {
			host = "127.0.0.1"
		}
	}
	return "nats://" + net.JoinHostPort(host, strconv.Itoa(int(port)))
}

// hostPort takes an address apart: a host, which may be empty, and a port.
func hostPort(addr string) (host string, port uint16, err error) {
	host, p, err := net.SplitHostPort(addr)
	if err != nil {
		return "", 0, fmt.Errorf("%s is not host:port", quote(addr))
	}
	n, err := strconv.ParseUint(p, 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("%s: %s is not a port from 0 to 65535", quote(addr), quote(p))
	}
	if host != "" && !isHost(host) {
		return "", 0, fmt.Errorf("%s: %s is not a host name or address", quote(addr), quote(host))
	}
	return host, uint16(n), nil
}

// isHost tells whether s has the form of an address or host name. Underscores
// are no part of a host name by the book, but of those in container networks.
func isHost(s string) bool {
	if _, err := netip.ParseAddr(s); err == nil {
		return true
	}
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case i > 0 && (c == '-' || c == '.' || c == '_'):
		default:
			return false
		}
	}
	return s != ""
}

// isWildcard tells whether a listen address means every interface.
func isWildcard(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return host == "" || err == nil && ip.Unmap().IsUnspecified()
}

// isLoopback tells whether only this machine can reach a listen address.
func isLoopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && ip.Unmap().IsLoopback()
}

// checkAdvertise checks the host that others are told.
func checkAdvertise(host string) error {
	if host == "" {
		return nil
	}
	if ip, err := netip.ParseAddr(host); err == nil && ip.Unmap().IsUnspecified() {
		return fmt.Errorf("%s is every interface; write the one address that others connect to", quote(host))
	}
	if _, _, err := net.SplitHostPort(host); err == nil {
		return fmt.Errorf("%s has a port; write the host alone, each listener adds its own port", quote(host))
	}
	if !isHost(host) {
		return fmt.Errorf("%s is not a host name or address; write one such as 10.0.0.5, or 2001:db8::5 without brackets", quote(host))
	}
	return nil
}

// registerURL is natsURL for a register; only the own one may have port 0.
func registerURL(s, own string) (string, error) {
	return natsURL(s, own, "a register", "remove them, what logs in is the secret; for a NATS cluster of your own, nats.user and nats.password")
}

// natsURL brings the address of a NATS server into the form nats://host:port, or
// tls://host:port if it says that. what it is, and what to do with a user in it, is
// for messages.
func natsURL(s, own, what, user string) (string, error) {
	if strings.Contains(s, "@") {
		// Not quoted: it holds a password.
		return "", errors.New("the URL has a user or password; " + user)
	}
	scheme, addr, ok := strings.Cut(s, "://")
	if !ok {
		scheme, addr = "nats", s
	}
	scheme = strings.ToLower(scheme)
	switch scheme {
	case "nats", "tls":
	default:
		return "", fmt.Errorf("%s is not the URL of %s; write nats://host:port", quote(s), what)
	}
	host, port, err := hostPort(strings.TrimSuffix(addr, "/"))
	if err != nil {
		return "", fmt.Errorf("%w; write nats://host:port, such as nats://127.0.0.1:4222", err)
	}
	url := scheme + "://" + net.JoinHostPort(host, strconv.Itoa(int(port)))
	if isWildcard(addr) || host == "" || port == 0 && url != own {
		return "", fmt.Errorf("%s is not an address to connect to; write nats://host:port, such as nats://127.0.0.1:4222", quote(s))
	}
	return url, nil
}
