package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"

	"github.com/gatebus/gatebus/configs"
	"github.com/gatebus/gatebus/internal/heap"
	"github.com/gatebus/gatebus/internal/host"
)

func newRun() *cobra.Command {
	var flags sourceFlags
	cmd := &cobra.Command{
		Use:     "run -c FILE",
		Short:   "Run the roles that a file names",
		Long:    "Run the roles that FILE names (register:, gateway:, worker:) in one process.\nSIGTERM and SIGINT drain and stop it; a second one ends it at once.\nSIGHUP reads FILE again and heeds what needs no restart; the log says what does.\nSIGUSR2 starts the program anew to take over, if gateway.handover is set.",
		Example: "  gatebus run -c host1.yaml\n  gatebus run -c host1.yaml --set log.level=debug",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if flags.file == "" {
				return errors.New("run: which host? give its file with -c FILE, or try: gatebus dev")
			}
			cfg, err := flags.load(configs.Source{})
			if err != nil {
				return err
			}
			if err := cfg.Require(); err != nil {
				return err
			}
			reload := func() (*configs.Config, error) { return flags.load(configs.Source{}) }
			return failed(runHost(cmd.Context(), cfg, reload, nil))
		},
	}
	flags.add(cmd, true)
	return cmd
}

func newRole(role configs.Role) *cobra.Command {
	var flags sourceFlags
	cmd := &cobra.Command{
		Use:   string(role) + " [-c FILE]",
		Short: fmt.Sprintf("Run only the %s", role),
		Long: fmt.Sprintf(`Run only the %s of FILE; without a file, one with the defaults.
SIGTERM and SIGINT drain and stop it; a second one ends it at once. SIGHUP reads
FILE again and heeds what needs no restart; the log says what does. SIGUSR2 starts
the program anew to take over, if gateway.handover is set.`, role),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			src := configs.Source{}
			if flags.file == "" {
				src.Roles = []configs.Role{role}
			}
			cfg, err := flags.load(src)
			if err != nil {
				return err
			}
			if err := cfg.Require(role); err != nil {
				return err
			}
			cfg.Only(role)
			reload := func() (*configs.Config, error) {
				cfg, err := flags.load(src)
				if err == nil {
					cfg.Only(role)
				}
				return cfg, err
			}
			return failed(runHost(cmd.Context(), cfg, reload, nil))
		},
	}
	flags.add(cmd, true)
	return cmd
}

// runHost runs a host until ctx ends and it has drained. reload loads its
// configuration anew; started, if not nil, is called when all ports are open.
func runHost(ctx context.Context, cfg *configs.Config, reload func() (*configs.Config, error), started func(host.Addresses)) error {
	level := new(slog.LevelVar)
	level.Set(cfg.Log.SlogLevel())
	log := newLogger(cfg.Log, level)
	hangups := make(chan os.Signal, 1) // by default the signal would end the process, without draining
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	replaces := make(chan os.Signal, 1) // likewise
	onReplace(replaces)
	defer signal.Stop(replaces)
	defer tuneHeap()()
	h, at, err := host.Start(ctx, cfg, log)
	if err != nil {
		return err
	}
	next := &replacement{log: log}
	h.OnReplaced(next.replaced)
	defer heed(replaces, func() {
		err := errors.New("gateway.handover is not set")
		if cfg.Gateway != nil && cfg.Gateway.Handover != "" {
			err = next.start()
		}
		if err != nil {
			log.Error("cannot start a process to replace this one", "err", err)
		}
	})()
	defer heed(hangups, func() {
		cfg, err := reload()
		if err != nil {
			h.NotReloaded(err)
			log.Error("cannot reload; all stays as it is", "err", err)
			return
		}
		notifyManager(log, daemon.SdNotifyReloading)
		done, err := h.Reload(cfg)
		notifyManager(log, daemon.SdNotifyReady)
		if err != nil {
			log.Error("not all is reloaded", "err", err)
		}
		level.Set(cfg.Log.SlogLevel())
		log.Info("reloaded", "changed", strings.Join(done.Changed, " "))
		if len(done.Restart) > 0 {
			log.Warn("some changes need a restart", "keys", strings.Join(done.Restart, " "))
		}
	})()
	inPlace := func() {
		notifyManager(log, daemon.SdNotifyReady)
		log.Info("started", append([]any{"version", versionLine()}, listeners(at)...)...)
		if started != nil {
			started(at)
		}
	}
	defer whenInPlace(h, inPlace)()
	context.AfterFunc(ctx, func() {
		notifyManager(log, daemon.SdNotifyStopping)
		log.Info("stopping; a second signal ends it at once")
	})
	if err := h.Run(ctx); err != nil {
		return err
	}
	log.Info("stopped")
	return nil
}

// whenInPlace calls do when the host serves clients: now, or if it replaces another process
// later, unless stop is called before.
func whenInPlace(h *host.Host, do func()) (stop func()) {
	select {
	case <-h.InPlace():
		do()
		return func() {}
	default:
	}
	end, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		select {
		case <-h.InPlace():
			do()
		case <-end:
		}
	}()
	return func() {
		close(end)
		<-done
	}
}

// notifyManager tells systemd, if that has started the process (Type=notify), how far
// it is.
func notifyManager(log *slog.Logger, state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		log.Warn("cannot tell the service manager", "state", state, "err", err)
	}
}

// tuneHeap has the garbage collector come as suits a server, until stop is called.
func tuneHeap() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { heap.Run(ctx) })
	return func() {
		cancel()
		running.Wait()
	}
}

// heed calls do for each signal, until stop is called.
func heed(signals <-chan os.Signal, do func()) (stop func()) {
	end, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-signals:
				do()
			case <-end:
				return
			}
		}
	}()
	return func() {
		close(end)
		<-done
	}
}

// listeners are the addresses of what runs, for the log.
func listeners(at host.Addresses) []any {
	var attrs []any
	for _, a := range []slog.Attr{
		slog.String("clients", at.Clients), slog.String("bus", at.Bus),
		slog.String("register", at.Register), slog.String("cluster", at.Cluster),
		slog.String("admin", at.Admin),
	} {
		if a.Value.String() != "" {
			attrs = append(attrs, a)
		}
	}
	return attrs
}
