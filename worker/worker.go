package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"go.opentelemetry.io/otel/trace"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/internal/buildinfo"
	"github.com/gatebus/gatebus/internal/keys"
	"github.com/gatebus/gatebus/internal/latency"
	"github.com/gatebus/gatebus/internal/tracectx"
	"github.com/gatebus/gatebus/register"
)

// lastWords is how long a link takes at most to leave when another one is in
// its place, and to send what was answered when it ends.
const lastWords = 5 * time.Second

// ErrUnfinished is wrapped by the error of Run when handlers were still at work
// at the end of the time to drain. Their events are given out again.
var ErrUnfinished = errors.New("handlers did not finish in time")

// Worker gives the events of all gateways to a Handler. See the package
// documentation.
type Worker struct {
	// set at construction
	cfg     Config
	handler Handler
	log     *slog.Logger
	self    register.Member
	auth    []nats.Option             // to registers, and buses of gateways
	shared  []nats.Option             // to a bus that gateways share
	role    keys.Role                 // by which it logs in
	login   atomic.Pointer[bus.Login] // goes before auth; SetLogin puts another one
	cluster *Cluster
	tracer  trace.Tracer
	jobs    *tally // events held
	crew    crew   // handles them
	// instance is this life of the worker in the subjects of events for it
	// alone.
	instance string
	wake     chan struct{} // buffered: look at news and links
	members  *register.Client
	dial     func(*link) (bus.Conn, error) // to a gateway's bus; replaced in tests

	count   struct{ handled, failed, busy, unsent, unreached, spared, downs, downsFailed atomic.Int64 }
	latency latency.Histogram // of the handler

	down  *downWatch // set by Run; nil: the handler does not want to know
	watch *linkWatch // nil: the handler does not want to know

	handleCtx context.Context // of the handlers; set by Run before anything is received

	mu       sync.Mutex
	settling []chan struct{} // closed when the news so far are links
	news     []register.Change
	links    map[linkKey]*link
	// registers is the connection to those; nil: not yet, or it is the caller's.
	registers *bus.NATS
	refused   map[linkKey]error // gateways that are not linked to, and why
}

// linkKey is one life of one gateway.
type linkKey struct {
	name  bus.GatewayID
	epoch bus.Epoch
}

// instance names one life of a worker, in one token.
func instance(name string, epoch bus.Epoch) string {
	suffix := "-" + epoch.String()
	return name[:min(len(name), bus.MaxName-len(suffix))] + suffix
}

// Run makes a worker and runs it until ctx ends and it has drained. It is
// [New] and [Worker.Run] in one.
func Run(ctx context.Context, cfg Config, h Handler) error {
	w, err := New(cfg, h)
	if err != nil {
		return err
	}
	return w.Run(ctx)
}

// New makes a worker. It starts nothing.
func New(cfg Config, h Handler) (*Worker, error) {
	if h == nil {
		return nil, errors.New("worker: no handler")
	}
	return newWorker(cfg, h)
}

// newWorker makes a worker; without a handler, it is of no group and no member.
func newWorker(cfg Config, h Handler) (*Worker, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("worker: %w", err)
	}
	cfg = cfg.withDefaults()
	epoch := bus.NewEpoch(time.Now())
	if cfg.Name == "" {
		cfg.Name = "w-" + epoch.String()
	}
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("worker: %w", err)
	}
	// Nobody connects to a worker. That two are on one host says, as the same
	// address does, that the later one is the former come back.
	w := &Worker{
		cfg: cfg, handler: h, log: cfg.Log.With("worker", cfg.Name),
		self: register.Member{
			Role: register.RoleWorker, Name: cfg.Name, Epoch: epoch,
			Address: host, Group: cfg.Group, Version: buildinfo.Version(), Protocol: bus.CurrentProtocol(),
		},
		instance: instance(cfg.Name, epoch),
		tracer:   tracectx.Tracer(cfg.TracerProvider),
		jobs:     newTally(cfg.Concurrency),
		wake:     make(chan struct{}, 1),
		links:    map[linkKey]*link{},
		refused:  map[linkKey]error{},
	}
	w.cluster = &Cluster{w}
	w.watch = newLinkWatch(w)
	if h == nil {
		w.self = register.Member{Protocol: bus.CurrentProtocol()}
	}
	w.dial = w.dialGateway
	if err := w.authenticate(); err != nil {
		return nil, err
	}
	w.members, err = register.NewClient(register.ClientConfig{
		Self:  w.self,
		Watch: []register.Role{register.RoleGateway},
		// The register's client must not wait for links to open or close.
		OnChange: func(c register.Change) {
			w.mu.Lock()
			w.news = append(w.news, c)
			w.mu.Unlock()
			w.nudge()
		},
		Registers: cfg.Registers,
		Log:       w.log,
	})
	if err != nil {
		return nil, err
	}
	return w, nil
}

