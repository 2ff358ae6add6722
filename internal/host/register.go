package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/configs"
	"github.com/gatebus/gatebus/embedded"
	"github.com/gatebus/gatebus/internal/admin"
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
	log       *slog.Logger     // names the register
	server    *embedded.Server // nil: it is a client of another one
	external  *external        // the state of conn; nil: the server is its own
	self      register.Member
	client    *register.Client
	conn      *bus.NATS // to its server
	registrar *register.Server
}

// joinRegister makes a register that is a client of a NATS cluster that gatebus does
// not run.
func (h *Host) joinRegister(at *Addresses) (_ *registerPart, err error) {
	c := h.cfg.Register
	log := h.log.With("register", c.Name)
	r := &registerPart{log: log, external: newExternal("the register", c.URL, log)}
	at.Register = c.URL[0]
	r.self = register.Member{
		Role: register.RoleRegister, Name: c.Name, Epoch: bus.NewEpoch(time.Now()),
		Version: buildinfo.Version(), Protocol: bus.CurrentProtocol(),
	}
	if r.self.Address, err = h.processAddress("register"); err != nil {
		return nil, err
	}
	r.client, err = register.NewClient(register.ClientConfig{Self: r.self, Registers: c.URL, Log: log})
	if err != nil {
		return nil, err
	}
	var made atomic.Pointer[register.Server] // the connection may be up before
	r.conn, err = bus.Dial(bus.Config{
		URLs: c.URL, Name: "gatebus register " + c.Name,
		Options: h.natsOptions(keys.RoleRegister), Login: h.tlsLogin, Log: log,
		OnStatus: func(up bool, cause error) {
			r.external.status(up, cause)
			if s := made.Load(); s != nil {
				s.Status(up)
			}
			r.client.Status(up, cause)
		},
	})
	if err != nil {
		return nil, fmt.Errorf("register.url: %w", err)
	}
	r.external.made(r.conn)
	r.registrar = register.NewServer(r.self, r.conn, log)
	made.Store(r.registrar)
	return r, nil
}

func (h *Host) startRegister(ctx context.Context, at *Addresses) (_ *registerPart, err error) {
	if !h.cfg.RegisterIsOwn() {
		return h.joinRegister(at)
	}
	c := h.cfg.Register
	log := h.log.With("register", c.Name)
	server, err := embedded.New(embedded.Config{
		Name: c.Name, Listen: c.Listen, Advertise: h.cfg.RegisterAdvertise(),
		Keys: h.secrets.Load().ownKeys(), Accept: h.secrets.Load().acceptedKeys(), TLS: h.serverTLS(), Log: log,
		Cluster: &embedded.Cluster{
			Name: c.Cluster.Name, Listen: c.Cluster.Listen,
			Advertise: h.cfg.ClusterAdvertise(), Routes: c.Cluster.Routes,
			TLS: h.routeTLS(),
		},
	})
	if err != nil {
		return nil, fmt.Errorf("register: %w", err)
	}
	if err := server.Start(ctx); err != nil {
		return nil, registerKeyed(c, err)
	}
	r := &registerPart{log: log, server: server}
	defer func() {
		if err != nil {
			r.release()
		}
	}()
	at.Register, at.Cluster = server.Addr(), server.ClusterAddr()
	r.self = register.Member{
		Role: register.RoleRegister, Name: c.Name, Epoch: bus.NewEpoch(time.Now()),
		Address: h.cfg.AdvertiseAddr(server.Addr()), Version: buildinfo.Version(), Protocol: bus.CurrentProtocol(),
	}
	r.client, err = register.NewClient(register.ClientConfig{
		Self: r.self, Registers: []string{server.ClientURL()}, Log: log,
	})
	if err != nil {
		return nil, err
	}
	r.conn, err = bus.Dial(bus.Config{
		InProcess: server, Name: "gatebus register " + c.Name,
		Options: inboxOptions(keys.RoleRegister), Login: inProcessLogin(server, keys.RoleRegister), Log: log, OnStatus: r.client.Status,
	})
	if err != nil {
		return nil, err
	}
	r.registrar = register.NewServer(r.self, r.conn, log)
	return r, nil
}

// registerKeyed says which keys a failed start of a register is about: it has
// two listeners, and the error names the address of each that failed.
func registerKeyed(c *configs.Register, err error) error {
	failed := []error{err}
	if j, ok := err.(interface{ Unwrap() []error }); ok {
		failed = j.Unwrap()
	}
	for i, err := range failed {
		switch s := err.Error(); {
		case strings.Contains(s, " on "+c.Listen+": "):
			failed[i] = keyed("register.listen", err)
		case strings.Contains(s, " on "+c.Cluster.Listen+": "):
			failed[i] = keyed("register.cluster.listen", err)
		default:
			failed[i] = fmt.Errorf("register: %w", err)
		}
	}
	return errors.Join(failed...)
}

func (r *registerPart) role() string { return string(register.RoleRegister) }

func (r *registerPart) checks() []admin.Check {
	if r.external != nil {
		return []admin.Check{r.external.check(configs.ReadyNATS, 0)}
	}
	return []admin.Check{serverCheck(configs.ReadyNATS, r.server)} // it needs nobody else
}

func (r *registerPart) show(s *shown) {
	s.member(r.self, r.client)
	if r.server != nil {
		s.servers["register"] = r.server.Stats
	}
	s.Register(r.registrar)
}

// registerStats are the figures of a register.
type registerStats struct {
	Server  string               `json:"server"` // its name in NATS
	Members []register.Member    `json:"members"`
	Notices register.NoticeStats `json:"notices"`
	report
}

func (r *registerPart) stats() any {
	return registerStats{r.serverName(), r.registrar.Members(), r.registrar.Notices(), newReport(r.server, r.client)}
}

// serverName is the name of its server in NATS, or where that is.
func (r *registerPart) serverName() string {
	if r.server != nil {
		return r.server.Name()
	}
	return r.conn.Server()
}

func (r *registerPart) reload(_ *configs.Config, to change) error {
	// What routes believe is told to NATS, whether it has changed or not.
	if r.server == nil || to.h.secrets.Load() == nil || !to.secrets && to.h.certs == nil {
		return nil
	}
	if err := r.server.SetSecrets(to.embedded(true)); err != nil {
		return fmt.Errorf("register: %w", err)
	}
	return nil
}

func (r *registerPart) release() {
	if r.conn != nil {
		r.conn.Close()
	}
	if r.server != nil {
		stopServer(r.server, r.log)
	}
}

func (r *registerPart) run(ctx context.Context) error {
	defer r.release()
	service, err := register.Serve(r.conn.NATS(), r.self, r.stats)
	if err != nil {
		return err
	}
	defer service.Stop()
	// The registrar hears its own register's goodbye: it ends after it.
	serve, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var group errgroup.Group
	group.Go(func() error { return r.registrar.Run(serve) })
	if r.server != nil { // on a cluster of somebody else's, frames of the bus are to be seen already, or are not
		group.Go(func() error { return register.WatchTaps(serve, r.self.Name, r.conn, r.server) })
	}
	group.Go(func() error { defer stop(); return r.client.Run(ctx, r.conn) })
	return group.Wait()
}
