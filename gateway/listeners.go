package gateway

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"time"

	"github.com/gatebus/gatebus/bus"
)

// Protocol is what clients speak on a listener.
type Protocol string

// The protocols. All but WebSocket are bytes with messages in them and no more:
// there is no handshake, no ping, and no close code on the wire.
const (
	// ProtocolWebSocket is RFC 6455, after an HTTP request.
	ProtocolWebSocket Protocol = "websocket"
	// ProtocolText has a message a line, ended by "\n"; a "\r" before that is
	// not part of what a client sends. A line is an event of kind text, or
	// binary if it is not UTF-8. A message that has a "\n" in it comes to the
	// client as several: that is up to the worker.
	ProtocolText Protocol = "text"
	// ProtocolFrame has the length of a message before it, as a uint32, big-endian,
	// that counts its own 4 bytes. A message is an event of kind binary.
	ProtocolFrame Protocol = "frame"
	// ProtocolRaw has no messages: what arrives at the same time is an event of
	// kind binary, of at most max_frame.
	ProtocolRaw Protocol = "raw"
)

// Listener says where clients connect, beside Config.Listen, and what they speak
// there. The zero value of what is not required is its default.
type Listener struct {
	// Name is what workers are told (bus.OpenInfo); 1 to 64 of A-Z a-z 0-9 _ -,
	// and unique. Empty means protocol@listen, such as frame@0.0.0.0:8283.
	Name string `koanf:"name"`
	// Listen is a host:port, of which port 0 takes a free one, or unix: and the
	// absolute path of a socket, which is made with mode 0660 and removed at
	// the end. Required.
	Listen string `koanf:"listen"`
	// Protocol is what clients speak; empty means websocket.
	Protocol Protocol `koanf:"protocol"`
	// Group is the worker group that gets the events; empty means Config.Group
	// and, for WebSocket, Config.Paths.
	Group string `koanf:"group"`
	// TLS, if it names files, encrypts the connections.
	TLS TLS `koanf:"tls"`
	// ProxyProtocol says that each connection begins with a PROXY header, of version
	// 1 or 2 (before TLS), which tells whose it is. One from elsewhere than
	// Config.TrustedProxies, or without a header within handshake_timeout, is
	// closed.
	ProxyProtocol bool `koanf:"proxy_protocol"`
	// PingData is sent, as a message, to a client that was silent for
	// ping_interval, and again after each further one. Empty means that none
	// is. WebSocket clients are pinged in the way of the protocol too.
	PingData string `koanf:"ping_data"`
	// IdleTimeout is how long a client may send nothing before it is closed with
	// 4001; 0 means any time. From 1s. Not for WebSocket, which has ping_interval
	// and pong_timeout.
	IdleTimeout time.Duration `koanf:"idle_timeout"`
}

// DefaultListener is the name of the listener at Config.Listen.
const DefaultListener = "default"

// TLS names the files of a certificate. Both are empty where there is no TLS.
// Clients need TLS 1.2 or later.
type TLS struct {
	// Cert is a PEM file with the certificate, and those between it and the
	// root behind it.
	Cert string `koanf:"cert"`
	// Key is the PEM file with its private key.
	Key string `koanf:"key"`
}

// On tells whether there is TLS.
func (t TLS) On() bool { return t != TLS{} }

// unixPrefix is what an address begins with that is a path.
const unixPrefix = "unix:"

// maxSocketPath is how long the path of a unix socket may be, in bytes.
const maxSocketPath = 107

// network takes an address apart as package net wants it.
func network(listen string) (network, address string) {
	if path, ok := strings.CutPrefix(listen, unixPrefix); ok {
		return "unix", path
	}
	return "tcp", listen
}

// WithDefaults is the listener with its name and protocol in, where they are empty.
func (l Listener) WithDefaults() Listener {
	if l.Protocol == "" {
		l.Protocol = ProtocolWebSocket
	}
	if l.Name == "" {
		l.Name = string(l.Protocol) + "@" + l.Listen
	}
	return l
}

