package host

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatebus/gatebus/gateway"
	"github.com/gatebus/gatebus/internal/admin"
	"github.com/gatebus/gatebus/internal/handover"
)

// The kinds of sockets that are passed from process to process.
const (
	forClients = "clients"
	forAdmins  = "admin"
)

const (
	// readyWithin is how long a process that replaces another one may take until it has
	// all that the other one has: registers, and workers.
	readyWithin = 20 * time.Second
	// lookInterval is how often it is looked.
	lookInterval = 20 * time.Millisecond
)

// takeover replaces the process that has the sockets, if there is one, and lets itself be
// replaced.
type takeover struct {
	// set at construction
	h       *Host
	path    string
	name    string               // of the gateway
	from    *handover.Succession // nil: nobody is replaced
	begin   chan struct{}        // closed when clients may be accepted
	yielded chan struct{}        // closed when another process accepts them
	settled chan struct{}        // closed when those accepted before are clients
	aside   atomic.Bool          // it serves, and is not present
	gateway *gateway.Gateway     // set by inherit

	// owned by run, and by the methods of handover.Holder while it waits for Serve
	point   *handover.Point
	present *presence
	ctx     context.Context // of run

	closing sync.Once
}

// startTakeover gets the sockets of the process that is to be replaced, if there is one.
func (h *Host) startTakeover(ctx context.Context) error {
	c := h.cfg.Gateway
	if c == nil || c.Handover == "" {
		return nil
	}
	if h.cfg.RegisterIsOwn() {
		return errors.New("gateway.handover: a register runs in this process too, whose ports cannot be handed over; run it as a process of its own, or remove gateway.handover")
	}
	from, err := handover.Call(ctx, c.Handover, c.Name)
	if err != nil {
		return fmt.Errorf("gateway.handover: %w", err)
	}
	t := &takeover{
		h: h, path: c.Handover, name: c.Name, from: from,
		begin: make(chan struct{}), yielded: make(chan struct{}), settled: make(chan struct{}),
	}
	h.takeover = t
	if from != nil {
		h.log.Info("replacing a process that runs; it serves on until this one is ready", "pid", from.PID, "gateway", c.Name)
		return nil
	}
	if t.point, err = handover.Listen(c.Handover, c.Name); err != nil {
		return fmt.Errorf("gateway.handover: %w", err)
	}
	close(t.begin)
	return nil
}

// inherit has the gateway use the sockets of the process that is replaced.
func (t *takeover) inherit(g *gateway.Gateway) error {
	t.gateway = g
	if t.from != nil {
		g.Inherit(func(name, listen string) net.Listener { return t.from.Claim(forClients, name, listen) }, t.begin)
	}
	return nil
}

// adminSocket is that of the process that is replaced; nil: there is none.
func (t *takeover) adminSocket(listen string) net.Listener {
	if t == nil || t.from == nil {
		return nil
	}
	return t.from.Claim(forAdmins, "", listen)
}

// close gives back what was taken, of a host that does not run any more.
func (t *takeover) close() {
	if t == nil {
		return
	}
	t.closing.Do(func() {
		if t.from != nil {
			t.from.Close()
		}
		if t.point != nil {
			t.point.Close()
		}
	})
}

// joined is a check of the membership, which a gateway that serves while its successor
// gets ready is not to miss.
func (t *takeover) joined(c admin.Check) admin.Check {
	if t == nil {
		return c
	}
	return admin.Check{Name: c.Name, Missing: func() error {
		if t.aside.Load() {
			return nil
		}
		return c.Missing()
	}}
}

// run has the registers know the gateway, in the place of the one that it replaces, and
// lets it be replaced, until ctx ends.
func (t *takeover) run(ctx context.Context, p *presence) (err error) {
	t.present, t.ctx = p, ctx
	if t.from != nil {
		err = t.replace(ctx)
		if ctx.Err() != nil {
			err = nil // this one was told to stop
		}
		if err != nil || ctx.Err() != nil {
			err = errors.Join(err, p.end()) // before the other one resumes
			t.from.Close()
			return err
		}
		t.from.Close()
	} else if err := p.begin(ctx); err != nil {
		return err
	}
	serving, stop := context.WithCancel(ctx)
	defer stop()
	served := make(chan error, 1)
	point := t.point
	t.point = nil // Serve gives it back
	go func() { served <- point.Serve(serving, t) }()
	select {
	case <-ctx.Done():
	case err = <-served:
		served <- nil
		if err != nil {
			t.h.log.Error("this process cannot be replaced any more", "err", err)
			err = nil
		}
	}
	<-ctx.Done()
	stop()
	err = <-served
	select {
	case <-t.yielded:
		<-t.settled
	default:
	}
	return errors.Join(err, p.end())
}

