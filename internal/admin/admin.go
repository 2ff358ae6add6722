// Package admin is the HTTP server of a process for the people who run it:
// health, readiness, figures, profiles, and the chat page to try things out; and for
// programs, the API.
//
// Where no [Config].Guard is set, whoever reaches it may look at all of that but the
// profiles. Those show what the memory of the process holds, and take its time: they are
// then for requests from this machine only.
package admin

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/gatebus/gatebus/internal/quietlog"
)

// Check is one thing that a role has to have before it is ready.
type Check struct {
	// Name is what the check is called; "" for one about the process as a whole.
	Name string
	// Missing says what it still waits for; nil if it has it. It must not block.
	Missing func() error
}

// Config says what the server shows.
type Config struct {
	// Listen is a host:port; port 0 takes a free one.
	Listen string
	// Listener is a socket that is open already, and the server's then; nil: Listen is
	// taken.
	Listener net.Listener
	// Ready are the checks of /readyz, by role.
	Ready map[string][]Check
	// Stats are the figures of /stats, by role.
	Stats map[string]func() any
	// Metrics answers /metrics; nil if there is none.
	Metrics http.Handler
	// API serves the paths that begin with /api/, as they were sent; nil: there is none.
	API http.Handler
	// Dashboard serves the paths that begin with DashboardPath, and is open: it guards
	// what is to be guarded itself. Browsers that ask for / are sent there. Nil: there
	// is none.
	Dashboard     http.Handler
	DashboardPath string
	// Guard lets through who may see what is served, health and readiness aside; nil:
	// everybody may, but profiles are for this machine ([LocalOnly]).
	Guard func(http.Handler) http.Handler
	// Gateway is the host:port on which the gateway listens for clients, for
	// the chat page; "" if no gateway runs here.
	Gateway string
	// GatewayTLS says that it speaks TLS there.
	GatewayTLS bool
	Log        *slog.Logger
}

// Server is the HTTP server.
type Server struct {
	cfg      Config
	listener net.Listener
}

//go:embed chat.html
var chatHTML string

var chatPage = template.Must(template.New("chat").Parse(chatHTML))

// Listen takes the port. Serving begins with Run.
func Listen(ctx context.Context, cfg Config) (*Server, error) {
	if cfg.Listener != nil {
		return &Server{cfg: cfg, listener: cfg.Listener}, nil
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("admin: listen on %s: %w", cfg.Listen, err)
	}
	return &Server{cfg: cfg, listener: l}, nil
}

// Addr is where the server listens.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Listener is the socket, for a process that replaces this one. It stays the server's.
func (s *Server) Listener() net.Listener { return s.listener }

// Close gives the port back, of a server that does not run.
func (s *Server) Close() { _ = s.listener.Close() } // nothing can be done about it

// Run serves until ctx ends, and then lets running requests finish for a
// second at most.
func (s *Server) Run(ctx context.Context) error {
	server := &http.Server{
		Handler:           s.handler(),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      10 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    64 << 10, // paths of the API may hold names
		ErrorLog:          quietlog.New(s.cfg.Log),
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(s.listener) }()
	select {
	case err := <-served:
		return fmt.Errorf("admin: %w", err)
	case <-ctx.Done():
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if server.Shutdown(end) != nil {
		_ = server.Close() // cuts off what is left
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("admin: %w", err)
	}
	return nil
}

// handler guards what is to be guarded, and gives the API its paths untouched: the
// ServeMux would redirect those that have names like a//b in them.
func (s *Server) handler() http.Handler {
	routes := s.routes()
	open := routes
	if s.cfg.Guard != nil {
		routes = s.cfg.Guard(routes)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch path := r.URL.EscapedPath(); {
		case s.cfg.API != nil && strings.HasPrefix(path, "/api/"):
			s.cfg.API.ServeHTTP(w, r)
		case s.cfg.Dashboard != nil && strings.HasPrefix(path, s.cfg.DashboardPath):
			s.cfg.Dashboard.ServeHTTP(w, r)
		case s.cfg.Dashboard != nil && path == "/" && r.Method == http.MethodGet && strings.Contains(r.Header.Get("Accept"), "text/html"):
			w.Header().Set("Vary", "Accept")
			http.Redirect(w, r, s.cfg.DashboardPath, http.StatusSeeOther)
		case path == "/healthz", path == "/readyz":
			open.ServeHTTP(w, r)
		default:
			routes.ServeHTTP(w, r)
		}
	})
}

