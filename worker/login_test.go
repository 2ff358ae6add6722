package worker

import (
	"context"
	"crypto/tls"
	"errors"
	"strings"
	"testing"

	"github.com/gatebus/gatebus/internal/keys"
)

// What SetLogin refuses has changed nothing; what it takes is for the next attempt.
func TestSetLogin(t *testing.T) {
	t.Parallel()
	handler := HandlerFunc(func(context.Context, *Event) error { return nil })
	newWorker := func(cfg Config) *Worker {
		t.Helper()
		w, err := New(cfg, handler)
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	open, locked := newWorker(Config{}), newWorker(Config{Secret: "the-older-secret", TLS: &tls.Config{}})
	if err := open.SetLogin("the-newer-secret", nil); err == nil || !strings.Contains(err.Error(), "secret") {
		t.Errorf("a secret for a worker without: %v", err)
	}
	if err := open.SetLogin(" ", nil); err != nil {
		t.Errorf("still none: %v", err)
	}
	before := locked.currentLogin()
	if err := locked.SetLogin("short", &tls.Config{}); !errors.Is(err, keys.ErrShortSecret) {
		t.Errorf("a short secret: %v", err)
	}
	if err := locked.SetLogin("", &tls.Config{}); err == nil {
		t.Error("no secret for a worker with one")
	}
	if err := locked.SetLogin("the-newer-secret", nil); err == nil || !strings.Contains(err.Error(), "TLS") {
		t.Errorf("no TLS for a worker with it: %v", err)
	}
	if now := locked.currentLogin(); now.Public != before.Public || now.TLS != before.TLS {
		t.Error("what was refused has changed something")
	}
	k, err := keys.Derive("the-newer-secret")
	if err != nil {
		t.Fatal(err)
	}
	if err := locked.SetLogin(" the-newer-secret\n", &tls.Config{}); err != nil || locked.currentLogin().Public != k.Public(keys.RoleWorker) {
		t.Errorf("%v; it logs in as %s", err, locked.currentLogin().Public)
	}
	if shared := locked.sharedLogin(); shared.Public != "" || shared.TLS == nil {
		t.Error("a bus that gateways share is shown a key of the secret")
	}
}
