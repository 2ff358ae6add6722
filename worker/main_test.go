package worker

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/bus/membus"
	"github.com/gatebus/gatebus/internal/bubble"
	"github.com/gatebus/gatebus/register"
)

func TestMain(m *testing.M) { bubble.Main(m) }

// fixture is a cluster in memory, in a synctest bubble: a register, gateways
// that are nothing but a bus, and one worker.
type fixture struct {
	t         *testing.T
	registers membus.Bus
	log       *strings.Builder
	w         *Worker

	protocol bus.Protocol // of the gateways that are started from now on

	wrap func(bus.Conn) bus.Conn // of every link's connection; nil: as it is
	err  error
	stop func()

	mu       sync.Mutex
	gateways map[string]*fakeGateway
}

// fakeGateway is the bus of a gateway, and its membership.
type fakeGateway struct {
	f      *fixture
	name   bus.GatewayID
	epoch  bus.Epoch
	bus    membus.Bus
	conn   *membus.Conn
	leave  func() // orderly
	vanish func() // as one that is cut off from the registers
	seq    uint64

	mu      sync.Mutex
	links   []*link // to it, in the order in which they were opened
	replies []string
	pushes  []string
	asked   []bus.NamesRequest
	checked int                                      // requests for changes alone that were answered
	mute    bool                                     // it does not answer those
	lists   func(bus.ListRequest) (bus.Answer, bool) // false: it is silent
}

func inBubble(t *testing.T, cfg Config, h HandlerFunc, fn func(t *testing.T, f *fixture)) {
	t.Helper()
	inBubbleOf(t, cfg, h, fn)
}

func inBubbleOf(t *testing.T, cfg Config, h Handler, fn func(t *testing.T, f *fixture)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := &fixture{t: t, log: &strings.Builder{}, gateways: map[string]*fakeGateway{}}
		cfg.Log = slog.New(slog.NewTextHandler(f.log, nil))
		if cfg.Name == "" {
			cfg.Name = "w1"
		}
		w, err := New(cfg, h)
		if err != nil {
			t.Fatal(err)
		}
		f.w = w
		w.dial = func(l *link) (bus.Conn, error) {
			f.mu.Lock()
			g := f.gateways[l.member.Name]
			f.mu.Unlock()
			if g == nil || g.epoch != l.member.Epoch {
				return nil, errors.New("no such gateway")
			}
			g.mu.Lock()
			g.links = append(g.links, l)
			g.mu.Unlock()
			conn := bus.Conn(g.bus.Connect())
			if f.wrap != nil {
				conn = f.wrap(conn)
			}
			l.status(true, nil)
			return conn, nil
		}
		conn := f.registers.Connect()
		defer conn.Close()
		server := register.NewServer(registerSelf, conn, slog.New(slog.DiscardHandler))
		stopServer := f.start(server.Run)
		defer stopServer()
		synctest.Wait() // the register is there before the worker asks
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			f.err = w.run(ctx, conn)
		}()
		f.stop = func() { cancel(); <-done }
		defer f.stop()
		synctest.Wait()
		fn(t, f)
	})
}

// start runs fn until the returned stop.
func (f *fixture) start(fn func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(f.t.Context())
	done := make(chan error, 1)
	go func() { done <- fn(ctx) }()
	var once sync.Once
	return func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				f.t.Error(err)
			}
		})
	}
}

// gateway starts one and makes it a member, at an address of its name.
func (f *fixture) gateway(name string, epoch bus.Epoch) *fakeGateway {
	f.t.Helper()
	return f.gatewayAt(name+":8300", name, epoch)
}

