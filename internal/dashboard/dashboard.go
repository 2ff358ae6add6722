package dashboard

import (
	"context"
	"embed"
	"encoding/json"
	"io/fs"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/internal/status"
)

// Path is what the paths of the dashboard begin with.
const Path = "/dashboard/"

const (
	// maxStreams and maxTaps are how many pages are served at the same time, and how
	// many clients tapped.
	maxStreams = 32
	maxTaps    = 8
	// writeTime is how long a page may take to read what it is sent.
	writeTime = 10 * time.Second
)

//go:embed static
var static embed.FS

// Config is what a Dashboard is made of.
type Config struct {
	// Guard lets those through who may see data.
	Guard func(http.Handler) http.Handler
	// Every is the time between two looks while somebody watches, and Idle while nobody
	// does, which is also the time between two points of a plot. Zero: 1 s and 5 s.
	Every, Idle time.Duration
}

// Dashboard is the handler of all paths that begin with [Path]. It has something to show
// while it runs. Its methods may be called from any goroutine.
type Dashboard struct {
	cfg  Config
	mux  *http.ServeMux
	take func(context.Context, bus.Conn) (status.Look, error) // for tests

	mu       sync.Mutex
	conn     bus.Conn      // nil: it does not run
	ended    chan struct{} // closed when Run ends
	changed  chan struct{} // closed at the next state
	watchers int
	taps     int
	woken    chan struct{} // somebody has begun to watch
	state    state
}

// New makes a Dashboard; it starts nothing.
func New(cfg Config) *Dashboard {
	if cfg.Every == 0 {
		cfg.Every = time.Second
	}
	if cfg.Idle == 0 {
		cfg.Idle = 5 * time.Second
	}
	d := &Dashboard{
		cfg: cfg, mux: http.NewServeMux(), take: status.Take,
		changed: make(chan struct{}), woken: make(chan struct{}, 1),
	}
	d.state.init()
	files, err := fs.Sub(static, "static")
	if err != nil {
		panic(err) // the name is a constant
	}
	d.mux.Handle("GET "+Path, http.StripPrefix(strings.TrimSuffix(Path, "/"), http.FileServerFS(files)))
	d.mux.Handle("GET "+Path+"data/", cfg.Guard(d.data()))
	return d
}

// data are the handlers behind the guard.
func (d *Dashboard) data() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+Path+"data/live", d.live)
	mux.HandleFunc("GET "+Path+"data/tap", d.tap)
	mux.HandleFunc("GET "+Path+"data/state", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(d.since(mark{})) // the asker is gone
	})
	return mux
}

// policy lets the page use what comes from here, and nothing else.
const policy = "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// ServeHTTP answers a request.
func (d *Dashboard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store") // a new version is seen at once, and data is nobody else's
	d.mux.ServeHTTP(w, r)
}

// Run looks at the cluster over a connection to the registers until ctx ends; streams and
// taps end with it. The connection must stay open until Run has returned.
func (d *Dashboard) Run(ctx context.Context, conn bus.Conn) error {
	ended := make(chan struct{})
	d.mu.Lock()
	d.conn, d.ended = conn, ended
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		d.conn = nil
		d.mu.Unlock()
		close(ended)
	}()
	tick := time.NewTicker(d.cfg.Every)
	defer tick.Stop()
	for last := (time.Time{}); ; {
		if now := time.Now(); d.watched() || now.Sub(last) >= d.cfg.Idle-d.cfg.Every/2 {
			last = now
			d.look(ctx, conn)
		}
		select {
		case <-tick.C:
		case <-d.woken:
		case <-ctx.Done():
			return nil
		}
	}
}

func (d *Dashboard) watched() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.watchers > 0
}

// look looks once, and has the pages told.
func (d *Dashboard) look(ctx context.Context, conn bus.Conn) {
	// The registers have that long to say who is there; members have a second of their own.
	ask, cancel := context.WithTimeout(ctx, status.AnswerTime)
	look, err := d.take(ask, conn)
	cancel()
	if ctx.Err() != nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.state.saw(time.Now(), look, err, d.cfg.Idle)
	close(d.changed)
	d.changed = make(chan struct{})
}

// since is the state, with those samples and notes that are newer than a mark.
func (d *Dashboard) since(m mark) view {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.state.since(m)
}

// problem answers with an error, as RFC 9457 has it.
func problem(w http.ResponseWriter, code int, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(map[string]any{ // the asker is gone
		"type": "about:blank", "title": http.StatusText(code), "status": code, "detail": detail,
	})
}