func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, map[string]string{"status": "alive"})
	})
	mux.HandleFunc("GET /readyz", s.ready)
	mux.HandleFunc("GET /stats", s.stats)
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		text := "gatebus admin\n\n/healthz  is the process alive\n/readyz   is it joined and serving\n/stats    its figures\n"
		if s.cfg.Metrics != nil {
			text += "/metrics  the same for Prometheus\n"
		}
		text += "/debug/pprof/  profiles of it\n"
		if s.cfg.Gateway != "" {
			text += "/chat     a chat, to try\n"
		}
		if s.cfg.Dashboard != nil {
			text += s.cfg.DashboardPath + "  the cluster, live, for a browser\n"
		}
		if s.cfg.API != nil {
			text += "/api/v1/  the HTTP API; /api/v1/openapi.yaml describes it\n"
		}
		_, _ = w.Write([]byte(text)) // the asker is gone
	})
	if s.cfg.Metrics != nil {
		mux.Handle("GET /metrics", s.cfg.Metrics)
	}
	if s.cfg.Guard != nil {
		mux.Handle("/debug/pprof/", profiles()) // it stands before all of this
	} else {
		mux.Handle("/debug/pprof/", LocalOnly(profiles()))
	}
	if s.cfg.Gateway != "" {
		mux.HandleFunc("GET /chat", s.chat)
	}
	return mux
}

// ready tells whether the process does its work, and if not, what it waits for.
func (s *Server) ready(w http.ResponseWriter, _ *http.Request) {
	status, answer := http.StatusOK, map[string]string{}
	for role, checks := range s.cfg.Ready {
		var missing []string
		for _, c := range checks {
			switch err := c.Missing(); {
			case err == nil:
			case c.Name == "":
				missing = append(missing, err.Error())
			default:
				missing = append(missing, c.Name+": "+err.Error())
			}
		}
		answer[role] = "ready"
		if len(missing) > 0 {
			status, answer[role] = http.StatusServiceUnavailable, strings.Join(missing, "; ")
		}
	}
	writeJSON(w, status, answer)
}

func (s *Server) stats(w http.ResponseWriter, _ *http.Request) {
	answer := map[string]any{}
	for role, stats := range s.cfg.Stats {
		answer[role] = stats()
	}
	writeJSON(w, http.StatusOK, answer)
}

func (s *Server) chat(w http.ResponseWriter, _ *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	host, port := gatewayFor(s.cfg.Gateway, s.Addr())
	if err := chatPage.Execute(w, struct {
		Host, Port string
		TLS        bool
	}{host, port, s.cfg.GatewayTLS}); err != nil {
		s.cfg.Log.Debug("chat page not sent", "err", err)
	}
}

// gatewayFor is where a page of the admin listener finds the gateway. The host
// is empty where it is the one that the page itself came from: if the gateway
// listens on every interface, or on the same one as the admin listener, which
// may be known to the browser under another name.
func gatewayFor(gateway, admin string) (host, port string) {
	host, port, err := net.SplitHostPort(gateway)
	if err != nil {
		return "", ""
	}
	own, _, err := net.SplitHostPort(admin)
	if err != nil || host == own {
		return "", port
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		switch {
		case ip.IsUnspecified():
			return "", port
		case ip.Is6():
			host = "[" + host + "]"
		}
	}
	return host, port
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	_ = e.Encode(v) // the asker is gone
}
