package gateway

import (
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/gatebus/gatebus/bus"
)

// Routing says which worker gets an event.
type Routing string

// The routings.
const (
	// RouteQueue gives each event to any worker of the group.
	RouteQueue Routing = "queue"
	// RouteSticky gives a client's open event to any worker of the group, and
	// its later events to the same one for as long as that stays.
	RouteSticky Routing = "sticky"
)

// Config is what a gateway can be told. [DefaultConfig] names every default.
type Config struct {
	// Name names the gateway in subjects and client ids; unique in a cluster.
	// 1 to 64 of A-Z a-z 0-9 _ -, and not "all".
	Name string `koanf:"name"`
	// Listen is the host:port for WebSocket clients; port 0 takes a free one.
	Listen string `koanf:"listen"`
	// TLS, if it names files, encrypts the connections there.
	TLS TLS `koanf:"tls"`
	// ProxyProtocol says that connections there begin with a PROXY header, as
	// Listener.ProxyProtocol does for others.
	ProxyProtocol bool `koanf:"proxy_protocol"`
	// TrustedProxies are the addresses, such as 10.0.0.0/8 or 192.0.2.1, of
	// proxies that are believed about whose connections they make: by a PROXY
	// header, and by X-Forwarded-For. The word unix stands for whoever connects to
	// a unix socket. Nobody else's X-Forwarded-For is looked at.
	TrustedProxies []string `koanf:"trusted_proxies"`
	// Listeners are where else clients connect, and what they speak there.
	Listeners []Listener `koanf:"listeners"`
	// Group is the worker group that gets the events of all clients that
	// nothing else is said about.
	Group string `koanf:"group"`
	// Paths says which worker group gets the events of the WebSocket clients
	// that ask for a path, or for one below it; the longest that matches
	// counts. A path begins with /, does not end with it, and is compared byte
	// by byte with the one in the request, percent-decoded.
	Paths map[string]string `koanf:"paths"`
	// Routing says which worker of the group gets an event: with queue any
	// one, with sticky always the same for one client, for as long as it stays.
	Routing Routing `koanf:"routing"`

	// AckWait is how long a worker may be silent about an event before the
	// event goes to the group again. From 100ms.
	AckWait time.Duration `koanf:"ack_wait"`
	// MaxDeliver is how many times an event is given out before it is dropped
	// and its client closed with 1011. From 1.
	MaxDeliver int `koanf:"max_deliver"`
	// Hold is how long events wait for a first worker to appear before their
	// client is closed with 1013. From 0.
	Hold time.Duration `koanf:"hold"`
	// Drain is the time over which a stopping gateway closes its clients,
	// each with 1012. From 0.
	Drain time.Duration `koanf:"drain"`

	// MaxFrame is the largest frame a client may send, in bytes; a larger one
	// closes it with 1009. From 1 to 4 MiB: what the bus holds for a worker
	// is 8 MiB.
	MaxFrame int64 `koanf:"max_frame"`
	// QueueFrames and QueueBytes bound the events of one client that wait for
	// their turn; when one is reached the client's socket is not read, and TCP
	// slows the client down. From 1.
	QueueFrames int `koanf:"queue_frames"`
	QueueBytes  int `koanf:"queue_bytes"`
	// SendFrames and SendBytes bound the frames that wait for one client to
	// read them; a client too slow for that is closed with 4000. From 1.
	SendFrames int `koanf:"send_frames"`
	SendBytes  int `koanf:"send_bytes"`

	// HandshakeTimeout is how long a client may take for its HTTP request.
	// From 100ms.
	HandshakeTimeout time.Duration `koanf:"handshake_timeout"`
	// WriteTimeout is how long one write to a client may take before it is
	// closed with 4000. From 100ms.
	WriteTimeout time.Duration `koanf:"write_timeout"`
	// PingInterval is how long a client may be silent before it is pinged.
	// From 1s.
	PingInterval time.Duration `koanf:"ping_interval"`
	// PongTimeout is how long a pinged client may stay silent before it is
	// closed with 4001. From 100ms.
	PongTimeout time.Duration `koanf:"pong_timeout"`
	// CloseTimeout is how long a client that was sent a close may take to
	// answer it before its socket is closed. From 100ms.
	CloseTimeout time.Duration `koanf:"close_timeout"`

	// Origins are the pages whose browsers may connect: https://app.example.com,
	// https://*.example.com for all below, or same for pages of the host that is
	// asked. Empty means all. A page is told by the Origin header; a client that
	// sends none is not a browser, and may connect.
	Origins []string `koanf:"origins"`
	// JWT says how clients prove who they are; without it that is the workers'
	// business.
	JWT JWT `koanf:"jwt"`
	// Limits bound what clients may take.
	Limits Limits `koanf:"limits"`

	// Tap says what may be seen of this gateway by who subscribes at a register.
	Tap TapConfig `koanf:"tap"`

	// Tracing says which events have a span, of OpenTelemetry; the zero value: none.
	Tracing Tracing `koanf:"-"`
}

