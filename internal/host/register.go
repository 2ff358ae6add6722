package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/embedded"
	"github.com/gatebus/gatebus/internal/buildinfo"
	"github.com/gatebus/gatebus/internal/keys"
	"github.com/gatebus/gatebus/register"
)

// stopTimeout bounds the end of a NATS server whose clients have drained.
const stopTimeout = 5 * time.Second

func isAddressInUse(err error) bool {
	return errors.Is(err, embedded.ErrAddressInUse) || errors.Is(err, syscall.EADDRINUSE)
}

// stopServer stops a NATS server within bounds.
func stopServer(s *embedded.Server, log *slog.Logger) {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	if err := s.Stop(ctx); err != nil {
		log.Warn("NATS server did not stop in time", "server", s.Name(), "err", err)
	}
}

// registerPart is a register: a clustered NATS server, the registrar on it, and
// its own membership.
type registerPart struct {
	log    *slog.Logger // names the register
	server *embedded.Server
	self   register.Member
	conn   bus.Config // in process, to its own server
}

func (h *Host) startRegister(ctx context.Context, at *Addresses) (*registerPart, error) {
	c := h.cfg.Register
	log := h.log.With("register", c.Name)
	server, err := embedded.New(embedded.Config{
		Name: c.Name, Listen: c.Listen, Advertise: h.cfg.RegisterAdvertise(),
		Keys: h.keys, Log: log,
		Cluster: &embedded.Cluster{
			Name: c.Cluster.Name, Listen: c.Cluster.Listen,
			Advertise: h.cfg.ClusterAdvertise(), Routes: c.Cluster.Routes,
		},
	})
	if err != nil {
		return nil, fmt.Errorf("register: %w", err)
	}
	if err := server.Start(ctx); err != nil {
		return nil, keyed("register.listen or register.cluster.listen", err)
	}
	at.Register, at.Cluster = server.Addr(), server.ClusterAddr()
	return &registerPart{
		log: log, server: server,
		self: register.Member{
			Role: register.RoleRegister, Name: c.Name, Epoch: bus.NewEpoch(time.Now()),
			Address: h.cfg.AdvertiseAddr(server.Addr()), Version: buildinfo.Version(),
		},
		conn: bus.Config{
			InProcess: server, Name: "gatebus register " + c.Name,
			Options: server.ConnectOptions(keys.RoleRegister), Log: log,
		},
	}, nil
}

func (r *registerPart) role() string { return string(register.RoleRegister) }
func (r *registerPart) release()     { stopServer(r.server, r.log) }
func (r *registerPart) ready() error { return nil } // it has started

func (r *registerPart) stats() any { return map[string]string{"server": r.server.Name()} }

func (r *registerPart) run(ctx context.Context) error {
	defer r.release()
	client, err := register.NewClient(register.ClientConfig{
		Self: r.self, Registers: []string{r.server.ClientURL()}, Log: r.log,
	})
	if err != nil {
		return err
	}
	cfg := r.conn
	cfg.OnStatus = client.Status
	conn, err := bus.Dial(cfg)
	if err != nil {
		return err
	}
	defer conn.Close()
	service, err := register.Serve(conn.NATS(), r.self, r.stats)
	if err != nil {
		return err
	}
	defer service.Stop()
	registrar := register.NewServer(r.self.Name, conn, r.log)
	// The registrar hears its own register's goodbye: it ends after it.
	serve, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var group errgroup.Group
	group.Go(func() error { return registrar.Run(serve) })
	group.Go(func() error { defer stop(); return client.Run(ctx, conn) })
	return group.Wait()
}
