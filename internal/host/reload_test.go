package host

import (
	"crypto/tls"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/gatebus/gatebus/configs"
	"github.com/gatebus/gatebus/internal/certs"
	"github.com/gatebus/gatebus/internal/keys"
	"github.com/gatebus/gatebus/internal/testbed"
)

// reload has a host heed other settings, and checks what it says of them.
func reload(t *testing.T, h *Host, changed, restart string, set ...string) {
	t.Helper()
	done, err := h.Reload(load(t, set...))
	if err != nil {
		t.Fatal(err)
	}
	if c, r := strings.Join(done.Changed, " "), strings.Join(done.Restart, " "); c != changed || r != restart {
		t.Errorf("changed %q, and %q need a restart; want %q and %q", c, r, changed, restart)
	}
}

// connects tells whether a bus or register lets in who has a secret.
func connects(t *testing.T, addr, secret string, more ...nats.Option) error {
	t.Helper()
	k, err := keys.Derive(secret)
	if err != nil {
		t.Fatal(err)
	}
	nc, err := nats.Connect("nats://"+addr, append(append(k.ConnectOptions(keys.RoleApplication), nats.NoReconnect(), nats.Timeout(patience)), more...)...)
	if err == nil {
		nc.Close()
	}
	return err
}

// All roles of a process follow a secret that is replaced, and its API the tokens,
// those of a file too; clients stay, and what is asked by then is answered.
func TestReloadSecrets(t *testing.T) {
	const older, newer = "the-older-secret", "the-newer-secret"
	tokens := filepath.Join(t.TempDir(), "tokens")
	write := func(token string) {
		t.Helper()
		if err := os.WriteFile(tokens, []byte(token+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("the-first-token-0")
	file := "api.token_file=" + tokens
	h, at, _, _ := runHost(t, load(t, "secret="+older, file))
	ready(t, at)
	conn := dial(t, "ws://"+at.Clients+"/?name=ann")
	answers := func(token string, want int) {
		t.Helper()
		if status, answer := call(t, "GET", "http://"+at.Admin+"/api/v1/clients", token, ""); status != want {
			t.Errorf("token %s: %d %s, want %d", token, status, answer, want)
		}
	}
	answers("the-first-token-0", 200)

	reload(t, h, "accept_secret", "", "secret="+older, file, "accept_secret="+newer)
	reload(t, h, "accept_secret secret", "", "secret="+newer, file, "accept_secret="+older)
	for _, addr := range []string{at.Bus, at.Register} {
		for _, secret := range []string{older, newer} {
			if err := connects(t, addr, secret); err != nil {
				t.Errorf("%s at %s: %v", secret, addr, err)
			}
		}
	}
	reload(t, h, "accept_secret", "", "secret="+newer, file)
	for _, addr := range []string{at.Bus, at.Register} {
		if err := connects(t, addr, older); !errors.Is(err, nats.ErrAuthorization) {
			t.Errorf("the older secret at %s: %v", addr, err)
		}
	}
	write("the-second-token-")
	reload(t, h, "api.token_file", "", "secret="+newer, file)
	reload(t, h, "", "", "secret="+newer, file)
	answers("the-first-token-0", 401)
	answers("the-second-token-", 200)
	reload(t, h, "api.token_file api.tokens", "", "secret="+newer, "api.tokens=the-third-token-0")
	answers("the-third-token-0", 200)
	answers("the-second-token-", 401)
	ready(t, at)
	if status, answer := call(t, "POST", "http://"+at.Admin+"/api/v1/push", "the-third-token-0", `{"to":{"all":true},"text":"still there"}`); status != 200 {
		t.Errorf("push: %d %s", status, answer)
	}
	for text := ""; text != "still there"; { // behind what the chat says
		_ = conn.SetReadDeadline(time.Now().Add(patience))
		_, data, err := conn.ReadMessage()
		if err != nil {
			t.Fatal(err)
		}
		text = string(data)
	}

	// Whether there is a secret at all is decided at the start.
	reload(t, h, "api.token_file api.tokens", "secret", file, "api.tokens=the-fourth-token-")
	if err := connects(t, at.Bus, newer); err != nil {
		t.Error(err)
	}
}

// An API without a worker beside it has links of its own, which follow too, be they there
// already or not.
func TestReloadSecretsOfAnAPI(t *testing.T) {
	const older, newer = "the-older-secret", "the-newer-secret"
	const both = "accept_secret=" + older
	register, rest := load(t, "secret="+newer, both), load(t, "secret="+newer, both, "admin.ready_without=workers")
	register.Only(configs.RoleRegister)
	_, at, _, _ := runHost(t, register)
	rest.Only(configs.RoleGateway)
	rest.Registers = []string{"nats://" + at.Register}
	_, gateway, _, _ := runHost(t, rest)
	api := func(set ...string) *configs.Config {
		cfg := load(t, append(set, "api.tokens=a-token-of-the-shop")...)
		cfg.Only(configs.RoleAPI)
		cfg.Registers = []string{"nats://" + at.Register}
		return cfg
	}
	ready(t, Addresses{Admin: gateway.Admin})
	h, here, _, _ := runHost(t, api("secret=a-secret-of-others"))
	if _, err := h.Reload(api("secret=" + older)); err != nil { // it was refused before
		t.Fatal(err)
	}
	ready(t, here)
	first := h.api.connection.Load()
	if _, err := h.Reload(api("secret=" + newer)); err != nil {
		t.Fatal(err)
	}
	ready(t, here)
	if h.api.connection.Load() != first {
		t.Error("links that were there were made anew")
	}
}

// Prometheus is shown whether the last configuration was good.
func TestReloadIsShown(t *testing.T) {
	h, at, _, _ := runHost(t, load(t))
	shows := func(want float64) (when float64) {
		t.Helper()
		_, values := scrape(t, at)
		if got := values["gatebus_config_last_reload_successful"]; got != want {
			t.Errorf("the last reload: %v, want %v", got, want)
		}
		return values["gatebus_config_last_reload_success_timestamp_seconds"]
	}
	first := shows(1)
	h.NotReloaded(errors.New("no such file"))
	if again := shows(0); again != first {
		t.Errorf("a failed reload is at %v, the start was at %v", again, first)
	}
	reload(t, h, "log.level", "", "log.level=warn")
	if again := shows(1); again <= first {
		t.Errorf("a reload is at %v, the start was at %v", again, first)
	}
	too := load(t)
	too.Gateway.MaxFrame = 4 << 20
	if _, err := h.Reload(too); err == nil {
		t.Error("frames that the bus does not take")
	}
	shows(0)
}

// Certificates on the links can be of other files and other authorities from a reload on.
func TestReloadCertificates(t *testing.T) {
	dir := t.TempDir()
	set := func(a *testbed.Authority, name string) []string {
		cert, key := a.Issue(t, name, time.Time{}, "127.0.0.1")
		return []string{"secret=the-older-secret", "tls.cert=" + cert, "tls.key=" + key, "tls.ca=" + a.File}
	}
	a, b := testbed.NewAuthority(t, dir, "a"), testbed.NewAuthority(t, dir, "b")
	h, at, _, _ := runHost(t, load(t, set(a, "host-a")...))
	ready(t, at)
	believes := func(who *testbed.Authority) []error {
		t.Helper()
		data, err := os.ReadFile(who.File)
		if err != nil {
			t.Fatal(err)
		}
		pool, err := certs.Pool(data)
		if err != nil {
			t.Fatal(err)
		}
		secure := nats.Secure(&tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12})
		return []error{connects(t, at.Bus, "the-older-secret", secure), connects(t, at.Register, "the-older-secret", secure)}
	}
	if err := errors.Join(believes(a)...); err != nil {
		t.Error(err)
	}
	others := set(b, "host-b")
	reload(t, h, "tls.ca tls.cert tls.key", "", others...)
	if err := errors.Join(believes(b)...); err != nil {
		t.Error(err)
	}
	if slices.Contains(believes(a), nil) {
		t.Error("the certificate from before is still shown")
	}
	ready(t, at)
	// Links of its own are made anew, and believe the other authority.
	reload(t, h, "accept_secret secret", "", append(others, "secret=the-newer-secret", "accept_secret=the-older-secret")...)
	reload(t, h, "accept_secret", "", append(others, "secret=the-newer-secret")...)
	ready(t, at)
	reload(t, h, "", "tls.verify", append(others, "secret=the-newer-secret", "tls.verify=true")...)
}

// A configuration without a secret, which a host that has one does not follow, leaves it
// with the secret of now, not with that of its start.
func TestReloadWithoutASecret(t *testing.T) {
	const older, newer = "the-older-secret", "the-newer-secret"
	h, at, log, _ := runHost(t, load(t, "secret="+older))
	ready(t, at)
	logins := func(want int) {
		t.Helper()
		if got := strings.Count(log.String(), "logging in with another secret"); got != want {
			t.Errorf("the worker logs in with another secret for the %d. time, want %d", got, want)
		}
	}
	reload(t, h, "secret", "", "secret="+newer)
	logins(1)
	reload(t, h, "", "secret")
	logins(1)
	reload(t, h, "", "", "secret="+newer)
	logins(1)
}

// An admin listener that others reach stays where it is until a restart, and so do the
// tokens that it wants: a configuration in which it is on loopback may have none.
func TestReloadWithoutTokens(t *testing.T) {
	const token = "a-token-of-the-shop"
	h, at, _, _ := runHost(t, load(t, "admin.listen=0.0.0.0:0", "api.tokens="+token))
	_, port, err := net.SplitHostPort(at.Admin)
	if err != nil {
		t.Fatal(err)
	}
	ready(t, Addresses{Admin: "127.0.0.1:" + port})
	reload(t, h, "", "admin.listen api.tokens")
	for token, want := range map[string]int{"": 401, token: 200} {
		if status, answer := call(t, "GET", "http://127.0.0.1:"+port+"/api/v1/counts", token, ""); status != want {
			t.Errorf("token %q: %d %s, want %d", token, status, answer, want)
		}
	}
	reload(t, h, "api.tokens", "admin.listen", "api.tokens="+token)
}
