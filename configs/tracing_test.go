package configs

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatebus/gatebus/internal/testbed"
)

func TestTracing(t *testing.T) {
	dir := t.TempDir()
	testbed.NewAuthority(t, dir, "ca").Issue(t, "host", time.Time{}, "127.0.0.1")
	load := func(text string) (*Config, error) {
		path := filepath.Join(dir, "host.yaml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return Load(Source{File: path})
	}
	if Default().Tracing.On() {
		t.Error("there are traces by default")
	}
	c, err := load("tracing: {endpoint: https://otel.example.com, sample: 0.5, headers: {authorization: Bearer abc}, ca: ca.pem}\ngateway:\n")
	if err != nil {
		t.Fatal(err)
	}
	if c.Tracing.CA != dir+"/ca.pem" || c.Tracing.Sample != 0.5 || !c.Tracing.On() || c.Tracing.TrustClients {
		t.Errorf("%+v", c.Tracing)
	}
	if s := fmt.Sprintf("%+v", c.Tracing); strings.Contains(s, "abc") {
		t.Errorf("the header shows: %s", s)
	}
	for endpoint, want := range map[string]string{
		"http://127.0.0.1:4318": "http://127.0.0.1:4318/v1/traces", "http://h/": "http://h/v1/traces", "https://h/otlp/v1/traces": "https://h/otlp/v1/traces",
	} {
		if u, err := (Tracing{Endpoint: endpoint}).URL(); err != nil || u.String() != want {
			t.Errorf("%s: %v, %v", endpoint, u, err)
		}
	}
	const write = "write where a collector takes OTLP over HTTP, such as http://127.0.0.1:4318"
	for text, want := range map[string]string{
		"tracing: {endpoint: '127.0.0.1:4318'}":        "host.yaml:1: tracing.endpoint: it is not a URL; " + write,
		"tracing: {endpoint: 'grpc://h:4317'}":         "host.yaml:1: tracing.endpoint: it is not an http:// or https:// URL with a host; " + write,
		"tracing: {endpoint: 'http://u:secret@h'}":     "host.yaml:1: tracing.endpoint: it has a user or password; remove them, and send them as headers: {authorization: Basic …}",
		"tracing: {endpoint: 'http://h?token=hidden'}": "host.yaml:1: tracing.endpoint: it has a query, which messages would show; remove it, and send what it says as headers",
		"tracing: {sample: 1.5}":                       "host.yaml:1: tracing.sample: 1.5 is not from 0 to 1; 0.01 is one event in a hundred",
		"tracing: {sample: -1}":                        "host.yaml:1: tracing.sample: -1 is not from 0 to 1; 0.01 is one event in a hundred",
		"tracing: {headers: {'a b': x}}":               `host.yaml:1: tracing.headers: "a b" cannot be the name of a header`,
		"tracing: {headers: {content-type: x}}":        "host.yaml:1: tracing.headers: content-type is set by gatebus itself; remove it",
		"tracing: {headers: {a: '********'}}":          "host.yaml:1: tracing.headers: a is the mask of a printed configuration; put the value itself in",
		"tracing: {headers: {a: \"x\\ny\"}}":           "host.yaml:1: tracing.headers: a has a byte that no header can have",
		"tracing: {ca: none.pem}":                      "host.yaml:1: tracing.ca: " + dir + "/none.pem cannot be read: no such file or directory",
		"tracing: {ca: host.key}":                      "host.yaml:1: tracing.ca: " + dir + "/host.key: it has no certificate in PEM form",
	} {
		if _, err := load(text + "\ngateway:\n"); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hidden") {
			t.Errorf("%s: %v\nwant %s", text, err, want)
		}
	}
}
