package bench

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/gatebus/gatebus/internal/wsframe"
)

// The paths of the raw server.
const (
	rawEcho   = "/"
	rawMember = "/member"
	rawPush   = "/push"
)

// rawServer is the practical limit of a WebSocket server in Go: gorilla as its
// examples have it, a goroutine for each connection, and nothing behind. To many
// it writes in the barest way: the frame is encoded once, and a loop makes one
// write system call for each.
type rawServer struct {
	upgrader websocket.Upgrader

	mu      sync.Mutex
	conns   map[*websocket.Conn]struct{}
	members []net.Conn
	joined  chan struct{} // closed, and made anew, when a member has joined or left
}

// ServeRaw serves the raw echo server on a listener until ctx ends.
func ServeRaw(ctx context.Context, l net.Listener) error {
	s := &rawServer{
		upgrader: websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }},
		conns:    map[*websocket.Conn]struct{}{}, joined: make(chan struct{}),
	}
	mux := http.NewServeMux()
	mux.HandleFunc(rawEcho, s.serve(s.echo))
	mux.HandleFunc(rawMember, s.serve(s.member))
	mux.HandleFunc(rawPush, s.serve(s.push))
	server := &http.Server{Handler: mux, ReadHeaderTimeout: dialTimeout}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	err := server.Close()
	s.mu.Lock()
	for c := range s.conns {
		_ = c.Close() // its goroutine ends for it
	}
	s.mu.Unlock()
	if e := <-served; !errors.Is(e, http.ErrServerClosed) {
		err = errors.Join(err, e)
	}
	return err
}

// serve makes a connection of a request, and runs fn on it.
func (s *rawServer) serve(fn func(*websocket.Conn)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c, err := s.upgrader.Upgrade(w, r, nil)
		if err != nil {
			return // Upgrade has answered
		}
		defer c.Close()
		s.mu.Lock()
		s.conns[c] = struct{}{}
		s.mu.Unlock()
		fn(c)
		s.mu.Lock()
		delete(s.conns, c)
		s.mu.Unlock()
	}
}

// echo sends back what comes.
func (s *rawServer) echo(c *websocket.Conn) {
	for {
		kind, data, err := c.ReadMessage()
		if err != nil || c.WriteMessage(kind, data) != nil {
			return
		}
	}
}

// member gets what is pushed until it leaves.
func (s *rawServer) member(c *websocket.Conn) {
	conn := c.NetConn()
	s.change(func() { s.members = append(s.members, conn) })
	for {
		if _, _, err := c.NextReader(); err != nil {
			break
		}
	}
	s.change(func() {
		for i, m := range s.members {
			if m == conn {
				s.members = append(s.members[:i:i], s.members[i+1:]...) // a loop may be on the old one
				return
			}
		}
	})
}

func (s *rawServer) change(fn func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fn()
	close(s.joined)
	s.joined = make(chan struct{})
}

// push writes each text frame that comes to all members. A binary frame is a
// number, and is sent back when there are as many members.
func (s *rawServer) push(c *websocket.Conn) {
	var frame []byte
	for {
		kind, data, err := c.ReadMessage()
		if err != nil {
			return
		}
		if kind == websocket.BinaryMessage {
			if want, err := strconv.Atoi(string(data)); err != nil || !s.await(want) || c.WriteMessage(kind, data) != nil {
				return
			}
			continue
		}
		frame = wsframe.Append(frame[:0], wsframe.Text, data)
		s.mu.Lock()
		members := s.members
		s.mu.Unlock()
		for _, m := range members {
			_, _ = m.Write(frame) // one that is gone leaves by itself
		}
	}
}

// await waits until there are so many members; not for ever.
func (s *rawServer) await(want int) bool {
	deadline := time.NewTimer(natsTimeout)
	defer deadline.Stop()
	for {
		s.mu.Lock()
		have, joined := len(s.members), s.joined
		s.mu.Unlock()
		if have == want {
			return true
		}
		select {
		case <-joined:
		case <-deadline.C:
			return false
		}
	}
}
