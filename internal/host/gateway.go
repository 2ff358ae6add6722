package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
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
	log       *slog.Logger
	server    *embedded.Server
	conn      *bus.NATS // to its own bus, in process
	gateway   *gateway.Gateway
	members   *register.Client
	self      register.Member
	registers bus.Config
}

func (h *Host) startGateway(ctx context.Context, at *Addresses) (_ *gatewayPart, err error) {
	c := h.cfg.Gateway
	log := h.log.With("gateway", c.Name)
	server, err := embedded.New(embedded.Config{
		Name: c.Name, Listen: c.Bus.Listen, Advertise: h.cfg.BusAdvertise(), Keys: h.keys, Accept: h.accept, TLS: h.serverTLS(), Log: log,
		MaxPayload: int32(max(embedded.DefaultMaxPayload, c.MaxFrame+busHeadroom)), // MaxFrame is bounded by Validate
	})
	if err != nil {
		return nil, fmt.Errorf("gateway.bus: %w", err)
	}
	if err := server.Start(ctx); err != nil {
		return nil, keyed("gateway.bus.listen", err)
	}
	g := &gatewayPart{log: log, server: server}
	defer func() {
		if err != nil {
			g.release()
		}
	}()
	g.conn, err = bus.Dial(bus.Config{
		InProcess: server, Name: "gatebus gateway " + c.Name,
		Options: server.ConnectOptions(keys.RoleGateway), Log: log,
	})
	if err != nil {
		return nil, err
	}
	epoch := bus.NewEpoch(time.Now())
	g.gateway, err = gateway.New(c.Config, epoch, g.conn, server, h.log)
	if err != nil {
		return nil, err
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
	at.Clients, at.Bus = g.gateway.Addr().String(), server.Addr()
	g.self = register.Member{
		Role: register.RoleGateway, Name: c.Name, Epoch: epoch,
		Address: h.cfg.AdvertiseAddr(server.Addr()), Clients: h.cfg.AdvertiseAddr(at.Clients),
		Group: c.Group, MoreGroups: strings.Join(c.Groups()[1:], ","), AckWait: c.AckWait.Milliseconds(), Version: buildinfo.Version(),
	}
	registers := h.registers(at)
	g.members, err = register.NewClient(register.ClientConfig{Self: g.self, Registers: registers, Log: log})
	if err != nil {
		return nil, err
	}
	g.registers = bus.Config{
		URLs: registers, Name: register.GatewayConn + c.Name,
		// Taps are mirrored on subjects that the gateway is subscribed to.
		Options: append(h.auth(keys.RoleGateway), nats.NoEcho()), Log: log, OnStatus: g.members.Status,
	}
	return g, nil
}

// registers are the registers' URLs, with the real port of one that runs here
// and took a free one.
func (h *Host) registers(at *Addresses) []string {
	if at.Register == "" {
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

// auth is how a role connects over TCP: with a proof that it has the secret, and
// with TLS, if there are such.
func (h *Host) auth(r keys.Role) (opts []nats.Option) {
	if h.keys != nil {
		opts = h.keys.ConnectOptions(r)
	}
	if h.certs != nil {
		opts = append(opts, nats.Secure(h.certs.Client()))
	}
	return opts
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
	s.servers["bus"] = g.server.Stats
	s.Gateway(g.gateway)
}

func (g *gatewayPart) release() {
	if g.gateway != nil {
		g.gateway.Close()
	}
	if g.conn != nil {
		g.conn.Close()
	}
	stopServer(g.server, g.log)
}

func (g *gatewayPart) checks() []admin.Check {
	return []admin.Check{
		serverCheck(configs.ReadyBus, g.server),
		joinedCheck(configs.RoleGateway, g.members),
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
	service, err := register.Serve(registers.NATS(), g.self, g.stats)
	if err != nil {
		return err
	}
	defer service.Stop()
	if err := g.gateway.Attach(registers); err != nil {
		return err
	}
	// The gateway says goodbye to the registers before it closes its clients,
	// and is served by its workers until the last one is gone.
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	membership := make(chan error, 1)
	go func() {
		defer stop()
		select {
		case <-g.gateway.Serving():
			membership <- g.members.Run(ctx, registers)
		case <-ctx.Done():
			membership <- nil
		}
	}()
	err = g.gateway.Run(ctx)
	stop()
	return errors.Join(err, <-membership)
}
