package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/configs"
	"github.com/gatebus/gatebus/worker"
)

const (
	// tapQueue is how many messages wait to be written.
	tapQueue = 4096
	// followInterval is how often it is looked who has a uid or is in a group.
	followInterval = time.Second
	// maxFollowed is how many clients of a uid or group are followed at most.
	maxFollowed = 100
)

// tapFlags are those of gatebus tap.
type tapFlags struct {
	reach        reachFlags
	client       string
	uid, group   string
	gateway      string
	workerGroup  string
	kinds        []string
	count        int
	lasts        time.Duration
	max          int
	chosenFilter string // the one of those that exclude each other
}

func newTap() *cobra.Command { return (&tapFlags{}).command() }

func (f *tapFlags) command() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "tap",
		Short: "Show live frames: all, or those of a client, uid, group or gateway",
		Long: `Show live frames as they go through the gateways: "in" what clients send, with their
coming (open) and going (close), "out" what that is answered with, "push" what workers
push, and on demand "do" what gateways are asked. Of a client, or the clients of a uid
or group, "out" is each frame that they are sent, pushes too. The columns are time,
gateway, way, client (of a push: to whom), kind, size, and the payload, which is
shortened, and in quotes where a terminal would not show it as it is.

Of a uid or group, the clients are looked up every second, and up to 100 are followed;
the open of one that is new is not seen. Gateways begin to mirror within a second, and
stop when nobody looks. They mirror so many messages a second at most
(gateway.tap.rate), and may hide payloads or show nothing (gateway.tap): what they skip
is said. It goes on until Ctrl-C, --count or --for.

It finds the registers in FILE, in the environment (GATEBUS_REGISTERS, GATEBUS_SECRET,
GATEBUS_SECRET_FILE) or in --registers; without any, nats://127.0.0.1:4222.`,
		Example: `  gatebus tap
  gatebus tap --client g1-dpmq2x0sn1-7
  gatebus tap --group room1 --kind push
  gatebus tap --gateway g1 --kind in --json --for 10s`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	f.reach.source.add(cmd, true)
	fs := cmd.Flags()
	fs.StringSliceVar(&f.reach.registers, "registers", nil, "the NATS `URLs` of the registers, with commas between; any one that is up suffices")
	fs.DurationVar(&f.reach.timeout, "timeout", 5*time.Second, "how long to wait for a register")
	fs.BoolVar(&f.reach.json, "json", false, "write JSON, an object a line")
	fs.StringVar(&f.client, "client", "", "only what is of a client, by its `ID`")
	fs.StringVar(&f.uid, "uid", "", "only what is of the clients of a uid, by its `NAME`")
	fs.StringVar(&f.group, "group", "", "only what is of the clients in a group, by its `NAME`, and pushes to it")
	fs.StringVar(&f.gateway, "gateway", "", "only what goes through a gateway, by its `NAME`")
	fs.StringVar(&f.workerGroup, "worker-group", "", "only what goes in to a worker group, by its `NAME`")
	fs.StringSliceVar(&f.kinds, "kind", nil, "only this `KIND`: in, out, push or do, with commas between (default in,out,push)")
	fs.IntVar(&f.count, "count", 0, "end after so many messages; 0: go on")
	fs.DurationVar(&f.lasts, "for", 0, "end after this time; 0: go on")
	fs.IntVar(&f.max, "max", 200, "how many bytes of a payload are shown; 0: all of it")
	return cmd
}

