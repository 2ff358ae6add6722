package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/configs"
	"github.com/gatebus/gatebus/embedded"
	"github.com/gatebus/gatebus/gateway"
	"github.com/gatebus/gatebus/internal/admin"
	"github.com/gatebus/gatebus/internal/buildinfo"
	"github.com/gatebus/gatebus/internal/keys"
	"github.com/gatebus/gatebus/register"
	"github.com/nats-io/nats.go"
)

// busHeadroom is what a message of a bus may have beside a client's largest
// frame: headers, and what workers put around it.
const busHeadroom = 64 << 10

// gatewayPart is a gateway: its bus, which is a NATS server of its own, the
// clients' side, and its membership.
type gatewayPart struct {
	log         *slog.Logger
	server      *embedded.Server // its bus; nil: that runs elsewhere
	external    *external        // the state of conn; nil: the bus is its own
	conn        *bus.NATS        // to its bus
	gateway     *gateway.Gateway
	members     *register.Client
	self        register.Member
	registers   bus.Config
	toRegisters atomic.Pointer[bus.NATS] // nil: not yet
	largest     int                      // a message of the bus may be, in bytes
	sameNATS    bool                     // the registers are where the bus is
	// takeover replaces another process, and is replaced; nil: neither happens.
	takeover *takeover
	tracing  gateway.Tracing
}

func (h *Host) startGateway(ctx context.Context, at *Addresses) (_ *gatewayPart, err error) {
	c := h.cfg.Gateway
	log := h.log.With("gateway", c.Name)
	g := &gatewayPart{log: log, largest: int(c.MaxFrame + busHeadroom), sameNATS: h.cfg.BusHasRegisters()}
	defer func() {
		if err != nil {
			g.release()
		}
	}()
	epoch := bus.NewEpoch(time.Now())
	if g.tracing, err = h.gatewayTracing(ctx); err != nil {
		return nil, err
	}
	if h.cfg.BusIsOwn() {
		err = g.startBus(ctx, h, epoch)
	} else {
		err = g.dialBus(h, epoch)
	}
	if err != nil {
		return nil, err
	}
	if h.takeover != nil {
		g.takeover = h.takeover
		if err := g.takeover.inherit(g.gateway); err != nil {
			return nil, err
		}
	}
	if err := g.gateway.Listen(ctx); err != nil {
		if e, ok := errors.AsType[*gateway.ListenError](err); ok {
			return nil, keyed("gateway."+e.Key, e.Err)
		}
		return nil, err
	}
	for _, l := range c.Listeners {
		l = l.WithDefaults()
		log.Info("listening for clients", "listener", l.Name, "protocol", string(l.Protocol), "addr", g.gateway.Addrs()[l.Name].String(), "tls", l.TLS.On())
	}
	at.ClientsTLS = c.TLS.On()
	at.Clients = g.gateway.Addr().String()
	g.self = register.Member{
		Role: register.RoleGateway, Name: c.Name, Epoch: epoch, Clients: h.cfg.AdvertiseAddr(at.Clients),
		Group: c.Group, MoreGroups: strings.Join(c.Groups()[1:], ","), AckWait: c.AckWait.Milliseconds(),
		Version: buildinfo.Version(), Protocol: bus.CurrentProtocol(),
	}
	if g.server != nil {
		at.Bus = g.server.Addr()
		g.self.Address = h.cfg.AdvertiseAddr(at.Bus)
	} else {
		at.Bus = c.Bus.URL[0]
		g.self.Bus = strings.Join(c.Bus.URL, ",")
		if g.self.Address, err = h.processAddress(at.Clients); err != nil {
			return nil, err
		}
	}
	registers := h.registers(at)
	g.members, err = register.NewClient(register.ClientConfig{Self: g.self, Registers: registers, Log: log})
	if err != nil {
		return nil, err
	}
	g.registers = bus.Config{
		URLs: registers, Name: register.GatewayConn + c.Name,
		// Taps are mirrored on subjects that the gateway is subscribed to.
		Options: append(h.registerOptions(keys.RoleGateway), nats.NoEcho()), Login: h.registerLogin(keys.RoleGateway),
		Log: log, OnStatus: g.members.Status,
	}
	return g, nil
}

// startBus starts the bus of the gateway, and makes that.
func (g *gatewayPart) startBus(ctx context.Context, h *Host, epoch bus.Epoch) error {
	c := h.cfg.Gateway
	var (
		server *embedded.Server
		inUse  []error
	)
	for _, listen := range h.busAddresses() {
		var err error
		server, err = embedded.New(embedded.Config{
			Name: c.Name, Listen: listen, Advertise: h.cfg.AdvertiseAddr(listen), TLS: h.serverTLS(), Log: g.log,
			Keys: h.secrets.Load().ownKeys(), Accept: h.secrets.Load().acceptedKeys(),
			MaxPayload: int32(max(embedded.DefaultMaxPayload, c.MaxFrame+busHeadroom)), // MaxFrame is bounded by Validate
		})
		if err != nil {
			return fmt.Errorf("gateway.bus: %w", err)
		}
		if err = server.Start(ctx); err == nil {
			g.server = server
			break
		}
		if !isAddressInUse(err) {
			return keyed("gateway.bus.listen", err)
		}
		inUse = append(inUse, err)
	}
	if g.server == nil {
		return h.busInUse(inUse)
	}
	var err error
	g.conn, err = bus.Dial(bus.Config{
		InProcess: server, Name: "gatebus gateway " + c.Name,
		Options: inboxOptions(keys.RoleGateway), Login: inProcessLogin(server, keys.RoleGateway), Log: g.log,
	})
	if err != nil {
		return err
	}
	g.gateway, err = gateway.New(g.configured(c.Config), epoch, g.conn, server, h.log)
	return err
}