func (f *fixture) gatewayAt(address, name string, epoch bus.Epoch) *fakeGateway {
	f.t.Helper()
	g := &fakeGateway{f: f, name: bus.GatewayID(name), epoch: epoch}
	f.mu.Lock()
	f.gateways[name] = g
	f.mu.Unlock()
	g.conn = g.bus.Connect()
	f.t.Cleanup(g.conn.Close)
	_, err := g.conn.Subscribe(func(m *bus.Msg) {
		g.mu.Lock()
		defer g.mu.Unlock()
		if m.Subject == bus.CommandSubject(g.name, bus.OpHello) {
			return
		}
		if m.Subject == bus.CommandSubject(g.name, bus.OpNames) {
			r, err := bus.ParseNamesRequest(m.Data)
			if err != nil {
				f.t.Error(err)
			}
			switch {
			case !r.Changes:
				g.asked = append(g.asked, r)
			case g.mute:
			default:
				g.checked++
				data := bus.AppendNamesEnd(bus.BeginNames(bus.BeginBatch(nil, g.epoch), r.Request))
				if err := g.conn.Publish(&bus.Msg{Subject: bus.NamesFor(g.name, r.Worker), Data: data}); err != nil {
					f.t.Error(err)
				}
			}
			return
		}
		if m.Subject == bus.CommandSubject(g.name, bus.OpList) && g.lists != nil {
			r, err := bus.ParseRequest[bus.ListRequest](m.Data)
			if err != nil {
				f.t.Error(err)
			}
			if a, ok := g.lists(r); ok {
				if err := g.conn.Publish(a.Msg(m.Reply)); err != nil {
					f.t.Error(err)
				}
			}
			return
		}
		if !bus.IsReply(m.Subject) {
			g.pushes = append(g.pushes, strings.TrimPrefix(m.Subject, "gw."+name+".")+"="+string(m.Data))
			if m.Reply != "" {
				if err := g.conn.Publish(bus.Result{Gateway: g.name, Clients: 1}.Msg(m.Reply)); err != nil {
					f.t.Error(err)
				}
			}
			return
		}
		s := string(m.Data)
		if bus.IsNoResponders(m) {
			s = "no responders"
		}
		if v := m.Header.Get(bus.HeaderStatus); v != "" {
			s = strings.TrimSpace(v + " " + s)
		}
		if v := m.Header.Get(bus.HeaderKind); v != "" {
			s = v + ":" + s
		}
		g.replies = append(g.replies, s)
	}, bus.ReplySubjects(g.name), bus.PushSubjects(g.name), bus.CommandSubjects(g.name))
	if err != nil {
		f.t.Fatal(err)
	}
	conn := f.registers.Connect()
	client, err := register.NewClient(register.ClientConfig{Self: register.Member{
		Role: register.RoleGateway, Name: name, Epoch: epoch, Address: address, AckWait: 3000, Protocol: f.protocol,
	}})
	if err != nil {
		f.t.Fatal(err)
	}
	g.leave = f.start(func(ctx context.Context) error { return client.Run(ctx, conn) })
	g.vanish = conn.Close
	f.t.Cleanup(func() { conn.Close(); g.leave() })
	synctest.Wait()
	return g
}

// cut has the worker see its latest link go down, and mend see it up again.
func (g *fakeGateway) cut()  { g.link().status(false, errors.New("cut")); synctest.Wait() }
func (g *fakeGateway) mend() { g.link().status(true, nil); synctest.Wait() }

func (g *fakeGateway) link() *link {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.links[len(g.links)-1]
}

// send gives an event to the group.
func (g *fakeGateway) send(kind bus.Kind, data string) bus.ClientID {
	g.f.t.Helper()
	g.seq++
	ev := bus.Event{
		Gateway: g.name, Group: "default", Kind: kind, Seq: g.seq, Data: []byte(data),
		Client: bus.NewClientID(g.name, g.epoch, g.seq),
	}
	g.sendEvent(ev)
	return ev.Client
}

func (g *fakeGateway) sendEvent(ev bus.Event) {
	g.f.t.Helper()
	m, err := ev.Msg()
	if err != nil {
		g.f.t.Fatal(err)
	}
	if err := g.conn.Publish(m); err != nil {
		g.f.t.Fatal(err)
	}
}

// got are the replies so far, and forgets them.
func (g *fakeGateway) got() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := strings.Join(g.replies, " | ")
	g.replies = nil
	return s
}

// pushed are the pushes and commands so far, and forgets them.
func (g *fakeGateway) pushed() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := strings.Join(g.pushes, " | ")
	g.pushes = nil
	return s
}

func equal[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Fatalf("%s: %v, want %v", what, got, want)
	}
}
