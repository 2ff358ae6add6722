package configs

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatebus/gatebus/bus"
)

const goodSecret = "0123456789abcdef0123456789abcdef"

// host is a source with a file of that content.
func host(data string) Source { return Source{Name: "host.yaml", Data: []byte(data)} }

func mustLoad(t *testing.T, src Source) *Config {
	t.Helper()
	c, err := Load(src)
	if err != nil {
		t.Fatalf("Load: %v", err)
	}
	return c
}

func printed(t *testing.T, c *Config) string {
	t.Helper()
	var b strings.Builder
	if err := c.Print(&b); err != nil {
		t.Fatalf("Print: %v", err)
	}
	return b.String()
}

func TestDefaults(t *testing.T) {
	c := mustLoad(t, Source{Roles: AllRoles()})
	if want := Default(AllRoles()...); !reflect.DeepEqual(c, want) {
		t.Errorf("Load without a source is\n%s\nwant\n%s", printed(t, c), printed(t, want))
	}
	if c := mustLoad(t, Source{}); len(c.Roles()) != 0 {
		t.Errorf("roles without a source: %v", c.Roles())
	}
}

func TestRolesNamed(t *testing.T) {
	for _, tt := range []struct {
		name string
		src  Source
		want []Role
	}{
		{"null section", host("gateway:\n"), []Role{RoleGateway}},
		{"empty section", host("gateway: {}\n"), []Role{RoleGateway}},
		{"key", host("worker: {name: w7}\n"), []Role{RoleWorker}},
		{"all", host("api:\nworker:\nregister:\ngateway:\n"), AllRoles()},
		{"environment", Source{Environ: []string{"GATEBUS_GATEWAY__BUS__LISTEN=127.0.0.1:0"}}, []Role{RoleGateway}},
		{"flag", Source{Set: []string{"register.name=r9"}}, []Role{RoleRegister}},
		{"forced", Source{Roles: []Role{RoleWorker}}, []Role{RoleWorker}},
		{"other keys", host("log: {level: debug}\nadmin:\n"), nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := mustLoad(t, tt.src)
			if got := c.Roles(); !slices.Equal(got, tt.want) {
				t.Fatalf("roles %v, want %v", got, tt.want)
			}
			if c.Gateway != nil && c.Gateway.AckWait != Default(RoleGateway).Gateway.AckWait {
				t.Errorf("ack_wait is %v, not the default", c.Gateway.AckWait)
			}
		})
	}
}

func TestPrecedence(t *testing.T) {
	file := host("gateway: {hold: 1s, drain: 1s, name: file}\nregisters: [a:1, b:2, c:3]\n")
	file.Environ = []string{"GATEBUS_GATEWAY__HOLD=2s", "GATEBUS_GATEWAY__DRAIN=2s", "GATEBUS_ADVERTISE=h1", "GATEBUS_REGISTERS= nats://d:4, e:5", "HOME=/root"}
	file.Set = []string{"gateway.hold=9s", "gateway.hold=3s"}
	c := mustLoad(t, file)
	if c.Gateway.Hold != 3*time.Second || c.Gateway.Drain != 2*time.Second || c.Gateway.Name != "file" || c.Gateway.MaxDeliver != 5 {
		t.Errorf("gateway is %+v", c.Gateway)
	}
	if want := []string{"nats://d:4", "nats://e:5"}; !slices.Equal(c.Registers, want) {
		t.Errorf("registers are %q, want %q: a list is replaced", c.Registers, want)
	}
}

func TestPaths(t *testing.T) {
	file := host("gateway:\n  paths: {/a.b: x, /c: y}\n")
	if got := mustLoad(t, file).Gateway.Paths; !reflect.DeepEqual(got, map[string]string{"/a.b": "x", "/c": "y"}) {
		t.Errorf("of the file: %q", got)
	}
	if c := mustLoad(t, host(printed(t, mustLoad(t, file)))); c.Gateway.Paths["/a.b"] != "x" {
		t.Errorf("printed and read again: %q", c.Gateway.Paths)
	}
	file.Environ = []string{"GATEBUS_GATEWAY__PATHS=/d=z"}
	if got := mustLoad(t, file).Gateway.Paths; !reflect.DeepEqual(got, map[string]string{"/d": "z"}) {
		t.Errorf("a variable replaces them: %q", got)
	}
	file.Environ = []string{"GATEBUS_GATEWAY__PATHS=/c/=z"}
	if _, err := Load(file); err == nil || !strings.HasPrefix(err.Error(), "GATEBUS_GATEWAY__PATHS: gateway.paths./c/: ") {
		t.Errorf("a bad one in a variable: %v", err)
	}
}