// dialBus makes a gateway whose bus runs elsewhere.
func (g *gatewayPart) dialBus(h *Host, epoch bus.Epoch) (err error) {
	c := h.cfg.Gateway
	g.external = newExternal("the bus", c.Bus.URL, g.log)
	var made atomic.Pointer[gateway.Gateway] // the connection may be up before
	g.conn, err = bus.Dial(bus.Config{
		URLs: c.Bus.URL, Name: "gatebus gateway " + c.Name + " bus",
		Options: h.natsOptions(keys.RoleGateway), Login: h.tlsLogin, Log: g.log,
		OnStatus: func(up bool, cause error) {
			if gw := made.Load(); g.external.status(up, cause) && gw != nil {
				gw.Reconnected()
			}
		},
	})
	if err != nil {
		return fmt.Errorf("gateway.bus.url: %w", err)
	}
	g.external.made(g.conn)
	g.gateway, err = gateway.New(g.configured(c.Config), epoch, g.conn, nil, h.log)
	made.Store(g.gateway)
	return err
}

// processAddress tells a process from others of its name where it has no address for
// NATS: by the host, and the port of a listener.
func (h *Host) processAddress(listen string) (string, error) {
	host := h.cfg.Advertise
	if host == "" {
		var err error
		if host, err = os.Hostname(); err != nil {
			return "", fmt.Errorf("advertise: the host has no name: %w; set the address of this host", err)
		}
	}
	_, port, err := net.SplitHostPort(listen)
	if err != nil { // a socket
		return host + ":" + listen, nil
	}
	return net.JoinHostPort(host, port), nil
}

// registers are the registers' URLs, with the real port of one that runs here
// and took a free one.
func (h *Host) registers(at *Addresses) []string {
	if !h.cfg.RegisterIsOwn() {
		return h.cfg.Registers
	}
	urls := make([]string, len(h.cfg.Registers))
	for i, u := range h.cfg.Registers {
		if u == h.cfg.OwnRegister() {
			u = "nats://" + at.Register
		}
		urls[i] = u
	}
	return urls
}

func (g *gatewayPart) role() string { return string(configs.RoleGateway) }

// gatewayStats are the figures of a gateway.
type gatewayStats struct {
	gateway.Stats
	Queues  gateway.Queues `json:"queues"`
	Workers map[string]int `json:"workers"` // on its bus, by group
	report
}

func (g *gatewayPart) stats() any {
	return gatewayStats{g.gateway.Stats(), g.gateway.Queues(), g.gateway.Workers(), newReport(g.server, g.members)}
}

func (g *gatewayPart) show(s *shown) {
	s.member(g.self, g.members)
	if g.server != nil {
		s.servers["bus"] = g.server.Stats
	}
	s.Gateway(g.gateway)
}

func (g *gatewayPart) release() {
	if g.gateway != nil {
		g.gateway.Close()
	}
	if g.conn != nil {
		g.conn.Close()
	}
	if g.server != nil {
		stopServer(g.server, g.log)
	}
}

func (g *gatewayPart) checks() []admin.Check {
	busCheck := serverCheck(configs.ReadyBus, g.server)
	if g.external != nil {
		busCheck = g.external.check(configs.ReadyBus, g.largest)
	}
	return []admin.Check{
		busCheck,
		g.takeover.joined(joinedCheck(configs.RoleGateway, g.members)),
		{Name: configs.ReadyWorkers, Missing: g.missingWorkers},
	}
}

// missingWorkers says which groups that the gateway serves have no worker on its bus.
func (g *gatewayPart) missingWorkers() error {
	var missing []string
	for group, n := range g.gateway.Workers() {
		if n == 0 {
			missing = append(missing, group)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	slices.Sort(missing)
	return fmt.Errorf("no worker is there of the group %s", strings.Join(missing, ", "))
}

func (g *gatewayPart) run(ctx context.Context) error {
	defer g.release()
	registers, err := bus.Dial(g.registers)
	if err != nil {
		return err
	}
	defer registers.Close()
	g.toRegisters.Store(registers)
	attach := g.gateway.Attach
	if g.sameNATS {
		attach = g.gateway.AttachShared
	}
	if err := attach(registers); err != nil {
		return err
	}
	// The gateway says goodbye to the registers before it closes its clients,
	// and is served by its workers until the last one is gone.
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	present := &presence{g: g, registers: registers}
	membership := make(chan error, 1)
	go func() {
		defer stop()
		select {
		case <-g.gateway.Serving():
			membership <- g.beMember(ctx, present)
		case <-ctx.Done():
			membership <- nil
		}
	}()
	err = g.gateway.Run(ctx)
	stop()
	return errors.Join(err, <-membership)
}

func (g *gatewayPart) reload(cfg *configs.Config, to change) error {
	var errs []error
	if cfg.Gateway != nil {
		errs = append(errs, g.gateway.Reload(cfg.Gateway.Config))
	}
	if to.secrets {
		if g.server != nil {
			if err := g.server.SetSecrets(to.embedded(false)); err != nil {
				errs = append(errs, fmt.Errorf("gateway.bus: %w", err))
			}
		}
		if c := g.toRegisters.Load(); c != nil {
			c.Renew()
		}
	}
	return errors.Join(errs...)
}

// beMember has the registers know the gateway until ctx ends.
func (g *gatewayPart) beMember(ctx context.Context, p *presence) error {
	if g.takeover != nil {
		return g.takeover.run(ctx, p)
	}
	if err := p.begin(ctx); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
	case <-p.ended:
	}
	return p.end()
}
