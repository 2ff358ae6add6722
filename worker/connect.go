package worker

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// linkPatience is how long [Connect] waits for a gateway that the registers know and
// that does not answer.
const linkPatience = 2 * time.Second

// Connection reaches all clients from a program that is no worker: a web application
// that pushes, a command. It gets no events. It may be used by any goroutine.
type Connection struct {
	*Cluster
	stop func()
	done chan struct{}
	err  error // of the worker behind it; valid when done is closed
}

// Connect links to all gateways that the registers know of, and to those that come.
// It uses Registers, Secret, Name and Log of the configuration; without a Log it says
// nothing. It returns when the gateways that there are now are linked, or have not
// answered for two seconds: those are missing in what is asked then. An error says
// that no register answered before ctx ended, or none of this protocol (it is a
// *bus.ProtocolError then), or what is wrong with the configuration.
// Close must follow.
func Connect(ctx context.Context, cfg Config) (*Connection, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	w, err := newWorker(cfg, nil)
	if err != nil {
		return nil, err
	}
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	c := &Connection{Cluster: w.cluster, stop: stop, done: make(chan struct{})}
	go func() {
		defer close(c.done)
		c.err = w.Run(run)
	}()
	if err := c.await(ctx); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// await waits until the gateways that there are are linked.
func (c *Connection) await(ctx context.Context) error {
	select {
	case <-c.w.members.CaughtUp():
	case <-c.done:
		return c.err
	case <-ctx.Done():
		if err := c.w.members.Conflict(); err != nil { // one has answered
			return fmt.Errorf("worker: connect: %w: %w", context.Cause(ctx), err)
		}
		return fmt.Errorf("worker: connect: no register of %v answers: %w", c.w.cfg.Registers, context.Cause(ctx))
	}
	if err := c.w.settled(ctx); err != nil {
		return fmt.Errorf("worker: connect: %w", err)
	}
	patience, cancel := context.WithTimeout(ctx, linkPatience)
	defer cancel()
	var wg sync.WaitGroup
	for _, l := range c.w.allLinks() {
		wg.Go(func() {
			select {
			case <-l.reached:
			case <-patience.Done():
			}
		})
	}
	wg.Wait()
	return ctx.Err()
}

// SetLogin is [Worker.SetLogin] for the links of the connection.
func (c *Connection) SetLogin(secret string, t *tls.Config) error { return c.w.SetLogin(secret, t) }

// Close ends the links. What was sent before is on its way.
func (c *Connection) Close() {
	c.stop()
	<-c.done
}

// settled waits until all that the registers have said so far is a link.
func (w *Worker) settled(ctx context.Context) error {
	done := make(chan struct{})
	w.mu.Lock()
	w.settling = append(w.settling, done)
	w.mu.Unlock()
	w.nudge()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
