//go:build linux

// Command worker is the worker of the chaos harness: it echoes frames, takes as
// long for each as the frame says, and records every handling.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/gatebus/gatebus/internal/chaos/ledger"
	"github.com/gatebus/gatebus/worker"
)

func main() {
	var (
		name      = flag.String("name", "", "name of the worker")
		registers = flag.String("registers", "", "URLs of the registers, with commas")
		secret    = flag.String("secret", "", "the secret of the cluster")
		record    = flag.String("record", "", "file for the records")
		admin     = flag.String("admin", "", "host:port for /readyz and /stats")
	)
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	cfg := worker.Config{Name: *name, Registers: strings.Split(*registers, ","), Secret: *secret}
	if err := run(ctx, cfg, *record, *admin); err != nil {
		slog.Error("worker failed", "err", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, cfg worker.Config, record, listen string) (err error) {
	rec, err := ledger.NewRecorder(record)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rec.Close()) }()
	w, err := worker.New(cfg, handler(rec))
	if err != nil {
		return err
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", listen)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: admin(w), ReadHeaderTimeout: 5 * time.Second}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	err = w.Run(ctx)
	_ = server.Close() // the process ends
	<-served
	return err
}

// handler echoes and records.
func handler(rec *ledger.Recorder) worker.HandlerFunc {
	return func(ctx context.Context, ev *worker.Event) error {
		e := ledger.Event{Client: string(ev.Client.ID()), Delivery: ev.Delivery}
		var work time.Duration
		switch ev.Kind {
		case worker.Open:
			info, err := ev.OpenInfo()
			if err != nil {
				return err
			}
			e.Kind, e.Conn = 'o', info.Query
		case worker.Close:
			e.Kind = 'c'
		default:
			var err error
			e.Kind = 'f'
			if _, e.Number, work, err = ledger.ParseFrame(string(ev.Data)); err != nil {
				return err
			}
		}
		n, err := rec.Begin(e, ledger.Clock())
		if err != nil {
			return err
		}
		if work > 0 {
			timer := time.NewTimer(work)
			defer timer.Stop()
			select {
			case <-timer.C:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		ev.Reply(ev.Data)
		return rec.End(n, ledger.Clock())
	}
}

// admin is as much of gatebus's own admin server as the harness asks.
func admin(w *worker.Worker) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /readyz", func(rw http.ResponseWriter, _ *http.Request) {
		if !w.Joined() {
			http.Error(rw, "no register has confirmed this worker yet", http.StatusServiceUnavailable)
			return
		}
		_, _ = fmt.Fprintln(rw, "ready") // the asker is gone
	})
	mux.HandleFunc("GET /stats", func(rw http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(rw).Encode(map[string]any{"worker": w.Stats(), "goroutines": runtime.NumGoroutine()}) // likewise
	})
	return mux
}
