// Package site runs an example that is a worker and the page that it serves, in
// one program: the flags, the HTTP server for the page, and the worker end
// together. A page is files of the example and connection.js of this package, and
// asks for nothing from elsewhere.
package site

import (
	"cmp"
	"context"
	_ "embed"
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

// Site is an example.
type Site struct {
	Name    string // of the program
	Page    fs.FS  // its directory page is served
	Handler worker.Handler

	// Defaults of the flags: the host:port where the page is served, and lists,
	// separated by commas, of the URLs of gateways and registers.
	Listen, Gateways, Registers string
}

//go:embed connection.js
var connection []byte

// Main is the main function of the example: it runs until SIGINT or SIGTERM, and
// ends the program with exit code 1 if something is wrong.
func Main(s Site) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := s.run(ctx, os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintf(os.Stderr, "%s: %v\n", s.Name, err)
		os.Exit(1)
	}
}

func (s Site) run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet(s.Name, flag.ContinueOnError)
	listen := flags.String("listen", s.Listen, "`host:port` where the page is served")
	gateways := flags.String("gateways", s.Gateways, "the gateways' `URLs`, as browsers reach them, separated by commas; a page takes one")
	registers := flags.String("registers", s.Registers, "the registers' `URLs`, separated by commas; any one suffices")
	group := flags.String("group", "default", "the worker `group` of the gateways")
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
		Group:     *group,
		Registers: strings.Split(*registers, ","),
		Secret:    os.Getenv("GATEBUS_SECRET"), // that of the cluster, if it has one
		Log:       log,
	}, s.Handler)
	if err != nil {
		return err
	}
	routes, err := s.routes(strings.Split(*gateways, ","))
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", *listen)
	if err != nil {
		return fmt.Errorf("the page: %w; choose another address by -listen", err)
	}
	log.Info("started", "page", l.Addr().String(), "worker", w.Name())
	fmt.Printf("open http://%s/ in a browser or several\n", l.Addr())

	tasks, ctx := errgroup.WithContext(ctx) // when one fails, the other ends too
	tasks.Go(func() error { return w.Run(ctx) })
	tasks.Go(func() error { return serve(ctx, l, routes) })
	return tasks.Wait()
}

// routes are the files of the page, and what it is to know.
func (s Site) routes(gateways []string) (http.Handler, error) {
	files, err := fs.Sub(s.Page, "page")
	if err != nil {
		return nil, err
	}
	config, err := json.Marshal(map[string][]string{"gateways": gateways})
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /", http.FileServerFS(files))
	mux.HandleFunc("GET /connection.js", content("text/javascript; charset=utf-8", connection))
	mux.HandleFunc("GET /config.json", content("application/json", config))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		// Nothing from elsewhere runs here, whatever somebody manages to say.
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "+
			"connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "no-cache")
		mux.ServeHTTP(w, r)
	}), nil
}

func content(kind string, data []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", kind)
		_, _ = w.Write(data) // the asker is gone
	}
}

// serve serves until ctx ends, and then lets running requests finish for a second
// at most.
func serve(ctx context.Context, l net.Listener, routes http.Handler) error {
	server := &http.Server{
		Handler: routes, ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second, IdleTimeout: time.Minute,
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
	var wrong error
	if server.Shutdown(end) != nil {
		wrong = server.Close() // cuts off who is still loading
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		wrong = cmp.Or(err, wrong)
	}
	return wrong
}
