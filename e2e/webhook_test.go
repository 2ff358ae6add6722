package e2e_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatebus/gatebus/internal/testbed"
)

// The key of the webhook tests, as it is and as it is written.
const (
	webhookSecret = "a key of 32 bytes for the tests."
	webhookKey    = "whsec_YSBrZXkgb2YgMzIgYnl0ZXMgZm9yIHRoZSB0ZXN0cy4="
)

// receiver is an application behind webhook workers: it echoes. It can be stopped
// and come back.
type receiver struct {
	t      *testing.T
	addr   string
	server *http.Server
	done   chan struct{}

	mu       sync.Mutex
	seen     map[string]string // what came, by ce-id
	requests int
	again    int // requests for what had come before
	failing  int // one of so many requests gets 503; 0: none
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{t: t, addr: testbed.MustFreeAddr(t, testbed.Host(200)), seen: map[string]string{}}
	r.start()
	t.Cleanup(func() { r.stop() })
	return r
}

func (r *receiver) start() {
	r.t.Helper()
	l, err := net.Listen("tcp", r.addr)
	must(r.t, err)
	r.server, r.done = &http.Server{Handler: r}, make(chan struct{})
	go func() {
		defer close(r.done)
		_ = r.server.Serve(l) // until it is closed
	}()
}

// stop breaks off what is under way.
func (r *receiver) stop() {
	r.server.Close()
	<-r.done
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return // it was stopped
	}
	h := req.Header
	mac := hmac.New(sha256.New, []byte(webhookSecret))
	fmt.Fprintf(mac, "%s.%s.%s", h.Get("webhook-id"), h.Get("webhook-timestamp"), body)
	id, want := h.Get("ce-id"), "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil))
	if h.Get("webhook-signature") != want || h.Get("webhook-id") != id || h.Get("authorization") != "Bearer e2e" {
		r.t.Errorf("a request is not signed as it should be: %v", h)
	}
	r.mu.Lock()
	r.requests++
	fail := r.failing > 0 && r.requests%r.failing == 0
	this := h.Get("ce-type") + " " + string(body)
	if before, ok := r.seen[id]; ok {
		if r.again++; before != this {
			r.t.Errorf("event %s was %q, and is %q", id, before, this)
		}
	}
	r.seen[id] = this
	r.mu.Unlock()
	if fail {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", h.Get("Content-Type"))
	_, _ = w.Write(body)
}

func (r *receiver) worker(c *testbed.Cluster, name string) *testbed.Process {
	r.t.Helper()
	return c.Worker(name, "worker.handler.type=webhook", "worker.handler.url=http://"+r.addr+"/events?token=hunter2",
		"worker.handler.signing_keys="+webhookKey, "worker.handler.headers=authorization=Bearer e2e")
}

// Whatever fails between gateway and application, every client gets the answer to
// each of its frames once and in order.
func TestWebhookLosesAndRepeatsNothing(t *testing.T) {
	t.Parallel()
	const clients, frames = 40, 200
	cluster := testbed.NewCluster(t, 1, "gateway.ack_wait=1s")
	app := newReceiver(t)
	app.failing = 100
	r, g := cluster.Register(0), cluster.Gateway("g1")
	w1, w2 := app.worker(cluster, "w1"), app.worker(cluster, "w2")
	must(t, testbed.WaitReady(soon(t), r, g, w1, w2))

	load := testbed.StartLoad(t, clients, testbed.Numbered{Frames: frames, Window: 4}, ws(t, g))
	must(t, load.WaitAnswered(soon(t), clients*frames/5))
	w2.Kill()
	must(t, load.WaitAnswered(soon(t), clients*frames/2))
	app.stop() // it is deployed anew
	app.start()
	total, err := load.Wait(soon(t))
	must(t, err)
	if total.Answered != clients*frames || total.Connects != clients {
		t.Errorf("%+v", total)
	}
	s := gatewayStats(t, g)
	app.mu.Lock()
	t.Logf("%d frames in %v: %d requests, %d of them again; given out again: %d", total.Answered, total.Took.Round(time.Millisecond), app.requests, app.again, s.Redelivery)
	if app.again < clients*frames/100 {
		t.Errorf("only %d requests came again: too little was tested", app.again)
	}
	app.mu.Unlock()
	if s.Redelivery == 0 {
		t.Error("nothing was given out again when a worker was killed")
	}
	if log := w1.Log(); strings.Contains(log, "hunter2") || strings.Contains(log, "e2e") || strings.Contains(log, webhookKey) {
		t.Errorf("the log has a secret:\n%s", log)
	}
	stats, err := w1.Stats(soon(t))
	must(t, err)
	if stats.Worker.Failed != 0 {
		t.Errorf("%+v", stats.Worker)
	}
}

// An application that keeps who is connected is told of a gateway that was killed.
func TestWebhookHearsOfAGatewayDown(t *testing.T) {
	t.Parallel()
	cluster := testbed.NewCluster(t, 1)
	app := newReceiver(t)
	r, g, w := cluster.Register(0), cluster.Gateway("g1"), app.worker(cluster, "w1")
	must(t, testbed.WaitReady(soon(t), r, g, w))
	echoes(t, dial(t, ws(t, g)), "hello")
	g.Kill()
	must(t, testbed.Poll(soon(t), func() error {
		app.mu.Lock()
		defer app.mu.Unlock()
		var client string
		for id, what := range app.seen {
			if what == "com.gatebus.client.text hello" {
				client, _, _ = strings.Cut(id, ":")
			}
		}
		life := client[:max(0, strings.LastIndexByte(client, '-'))]
		if _, ok := app.seen[life+":down"]; !ok {
			return fmt.Errorf("%w: nothing was said of %s", errNotYet, life)
		}
		return nil
	}))
}

func TestWebhookConfig(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "worker.yaml")
	must(t, os.WriteFile(path, []byte(`worker:
  handler:
    type: webhook
    url: http://127.0.0.1:8000/
    signing_keys: [`+webhookKey+`]
    headers: {authorization: Bearer hunter2}
`), 0o600))
	p := testbed.Start(t, testbed.Spec{Args: []string{"config", "print", "-c", path}})
	exits(t, p, 0)
	if out := p.Stdout(); strings.Contains(out, webhookKey) || strings.Contains(out, "hunter2") || !strings.Contains(out, "authorization: '********'") {
		t.Errorf("config print shows\n%s", out)
	}
	p = testbed.Start(t, testbed.Spec{Args: []string{"worker", "-c", path, "--set", "worker.handler.url=http://ann:hunter2@127.0.0.1/"}})
	exits(t, p, 2)
	says(t, p, "worker.handler.url: it has a user or password; remove them")
	if strings.Contains(p.Log(), "hunter2") {
		t.Errorf("the log has a password:\n%s", p.Log())
	}
}
