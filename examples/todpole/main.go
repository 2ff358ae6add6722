// Command todpole is a pond in which every visitor is a tadpole: it swims after
// the pointer, sees the others swim, and talks. It is the worker of the pond and
// serves its page; gateways and registers run by themselves, see README.md.
//
// It keeps nothing in memory about anybody: who a tadpole is stands in its
// session, which the gateway holds, and where it is, its page says again and
// again. So any number of these workers serve one pond, and one that is killed is
// not missed.
package main

import (
	"cmp"
	"context"
	"embed"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gatebus/gatebus/worker"
)

//go:embed page
var page embed.FS

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintf(os.Stderr, "todpole: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("todpole", flag.ContinueOnError)
	listen := flags.String("listen", "127.0.0.3:8290", "`host:port` where the page is served")
	gateways := flags.String("gateways", "ws://127.0.0.1:8282,ws://127.0.0.2:8282", "the gateways' `URLs`, as browsers reach them; each page takes one")
	registers := flags.String("registers", "nats://127.0.0.1:4222,nats://127.0.0.2:4222", "the registers' `URLs`; any one suffices")
	name := flags.String("name", "", "`name` of this worker in lists and logs; empty makes one up")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected %q; all is said by flags, see -help", flags.Arg(0))
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	w, err := worker.New(worker.Config{
		Name:      *name,
		Registers: strings.Split(*registers, ","),
		Secret:    os.Getenv("GATEBUS_SECRET"), // that of the cluster, if it has one
		Log:       log,
	}, worker.HandlerFunc(pond))
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", *listen)
	if err != nil {
		return fmt.Errorf("the page: %w; choose another address by -listen", err)
	}
	log.Info("started", "page", l.Addr().String(), "worker", w.Name())
	fmt.Printf("the pond is at http://%s/\n", l.Addr())

	tasks, ctx := errgroup.WithContext(ctx) // when one fails, the other ends too
	tasks.Go(func() error { return w.Run(ctx) })
	tasks.Go(func() error { return serve(ctx, l, strings.Split(*gateways, ",")) })
	return tasks.Wait()
}

// serve serves the page until ctx ends.
func serve(ctx context.Context, l net.Listener, gateways []string) error {
	files, err := fs.Sub(page, "page")
	if err != nil {
		return err
	}
	config, err := json.Marshal(map[string][]string{"gateways": gateways})
	if err != nil {
		return err
	}
	static := http.FileServerFS(files)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		// Nothing from elsewhere, whatever somebody may manage to say.
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "no-cache")
		static.ServeHTTP(w, r)
	})
	mux.HandleFunc("GET /config.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-cache")
		_, _ = w.Write(config) // the asker is gone
	})
	server := &http.Server{
		Handler: mux, ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second, IdleTimeout: time.Minute,
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	down := server.Shutdown(end)
	if down != nil {
		down = server.Close() // cuts off who is still loading
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		down = cmp.Or(err, down)
	}
	return down
}
