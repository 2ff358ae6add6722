package webhook

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/internal/bubble"
	"github.com/gatebus/gatebus/worker"
)

func TestMain(m *testing.M) { bubble.Main(m) }

const (
	testClient = bus.ClientID("g1-k3x9-7")
	testKey    = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz"
	otherKey   = "whsec_YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXo="
)

// testConfig is the default one with a receiver.
func testConfig() Config {
	c := DefaultConfig()
	c.URL = "http://127.0.0.1/hook"
	return c
}

func event(kind worker.Kind, data string) *worker.Event {
	cluster := new(worker.Cluster)
	return &worker.Event{
		Kind: kind, Data: []byte(data), Client: cluster.Client(testClient), Seq: 5, Delivery: 1, Cluster: cluster,
	}
}

// got is a request as the receiver got it.
type got struct {
	at     time.Duration // since the start
	header http.Header
	body   string
}

// fixture is a handler and its receiver in a synctest bubble, with connections in
// memory between them.
type fixture struct {
	t     *testing.T
	h     *Handler
	log   *strings.Builder
	start time.Time

	mu     sync.Mutex
	got    []got
	dialed int
	refuse int // so many connections are refused
}

func inBubble(t *testing.T, cfg Config, serve http.HandlerFunc, fn func(t *testing.T, f *fixture)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := &fixture{t: t, log: &strings.Builder{}, start: time.Now()}
		cfg.Log = slog.New(slog.NewTextHandler(f.log, nil))
		h, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		f.h = h
		l := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
		h.transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			f.mu.Lock()
			f.dialed++
			refused := f.dialed <= f.refuse
			f.mu.Unlock()
			if refused {
				return nil, errors.New("connection refused")
			}
			return l.dial(ctx)
		}
		server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				t.Error(err)
			}
			f.mu.Lock()
			f.got = append(f.got, got{time.Since(f.start), r.Header, string(body)})
			f.mu.Unlock()
			serve(w, r)
		})}
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = server.Serve(l) // until it is closed
		}()
		defer func() {
			h.Stop(t.Context())
			server.Close()
			<-done
		}()
		fn(t, f)
	})
}

func (f *fixture) requests() []got {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]got(nil), f.got...)
}

// exchange posts a text event.
func (f *fixture) exchange(data string) (*response, error) {
	return f.h.exchange(f.t.Context(), f.h.newEventRequest(event(worker.Text, data), time.Now()))
}

// pipes is a listener in memory.
type pipes struct {
	conns  chan net.Conn
	once   sync.Once
	closed chan struct{}
}

func (p *pipes) dial(ctx context.Context) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case p.conns <- there:
		return here, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.closed) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }
