package configs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/gatebus/gatebus/gateway"
)

// The comment above gateway.listeners shows every key of a listener, in the order
// of the code, each with a comment.
func TestReferenceOfListeners(t *testing.T) {
	data, _ := Sample("gatebus.yaml")
	_, rest, _ := strings.Cut(string(data), "For each listener:\n")
	comment, _, ok := strings.Cut(rest, "\n  listeners:")
	if !ok {
		t.Fatal("gatebus.yaml does not describe listeners")
	}
	var b strings.Builder
	for line := range strings.SplitSeq(comment, "\n") {
		b.WriteString(strings.TrimPrefix(strings.TrimPrefix(line, "  #"), " ") + "\n")
	}
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(b.String()), &doc); err != nil {
		t.Fatalf("%v in\n%s", err, b.String())
	}
	var shown, declared []string
	for i, n := range doc.Content[0].Content[0].Content {
		if i%2 == 0 {
			shown = append(shown, n.Value)
			if n.HeadComment == "" && i > 0 { // the first one's is the list's
				t.Errorf("%s has no comment", n.Value)
			}
		}
	}
	for _, k := range byPath["gateway.listeners"].element(0).keys {
		declared = append(declared, k.name)
	}
	if !slices.Equal(shown, declared) {
		t.Errorf("shown are %q, there are %q", shown, declared)
	}
	c := mustLoad(t, Source{Set: []string{"gateway.listeners=" + strings.TrimLeft(b.String(), "\n")}})
	want := gateway.Listener{Listen: "0.0.0.0:8283", Protocol: gateway.ProtocolFrame}
	if got := c.Gateway.Listeners; len(got) != 1 || got[0] != want {
		t.Errorf("the example means %+v", got)
	}
}

func TestListeners(t *testing.T) {
	file := host(`gateway:
  listeners:
    - {listen: 127.0.0.1:1, protocol: frame, name: devices, group: d, idle_timeout: 90s}
    - listen: unix:/run/x.sock
      protocol: text
      ping_data: "*"
`)
	want := []gateway.Listener{
		{Name: "devices", Listen: "127.0.0.1:1", Protocol: "frame", Group: "d", IdleTimeout: 90 * time.Second},
		{Listen: "unix:/run/x.sock", Protocol: "text", PingData: "*"},
	}
	c := mustLoad(t, file)
	if !reflect.DeepEqual(c.Gateway.Listeners, want) {
		t.Errorf("%+v", c.Gateway.Listeners)
	}
	if again := mustLoad(t, host(printed(t, c))); !reflect.DeepEqual(again.Gateway.Listeners, want) {
		t.Errorf("printed and read again: %+v", again.Gateway.Listeners)
	}
	file.Environ = []string{`GATEBUS_GATEWAY__LISTENERS=[{listen: 127.0.0.1:2, protocol: raw}]`}
	if d := mustLoad(t, file); len(d.Gateway.Listeners) != 1 || d.Gateway.Listeners[0].Protocol != "raw" {
		t.Errorf("a variable replaces them: %+v", d.Gateway.Listeners)
	} else if diff := c.Diff(d); !slices.Equal(diff, []string{"gateway.listeners"}) {
		t.Errorf("that differs in %q", diff)
	}
	file.Environ = []string{"GATEBUS_GATEWAY__LISTENERS="}
	if d := mustLoad(t, file); len(d.Gateway.Listeners) != 0 {
		t.Errorf("an empty one empties them: %+v", d.Gateway.Listeners)
	}
}

func TestListenersInOneText(t *testing.T) {
	for value, want := range map[string]string{
		"[{port: 1}]":       `--set gateway.listeners: [0].port: unknown key; "gatebus config print" shows all there are`,
		"{a: b}":            "--set gateway.listeners: want a list of sections such as [{a: b}, {a: c}], not a map",
		"[":                 "--set gateway.listeners: not YAML: did not find expected node content",
		"[{protocol: raw}]": "--set gateway.listeners: gateway.listeners[0].listen: it is missing; write host:port, or unix:/path",
		"# nothing":         `--set gateway.listeners: "# nothing" is not a list of sections; write [{a: b}, {a: c}]`,
	} {
		if _, err := Load(Source{Set: []string{"gateway.listeners=" + value}}); err == nil || err.Error() != want {
			t.Errorf("%s: %v\nwant %s", value, err, want)
		}
	}
}

// certificate makes the files of a certificate for localhost.
func certificate(t *testing.T, dir, name string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"localhost"}}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for ext, block := range map[string]*pem.Block{"crt": {Type: "CERTIFICATE", Bytes: cert}, "key": {Type: "PRIVATE KEY", Bytes: der}} {
		if err := os.WriteFile(filepath.Join(dir, name+"."+ext), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestCertificates(t *testing.T) {
	dir := t.TempDir()
	certificate(t, dir, "a")
	certificate(t, dir, "b")
	load := func(text string) (*Config, error) {
		path := filepath.Join(dir, "host.yaml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return Load(Source{File: path})
	}
	c, err := load("gateway:\n  tls: {cert: a.crt, key: a.key}\n  listeners: [{listen: 'h:1', tls: {cert: b.crt, key: " + dir + "/b.key}}]\n")
	if err != nil {
		t.Fatal(err)
	}
	in := func(name string) string { return filepath.Join(dir, name) }
	if c.Gateway.TLS != (gateway.TLS{Cert: in("a.crt"), Key: in("a.key")}) || c.Gateway.Listeners[0].TLS != (gateway.TLS{Cert: in("b.crt"), Key: in("b.key")}) {
		t.Errorf("the paths are %+v", c.Gateway.Config)
	}
	for text, want := range map[string]string{
		"tls: {cert: a.crt, key: b.key}":                                  ":2: gateway.tls: " + in("a.crt") + " with the key " + in("b.key") + ": tls: private key does not match public key",
		"tls: {cert: a.key, key: a.key}":                                  ":2: gateway.tls: " + in("a.key") + " with the key " + in("a.key") + ": tls: failed to find certificate PEM data in certificate input, but did find a private key; PEM inputs may have been switched",
		"tls: {cert: none.crt, key: a.key}":                               ":2: gateway.tls.cert: " + in("none.crt") + " cannot be read: no such file or directory",
		"tls: {cert: a.crt}":                                              ": gateway.tls.key: there is a certificate without a key; name the file of that, or remove the certificate",
		"listeners:\n    - {listen: 'h:1', tls: {key: a.key}}":            ":3: gateway.listeners[0].tls.cert: there is a key without a certificate; name the file of that, or remove the key",
		"listeners:\n    - {listen: 'h:1', tls: {cert: a.crt, key: n.a}}": ":3: gateway.listeners[0].tls.key: " + in("n.a") + " cannot be read: no such file or directory",
	} {
		if _, err := load("gateway:\n  " + text + "\n"); err == nil || err.Error() != in("host.yaml")+want {
			t.Errorf("%s:\n%v\nwant %s", text, err, want)
		}
	}
}
