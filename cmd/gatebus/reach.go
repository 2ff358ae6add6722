package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/configs"
	"github.com/gatebus/gatebus/worker"
)

// reachFlags are the flags of a command that asks the gateways for something.
type reachFlags struct {
	source    sourceFlags
	registers []string
	timeout   time.Duration
	json      bool
}

const reachText = `
It finds the gateways through the registers: those of FILE, of the environment
(GATEBUS_REGISTERS, GATEBUS_SECRET, GATEBUS_SECRET_FILE), or of --registers; without
any, nats://127.0.0.1:4222. If a gateway does not answer in time, it shows what there
is, names the gateway on standard error, and exits with 1.`

func (f *reachFlags) add(cmd *cobra.Command) {
	f.source.add(cmd, true)
	fs := cmd.Flags()
	fs.StringSliceVar(&f.registers, "registers", nil, "the NATS `URLs` of the registers, with commas between; any one that is up suffices")
	fs.DurationVar(&f.timeout, "timeout", 5*time.Second, "how long to wait for all that is asked")
	fs.BoolVar(&f.json, "json", false, "write JSON, an object a line")
}

// check finds what is wrong with the command line, before anything is asked.
func (f *reachFlags) config() (worker.Config, error) {
	if f.timeout <= 0 {
		return worker.Config{}, fmt.Errorf("--timeout %v: it must be more than nothing", f.timeout)
	}
	if f.registers != nil {
		f.source.set = append(slices.Clone(f.source.set), "registers="+strings.Join(f.registers, ","))
	}
	cfg, err := f.source.load(configs.Source{})
	if err != nil {
		return worker.Config{}, err
	}
	links, err := cfg.TLS.Client(slog.New(slog.DiscardHandler))
	if err != nil {
		return worker.Config{}, err
	}
	return worker.Config{Registers: cfg.Registers, Secret: string(cfg.Secret), NATS: cfg.NATS.Credentials(), TLS: links}, nil
}

// reach links to the gateways and has fn ask them something. What fn returns may be a
// *worker.PartialError.
func (f *reachFlags) reach(cmd *cobra.Command, fn func(context.Context, *worker.Cluster) error) error {
	cfg, err := f.config()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(cmd.Context(), f.timeout, fmt.Errorf("no answer in %v", f.timeout))
	defer cancel()
	said := &lastError{}
	cfg.Log = slog.New(said)
	c, err := worker.Connect(ctx, cfg)
	if err != nil {
		if why := said.text(); why != "" {
			err = fmt.Errorf("%w; the last that went wrong: %s", err, why)
		}
		return failed(err)
	}
	defer c.Close()
	if len(c.Gateways()) == 0 {
		return failed(errors.New("the registers know of no gateway"))
	}
	err = fn(ctx, c.Cluster)
	if errors.Is(err, bus.ErrMessage) || errors.Is(err, bus.ErrName) {
		return err // how it was called
	}
	return failed(err)
}

// lastError is a log that keeps what was wrong last, to be told if nothing works: that
// the secret is wrong, say.
type lastError struct {
	mu  sync.Mutex
	err string
}

func (l *lastError) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// Enabled implements slog.Handler.
func (l *lastError) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelInfo }

// Handle implements slog.Handler.
func (l *lastError) Handle(_ context.Context, r slog.Record) error {
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "err" {
			l.mu.Lock()
			l.err = a.Value.String()
			l.mu.Unlock()
		}
		return true
	})
	return nil
}

// WithAttrs implements slog.Handler.
func (l *lastError) WithAttrs([]slog.Attr) slog.Handler { return l }

// WithGroup implements slog.Handler.
func (l *lastError) WithGroup(string) slog.Handler { return l }

// missing collects the gateways that some of several calls did not reach.
type missing map[bus.GatewayID]error

// add takes note of a *PartialError; other errors are returned.
func (m missing) add(err error) error {
	partial, ok := errors.AsType[*worker.PartialError](err)
	if !ok {
		return err
	}
	maps.Copy(m, partial.Missing)
	return nil
}

func (m missing) err() error {
	if len(m) == 0 {
		return nil
	}
	return &worker.PartialError{Missing: m}
}

// reached writes how many clients were reached.
func (f *reachFlags) reached(w io.Writer, did string, n int) error {
	if f.json {
		return json.NewEncoder(w).Encode(map[string]int{"clients": n})
	}
	clients := "clients"
	if n == 1 {
		clients = "client"
	}
	_, err := fmt.Fprintf(w, "%s %d %s\n", did, n, clients)
	return err
}
