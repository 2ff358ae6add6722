package embedded

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/gatebus/gatebus/internal/keys"
)

const (
	// clientEvents matches CONNECT and DISCONNECT and nothing else. One
	// subscription for both keeps them in order.
	clientEvents = "$SYS.ACCOUNT." + Account + ".*"

	// eventQueue is how many events may wait for the function of a watcher.
	eventQueue = 8192
)

// EventKind says what happened to a client.
type EventKind int

const (
	ClientConnected EventKind = iota + 1
	ClientDisconnected
)

func (k EventKind) String() string {
	switch k {
	case ClientConnected:
		return "connected"
	case ClientDisconnected:
		return "disconnected"
	}
	return fmt.Sprintf("EventKind(%d)", int(k))
}

// ClientEvent says that a client has connected or disconnected.
type ClientEvent struct {
	Kind EventKind
	Time time.Time // when, by the server's clock

	// ID is the client's number on this server, not used again in this boot.
	// The client knows it too: nats.Conn.GetClientID.
	ID   uint64
	Name string // what the client calls itself (nats.Name), not verified
	Host string // where it comes from; empty in process

	// Role is verified. It is empty without Keys.
	Role keys.Role
	// User is the public nkey of the role. It is empty without Keys.
	User string

	// Reason says why the client was disconnected, in the words of NATS: "Client
	// Closed", "Stale Connection", "Slow Consumer (Pending Bytes)", "Slow
	// Consumer (Write Deadline)", "Read Error" and others. A process that dies
	// may look the same as an orderly close. Empty on connect.
	Reason string
}

// OnClient calls fn for each client that connects to this server or
// disconnects from it from now on, in process or over TCP, those of this
// process included. Not reported are clients that were refused, clients of
// other members of the cluster, and those which Stop disconnects. An event
// comes about a millisecond after the fact. For a peer whose host died or was
// cut off the fact is that pings go unanswered, after about 3 s on a bus and
// 15 s on a register.
//
// fn is called by one goroutine, with the events in the order in which the
// server saw them. It may block: 8192 events wait for it. Beyond that events
// are dropped, and their number is logged, so what depends on an event needs
// another way to find out in the end.
//
// stop ends the calls: when it returns, fn is not running and will not be
// called again. Stopping the Server does the same. fn must call neither.
func (s *Server) OnClient(fn func(ClientEvent)) (stop func(), err error) {
	id, err := s.beginWatch()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(s.ctx)
	w, err := s.watch(ctx, id)
	if err != nil {
		cancel()
		s.watchers.Done()
		return nil, fmt.Errorf("embedded: system events: %w", err)
	}
	done := make(chan struct{})
	go func() {
		defer s.watchers.Done()
		defer close(done)
		defer w.nc.Close()
		w.run(ctx, fn)
	}()
	return func() { cancel(); <-done }, nil
}

// beginWatch makes Stop wait for one more watcher. It returns the ID of the
// NATS server.
func (s *Server) beginWatch() (id string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != running {
		return "", fmt.Errorf("embedded: %w", ErrNotRunning)
	}
	s.watchers.Add(1)
	return s.nats.ID(), nil
}

// watcher reads the client events of one server, on a connection of its own.
type watcher struct {
	nc   *nats.Conn
	sub  *nats.Subscription
	id   string         // of the server; events of the others come by the routes
	auth *authenticator // nil without keys
	log  *slog.Logger
}

// watch connects as the system user and subscribes. The subscription is in
// force when it returns.
func (s *Server) watch(ctx context.Context, id string) (*watcher, error) {
	public, err := s.system.PublicKey()
	if err != nil {
		return nil, err
	}
	w := &watcher{id: id, auth: s.auth, log: s.log}
	w.nc, err = nats.Connect(s.ClientURL(),
		nats.InProcessServer(s),
		nats.Nkey(public, s.system.Sign),
		nats.Name("gatebus system events"),
		nats.Timeout(settleTimeout),
		nats.SyncQueueLen(eventQueue),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(100*time.Millisecond),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if ctx.Err() == nil {
				w.log.Warn("system events interrupted, some may be missed", "err", err)
			}
		}),
		// What is dropped is logged by run. The default handler prints.
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}),
	)
	if err != nil {
		return nil, err
	}
	w.sub, err = w.nc.SubscribeSync(clientEvents)
	if err == nil {
		err = w.nc.Flush()
	}
	if err != nil {
		w.nc.Close()
		return nil, err
	}
	return w, nil
}

// run calls fn for each event until ctx is done.
func (w *watcher) run(ctx context.Context, fn func(ClientEvent)) {
	var dropped int
	for {
		msg, err := w.sub.NextMsgWithContext(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, nats.ErrSlowConsumer):
			n, _ := w.sub.Dropped()
			w.log.Warn("system events dropped: the watcher is too slow", "dropped", n-dropped, "total", n)
			dropped = n
		case err != nil:
			w.log.Error("system events ended", "err", err)
			return
		default:
			if ev, ok := w.parse(msg.Data); ok {
				fn(ev)
			}
		}
	}
}

// parse returns the event in data. It reports false if that is another
// server's.
func (w *watcher) parse(data []byte) (ClientEvent, bool) {
	// A disconnect event has all that a connect event has.
	var m server.DisconnectEventMsg
	if err := json.Unmarshal(data, &m); err != nil {
		w.log.Error("bad system event", "err", err)
		return ClientEvent{}, false
	}
	if m.Server.ID != w.id {
		return ClientEvent{}, false
	}
	ev := ClientEvent{
		Time:   m.Time,
		ID:     m.Client.ID,
		Name:   m.Client.Name,
		Host:   m.Client.Host,
		Reason: m.Reason,
	}
	switch m.Type {
	case server.ConnectEventMsgType:
		ev.Kind = ClientConnected
	case server.DisconnectEventMsgType:
		ev.Kind = ClientDisconnected
	default:
		return ClientEvent{}, false
	}
	if w.auth != nil {
		ev.User = m.Client.User
		ev.Role = w.auth.accepted.wasRole(ev.User)
	}
	return ev, true
}
