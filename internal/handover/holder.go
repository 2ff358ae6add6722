package handover

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/time/rate"
)

// kindPoint is the kind of the socket over which sockets are passed.
const kindPoint = "handover"

// pointMode lets the owner connect, and nobody else.
const pointMode = 0o600

// Holder is a process that can be replaced. Its methods are called one at a time.
type Holder interface {
	// Offer are its sockets, and what it lacks itself to be ready: its successor is not
	// to wait for that.
	Offer() (sockets []Socket, missing []string)
	// StandAside has it be known to others no more, and serve on. It returns when that
	// is done, or ctx ends.
	StandAside(ctx context.Context)
	// Resume says that the successor has come to nothing, and why.
	Resume(cause error)
	// HandOver has it accept nobody any more. It is the last call.
	HandOver(successor int)
}

// Point is where successors connect: a unix socket.
type Point struct {
	path    string
	gateway string
	ln      *net.UnixListener
	given   atomic.Bool // a successor has taken over

	mu        sync.Mutex
	successor int // process id of who is at it, or has taken over; 0: nobody is
}

// Listen takes the path, for the gateway of this name. There must be nobody (see [Call]);
// a socket that a process has left which is no more is removed.
func Listen(path, gateway string) (*Point, error) {
	if info, err := os.Lstat(path); err == nil {
		if info.Mode().Type() != os.ModeSocket {
			return nil, fmt.Errorf("handover: %s is something else than a socket; remove it, or choose another path", path)
		}
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("handover: %w", err)
		}
	}
	lc := net.ListenConfig{Control: ownersOnly}
	ln, err := lc.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, fmt.Errorf("handover: listen on %s: %w", path, err)
	}
	if err := os.Chmod(path, pointMode); err != nil { // elsewhere than on Linux
		_ = ln.Close() // the first error says it
		return nil, fmt.Errorf("handover: %w", err)
	}
	return &Point{path: path, gateway: gateway, ln: ln.(*net.UnixListener)}, nil
}

// Close gives the path back, of a point that does not serve.
func (p *Point) Close() { _ = p.ln.Close() } // nothing can be done about it

// Serve serves successors until ctx ends or one has taken over; then the path is
// theirs. What goes wrong with one of them, the holder is told.
func (p *Point) Serve(ctx context.Context, h Holder) error {
	ctx, cancel := context.WithCancel(ctx)
	var tasks sync.WaitGroup
	defer tasks.Wait()
	defer cancel()
	stop := context.AfterFunc(ctx, func() {
		if p.given.Load() {
			Release(p.ln)
			return
		}
		p.Close()
	})
	defer stop()
	again := rate.NewLimiter(rate.Every(100*time.Millisecond), 1)
	for {
		conn, err := p.ln.AcceptUnix()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				_ = conn.Close() // the successor accepts the others
			}
			return nil
		case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE), errors.Is(err, syscall.ECONNABORTED):
			_ = again.Wait(ctx) // ctx is looked at above
			continue
		case err != nil:
			return fmt.Errorf("handover: %s: %w", p.path, err)
		}
		tasks.Go(func() {
			l := &line{conn: conn}
			defer l.close()
			if p.serve(ctx, l, h) {
				cancel()
			}
		})
	}
}

// serve serves one successor, and tells whether it has taken over.
func (p *Point) serve(ctx context.Context, l *line, h Holder) (taken bool) {
	who, err := l.want(ctx, hello, time.Now().Add(answerTimeout))
	if err != nil {
		return false // somebody who has looked
	}
	if err := p.begin(who); err != nil {
		_ = l.send(message{Step: no, Error: err.Error()}) // it is gone then
		return false
	}
	defer p.end()
	deadline := time.Now().Add(Patience)
	steps, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	if err := p.steps(steps, deadline, l, h, who.PID); err != nil {
		if ctx.Err() != nil {
			err = errors.New("the process that was to be replaced is stopping")
		}
		_ = l.send(message{Step: no, Error: err.Error()}) // likewise
		h.Resume(fmt.Errorf("process %d: %w", who.PID, err))
		return false
	}
	return true
}

func (p *Point) steps(ctx context.Context, deadline time.Time, l *line, h Holder, pid int) error {
	sockets, missing := h.Offer()
	if err := p.offer(l, sockets, missing); err != nil {
		return fmt.Errorf("the sockets cannot be passed: %w", err)
	}
	for {
		m, err := l.receive(ctx, deadline)
		if err == nil && ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return fmt.Errorf("it has not taken over within %v", Patience)
		case err != nil:
			return fmt.Errorf("it has not taken over: %w", err)
		case m.Step == aside:
			h.StandAside(ctx)
		case m.Step == take && ended(l.conn): // while this process was held up
			return errors.New("it has ended, or given up waiting for an answer")
		case m.Step == take:
			p.given.Store(true) // first: whatever ends from here on, the path is not removed
			h.HandOver(pid)
			_ = l.send(message{Step: take}) // of one that ended at this moment, nothing is to be had back
			return nil
		default:
			return fmt.Errorf("it says %q", m.Step)
		}
		if err := l.send(message{Step: m.Step}); err != nil {
			return fmt.Errorf("it has not taken over: %w", err)
		}
	}
}

func (p *Point) offer(l *line, sockets []Socket, missing []string) error {
	sockets = append(sockets, Socket{Kind: kindPoint, Listen: p.path, Listener: p.ln})
	if len(sockets) > maxSockets {
		return fmt.Errorf("there are %d, and %d can be passed", len(sockets), maxSockets)
	}
	m := message{Step: offer, Version: version, PID: os.Getpid(), Missing: missing}
	var fds []int
	defer func() {
		for _, fd := range fds {
			closeDescriptor(fd)
		}
	}()
	for _, s := range sockets {
		fd, err := duplicate(s.Listener)
		if err != nil {
			return fmt.Errorf("%s: %w", s.Listen, err)
		}
		fds = append(fds, fd)
		m.Sockets = append(m.Sockets, label{s.Kind, s.Name, s.Listen})
	}
	return l.send(m, fds...)
}

// begin tells who may not take over, or that it is being done.
func (p *Point) begin(who message) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case who.Version != version:
		return fmt.Errorf("process %d, which was to be replaced, does it in version %d, and this one in version %d; stop that one, then start this", os.Getpid(), version, who.Version)
	case who.Gateway != p.gateway:
		return fmt.Errorf("process %d is gateway %s, and this one is to be %s; give each its own path in gateway.handover", os.Getpid(), p.gateway, who.Gateway)
	case p.successor != 0 || p.given.Load():
		return fmt.Errorf("process %d replaces process %d already; try again when that is done", p.successor, os.Getpid())
	}
	p.successor = who.PID
	return nil
}

func (p *Point) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.given.Load() { // else it is the last one
		p.successor = 0
	}
}
