package configs

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatebus/gatebus/internal/testbed"
)

func TestLinkTLS(t *testing.T) {
	dir := t.TempDir()
	a := testbed.NewAuthority(t, dir, "ca")
	a.Issue(t, "host", time.Time{}, "127.0.0.1")
	a.Issue(t, "other", time.Time{}, "127.0.0.1")
	load := func(text string) (*Config, error) {
		path := filepath.Join(dir, "host.yaml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return Load(Source{File: path})
	}
	c, err := load("tls: {cert: host.crt, key: host.key, ca: ca.pem, verify: true}\nregisters: [tls://h:1, h:2]\nadvertise: h3\ngateway:\n")
	if err != nil {
		t.Fatal(err)
	}
	if want := (TLS{Cert: dir + "/host.crt", Key: dir + "/host.key", CA: dir + "/ca.pem", Verify: true}); c.TLS != want || !c.TLS.On() {
		t.Errorf("tls is %+v, want %+v", c.TLS, want)
	}
	if c.Registers[0] != "tls://h:1" || c.Registers[1] != "nats://h:2" {
		t.Errorf("registers are %q", c.Registers)
	}
	if c, err := load("tls: {ca: ca.pem}\nworker:\n"); err != nil || !c.TLS.On() {
		t.Errorf("a worker that shows no certificate: %v", err)
	}
	if new(Config).TLS.On() {
		t.Error("TLS is on by default")
	}
	for text, want := range map[string]string{
		"tls: {ca: ca.pem}\ngateway:\n":                                   "host.yaml: tls.cert: this host has a register or gateway, which others connect to with TLS; name the files of its certificate and key",
		"tls: {ca: ca.pem}\nregister:\n":                                  "host.yaml: tls.cert: this host has a register or gateway",
		"tls: {cert: host.crt}\n":                                         "host.yaml: tls.key: there is a certificate without a key",
		"tls: {key: host.key}\n":                                          "host.yaml: tls.cert: there is a key without a certificate",
		"tls: {cert: host.crt, key: other.key}\n":                         "does not match public key",
		"tls: {cert: none.crt, key: host.key}\n":                          "host.yaml:1: tls.cert: " + dir + "/none.crt cannot be read: no such file or directory",
		"tls: {ca: none.pem}\n":                                           "host.yaml:1: tls.ca: " + dir + "/none.pem cannot be read: no such file or directory",
		"tls: {ca: host.key}\n":                                           "host.yaml:1: tls.ca: " + dir + "/host.key: it has no certificate in PEM form",
		"tls: {cert: host.crt, key: host.key, verify: true}\nregister:\n": "host.yaml:1: tls.verify: the authorities of the system would vouch for anybody; name your own with tls.ca",
		"registers: [tls://h:1]\nworker:\n":                               "host.yaml:1: registers[0]: tls://h:1 is for TLS, and no certificates are set; set tls.ca, or write nats://",
	} {
		if _, err := load(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v\nwant %s", text, err, want)
		}
	}
}