// allListeners are the listener at Listen and the others, with their defaults.
func (c *Config) allListeners() []Listener {
	all := []Listener{{Name: DefaultListener, Listen: c.Listen, Protocol: ProtocolWebSocket, TLS: c.TLS, ProxyProtocol: c.ProxyProtocol}}
	for _, l := range c.Listeners {
		all = append(all, l.WithDefaults())
	}
	return all
}

// checkListeners names what is wrong with the listeners.
func (c *Config) checkListeners(bad func(key, format string, args ...any)) {
	names := map[string]string{DefaultListener: "listen"}
	const nobody = "nobody could connect, for trusted_proxies is empty; name the addresses of the proxies there"
	if c.ProxyProtocol && len(c.TrustedProxies) == 0 {
		bad("proxy_protocol", nobody)
	}
	for i, l := range c.Listeners {
		at := fmt.Sprintf("listeners[%d]", i)
		l.check(func(key, format string, args ...any) { bad(at+"."+key, format, args...) })
		if l.ProxyProtocol && len(c.TrustedProxies) == 0 {
			bad(at+".proxy_protocol", nobody)
		}
		if l.Listen == "" {
			continue // it has been said
		}
		name := l.WithDefaults().Name
		if first, twice := names[name]; twice {
			bad(at+".name", "%q is the name of %s; choose another", name, first)
			continue
		}
		names[name] = at
	}
}

func (l *Listener) check(bad func(key, format string, args ...any)) {
	if err := checkListen(l.Listen); err != nil {
		bad("listen", "%w", err)
	}
	if l.Name != "" {
		if err := bus.CheckName(l.Name); err != nil {
			bad("name", "%w", err)
		}
	}
	if l.Group != "" {
		if err := bus.CheckName(l.Group); err != nil {
			bad("group", "%w", err)
		}
	}
	l.TLS.check(func(key, format string, args ...any) { bad("tls."+key, format, args...) })
	switch l.Protocol {
	case "", ProtocolWebSocket:
		if l.IdleTimeout != 0 {
			bad("idle_timeout", "WebSocket clients are pinged; remove it, ping_interval and pong_timeout say when a silent one is closed")
		}
	case ProtocolText, ProtocolFrame, ProtocolRaw:
		if d := l.IdleTimeout; d != 0 && d < time.Second {
			bad("idle_timeout", "%v is too short; from 1s, or 0s for none", d)
		}
		if l.Protocol == ProtocolText && strings.Contains(l.PingData, "\n") {
			bad("ping_data", "it has a line break in it, which would make two messages of it")
		}
	default:
		bad("protocol", "%q: it is %s, %s, %s or %s", string(l.Protocol), ProtocolWebSocket, ProtocolText, ProtocolFrame, ProtocolRaw)
	}
}

func checkListen(listen string) error {
	network, address := network(listen)
	switch {
	case listen == "":
		return errors.New("it is missing; write host:port, or unix:/path")
	case network != "unix":
		if _, _, err := net.SplitHostPort(address); err != nil {
			return fmt.Errorf("%w; write host:port, such as 127.0.0.1:8283, or unix:/path", err)
		}
	case !filepath.IsAbs(address):
		return fmt.Errorf("%s is not absolute; write unix:/path", listen)
	case len(address) > maxSocketPath:
		return fmt.Errorf("the path has %d bytes; that of a socket has %d at most", len(address), maxSocketPath)
	}
	return nil
}

func (t TLS) check(bad func(key, format string, args ...any)) {
	switch {
	case t.Cert == "" && t.Key != "":
		bad("cert", "there is a key without a certificate; name the file of that, or remove the key")
	case t.Cert != "" && t.Key == "":
		bad("key", "there is a certificate without a key; name the file of that, or remove the certificate")
	}
}
