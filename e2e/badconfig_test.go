package e2e_test

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatebus/gatebus/internal/testbed"
)

func TestWrongConfigurationIsRefused(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		yaml string
		set  []string
		says []string
	}{
		"unknown key": {
			yaml: "admin: {listen: off}\ngateway:\n  name: g1\n  ack_wiat: 3s\n",
			says: []string{"host.yaml:4:", "ack_wiat", "ack_wait"},
		},
		"duration without a unit": {
			yaml: "gateway:\n  hold: 10\n",
			says: []string{"host.yaml:2:", "gateway.hold", "10"},
		},
		"duration without a unit in a flag": {
			yaml: "gateway:\n",
			set:  []string{"gateway.ack_wait=10"},
			says: []string{"--set gateway.ack_wait", "10"},
		},
		"bus for everybody without a secret": {
			yaml: "advertise: 10.0.0.1\ngateway:\n  bus:\n    listen: 0.0.0.0:0\n",
			says: []string{"host.yaml:4:", "gateway.bus.listen", "secret"},
		},
		"register for everybody without a secret": {
			yaml: "advertise: 10.0.0.1\nregister:\n  listen: 0.0.0.0:0\n",
			says: []string{"host.yaml:3:", "register.listen", "secret"},
		},
		"routes for everybody without a secret": {
			yaml: "advertise: 10.0.0.1\nregister:\n  cluster:\n    listen: 0.0.0.0:0\n",
			says: []string{"host.yaml:4:", "register.cluster.listen", "secret"},
		},
		"a protocol that is none": {
			yaml: "gateway:\n  listeners:\n    - listen: 127.0.0.1:0\n      protocol: mqtt\n",
			says: []string{"host.yaml:4:", "gateway.listeners[0].protocol", "frame"},
		},
		"a certificate that is not there": {
			yaml: "gateway:\n  tls:\n    cert: none.pem\n    key: none.pem\n",
			says: []string{"host.yaml:3:", "gateway.tls.cert", "none.pem", "no such file"},
		},
		"a path that is none": {
			yaml: "gateway:\n  paths:\n    chat: chat\n",
			says: []string{"host.yaml:3:", "gateway.paths.chat", "/"},
		},
		"admin for everybody without a token": {
			yaml: "admin:\n  listen: 0.0.0.0:0\ngateway:\n",
			says: []string{"host.yaml:2:", "admin.listen", "api.tokens"},
		},
		"API for everybody without a token": {
			yaml: "insecure: true\nadmin:\n  listen: 0.0.0.0:0\napi:\n",
			says: []string{"api.tokens", "admin.listen at 0.0.0.0:0 can be reached from other machines"},
		},
		"token that can be guessed": {
			yaml: "api:\n  tokens: [sesame]\n",
			says: []string{"host.yaml:2:", "api.tokens[0]", "can be guessed"},
		},
		"not YAML": {
			yaml: "gateway: [\n",
			says: []string{"host.yaml"},
		},
		"no role": {
			yaml: "log:\n  level: debug\n",
			says: []string{"host.yaml", "gateway"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "host.yaml")
			must(t, os.WriteFile(path, []byte(tt.yaml), 0o600))
			for _, command := range []string{"run", "config check"} {
				args := append(strings.Fields(command), "-c", path)
				for _, kv := range tt.set {
					args = append(args, "--set", kv)
				}
				p := testbed.Start(t, testbed.Spec{Name: command, Args: args})
				exits(t, p, 2)
				says(t, p, tt.says...)
			}
		})
	}
}

func TestPortInUseIsToldByItsKey(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", testbed.MustFreeAddr(t, testbed.Host(1)))
	must(t, err)
	defer taken.Close()
	for _, key := range []string{"gateway.listen", "gateway.bus.listen", "register.listen", "register.cluster.listen", "admin.listen"} {
		t.Run(key, func(t *testing.T) {
			set := map[string]string{
				"gateway.listen": "127.0.0.1:0", "gateway.bus.listen": "127.0.0.1:0",
				"register.listen": "127.0.0.1:0", "register.cluster.listen": "127.0.0.1:0",
				"admin.listen": "127.0.0.1:0",
			}
			set[key] = taken.Addr().String()
			path := filepath.Join(t.TempDir(), "host.yaml")
			must(t, os.WriteFile(path, []byte("register:\ngateway:\n"), 0o600))
			args := []string{"run", "-c", path}
			for k, v := range set {
				args = append(args, "--set", k+"="+v)
			}
			p := testbed.Start(t, testbed.Spec{Args: args})
			exits(t, p, 1)
			says(t, p, key, taken.Addr().String())
		})
	}
}

func TestGatewayWaitsForARegister(t *testing.T) {
	t.Parallel()
	cluster := testbed.NewCluster(t, 0)
	g := cluster.Gateway("g1")
	why, err := g.WaitUnready(soon(t))
	must(t, err)
	if !strings.Contains(why, "no register") {
		t.Errorf("readyz says %s, want that there is no register", why)
	}
	_, err = g.WaitLog(soon(t), `level=WARN .*no register can be reached.*`+cluster.Registers[0])
	must(t, err)

	// It serves all the same, whoever connects to its bus.
	plainWorker(t, g, echo)
	c := dial(t, ws(t, g))
	echoes(t, c, "hello")

	r := cluster.Register(0)
	start := time.Now()
	must(t, testbed.WaitReady(soon(t), r, g))
	t.Logf("joined %v after the register was started", time.Since(start).Round(time.Millisecond))
	echoes(t, c, "still here")
}