// replace takes over from the other process once this one has what that has.
func (t *takeover) replace(ctx context.Context) error {
	if err := t.from.StandAside(ctx); err != nil && !gone(err) {
		return err
	}
	if err := t.present.begin(ctx); err != nil {
		return err
	}
	if err := t.ready(ctx); err != nil {
		return err
	}
	point, err := t.from.TakeOver(ctx)
	if err != nil && !gone(err) {
		return err
	}
	t.point = point
	close(t.begin)
	t.h.log.Info("took over", "pid", t.from.PID)
	return nil
}

// gone tells whether an error says no more than that the other process has ended.
func gone(err error) bool { return errors.Is(err, handover.ErrHolderGone) }

// ready waits until nothing is missing that the other process has.
func (t *takeover) ready(ctx context.Context) error {
	within, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	look := time.NewTicker(lookInterval)
	defer look.Stop()
	for {
		names, errs := t.missing()
		missing := slices.DeleteFunc(names, func(name string) bool { return slices.Contains(t.from.Missing, name) })
		if len(missing) == 0 {
			return nil
		}
		// If the other one has ended, clients cannot wait for somebody who is better off.
		if err := t.from.Check(ctx); err != nil {
			if gone(err) {
				return nil
			}
			return err
		}
		select {
		case <-look.C:
		case <-within.Done():
			if ctx.Err() != nil {
				return fmt.Errorf("process %d is not replaced: %w", t.from.PID, context.Cause(ctx))
			}
			var why []string
			for _, name := range missing {
				why = append(why, name+": "+errs[name].Error())
			}
			return fmt.Errorf("process %d is not replaced, and serves on: after %v this one is not ready: %s", t.from.PID, readyWithin, strings.Join(why, "; "))
		}
	}
}

// missing are the checks of this process that fail, by name, and why.
func (t *takeover) missing() (names []string, errs map[string]error) {
	errs = map[string]error{}
	for _, c := range t.h.checks(t.present.g) {
		if err := c.Missing(); err != nil {
			names, errs[c.Name] = append(names, c.Name), err
		}
	}
	return names, errs
}

// Offer implements handover.Holder.
func (t *takeover) Offer() (sockets []handover.Socket, missing []string) {
	for _, s := range t.gateway.Sockets() {
		sockets = append(sockets, handover.Socket{Kind: forClients, Name: s.Name, Listen: s.Listen, Listener: s.Listener})
	}
	if t.h.admin != nil {
		sockets = append(sockets, handover.Socket{Kind: forAdmins, Listen: t.h.cfg.Admin.Listen, Listener: t.h.admin.Listener()})
	}
	missing, _ = t.missing()
	return sockets, missing
}

// StandAside implements handover.Holder.
func (t *takeover) StandAside(context.Context) {
	t.aside.Store(true)
	if err := t.present.end(); err != nil {
		t.h.log.Warn("the membership has ended", "err", err)
	}
}

// Resume implements handover.Holder.
func (t *takeover) Resume(cause error) {
	if t.ctx.Err() == nil {
		t.h.log.Error("this process is not replaced; it serves on", "err", cause)
		if t.aside.Load() {
			if err := t.present.begin(t.ctx); err != nil {
				t.h.log.Error("cannot join the registers again; restart this process", "err", err)
			}
		}
	}
	t.aside.Store(false)
}

// HandOver implements handover.Holder.
func (t *takeover) HandOver(successor int) {
	t.h.log.Info("replaced; accepting nobody any more, and draining", "by", successor)
	if t.h.replaced != nil {
		t.h.replaced(successor)
	}
	close(t.yielded)
	t.gateway.StopAccepting()
	go func() { // until the sockets are settled, which ctx bounds
		t.gateway.Settled(t.ctx)
		close(t.settled)
	}()
}

// await waits until this process is to stop: ctx ends, or it is replaced. Then operators
// find the other process at once, and those that were let in before it came are clients.
func (t *takeover) await(ctx context.Context, stopAdmin func()) {
	if t == nil {
		<-ctx.Done()
		return
	}
	select {
	case <-ctx.Done():
		return
	case <-t.yielded:
	}
	stopAdmin()
	select {
	case <-ctx.Done():
	case <-t.settled:
	}
}

// busAddresses are where the bus may listen; the first that is free counts.
func (h *Host) busAddresses() []string {
	b := h.cfg.Gateway.Bus
	switch {
	case b.Spare != "":
		return []string{b.Listen, b.Spare}
	case h.takeover != nil && h.takeover.from != nil:
		host, _, _ := net.SplitHostPort(b.Listen) // Load has looked
		return []string{b.Listen, net.JoinHostPort(host, "0")}
	}
	return []string{b.Listen}
}

// busInUse says that none of the addresses is free.
func (h *Host) busInUse(errs []error) error {
	if h.cfg.Gateway.Bus.Spare == "" {
		return keyed("gateway.bus.listen", errors.Join(errs...))
	}
	return fmt.Errorf("gateway.bus.listen and gateway.bus.spare: %w; a process that was replaced before has its address until it has drained: wait for its end, or stop what else uses them", errors.Join(errs...))
}
