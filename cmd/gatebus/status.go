package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/configs"
	"github.com/gatebus/gatebus/internal/keys"
	"github.com/gatebus/gatebus/internal/status"
)

const (
	// statusInterval is the time between two looks, for rates; when watching, between
	// two pictures.
	statusInterval = time.Second
	watchInterval  = 2 * time.Second
	minInterval    = 100 * time.Millisecond
)

// statusFlags are those of gatebus status.
type statusFlags struct {
	source            sourceFlags
	registers         []string
	timeout, interval time.Duration
	watch, json       bool
	links             bool
}

func newStatus() *cobra.Command {
	f := &statusFlags{}
	cmd := &cobra.Command{
		Use:   "status [-c FILE]",
		Short: "Show all members of the cluster: load, connections, rates, latency, links",
		Long: `Show all members of the cluster, as a register knows them, and what each says about
itself: version, uptime, CPU (cores in use) and memory; of gateways connections, frames
a second, latency of answers, events in flight and waiting; of workers links, events a
second, time in the handler. It looks twice, a moment apart, for the rates.

It finds the registers in FILE, in the environment (GATEBUS_REGISTERS, GATEBUS_SECRET,
GATEBUS_SECRET_FILE) or in --registers; without any it asks nats://127.0.0.1:4222.

Of gateways: WRK workers on its bus, CONNS clients, FLY events that are with workers,
WAIT events that wait for their turn or for a first worker, LAG how long the event
that is out for longest has had no word of its worker, AGAIN events given out again,
DROP events given up; the last two since the start. Of workers: WORK events in work,
BUSY events handed back and FAIL events that failed since the start. P50 and P99 are of
one event in 16 between the looks, or if there was none, since the start.

It exits with 1 if no register answers, or if a member does not; the others are shown.
With --watch it goes on until Ctrl-C, and exits with 0.`,
		Example: "  gatebus status\n  gatebus status --watch --registers nats://10.0.0.1:4222\n  gatebus status --json | jq .gateways",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	f.source.add(cmd, true)
	fs := cmd.Flags()
	fs.StringSliceVar(&f.registers, "registers", nil, "the NATS `URLs` of the registers, with commas between; any one that is up suffices")
	fs.DurationVar(&f.timeout, "timeout", 5*time.Second, "how long to wait for a register")
	fs.DurationVar(&f.interval, "interval", 0, "the time between two looks (default 1s; with --watch 2s)")
	fs.BoolVarP(&f.watch, "watch", "w", false, "show it again and again, until Ctrl-C")
	fs.BoolVar(&f.json, "json", false, "write JSON, an object a line")
	fs.BoolVar(&f.links, "links", false, "list every link between a worker and a gateway, not only what is not up")
	return cmd
}

// config finds what is wrong with the command line, before anything is asked.
func (f *statusFlags) config() (*configs.Config, error) {
	if f.interval == 0 {
		if f.interval = statusInterval; f.watch {
			f.interval = watchInterval
		}
	}
	switch {
	case f.interval < minInterval:
		return nil, fmt.Errorf("status: --interval %v is too short; from %v", f.interval, minInterval)
	case f.timeout < minInterval:
		return nil, fmt.Errorf("status: --timeout %v is too short; from %v", f.timeout, minInterval)
	}
	if f.registers != nil {
		f.source.set = append(slices.Clone(f.source.set), "registers="+strings.Join(f.registers, ","))
	}
	return f.source.load(configs.Source{})
}

func (f *statusFlags) run(cmd *cobra.Command) error {
	cfg, err := f.config()
	if err != nil {
		return err
	}
	// Status is told by one goroutine, the cause of a failed attempt last.
	down := make(chan error, 1)
	conn, err := dialRegisters(cfg, "gatebus status", func(up bool, cause error) {
		select {
		case <-down:
		default:
		}
		if !up {
			down <- cause
		}
	})
	if err != nil {
		return failed(err)
	}
	defer conn.Close()
	return failed(f.show(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr(), f.watch && isTerminal(os.Stdout), func(ctx context.Context) (status.Look, error) {
		ctx, cancel := context.WithTimeoutCause(ctx, f.timeout, fmt.Errorf("no register has answered in %v", f.timeout))
		defer cancel()
		look, err := status.Take(ctx, conn)
		if err != nil && cmd.Context().Err() == nil {
			err = fmt.Errorf("status: %w: %s", context.Cause(ctx), strings.Join(cfg.Registers, ", "))
			select {
			case cause := <-down:
				down <- cause // for the next time
				err = fmt.Errorf("%w: %w", err, cause)
			default:
			}
		}
		return look, err
	}))
}

// dialRegisters connects to the registers as somebody who looks on.
func dialRegisters(cfg *configs.Config, name string, onStatus func(bool, error)) (*bus.NATS, error) {
	var options []nats.Option
	switch {
	case cfg.RegistersAreYours():
		own, err := cfg.NATS.Credentials().Options()
		if err != nil {
			return nil, err
		}
		options = append(own, nats.CustomInboxPrefix(keys.InboxPrefix(keys.RoleObserver)))
	case cfg.Secret != "":
		k, err := keys.Derive(string(cfg.Secret))
		if err != nil {
			return nil, err
		}
		options = k.ConnectOptions(keys.RoleObserver)
	}
	links, err := cfg.TLS.Client(slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	if links != nil {
		options = append(options, nats.Secure(links))
	}
	return bus.Dial(bus.Config{URLs: cfg.Registers, Name: name, Options: options, OnStatus: onStatus})
}

// silent is the error of a look at a cluster with members that do not answer.
func silent(r status.Report) error {
	if n := r.Total.Silent; n > 0 {
		return fmt.Errorf("status: members that do not answer: %d", n)
	}
	return nil
}

// show looks and writes: once, when it has looked twice, or until ctx ends.
func (f *statusFlags) show(ctx context.Context, out, warnings io.Writer, terminal bool, look func(context.Context) (status.Look, error)) error {
	s := &screen{w: out, redraw: terminal && !f.json, apart: !f.json}
	tick := time.NewTicker(f.interval)
	defer tick.Stop()
	for before := (status.Look{}); ; {
		now, err := look(ctx)
		switch {
		case f.watch && ctx.Err() != nil:
			return nil
		case err != nil && !f.watch:
			return err
		case err != nil && f.json:
			err = say(warnings, err)
		case err != nil:
			err = s.show([]byte(err.Error() + "; trying on\n"))
		case before.At.IsZero() && (!f.watch || f.json): // rates need two looks
			before = now
		default:
			r := status.Compare(before, now)
			before, err = now, f.write(s, r)
			if err == nil && !f.watch {
				return silent(r)
			}
		}
		if err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			if f.watch {
				return nil
			}
			return errors.New("status: interrupted")
		}
	}
}

func say(w io.Writer, err error) error {
	_, failure := fmt.Fprintf(w, "gatebus: %v; trying on\n", err)
	return failure
}

func (f *statusFlags) write(s *screen, r status.Report) error {
	var b bytes.Buffer
	if f.json {
		if err := json.NewEncoder(&b).Encode(r); err != nil {
			return err
		}
	} else if err := r.WriteText(&b, f.links); err != nil {
		return err
	}
	return s.show(b.Bytes())
}

// screen is where pictures are shown, one after the other.
type screen struct {
	w      io.Writer
	redraw bool // each in the place of the one before
	apart  bool // else: with an empty line between
	shown  bool
}

// show shows a picture. On a terminal it is written over the one before, line by line,
// so that nothing flickers.
func (s *screen) show(picture []byte) error {
	const home, eraseLine, eraseRest, eraseAll = "\x1b[H", "\x1b[K", "\x1b[J", "\x1b[2J"
	switch {
	case s.redraw:
		begin := home
		if !s.shown {
			begin = eraseAll + home
		}
		picture = slices.Concat([]byte(begin), bytes.ReplaceAll(picture, []byte("\n"), []byte(eraseLine+"\n")), []byte(eraseRest))
	case s.apart && s.shown:
		picture = append([]byte("\n"), picture...)
	}
	s.shown = true
	_, err := s.w.Write(picture)
	return err
}