// Every key can be set by variable and by flag, to what Print shows of it.
func TestEveryKeyInEveryLayer(t *testing.T) {
	want := Default(AllRoles()...)
	for path, k := range byPath {
		if k.kind == section {
			continue
		}
		var value string
		switch v := defaults[path].(type) {
		case []string:
			value = strings.Join(v, ",")
		default:
			value = valueNode(v).Value
		}
		for _, src := range []Source{
			{Roles: AllRoles(), Environ: []string{EnvName(path) + "=" + value}},
			{Roles: AllRoles(), Set: []string{path + "=" + value}},
		} {
			if c := mustLoad(t, src); !reflect.DeepEqual(c, want) {
				t.Errorf("%+v gives\n%s", src, printed(t, c))
			}
		}
	}
}

func TestSecretLayers(t *testing.T) {
	dir := t.TempDir()
	other := strings.Repeat("x", 20)
	for name, content := range map[string]string{
		"secret": other + "\n",
		"a.yaml": "secret_file: secret\n",
		"b.yaml": "secret: " + goodSecret + "\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, "secret")
	for _, tt := range []struct {
		name         string
		src          Source
		secret, file string
	}{
		{"file", Source{File: filepath.Join(dir, "a.yaml")}, other, path},
		{"variable over file of the file", Source{File: filepath.Join(dir, "a.yaml"), Environ: []string{"GATEBUS_SECRET=" + goodSecret + "\n"}}, goodSecret, ""},
		{"file of a flag over the file", Source{File: filepath.Join(dir, "b.yaml"), Set: []string{"secret_file=" + path}}, other, path},
		{"emptied", Source{File: filepath.Join(dir, "b.yaml"), Set: []string{"secret="}}, "", ""},
		{"digits", host("secret: 1234567890123456\n"), "1234567890123456", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := mustLoad(t, tt.src)
			if string(c.Secret) != tt.secret || c.SecretFile != tt.file {
				t.Errorf("secret %q of file %q, want %q of %q", string(c.Secret), c.SecretFile, tt.secret, tt.file)
			}
		})
	}
}

func TestSecretIsHidden(t *testing.T) {
	c := mustLoad(t, host("secret: "+goodSecret+"\nworker:\n"))
	var b bytes.Buffer
	fmt.Fprintf(&b, "%v %+v %#v %s %q %x", *c, *c, *c, c.Secret, c.Secret, c.Secret)
	if err := json.NewEncoder(&b).Encode(c.Secret); err != nil {
		t.Fatal(err)
	}
	slog.New(slog.NewTextHandler(&b, nil)).Info("", "secret", c.Secret)
	slog.New(slog.NewJSONHandler(&b, nil)).Info("", "secret", c.Secret)
	b.WriteString(printed(t, c))
	if strings.Contains(b.String(), goodSecret) || strings.Contains(b.String(), fmt.Sprintf("%x", goodSecret)) {
		t.Errorf("the secret shows: %s", b.String())
	}
	if w := c.WorkerConfig(); w.Secret != goodSecret || !slices.Equal(w.Registers, c.Registers) {
		t.Errorf("the worker gets the secret %q and the registers %q", w.Secret, w.Registers)
	}
}

func TestRegisters(t *testing.T) {
	for _, tt := range []struct {
		name, file string
		want       []string
	}{
		{"default", "gateway:\n", []string{"nats://127.0.0.1:4222"}},
		{"own", "register: {listen: 127.0.0.2:4333}\n", []string{"nats://127.0.0.2:4333"}},
		{"own, free port", "register: {listen: 'localhost:0'}\n", []string{"nats://localhost:0"}},
		{"own, every interface", "insecure: true\nadvertise: h1\nregister: {listen: ':4333'}\n", []string{"nats://127.0.0.1:4333"}},
		{"own, every interface, IPv6", "insecure: true\nadvertise: h1\nregister: {listen: '[::]:4333'}\n", []string{"nats://[::1]:4333"}},
		{"named", "registers: [h1:1]\nregister:\n", []string{"nats://h1:1"}},
		{"forms", "registers: [NATS://h1:1/, 'h2:2', '[::1]:3', 'h_3.x:4']\n", []string{"nats://h1:1", "nats://h2:2", "nats://[::1]:3", "nats://h_3.x:4"}},
		{"none, and none needed", "registers: []\nregister:\n", []string{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if c := mustLoad(t, host(tt.file)); !slices.Equal(c.Registers, tt.want) {
				t.Errorf("registers %q, want %q", c.Registers, tt.want)
			}
		})
	}
}

