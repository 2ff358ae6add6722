//go:build unix

package handover

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait; nothing is measured with it.
const patience = 20 * time.Second

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// holder is a process with sockets. What happens to it is told to events.
type holder struct {
	sockets []Socket
	events  chan string
}

func (h *holder) Offer() ([]Socket, []string) { return h.sockets, []string{"workers"} }
func (h *holder) StandAside(context.Context)  { h.events <- "aside" }
func (h *holder) Resume(cause error)          { h.events <- "resume: " + cause.Error() }
func (h *holder) HandOver(int)                { h.events <- "handed over" }
func (h *holder) next(t *testing.T, want string) {
	t.Helper()
	select {
	case got := <-h.events:
		if !strings.HasPrefix(got, want) {
			t.Errorf("the holder has %q, want %q", got, want)
		}
	case <-time.After(patience):
		t.Fatalf("the holder has nothing, want %q", want)
	}
}

// start serves a holder with one TCP and one unix socket, until stop.
func start(t *testing.T) (path string, h *holder, served func(), stop func()) {
	t.Helper()
	dir := t.TempDir()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	unix, err := net.Listen("unix", filepath.Join(dir, "clients"))
	must(t, err)
	h = &holder{events: make(chan string, 10), sockets: []Socket{
		{"clients", "a", "127.0.0.1:0", tcp},
		{"clients", "b", "unix:" + filepath.Join(dir, "clients"), unix},
	}}
	path = filepath.Join(dir, "point")
	p, err := Listen(path, "g1")
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := p.Serve(ctx, h); err != nil {
			t.Error(err)
		}
	})
	stop = func() {
		cancel()
		serving.Wait()
	}
	t.Cleanup(func() {
		stop()
		CloseAll(h.sockets)
	})
	return path, h, serving.Wait, stop
}

// call becomes the successor, after one that has just come to nothing if there was one.
func call(t *testing.T, path string) *Succession {
	t.Helper()
	s, err := Call(t.Context(), path, "g1")
	for end := time.Now().Add(patience); err != nil && strings.Contains(err.Error(), "already") && time.Now().Before(end); {
		s, err = Call(t.Context(), path, "g1")
	}
	must(t, err)
	if s == nil {
		t.Fatal("nobody is there")
	}
	t.Cleanup(s.Close)
	return s
}

// Who connects while sockets are passed is accepted by the successor, the first holder's
// are closed, and the successor's successor goes on.
func TestTakeOver(t *testing.T) {
	path, h, served, _ := start(t)
	s := call(t, path)
	if len(s.Missing) != 1 || s.Missing[0] != "workers" || s.PID != os.Getpid() {
		t.Errorf("%+v", s)
	}
	if ln := s.Claim("clients", "c", "127.0.0.1:0"); ln != nil {
		t.Error("a listener on any port got another one's")
	}
	if ln := s.Claim("admin", "a", "127.0.0.1:0"); ln != nil {
		t.Error("a listener got one of another kind")
	}
	tcp := s.Claim("clients", "a", "127.0.0.1:0")
	unix := s.Claim("clients", "renamed", h.sockets[1].Listen)
	if tcp == nil || unix == nil || s.Claim("clients", "b", h.sockets[1].Listen) != nil {
		t.Fatal("sockets are missing, or there twice")
	}
	defer unix.Close()
	defer tcp.Close()
	waiting, err := net.Dial("tcp", tcp.Addr().String()) // whom nobody accepts for now
	must(t, err)
	defer waiting.Close()

	must(t, s.StandAside(t.Context()))
	h.next(t, "aside")
	must(t, s.Check(t.Context()))
	point, err := s.TakeOver(t.Context())
	must(t, err)
	h.next(t, "handed over")
	served()
	s.Close()
	CloseAll(h.sockets)
	for _, ln := range []net.Listener{tcp, unix} {
		c, err := net.Dial(ln.Addr().Network(), ln.Addr().String())
		must(t, err)
		defer c.Close()
		for range 2 {
			nc, err := ln.Accept()
			must(t, err)
			must(t, nc.Close())
			if ln == unix {
				break
			}
		}
	}

	again := &holder{events: make(chan string, 10)}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- point.Serve(ctx, again) }()
	third := call(t, path)
	must(t, third.StandAside(t.Context()))
	again.next(t, "aside")
	cancel()
	if _, err := third.TakeOver(t.Context()); err == nil || errors.Is(err, ErrHolderGone) || !strings.Contains(err.Error(), "stopping") {
		t.Errorf("taking over from one that stops: %v", err)
	}
	must(t, <-done)
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("the path is left: %v", err)
	}
}