// maxFrameLimit keeps a single frame well below the 8 MiB of output that the
// bus's server holds for a worker before it cuts it off.
const maxFrameLimit = 4 << 20

// DefaultConfig is the one place where the defaults stand.
func DefaultConfig() Config {
	return Config{
		Name:   "g1",
		Listen: "127.0.0.1:8282",

		TrustedProxies: []string{},

		Listeners: []Listener{},
		Group:     "default",
		Paths:     map[string]string{},
		Routing:   RouteQueue,

		AckWait:    2 * time.Second,
		MaxDeliver: 5,
		Hold:       30 * time.Second,
		Drain:      5 * time.Second,

		MaxFrame:    64 << 10,
		QueueFrames: 64,
		QueueBytes:  256 << 10,
		SendFrames:  1024,
		SendBytes:   1 << 20,

		HandshakeTimeout: 10 * time.Second,
		WriteTimeout:     10 * time.Second,
		PingInterval:     25 * time.Second,
		PongTimeout:      15 * time.Second,
		CloseTimeout:     3 * time.Second,

		Origins: []string{},
		JWT: JWT{
			Algorithms: []string{"RS256", "ES256"}, UIDClaim: "sub",
			Keys: JWTKeys{Refresh: 10 * time.Minute},
		},

		Tap: TapConfig{Enabled: true, Payloads: true, Rate: 1000},
	}
}

// Validate names everything that is wrong, one error a key.
func (c *Config) Validate() error {
	var errs []error
	bad := func(key, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s: "+format, append([]any{key}, args...)...))
	}
	if err := bus.CheckGateway(bus.GatewayID(c.Name)); err != nil {
		bad("name", "%w", err)
	}
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		bad("listen", "%w; write host:port, such as 127.0.0.1:8282", err)
	}
	_, faults := rulesOf(c)
	errs = append(errs, faults...)
	c.TLS.check(func(key, format string, args ...any) { bad("tls."+key, format, args...) })
	c.checkListeners(bad)
	if err := bus.CheckName(c.Group); err != nil {
		bad("group", "%w", err)
	}
	c.checkPaths(bad)
	c.JWT.check(bad)
	c.Limits.check(bad)
	c.Tracing.check(bad)
	if c.Routing != RouteQueue && c.Routing != RouteSticky {
		bad("routing", "%q: it is %s or %s", string(c.Routing), RouteQueue, RouteSticky)
	}
	for _, d := range []struct {
		key        string
		value, min time.Duration
	}{
		{"ack_wait", c.AckWait, 100 * time.Millisecond},
		{"hold", c.Hold, 0},
		{"drain", c.Drain, 0},
		{"handshake_timeout", c.HandshakeTimeout, 100 * time.Millisecond},
		{"write_timeout", c.WriteTimeout, 100 * time.Millisecond},
		{"ping_interval", c.PingInterval, time.Second},
		{"pong_timeout", c.PongTimeout, 100 * time.Millisecond},
		{"close_timeout", c.CloseTimeout, 100 * time.Millisecond},
	} {
		if d.value < d.min {
			bad(d.key, "%v is too short; from %v", d.value, d.min)
		}
	}
	for _, n := range []struct {
		key   string
		value int
	}{
		{"max_deliver", c.MaxDeliver},
		{"queue_frames", c.QueueFrames},
		{"queue_bytes", c.QueueBytes},
		{"send_frames", c.SendFrames},
		{"send_bytes", c.SendBytes},
		{"tap.rate", c.Tap.Rate},
	} {
		if n.value < 1 {
			bad(n.key, "%d is too small; from 1", n.value)
		}
	}
	if c.MaxFrame < 1 || c.MaxFrame > maxFrameLimit {
		bad("max_frame", "%d is out of range; from 1 to %d", c.MaxFrame, maxFrameLimit)
	}
	return errors.Join(errs...)
}