func TestAdvertise(t *testing.T) {
	for _, tt := range []struct{ name, file, want string }{
		{"listen", "", "127.0.0.1:4222 127.0.0.1:6222 127.0.0.1:8300"},
		{"host", "advertise: h1.example", "h1.example:4222 h1.example:6222 h1.example:8300"},
		{"IPv6", "advertise: 2001:db8::5", "[2001:db8::5]:4222 [2001:db8::5]:6222 [2001:db8::5]:8300"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := mustLoad(t, host(tt.file+"\nregister:\ngateway:\n"))
			got := c.RegisterAdvertise() + " " + c.ClusterAdvertise() + " " + c.BusAdvertise()
			if got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
	c := mustLoad(t, host("worker:\n"))
	if c.RegisterAdvertise() != "" || c.ClusterAdvertise() != "" || c.BusAdvertise() != "" || c.OwnRegister() != "" {
		t.Error("a host with a worker alone advertises something")
	}
}

func TestAdminOff(t *testing.T) {
	for _, s := range []string{"off", `""`, `"off"`} {
		if c := mustLoad(t, host("admin: {listen: "+s+"}\n")); c.Admin.Listen != "" {
			t.Errorf("listen: %s gives %q", s, c.Admin.Listen)
		}
	}
}

func TestRequireAndOnly(t *testing.T) {
	c := mustLoad(t, host("log: {level: warn}\n"))
	wantError(t, c.Require(), "host.yaml: there is no role to run; add a section register:, gateway:, worker: or api:")
	wantError(t, c.Require(RoleWorker), `host.yaml: worker: there is no such section; add a line "worker:"`)
	c = mustLoad(t, host("register: {listen: 127.0.0.1:4333}\ngateway:\nworker:\napi:\n"))
	if err := c.Require(AllRoles()...); err != nil {
		t.Error(err)
	}
	c.Only(RoleGateway)
	if got := c.Roles(); !slices.Equal(got, []Role{RoleGateway}) || c.Registers[0] != "nats://127.0.0.1:4333" {
		t.Errorf("Only leaves %v, registers %q", got, c.Registers)
	}
}

func TestDiff(t *testing.T) {
	a := mustLoad(t, host("gateway:\nadvertise: h\nregisters: [h1:1]\n"))
	b := mustLoad(t, host("gateway: {hold: 1s}\nadvertise: h\nregisters: [h1:1, h2:2]\nlog: {level: warn}\n"))
	if got, want := a.Diff(b), []string{"gateway.hold", "log.level", "registers"}; !slices.Equal(got, want) {
		t.Errorf("Diff is %q, want %q", got, want)
	}
	if got := a.Diff(a); len(got) != 0 {
		t.Errorf("Diff with itself is %q", got)
	}
	b = mustLoad(t, host("worker:\nadvertise: h\nregisters: [h1:1]\n"))
	if got := a.Diff(b); !slices.Contains(got, "gateway.name") || !slices.Contains(got, "worker.handler.type") || slices.Contains(got, "registers") {
		t.Errorf("Diff of roles is %q", got)
	}
}

func TestLogLevel(t *testing.T) {
	if got := mustLoad(t, host("log: {level: warn}")).Log.SlogLevel(); got != slog.LevelWarn {
		t.Errorf("warn is %v", got)
	}
}

func TestRoundTrip(t *testing.T) {
	sources := map[string]Source{
		"defaults": {Roles: AllRoles()},
		"nothing":  {},
		"much": host(`
advertise: 2001:db8::5
insecure: true
registers: [nats://h1:1, 'h2:2']
admin: {listen: off}
log: {level: error, format: json}
register: {name: "1", listen: '[::]:0', cluster: {routes: ['[::1]:1', h2:2]}}
gateway: {name: "yes", ack_wait: 1h, hold: 90s, drain: 5m, max_deliver: 7}
worker: {name: "null", concurrency: 0, handler: {type: chat}}
`),
		"free port": host("register: {listen: 127.0.0.1:0}\nworker:\n"),
	}
	for _, name := range Samples() {
		data, _ := Sample(name)
		sources[name] = Source{Name: name, Data: data}
	}
	for name, src := range sources {
		t.Run(name, func(t *testing.T) {
			c := mustLoad(t, src)
			text := printed(t, c)
			again := mustLoad(t, Source{Name: src.Name, Data: []byte(text)})
			if !reflect.DeepEqual(c, again) {
				t.Errorf("loaded\n%s\nbut loaded again\n%s", text, printed(t, again))
			}
		})
	}
}

func TestPrintSecret(t *testing.T) {
	c := mustLoad(t, host("secret: "+goodSecret+"\n"))
	text := printed(t, c)
	if !strings.HasPrefix(text, "secret: '********'\n") {
		t.Errorf("printed:\n%s", text)
	}
	_, err := Load(host(text))
	wantError(t, err, `host.yaml:1: secret: "********" is the mask of a printed configuration; put the secret itself in, or use secret_file`)

	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(goodSecret), 0o600); err != nil {
		t.Fatal(err)
	}
	c = mustLoad(t, Source{Name: "host.yaml", Set: []string{"secret_file=" + path}})
	if again := mustLoad(t, host(printed(t, c))); !reflect.DeepEqual(c, again) {
		t.Errorf("with a secret file: %s", printed(t, again))
	}

	// The one that is accepted as well is as secret.
	c = mustLoad(t, host("secret: "+strings.Repeat("x", 20)+"\naccept_secret: ' "+goodSecret+" '\n"))
	if text := printed(t, c); !strings.Contains(text, "\naccept_secret: '********'\n") || string(c.AcceptSecret) != goodSecret {
		t.Errorf("printed:\n%s", text)
	}
	c = mustLoad(t, Source{Name: "host.yaml", Environ: []string{"GATEBUS_SECRET=" + strings.Repeat("x", 20), "GATEBUS_ACCEPT_SECRET_FILE=" + path}})
	if text := printed(t, c); string(c.AcceptSecret) != goodSecret || strings.Contains(text, goodSecret) || !strings.Contains(text, "accept_secret: \"\"\n") {
		t.Errorf("with a file of it: %s", text)
	}
}

// Lists and maps of secrets are as secret as the one.
func TestPrintSecrets(t *testing.T) {
	const key = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz"
	file := "worker: {handler: {type: webhook, url: http://h/, signing_keys: [" + key + ", " + key + "], headers: {authorization: Bearer hunter2}}}\n"
	c := mustLoad(t, host(file))
	if h := c.Worker.Handler; len(h.SigningKeys) != 2 || string(h.SigningKeys[1]) != key || string(h.Headers["authorization"]) != "Bearer hunter2" {
		t.Fatalf("loaded %q, %q", h.SigningKeys, h.Headers)
	}
	text := printed(t, c)
	if strings.Contains(text, key) || strings.Contains(text, "hunter2") ||
		!strings.Contains(text, "signing_keys: ['********', '********']") || !strings.Contains(text, "authorization: '********'") {
		t.Errorf("printed:\n%s", text)
	}
	if shown := fmt.Sprintf("%v %+v %#v", c.Worker, c.Worker, c.Worker); strings.Contains(shown, key) || strings.Contains(shown, "hunter2") {
		t.Errorf("formatted: %s", shown)
	}
	_, err := Load(host(text))
	if err == nil || strings.Count(err.Error(), "is the mask of a printed configuration") != 3 {
		t.Errorf("loaded again: %v", err)
	}
	for _, set := range []string{"worker.handler.signing_keys=hunter2,,hunter2", "worker.handler.headers=hunter2", "worker.handler.headers=a=hunter2,a=hunter2"} {
		if _, err := Load(Source{Set: []string{set}}); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", set, err)
		}
	}
}

func TestErrorType(t *testing.T) {
	_, err := Load(host("gateway: {name: a.b, hold: 10}\n"))
	e, ok := errors.AsType[*Error](err)
	if !ok || len(e.Problems) != 2 {
		t.Fatalf("error %#v", err)
	}
	if !errors.Is(err, bus.ErrName) {
		t.Error("what the role said is not wrapped")
	}
	if p := e.Problems[0]; p.Key != "gateway.hold" || p.Origin != (Origin{File: "host.yaml", Line: 1}) {
		t.Errorf("problem %+v", p)
	}
	_, err = Load(Source{File: filepath.Join(t.TempDir(), "none.yaml")})
	if _, ok := errors.AsType[*Error](err); !ok || !errors.Is(err, fs.ErrNotExist) || !strings.HasSuffix(err.Error(), "none.yaml: cannot be read: no such file or directory") {
		t.Errorf("of a missing file: %v", err)
	}
}

func wantError(t *testing.T, err error, want ...string) {
	t.Helper()
	got := "no error"
	if err != nil {
		got = err.Error()
	}
	if w := strings.Join(want, "\n"); got != w {
		t.Errorf("error:\n%s\nwant:\n%s", got, w)
	}
}
