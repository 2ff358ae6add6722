package worker

import (
	"context"
	"crypto/tls"
	"errors"
	"strings"
	"testing"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/internal/keys"
	"github.com/gatebus/gatebus/register"
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

// renewals counts how often a connection was to log in anew.
type renewals struct {
	bus.Conn
	n int
}

func (r *renewals) Renew() { r.n++ }

// The link to a gateway that drains, and is on no table any more, would end if it logged in
// anew, and its clients would have no worker. It does so when the gateway is back.
func TestSetLoginLeavesGatewaysThatDrain(t *testing.T) {
	t.Parallel()
	w, err := New(Config{Secret: "the-older-secret"}, HandlerFunc(func(context.Context, *Event) error { return nil }))
	if err != nil {
		t.Fatal(err)
	}
	links, conns := [2]*link{}, [2]*renewals{{}, {}}
	for i := range links {
		m := register.Member{Role: register.RoleGateway, Name: "g1", Epoch: bus.Epoch(i + 1)}
		links[i] = newLink(w, m)
		links[i].conn = conns[i]
		w.links[keyOf(m)] = links[i]
	}
	want := func(first, second int) {
		t.Helper()
		if conns[0].n != first || conns[1].n != second {
			t.Errorf("they log in anew %d and %d times, want %d and %d", conns[0].n, conns[1].n, first, second)
		}
	}
	links[0].setGone(true)
	if err := w.SetLogin("the-newer-secret", nil); err != nil {
		t.Fatal(err)
	}
	want(0, 1)
	for range 2 {
		links[0].setGone(false)
		want(1, 1)
	}
}
