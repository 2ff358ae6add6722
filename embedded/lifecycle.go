package embedded

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// settleTimeout bounds the wait for the listeners. They are up or have failed
// within milliseconds, unless a host name has to be looked up.
const settleTimeout = 5 * time.Second

var errStopped = errors.New("server was stopped")

// Start starts the server and returns when it accepts clients and, in a
// cluster, routes. It does not wait for other members. ctx bounds the start
// only: to stop the server call Stop.
//
// An address that is taken gives an error that names it and wraps
// ErrAddressInUse. After an error nothing is left running, and the Server
// cannot be started again.
func (s *Server) Start(ctx context.Context) error {
	s.mu.Lock()
	if s.state != created {
		s.mu.Unlock()
		return errors.New("embedded: start: server was started or stopped before")
	}
	s.state = starting
	s.mu.Unlock()

	nats, err := s.boot(ctx)

	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil && s.state == starting {
		s.state = running
		s.nats = nats
		s.addr = nats.Addr().String()
		if a := nats.ClusterAddr(); a != nil {
			s.cluster = a.String()
		}
		return nil
	}
	if err == nil { // Stop came between boot and here.
		shutdown(nats)
		err = fmt.Errorf("embedded: %w", errStopped)
	}
	s.state = stopped
	s.cancel(errStopped)
	close(s.done)
	return err
}

// boot returns a NATS server that is ready, or an error and nothing running.
func (s *Server) boot(ctx context.Context) (*server.Server, error) {
	if ctx.Err() != nil {
		return nil, fmt.Errorf("embedded: start: %w", context.Cause(ctx))
	}
	opts, err := s.options()
	if err != nil {
		return nil, fmt.Errorf("embedded: options: %w", err)
	}
	nats, err := server.NewServer(opts)
	if err != nil {
		return nil, fmt.Errorf("embedded: options: %w", err)
	}
	if s.auth != nil {
		if err := s.auth.serve(nats); err != nil {
			nats.Shutdown()
			return nil, fmt.Errorf("embedded: accounts: %w", err)
		}
	}
	log := newLogger(s.log)
	nats.SetLogger(log, log.trace(), false)
	// Start returns once the client listener is up or has failed; the one for
	// routes follows on a goroutine of NATS.
	nats.Start()
	err = s.settle(nats, log)
	if err == nil && ctx.Err() != nil {
		err = fmt.Errorf("embedded: start: %w", context.Cause(ctx))
	}
	if err == nil && s.ctx.Err() != nil {
		err = fmt.Errorf("embedded: start: %w", context.Cause(s.ctx))
	}
	if err != nil {
		shutdown(nats)
		return nil, err
	}
	return nats, nil
}

// settle waits until each listener is up or has failed, and returns the
// failures.
//
// NATS reports a failure to its logger as fatal and, as that doesn't exit, goes
// on without the listener. It must not be shut down before both have settled:
// it would not see a listener for routes that opens meanwhile, and leave it
// open. That is why a canceled context doesn't cut the wait short.
func (s *Server) settle(nats *server.Server, log *logger) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	timeout := time.NewTimer(settleTimeout)
	defer timeout.Stop()
	for {
		fatals := log.fatals()
		client := nats.Addr() != nil
		routes := s.cfg.Cluster == nil || nats.ClusterAddr() != nil
		pending := 0
		for _, up := range []bool{client, routes} {
			if !up {
				pending++
			}
		}
		if len(fatals) >= pending {
			return s.listenErrors(client, routes, fatals)
		}
		select {
		case <-tick.C:
		case <-timeout.C:
			return errors.Join(append(fatals, fmt.Errorf("embedded: not ready after %v", settleTimeout))...)
		}
	}
}

// listenErrors gives each failure the name of its listener. NATS opens the one
// for clients first, so the first failure is its, if it is down.
func (s *Server) listenErrors(client, routes bool, fatals []error) error {
	var errs []error
	next := func() error {
		err := fatals[0]
		fatals = fatals[1:]
		return err
	}
	if !client {
		errs = append(errs, listenError("clients", s.cfg.Listen, next()))
	}
	if !routes {
		errs = append(errs, listenError("routes", s.cfg.Cluster.Listen, next()))
	}
	for _, err := range fatals {
		errs = append(errs, fmt.Errorf("embedded: start: %w", err))
	}
	return errors.Join(errs...)
}

func listenError(what, addr string, err error) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		err = ErrAddressInUse
	} else if op, ok := errors.AsType[*net.OpError](err); ok {
		err = op.Err // without the address, which comes before it here
	}
	return fmt.Errorf("embedded: listen for %s on %s: %w", what, addr, err)
}

// Stop stops the server: it accepts nobody any more, sends each client what
// already waits for it (for at most the write deadline of 2 s), closes all
// connections, and joins every goroutine. It returns nil when all is down, and
// the cause of ctx if that comes first; the server then goes on stopping, and
// another Stop waits again. Stopping twice, or before Start, is fine.
//
// Clients are not told beforehand. Those that must lose nothing drain first.
func (s *Server) Stop(ctx context.Context) error {
	s.cancel(errStopped) // first: watchers must know that this is no interruption
	s.mu.Lock()
	switch s.state {
	case created:
		s.state = stopped
		close(s.done)
	case starting:
		s.state = stopping // and Start takes down what it started
	case running:
		s.state = stopping
		go s.takeDown(s.nats)
	}
	s.mu.Unlock()

	select {
	case <-s.done:
		return nil
	default:
	}
	select {
	case <-s.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("embedded: stop: %w", context.Cause(ctx))
	}
}

// Close is Stop without a limit of time.
func (s *Server) Close() error { return s.Stop(context.Background()) }

// takeDown frees the ports before it waits for watchers: the function of a
// watcher is not ours and may hang.
func (s *Server) takeDown(nats *server.Server) {
	shutdown(nats)
	s.watchers.Wait()
	s.mu.Lock()
	s.state = stopped
	s.nats = nil
	s.mu.Unlock()
	close(s.done)
}

func shutdown(nats *server.Server) {
	nats.Shutdown()
	nats.WaitForShutdown()
}
