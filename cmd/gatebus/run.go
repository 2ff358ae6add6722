package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
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
		Long:    "Run the roles that FILE names (register:, gateway:, worker:) in one process.\nSIGTERM and SIGINT drain and stop it; a second one ends it at once.",
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
			return failed(runHost(cmd.Context(), cfg, nil))
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
SIGTERM and SIGINT drain and stop it; a second one ends it at once.`, role),
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
			return failed(runHost(cmd.Context(), cfg, nil))
		},
	}
	flags.add(cmd, true)
	return cmd
}

// runHost runs a host until ctx ends and it has drained. started, if not nil,
// is called when all ports are open.
func runHost(ctx context.Context, cfg *configs.Config, started func(host.Addresses)) error {
	log := newLogger(cfg.Log)
	defer heedHangup(log)()
	defer tuneHeap()()
	h, at, err := host.Start(ctx, cfg, log)
	if err != nil {
		return err
	}
	notifyManager(log, daemon.SdNotifyReady)
	log.Info("started", append([]any{"version", versionLine()}, listeners(at)...)...)
	if started != nil {
		started(at)
	}
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

// heedHangup says, until stop is called, that a SIGHUP does not reload yet. By
// default the signal would end the process, without draining.
func heedHangup(log *slog.Logger) (stop func()) {
	signals, end, done := make(chan os.Signal, 1), make(chan struct{}), make(chan struct{})
	signal.Notify(signals, syscall.SIGHUP)
	go func() {
		defer close(done)
		for {
			select {
			case <-signals:
				log.Warn("reload is not there yet; restart to apply changes")
			case <-end:
				return
			}
		}
	}()
	return func() {
		signal.Stop(signals)
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