// Name is the worker's name, made up if the configuration gave none.
func (w *Worker) Name() string { return w.cfg.Name }

// Joined tells whether the registers know this worker.
func (w *Worker) Joined() bool { return w.members.Joined() }

// Missed counts the announcements that no register has confirmed.
func (w *Worker) Missed() int64 { return w.members.Missed() }

// Member is what the worker says about itself to the registers.
func (w *Worker) Member() register.Member { return w.self }

// Conflict is a *register.ConflictError while another process has the worker's
// name; it works on all the same.
func (w *Worker) Conflict() error { return w.members.Conflict() }

// Cluster reaches all clients of the gateways that the worker is linked to.
func (w *Worker) Cluster() *Cluster { return w.cluster }

// Run handles events until ctx ends, and then drains: it takes no more, answers
// those it has, for at most the time to drain, and leaves. It returns nil then,
// or ErrUnfinished. A worker runs once.
func (w *Worker) Run(ctx context.Context) error {
	login := w.login.Load()
	conn, err := bus.Dial(bus.Config{
		URLs: w.cfg.Registers, Name: "gatebus worker " + w.cfg.Name,
		Options: w.auth, Login: w.currentLogin, Log: w.log, OnStatus: w.members.Status,
	})
	if err != nil {
		return fmt.Errorf("worker: %w", err)
	}
	defer conn.Close()
	w.keepRegisters(conn, login)
	if w.handler != nil {
		service, err := register.Serve(conn.NATS(), w.self, func() any { return w.Report() })
		if err != nil {
			return fmt.Errorf("worker: %w", err)
		}
		defer service.Stop()
	}
	return w.run(ctx, conn)
}

// RunOn is Run over connections of the caller's: one to the registers, and those that
// dial makes to the bus of a gateway. It is for tests of whole applications in memory
// (package workertest). Such a connection is taken for up until down is called, once,
// from any goroutine: then it is closed as soon as the registers have lost the gateway.
func (w *Worker) RunOn(ctx context.Context, registers bus.Conn, dial func(m register.Member, down func(cause error)) (bus.Conn, error)) error {
	w.dial = func(l *link) (bus.Conn, error) {
		conn, err := dial(l.member, func(cause error) { l.status(false, cause) })
		if err == nil {
			l.status(true, nil)
		}
		return conn, err
	}
	return w.run(ctx, registers)
}

// run is Run over a connection to the registers.
func (w *Worker) run(ctx context.Context, registers bus.Conn) error {
	defer w.crew.close()
	handleCtx, cancelHandlers := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancelHandlers(nil)
	w.handleCtx = handleCtx

	tasks := sync.WaitGroup{}
	defer tasks.Wait()
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	down, err := w.watchDown(background, registers)
	if err != nil {
		return err
	}
	w.down = down
	if s, ok := w.handler.(Starter); ok {
		if err := s.Start(ctx, w.cluster); err != nil {
			return fmt.Errorf("worker: start: %w", err)
		}
	}
	if s, ok := w.handler.(Stopper); ok {
		defer s.Stop(context.WithoutCancel(ctx)) // after what drain waits for
	}
	w.watch.run(background, &tasks)
	membership := make(chan error, 1)
	tasks.Go(func() { membership <- w.members.Run(ctx, registers) })

	var failed error
	for ctx.Err() == nil && failed == nil {
		select {
		case <-ctx.Done():
		case err := <-membership:
			failed = err
		case <-w.wake:
			w.keepLinks(background, &tasks)
		}
	}
	return errors.Join(failed, w.drain(cancelHandlers))
}

// nudge has keepLinks look again.
func (w *Worker) nudge() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// keepLinks opens and closes links as the membership says: a gateway that
// appears is linked to; a link is closed when its gateway is off the tables
// and its connection is down as well. So a gateway that the registers lost
// sight of is served on.
func (w *Worker) keepLinks(ctx context.Context, tasks *sync.WaitGroup) {
	w.mu.Lock()
	news, settling := w.news, w.settling
	w.news, w.settling = nil, nil
	w.mu.Unlock()
	for _, c := range news {
		if c.Old != nil {
			w.setGone(ctx, *c.Old, tasks)
		}
		switch c.Type {
		case register.Left, register.Expired:
			w.setGone(ctx, c.Member, tasks)
		default:
			w.openLink(ctx, c.Member, tasks)
		}
	}
	for _, l := range w.allLinks() {
		if l.over() {
			w.forget(l)
			l.replaced() // by none; of a shared bus the connection is up
			l.log.Info("gateway is gone; link closed")
			l.stop()
		}
	}
	for _, l := range w.allLinks() {
		l.askNames() // there may be several now
	}
	for _, done := range settling {
		close(done)
	}
}