// A successor that comes to nothing leaves all as it was.
func TestResume(t *testing.T) {
	path, h, _, _ := start(t)
	s := call(t, path)
	must(t, s.StandAside(t.Context()))
	h.next(t, "aside")
	if _, err := Call(t.Context(), path, "g1"); err == nil || !strings.Contains(err.Error(), "already") {
		t.Errorf("a second successor: %v", err)
	}
	s.Close()
	h.next(t, "resume: process")
	if _, err := Call(t.Context(), path, "g2"); err == nil || !strings.Contains(err.Error(), "gateway.handover") {
		t.Errorf("a successor of another name: %v", err)
	}
	c, err := net.Dial("unix", path)
	must(t, err)
	_, err = c.Write([]byte(strings.Repeat("x", 2*maxLine)))
	must(t, err)
	must(t, c.Close())
	nc, err := net.Dial("unix", h.sockets[1].Listener.Addr().String())
	must(t, err)
	must(t, nc.Close())
	call(t, path).Close()
	h.next(t, "resume: process")
}

// The successor of a process that dies goes on; it learns of it before it asks.
func TestHolderDies(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "point")
	p, err := Listen(path, "g1")
	must(t, err)
	defer Release(p.ln)
	died := make(chan struct{})
	go func() {
		defer close(died)
		c, err := p.ln.AcceptUnix()
		if err != nil {
			return
		}
		l := &line{conn: c}
		_, err = l.want(context.Background(), hello, time.Now().Add(patience))
		if err == nil {
			err = p.offer(l, nil, nil)
		}
		if err != nil {
			t.Error(err)
		}
		l.close()
	}()
	s := call(t, path)
	<-died
	if err := s.Check(t.Context()); !errors.Is(err, ErrHolderGone) {
		t.Errorf("check: %v", err)
	}
	point, err := s.TakeOver(t.Context())
	if !errors.Is(err, ErrHolderGone) || point == nil {
		t.Fatalf("%v, %v", point, err)
	}
	point.Close()
}

// Where nobody is, nobody is replaced: what a process has left that was killed is removed,
// what is something else stays.
func TestHandoverPath(t *testing.T) {
	path := filepath.Join(t.TempDir(), "point")
	for range 2 {
		if s, err := Call(t.Context(), path, "g1"); s != nil || err != nil {
			t.Fatalf("%v, %v", s, err)
		}
		p, err := Listen(path, "g1")
		must(t, err)
		if info, err := os.Lstat(path); err != nil || info.Mode().Perm() != pointMode {
			t.Errorf("%v, %v", info, err)
		}
		Release(p.ln) // as kill -9 does
	}
	must(t, os.Remove(path))
	must(t, os.WriteFile(path, nil, 0o600))
	if _, err := Listen(path, "g1"); err == nil || !strings.Contains(err.Error(), "something else than a socket") {
		t.Errorf("%v", err)
	}
}

// From the moment on in which one successor has taken over, there is no other one: the
// holder would resume if that came to nothing.
func TestOneSuccessor(t *testing.T) {
	p, err := Listen(filepath.Join(t.TempDir(), "point"), "g1")
	must(t, err)
	defer p.Close()
	h := &holder{events: make(chan string, 10)}
	taken := make(chan bool, 1)
	go func() {
		c, err := p.ln.AcceptUnix()
		if err != nil {
			t.Error(err)
		}
		l := &line{conn: c}
		defer l.close()
		taken <- p.serve(context.Background(), l, h) // and Serve has not heard of it yet
	}()
	s := call(t, p.path)
	_, err = s.TakeOver(t.Context())
	must(t, err)
	if !<-taken {
		t.Error("it has not taken over")
	}
	if err := p.begin(message{Version: version, Gateway: "g1", PID: 1}); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("process %d replaces", os.Getpid())) {
		t.Errorf("a second successor: %v", err)
	}
}

// A holder that was held up, and finds that it was asked to hand over by somebody who is
// gone by now, resumes.
func TestNobodyIsHandedOverTo(t *testing.T) {
	p, err := Listen(filepath.Join(t.TempDir(), "point"), "g1")
	must(t, err)
	defer p.Close()
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: p.path, Net: "unix"})
	must(t, err)
	defer c.Close()
	l := &line{conn: c}
	must(t, l.send(message{Step: hello, Version: version, Gateway: "g1", PID: 1}))
	must(t, l.send(message{Step: take}))
	must(t, c.CloseWrite())
	h := &holder{events: make(chan string, 10)}
	held, err := p.ln.AcceptUnix()
	must(t, err)
	other := &line{conn: held}
	defer other.close()
	if p.serve(t.Context(), other, h) {
		t.Error("it has handed over")
	}
	h.next(t, "resume: process 1: it has ended")
	if err := p.begin(message{Version: version, Gateway: "g1", PID: 2}); err != nil {
		t.Errorf("the next successor: %v", err)
	}
}

// The path is its owner's from the start, not only when its mode has been changed.
func TestPathIsNeverOpen(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux makes the path with the mode of the socket")
	}
	path := filepath.Join(t.TempDir(), "point")
	lc := net.ListenConfig{Control: ownersOnly}
	ln, err := lc.Listen(t.Context(), "unix", path)
	must(t, err)
	defer ln.Close()
	if info, err := os.Lstat(path); err != nil || info.Mode().Perm() != pointMode {
		t.Errorf("%v, %v", info, err)
	}
}
