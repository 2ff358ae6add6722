package webhook

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatebus/gatebus/worker"
)

// An https receiver is spoken to in HTTP/2, if its certificate is good.
func TestHTTPS(t *testing.T) {
	receiver := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("gb-bind", "ann") // lower-case on the wire in HTTP/2
		_, _ = io.WriteString(w, r.Proto)
	}))
	receiver.EnableHTTP2 = true
	receiver.Config.ErrorLog = log.New(io.Discard, "", 0) // it does not like to be distrusted
	receiver.StartTLS()
	defer receiver.Close()
	cfg := DefaultConfig()
	cfg.URL, cfg.Retries, cfg.Concurrency = receiver.URL, 0, 2
	ask := func(trusted *x509.CertPool) (*response, error) {
		h, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer h.Stop(t.Context())
		h.transport.TLSClientConfig = &tls.Config{RootCAs: trusted}
		return h.exchange(t.Context(), h.newEventRequest(event(worker.Text, "x"), time.Now()))
	}
	if _, err := ask(nil); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("with a certificate of nobody: %v", err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(receiver.Certificate())
	resp, err := ask(pool)
	if err != nil || string(resp.body) != "HTTP/2.0" {
		t.Fatalf("%+v, %v", resp, err)
	}
	// Many requests at a time share the connections that there may be.
	h, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Stop(t.Context())
	h.transport.TLSClientConfig = &tls.Config{RootCAs: pool}
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			if _, err := h.exchange(t.Context(), h.newEventRequest(event(worker.Text, "x"), time.Now())); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if a, err := readAnswer(worker.Text, resp); err != nil || a.change.bind != "ann" {
		t.Errorf("%+v, %v", a, err)
	}
}