// check finds what is wrong with the command line, before anything is asked.
func (f *tapFlags) check(cmd *cobra.Command) error {
	for flag, name := range map[string]string{"uid": f.uid, "group": f.group} {
		if err := bus.CheckToken(name); cmd.Flags().Changed(flag) && err != nil {
			return fmt.Errorf("tap: --%s: %w", flag, err)
		}
	}
	if err := bus.CheckGateway(bus.GatewayID(f.gateway)); cmd.Flags().Changed("gateway") && err != nil {
		return fmt.Errorf("tap: --gateway: %w", err)
	}
	if err := bus.CheckName(f.workerGroup); cmd.Flags().Changed("worker-group") && err != nil {
		return fmt.Errorf("tap: --worker-group: %w", err)
	}
	if cmd.Flags().Changed("client") {
		g, _, _, err := bus.ClientID(f.client).Parts()
		if err != nil {
			return fmt.Errorf("tap: --client: %w", err)
		}
		if f.gateway != "" && f.gateway != string(g) {
			return fmt.Errorf("tap: client %s is of gateway %s, not of %s; leave --gateway out", f.client, g, f.gateway)
		}
	}
	for _, flag := range []string{"client", "uid", "group", "worker-group"} {
		switch {
		case !cmd.Flags().Changed(flag):
		case f.chosenFilter != "":
			return fmt.Errorf("tap: --%s and --%s: only one of them can be chosen", f.chosenFilter, flag)
		default:
			f.chosenFilter = flag
		}
	}
	can := map[string][]string{
		"": {"in", "out", "push", "do"}, "client": {"in", "out"}, "uid": {"in", "out"},
		"group": {"in", "out", "push"}, "worker-group": {"in"},
	}[f.chosenFilter]
	for _, k := range f.kinds {
		if !slices.Contains(can, k) {
			of := ""
			if f.chosenFilter != "" {
				of = " with --" + f.chosenFilter
			}
			return fmt.Errorf("tap: --kind %s: it is one of %s%s", shown(k), strings.Join(can, ", "), of)
		}
	}
	if f.kinds == nil {
		f.kinds = slices.DeleteFunc(can, func(k string) bool { return k == "do" })
	}
	switch {
	case f.count < 0:
		return fmt.Errorf("tap: --count %d: it must not be negative", f.count)
	case f.lasts < 0:
		return fmt.Errorf("tap: --for %v: it must not be negative", f.lasts)
	case f.max < 0:
		return fmt.Errorf("tap: --max %d: it must not be negative", f.max)
	}
	return nil
}

// subjects are what is subscribed to, beside clients.
func (f *tapFlags) subjects() (all []string, err error) {
	const anyToken = "*"
	g := bus.GatewayID(anyToken)
	if f.gateway != "" {
		g = bus.GatewayID(f.gateway)
	}
	group := anyToken
	if f.workerGroup != "" {
		group = f.workerGroup
	}
	everybody := f.chosenFilter == "" || f.chosenFilter == "worker-group"
	// What goes to all gateways goes to that one too.
	of := []bus.GatewayID{g}
	if f.gateway != "" {
		of = append(of, bus.AllGateways)
	}
	for _, k := range f.kinds {
		switch {
		case k == "in" && everybody:
			all = append(all, bus.EventSubjects(g, group))
		case k == "out" && everybody:
			all = append(all, bus.ReplySubjects(g))
		case k == "push":
			for _, g := range of {
				subject := bus.PushSubjects(g)
				if f.group != "" {
					name, err := bus.Escape(f.group)
					if err != nil {
						return nil, err
					}
					subject = strings.TrimSuffix(subject, ">") + string(bus.ToGroup) + "." + name
					all = append(all, strings.TrimSuffix(bus.PushSubjects(g), ">")+string(bus.ToGroups))
				}
				all = append(all, subject)
			}
		case k == "do":
			for _, g := range of {
				all = append(all, bus.CommandSubjects(g))
			}
		}
	}
	if f.client != "" {
		all = append(all, f.clientSubjects(bus.ClientID(f.client))...)
		g, _, _, _ = bus.ClientID(f.client).Parts() // checked
	}
	return append(all, bus.SkippedSubject(g)), nil
}

