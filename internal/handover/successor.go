package handover

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"syscall"
	"time"
)

// Succession is a process that is being replaced by this one, as this one sees it. One
// goroutine uses it at a time.
type Succession struct {
	// PID is the process that is replaced.
	PID int
	// Missing is what that one lacks itself to be ready.
	Missing []string

	gateway string
	path    string
	line    *line
	point   *net.UnixListener
	sockets []Socket
}

// Call connects to the process that has the path, for the gateway of this name, and gets
// its sockets. If there is none, it returns nil. That one goes on as before, until
// TakeOver; Close gives up.
func Call(ctx context.Context, path, gateway string) (*Succession, error) {
	d := net.Dialer{Timeout: answerTimeout}
	conn, err := d.DialContext(ctx, "unix", path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("handover: %w", err)
	}
	s := &Succession{gateway: gateway, path: path, line: &line{conn: conn.(*net.UnixConn)}}
	if err := s.start(ctx); err != nil {
		s.Close()
		return nil, fmt.Errorf("handover: %s: %w", path, err)
	}
	return s, nil
}

func (s *Succession) start(ctx context.Context) error {
	answer, err := s.ask(ctx, message{Step: hello, Version: version, Gateway: s.gateway, PID: os.Getpid()}, offer)
	if err != nil {
		return err
	}
	s.PID, s.Missing = answer.PID, answer.Missing
	all, err := s.line.listeners(answer.Sockets)
	if err != nil {
		return err
	}
	for _, socket := range all {
		if u, ok := socket.Listener.(*net.UnixListener); ok && socket.Kind == kindPoint && s.point == nil {
			s.point = u
			continue
		}
		s.sockets = append(s.sockets, socket)
	}
	if s.point == nil {
		return errors.New("its own socket is not among those that came")
	}
	return nil
}

// Claim takes one of the sockets, with that kind and address and, if there are several,
// that name; nil if there is none. It is the caller's then.
func (s *Succession) Claim(kind, name, listen string) net.Listener {
	found := -1
	for i, socket := range s.sockets {
		switch {
		case socket.Kind != kind || socket.Listen != listen:
		case socket.Name == name:
			found = i
		case found < 0 && !anyPort(listen):
			found = i
		}
	}
	if found < 0 {
		return nil
	}
	ln := s.sockets[found].Listener
	s.sockets = append(s.sockets[:found:found], s.sockets[found+1:]...)
	return ln
}

// anyPort tells whether several listeners may have this address.
func anyPort(listen string) bool {
	_, port, err := net.SplitHostPort(listen)
	return err == nil && port == "0"
}

// StandAside has the other process be known to others no more. It serves on.
func (s *Succession) StandAside(ctx context.Context) error {
	_, err := s.ask(ctx, message{Step: aside}, aside)
	return s.about(err)
}

// Check tells, within a millisecond, whether the other process still waits; the error wraps
// ErrHolderGone if that has ended by itself.
func (s *Succession) Check(ctx context.Context) error {
	_, err := s.line.receive(ctx, time.Now().Add(time.Millisecond))
	switch {
	case ctx.Err() != nil, errors.Is(err, os.ErrDeadlineExceeded):
		return nil
	case err == nil:
		err = errors.New("it says something that it was not asked for")
	}
	return s.about(orGone(err))
}

// TakeOver has the other process accept nobody any more, and returns where that is to be
// asked of this one. The error wraps ErrHolderGone if that has ended by itself, and
// then there is a Point as well; with any other, this process must not accept anybody.
func (s *Succession) TakeOver(ctx context.Context) (*Point, error) {
	// The other process may be held up, and hands over when it comes to itself: who has
	// asked for that has to be there, so it waits longer than that one does.
	_, err := s.askFor(ctx, message{Step: take}, take, Patience)
	if err = s.about(err); err != nil && !errors.Is(err, ErrHolderGone) {
		return nil, err
	}
	s.point.SetUnlinkOnClose(true)
	p := &Point{path: s.path, gateway: s.gateway, ln: s.point}
	s.point = nil
	return p, err
}

// about says what an error is about.
func (s *Succession) about(err error) error {
	if err != nil {
		return fmt.Errorf("handover: process %d, which was to be replaced: %w", s.PID, err)
	}
	return nil
}

// ask says something and waits for the answer.
func (s *Succession) ask(ctx context.Context, m message, want step) (message, error) {
	return s.askFor(ctx, m, want, answerTimeout)
}

// askFor is ask with another patience.
func (s *Succession) askFor(ctx context.Context, m message, want step, patience time.Duration) (message, error) {
	err := s.line.send(m)
	if err == nil || errors.Is(err, syscall.EPIPE) { // it may have said why
		m, err = s.line.want(ctx, want, time.Now().Add(patience))
	}
	switch {
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = fmt.Errorf("there was no answer within %v", patience)
	default:
		err = orGone(err)
	}
	return m, err
}

// orGone is ErrHolderGone in place of what a connection says then.
func orGone(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) {
		return ErrHolderGone
	}
	return err
}

// Close ends it: what was not claimed is given back, and if this process has not taken
// over, the other one resumes.
func (s *Succession) Close() {
	s.line.close()
	CloseAll(s.sockets)
	s.sockets = nil
	if s.point != nil {
		Release(s.point)
		s.point = nil
	}
}
