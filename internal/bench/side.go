package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/gatebus/gatebus/internal/bench/wsclient"
	"github.com/gatebus/gatebus/worker"
)

// side is a server under load.
type side struct {
	name     string
	targets  []wsclient.Target
	pids     Processes
	children []*child
	stops    []func()

	pushed []pushedTo     // of gatebus
	worker *worker.Worker // that pushes instead, of the SDK; nil if none does
	// of the raw server
	raw             bool
	member, control wsclient.Target
	wrap            func(pusher) pusher // of tests; nil otherwise
}

// The names of the sides.
const (
	sideGatebus = "gatebus"
	sideRaw     = "raw"
	sideRelayed = "relayed" // the raw server behind a relay
)

// members is where the members of a fan-out connect.
func (s *side) members() []wsclient.Target {
	if s.raw {
		return []wsclient.Target{s.member}
	}
	return s.targets
}

func (s *side) pusher(ctx context.Context, o *Options) (pusher, error) {
	if !s.raw {
		if s.worker != nil {
			return newSDKPusher(s.worker, o), nil
		}
		return newBusPusher(s.pushed, o)
	}
	p, err := newRawPusher(ctx, s.control, o.Clients)
	if err != nil {
		return nil, err
	}
	if s.wrap != nil {
		return s.wrap(p), nil
	}
	return p, nil
}

// stop ends what was started for the side, the last first.
func (s *side) stop() {
	for i := len(s.stops) - 1; i >= 0; i-- {
		s.stops[i]()
	}
}

// check tells whether the servers of the side still run.
func (s *side) check() error {
	var errs []error
	for _, c := range s.children {
		errs = append(errs, c.ended())
	}
	return errors.Join(errs...)
}

// add takes a server into the side.
func (s *side) add(c *child) {
	s.children = append(s.children, c)
	s.pids = append(s.pids, c.cmd.Process.Pid)
	s.stops = append(s.stops, c.stop)
}

// startSide gives the side with a name; its stop must be called.
func startSide(ctx context.Context, name string, o *Options) (_ *side, err error) {
	s := &side{name: name}
	defer func() {
		if err != nil {
			s.stop()
		}
	}()
	switch {
	case name == sideRaw, name == sideRelayed:
		return s, s.startRaw(ctx, o)
	case len(o.URLs) > 0:
		return s, s.use(ctx, o)
	}
	return s, s.startGatebus(ctx, o)
}

// startRaw starts the raw server, and the relay before it, if that is the side.
func (s *side) startRaw(ctx context.Context, o *Options) error {
	c, err := startChild(ctx, "raw server", o.Program, "bench", "server")
	if err != nil {
		return err
	}
	s.add(c)
	if s.name == sideRelayed {
		if c, err = startChild(ctx, "relay", o.Program, "bench", "server", "--relay-to", c.at["clients"]); err != nil {
			return err
		}
		s.add(c)
	}
	return s.useRaw(c.at["clients"])
}

// useRaw takes the raw server that listens there.
func (s *side) useRaw(addr string) (err error) {
	s.raw = true
	for path, t := range map[string]*wsclient.Target{rawMember: &s.member, rawPush: &s.control} {
		if *t, err = wsclient.ParseURL("ws://" + addr + path); err != nil {
			return err
		}
	}
	return s.connectTo("ws://" + addr + rawEcho)
}

// use takes the server that is told.
func (s *side) use(ctx context.Context, o *Options) error {
	s.pids, s.pushed = o.PIDs, []pushedTo{{o.Bus, o.Gateway}}
	if o.Register != "" {
		s.pushed = []pushedTo{{o.Register, allGateways}}
	}
	if o.Kind == Fanout && o.Scope != ScopeAll {
		if err := s.admit(ctx, o.Bus, o); err != nil {
			return err
		}
	}
	return s.connectTo(o.URLs...)
}

func (s *side) admit(ctx context.Context, bus string, o *Options) error {
	stop, err := admit(ctx, bus, o)
	if err == nil {
		s.stops = append(s.stops, stop)
	}
	return err
}

func (s *side) connectTo(urls ...string) error {
	for _, u := range urls {
		t, err := wsclient.ParseURL(u)
		if err != nil {
			return err
		}
		s.targets = append(s.targets, t)
	}
	return nil
}

// Files of own servers, on free ports: of the first gateway, which has the register
// beside it, and of a further one.
const (
	firstFile = `log: {format: json}
admin: {listen: 127.0.0.1:0, ready_without: [workers]}
register: {name: bench, listen: 127.0.0.1:0, cluster: {listen: 127.0.0.1:0}}
gateway: {name: bench1, listen: 127.0.0.1:0, drain: 0s, bus: {listen: 127.0.0.1:0}}
`
	furtherFile = `log: {format: json}
admin: {listen: 127.0.0.1:0, ready_without: [workers]}
registers: ["nats://%s"]
gateway: {name: bench%d, listen: 127.0.0.1:0, drain: 0s, bus: {listen: 127.0.0.1:0}}
`
)

// startGatebus starts processes with a gateway, the first with a register too, and,
// unless the bench is the worker itself, processes with a worker that echoes.
func (s *side) startGatebus(ctx context.Context, o *Options) error {
	var set []string
	for _, kv := range o.Set {
		set = append(set, "--set", kv)
	}
	register := ""
	for n := 1; n <= o.Gateways; n++ {
		file := firstFile
		if n > 1 {
			file = fmt.Sprintf(furtherFile, register, n)
		}
		g, err := startHost(ctx, o.Program, file, set)
		if err != nil {
			return err
		}
		s.add(g)
		if n == 1 {
			register = g.at["register"]
		}
		to := pushedTo{"nats://" + g.at["bus"], fmt.Sprint("bench", n)}
		s.pushed = append(s.pushed, to)
		if err := g.ready(ctx); err != nil {
			return err
		}
		if n > o.holding() {
			continue
		}
		if o.Kind == Fanout && !o.SDK {
			if err := s.admit(ctx, to.url, o); err != nil {
				return err
			}
		}
		if err := s.connectTo(fmt.Sprintf("ws://%s/", g.at["clients"])); err != nil {
			return err
		}
	}
	switch {
	case o.SDK:
		w, stop, err := startSDK(ctx, "nats://"+register, o)
		if err != nil {
			return err
		}
		s.worker, s.stops = w, append(s.stops, stop)
		return nil
	case o.Kind == Fanout:
		return nil
	}
	for range o.Workers {
		if err := s.startWorker(ctx, o, "nats://"+register, set); err != nil {
			return err
		}
	}
	return nil
}

// startHost starts a process with a file.
func startHost(ctx context.Context, program, text string, set []string) (*child, error) {
	dir, err := os.MkdirTemp("", "gatebus-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "gatebus.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return nil, err
	}
	return startChild(ctx, "gateway", program, append([]string{"run", "-c", file}, set...)...)
}

func (s *side) startWorker(ctx context.Context, o *Options, register string, set []string) error {
	args := []string{"worker"}
	for _, kv := range []string{"registers=" + register, "admin.listen=127.0.0.1:0", "log.format=json"} {
		args = append(args, "--set", kv)
	}
	w, err := startChild(ctx, "worker", o.Program, append(args, set...)...)
	if err != nil {
		return err
	}
	s.add(w)
	return w.ready(ctx)
}
