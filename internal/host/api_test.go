package host

import (
	"context"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/gatebus/gatebus/configs"
	"github.com/gatebus/gatebus/internal/testbed"
)

// call asks the admin listener something.
func call(t *testing.T, method, url, token, body string) (status int, answer string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	return do(t, req)
}

// The API of a process with a worker uses its links; one of a process without has
// its own. Both reach the client, by whatever name.
func TestAPI(t *testing.T) {
	dev, _, stop := run(t, load(t))
	ready(t, dev)
	conn := dial(t, "ws://"+dev.Clients+"/?name=ann")
	other := load(t, "api.tokens=a-token-of-the-shop")
	other.Only(configs.RoleAPI)
	other.Registers = []string{"nats://" + dev.Register}
	alone, _, _ := run(t, other)
	ready(t, alone)
	for _, at := range []struct{ addr, token string }{{dev.Admin, ""}, {alone.Admin, "a-token-of-the-shop"}} {
		url := "http://" + at.addr + "/api/v1/"
		if status, body := call(t, "GET", url+"counts", at.token, ""); status != 200 || body != `{"count":1}`+"\n" {
			t.Fatalf("%d %s", status, body)
		}
		if status, body := call(t, "POST", url+"push", at.token, `{"to":{"all":true},"text":"{\"text\":\"hello\"}"}`); status != 200 || body != `{"clients":1}`+"\n" {
			t.Fatalf("%d %s", status, body)
		}
		if got := line(t, conn); got != "hello" {
			t.Fatal(got)
		}
		if status, body := call(t, "GET", url+"groups/..%2F%2F.", at.token, ""); status != 200 || body != `{"name":"..//.","clients":0}`+"\n" {
			t.Fatalf("%d %s", status, body)
		}
		if status, body := call(t, "GET", url+"groups//", at.token, ""); status != 404 || !strings.Contains(body, "not-found") {
			t.Fatalf("%d %s", status, body)
		}
	}
	if status, body := call(t, "GET", "http://"+alone.Admin+"/api/v1/counts", "", ""); status != 401 {
		t.Fatalf("%d %s", status, body)
	}
	if status, body := get(t, "http://"+alone.Admin+"/stats"); status != 200 || !strings.Contains(body, `"links": 1`) {
		t.Fatalf("%d %s", status, body)
	}
	if status, body := get(t, "http://"+alone.Admin+"/"); status != 200 || !strings.Contains(body, "/api/v1/") {
		t.Fatalf("%d %s", status, body)
	}
	stop()
}

// Without a register, the API says so, and stops all the same.
func TestAPIWithoutRegister(t *testing.T) {
	cfg := load(t)
	cfg.Only(configs.RoleAPI)
	cfg.Registers = []string{"nats://127.0.0.1:1"}
	at, _, _ := run(t, cfg)
	if status, body := get(t, "http://"+at.Admin+"/readyz"); status != 503 || !strings.Contains(body, "no register has answered yet") {
		t.Fatalf("%d %s", status, body)
	}
	if status, body := get(t, "http://"+at.Admin+"/api/v1/counts"); status != 503 || !strings.Contains(body, "urn:gatebus:problem:no-gateway") {
		t.Fatalf("%d %s", status, body)
	}
}

// Beyond loopback, everything but health and readiness takes a token.
func TestGuardedAdmin(t *testing.T) {
	beyond := outside(t)
	const token = "a-token-of-the-shop"
	at, _, _ := run(t, load(t, "admin.listen="+beyond, "api.tokens="+token))
	url := "http://" + at.Admin
	for path, want := range map[string]int{"/healthz": 200, "/stats": 401, "/chat": 401, "/": 401, "/nothing": 401, "/api/v1/gateways": 401} {
		if status, body := get(t, url+path); status != want {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	for _, path := range []string{"/stats", "/api/v1/gateways"} {
		if status, body := call(t, "GET", url+path, token, ""); status != 200 {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
}

// outside is a free address of this machine that is not loopback.
func outside(t *testing.T) string {
	t.Helper()
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		if ip, ok := a.(*net.IPNet); ok && ip.IP.IsGlobalUnicast() {
			return testbed.MustFreeAddr(t, ip.IP.String())
		}
	}
	t.Skip("this machine has no address but loopback")
	return ""
}