// clientSubjects are what is subscribed to of one client.
func (f *tapFlags) clientSubjects(id bus.ClientID) (all []string) {
	g, _, _, err := id.Parts()
	if err != nil {
		return nil
	}
	for _, k := range f.kinds {
		if k != "push" {
			all = append(all, strings.TrimSuffix(bus.ClientTap(g, id), ">")+k+".*")
		}
	}
	return all
}

// follows tells whether clients are to be looked up.
func (f *tapFlags) follows() bool {
	return f.uid != "" || f.group != "" && !slices.Equal(f.kinds, []string{"push"})
}

// tapWatch is a tap while it runs.
type tapWatch struct {
	f     *tapFlags
	conn  bus.Conn
	out   *tapWriter
	queue chan *bus.Msg
	// missed is what was not written, because it came faster.
	missed atomic.Int64
	warn   io.Writer
}

func (f *tapFlags) run(cmd *cobra.Command) error {
	if err := f.check(cmd); err != nil {
		return err
	}
	links, err := f.reach.config()
	if err != nil {
		return err
	}
	cfg, err := f.reach.source.load(configs.Source{})
	if err != nil {
		return err
	}
	if cfg.RegistersAreYours() { // as a plain subscriber it would count as a worker
		return failed(errors.New("tap: gateways mirror nothing to a NATS cluster of your own, where the frames are already; " +
			"subscribe there: nats sub 'gw.*.out.>' (docs/your-own-nats.md)"))
	}
	ctx, cancel := context.WithCancel(cmd.Context())
	defer cancel()
	conn, err := f.dial(ctx, cfg, cmd.ErrOrStderr())
	if err != nil {
		return interrupted(cmd.Context(), failed(err))
	}
	defer conn.Close()
	w := &tapWatch{
		f: f, conn: conn, queue: make(chan *bus.Msg, tapQueue), warn: cmd.ErrOrStderr(),
		out: newTapWriter(cmd.OutOrStdout(), f.reach.json, f.max),
	}
	subjects, err := f.subjects()
	if err != nil {
		return err
	}
	if _, err := conn.Subscribe(w.take, subjects...); err != nil {
		return failed(fmt.Errorf("tap: %w", err))
	}
	var followed chan map[bus.ClientID]bool
	if f.follows() {
		cluster, err := f.cluster(ctx, links)
		if err != nil {
			return interrupted(cmd.Context(), failed(err))
		}
		defer cluster.Close()
		followed = make(chan map[bus.ClientID]bool)
		done := make(chan struct{})
		go func() { defer close(done); w.follow(ctx, cluster.Cluster, followed) }()
		defer func() { cancel(); <-done }()
	}
	if f.lasts > 0 {
		ctx, cancel = context.WithTimeout(ctx, f.lasts)
		defer cancel()
	}
	return failed(w.show(ctx, followed))
}

// interrupted forgets an error of what a signal has ended.
func interrupted(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// dial connects to a register as somebody who looks on.
func (f *tapFlags) dial(ctx context.Context, cfg *configs.Config, warn io.Writer) (*bus.NATS, error) {
	var (
		first = make(chan error, 1) // nil: it is up
		told  atomic.Bool
	)
	conn, err := dialRegisters(cfg, "gatebus tap", func(up bool, cause error) {
		switch {
		case !told.Load():
			select { // the newest counts
			case <-first:
			default:
			}
			first <- cause
		case up:
			fmt.Fprintln(warn, "gatebus: tap: a register is there again")
		default:
			fmt.Fprintf(warn, "gatebus: tap: no register: %v; trying on\n", cause)
		}
	})
	if err != nil {
		return nil, err
	}
	patience := time.NewTimer(f.reach.timeout)
	defer patience.Stop()
	last := errors.New("no answer")
	for {
		select {
		case cause := <-first:
			if cause == nil {
				told.Store(true)
				return conn, nil
			}
			last = cause
		case <-patience.C:
			conn.Close()
			return nil, fmt.Errorf("tap: no register of %s in %v: %w", strings.Join(cfg.Registers, ", "), f.reach.timeout, last)
		case <-ctx.Done():
			conn.Close()
			return nil, context.Cause(ctx)
		}
	}
}

// cluster links to the gateways, to look up clients.
func (f *tapFlags) cluster(ctx context.Context, cfg worker.Config) (*worker.Connection, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, f.reach.timeout, fmt.Errorf("no answer in %v", f.reach.timeout))
	defer cancel()
	return worker.Connect(ctx, cfg)
}