// several tells whether there is more than one gateway.
func (w *Worker) several() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.links) > 1
}

func keyOf(m register.Member) linkKey { return linkKey{bus.GatewayID(m.Name), m.Epoch} }

func (l *link) key() linkKey { return keyOf(l.member) }

func (w *Worker) setGone(ctx context.Context, m register.Member, tasks *sync.WaitGroup) {
	w.pardon(m)
	l := w.link(bus.GatewayID(m.Name), m.Epoch)
	if l == nil {
		return
	}
	l.setGone(true)
	if l.member.Bus != "" {
		tasks.Go(func() { l.watchGone(ctx) })
	}
}

func (w *Worker) openLink(ctx context.Context, m register.Member, tasks *sync.WaitGroup) {
	same := w.link(bus.GatewayID(m.Name), m.Epoch)
	wrong := w.self.Protocol.Check("this worker", "gateway "+m.Name, m.Protocol)
	if wrong == nil {
		w.pardon(m)
	}
	if same != nil && wrong == nil {
		same.setGone(false)
		return
	}
	// The address can only be had by one: a link to another life there leads to
	// this one by now, or to nobody. It must not stand in the queue group, nor
	// be sent on, a second time. On a shared bus it is the name that only one has:
	// the subjects are made of it. One to this life is there if it says only now what it
	// speaks: registers of the first versions do not pass that on.
	for _, old := range w.allLinks() {
		if old.member.Address == m.Address || old.member.Bus != "" && m.Bus != "" && old.member.Name == m.Name {
			w.forget(old)
			old.replaced()
			old.log.Info("gateway has restarted; old link closed")
			tasks.Go(func() { old.retire(ctx) })
		}
	}
	if wrong != nil {
		w.refuse(m, wrong)
		return
	}
	l := newLink(w, m)
	own, stop := context.WithCancel(ctx)
	l.stop = stop
	w.mu.Lock()
	w.links[l.key()] = l
	w.mu.Unlock()
	tasks.Go(func() {
		defer stop()
		if err := l.run(own); err != nil && own.Err() == nil {
			l.log.Error("cannot link to gateway", "err", err)
			w.forget(l)
		}
	})
}

// forget takes a link off; it ends on its own.
func (w *Worker) forget(l *link) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.links[l.key()] == l {
		delete(w.links, l.key())
	}
}

// dialGateway connects to the bus of a gateway, and to no other; if it is a cluster
// that gateways share, to any server of that.
func (w *Worker) dialGateway(l *link) (bus.Conn, error) {
	if l.member.Bus != "" {
		return bus.Dial(bus.Config{
			URLs:    strings.Split(l.member.Bus, ","),
			Name:    "gatebus worker " + w.cfg.Name + " for " + l.member.Name,
			Options: w.shared, Login: w.sharedLogin, Log: l.log, OnStatus: l.status,
		})
	}
	return bus.Dial(bus.Config{
		URLs: []string{"nats://" + l.member.Address}, Pinned: true,
		Name:    "gatebus worker " + w.cfg.Name,
		Options: w.auth, Login: w.currentLogin, Log: l.log, OnStatus: l.status,
	})
}

func (w *Worker) link(g bus.GatewayID, epoch bus.Epoch) *link {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.links[linkKey{g, epoch}]
}

// allLinks is a snapshot, in no order.
func (w *Worker) allLinks() []*link {
	w.mu.Lock()
	defer w.mu.Unlock()
	links := make([]*link, 0, len(w.links))
	for _, l := range w.links {
		links = append(links, l)
	}
	return links
}

// drain leaves all queue groups and lets the handlers finish. Links that are
// not open yet are given up.
func (w *Worker) drain(cancelHandlers context.CancelCauseFunc) error {
	w.log.Info("draining", "working", w.jobs.count())
	ctx, cancel := context.WithTimeoutCause(context.Background(), w.cfg.Drain, ErrUnfinished)
	defer cancel()
	each(w.allLinks(), func(l *link) { l.leave(ctx) })
	w.down.leave(ctx)
	idle := w.jobs.close()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
	}
	cancelHandlers(ErrUnfinished)
	select { // those that heed their context
	case <-idle:
		return nil
	case <-time.After(time.Second):
		return fmt.Errorf("worker: %w: %d after %v", ErrUnfinished, w.jobs.count(), w.cfg.Drain)
	}
}

// each calls fn for all links at the same time and waits for all.
func each(links []*link, fn func(*link)) {
	var wg sync.WaitGroup
	for _, l := range links {
		wg.Go(func() { fn(l) })
	}
	wg.Wait()
}