// take puts a message into the queue. It must not block.
func (w *tapWatch) take(m *bus.Msg) {
	select {
	case w.queue <- m:
	default:
		w.missed.Add(1)
	}
}

// follow looks up clients until ctx ends, and tells which they are.
func (w *tapWatch) follow(ctx context.Context, c *worker.Cluster, told chan<- map[bus.ClientID]bool) {
	tick := time.NewTicker(followInterval)
	defer tick.Stop()
	q := worker.ClientsQuery{Group: w.f.group, Page: maxFollowed + 1}
	if w.f.uid != "" {
		q.UIDs = []string{w.f.uid}
	}
	for {
		ask, cancel := context.WithTimeout(ctx, w.f.reach.timeout)
		page, _, err := c.ClientsPage(ask, q)
		cancel()
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			fmt.Fprintf(w.warn, "gatebus: tap: look up clients: %v; trying on\n", err)
		}
		if err == nil || isPartial(err) {
			now := map[bus.ClientID]bool{}
			for _, info := range page {
				if g, _, _, err := info.Client.Parts(); err == nil && (w.f.gateway == "" || w.f.gateway == string(g)) {
					now[info.Client] = true
				}
			}
			select {
			case told <- now:
			case <-ctx.Done():
				return
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// show writes what comes, until ctx ends or there was enough.
func (w *tapWatch) show(ctx context.Context, followed <-chan map[bus.ClientID]bool) error {
	taps, more := map[bus.ClientID]bus.Subscription{}, false
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for n := 0; ; {
		select {
		case <-ctx.Done():
			return nil
		case m := <-w.queue:
			t, err := bus.ParseTapped(m)
			if err != nil || t.To == bus.ToGroups && w.f.group != "" && !slices.Contains(t.Names, w.f.group) {
				continue // of a newer version, or not to that group
			}
			if err := w.out.write(time.Now(), t); err != nil {
				return err
			}
			if t.Way == bus.WaySkipped {
				continue
			}
			if n++; n == w.f.count {
				return nil
			}
		case <-tick.C:
			if lost := w.missed.Swap(0); lost > 0 {
				if err := w.out.write(time.Now(), bus.Tapped{Way: bus.WaySkipped, Skipped: lost}); err != nil {
					return err
				}
			}
		case now := <-followed:
			if full := len(now) > maxFollowed; full != more {
				if more = full; full {
					fmt.Fprintf(w.warn, "gatebus: tap: there are more clients; %d of them are followed\n", maxFollowed)
				}
			}
			if err := w.subscribe(ctx, taps, now); err != nil {
				return err
			}
		}
	}
}

// subscribe follows those clients that are there now, and no others.
func (w *tapWatch) subscribe(ctx context.Context, taps map[bus.ClientID]bus.Subscription, now map[bus.ClientID]bool) error {
	for id, sub := range taps {
		if !now[id] {
			leave, cancel := context.WithTimeout(ctx, time.Second)
			_ = sub.Drain(leave) // goes on leaving by itself
			cancel()
			delete(taps, id)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(now)) {
		if len(taps) >= maxFollowed {
			break
		}
		if _, there := taps[id]; there {
			continue
		}
		sub, err := w.conn.Subscribe(w.take, w.f.clientSubjects(id)...)
		if err != nil {
			return fmt.Errorf("tap: %w", err)
		}
		taps[id] = sub
	}
	return nil
}
