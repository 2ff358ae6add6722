package configs

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"

	"github.com/gatebus/gatebus/internal/certs"
)

// Tracing says where the traces of this host's gateway and worker go.
type Tracing struct {
	// Endpoint is the http or https URL of a receiver of OpenTelemetry traces, which
	// speaks OTLP over HTTP; without a path, that is /v1/traces. It has neither user nor
	// password nor query: those are for Headers. Empty means that there are no traces.
	Endpoint string `koanf:"endpoint"`
	// Sample is the share of the clients' events of the gateway of this host that are
	// traced, from 0 to 1. A worker traces those that their gateway traces.
	Sample float64 `koanf:"sample"`
	// TrustClients lets a client's open event belong to the trace that its request
	// names; see gateway.Tracing.
	TrustClients bool `koanf:"trust_clients"`
	// Headers are added to every request, such as an authorization.
	Headers map[string]Secret `koanf:"headers"`
	// CA is the PEM file with the authorities whose certificates are believed; empty
	// means those of the system. The path has the rules of Config.SecretFile.
	CA string `koanf:"ca"`
}

// On tells whether there are traces.
func (t Tracing) On() bool { return t.Endpoint != "" }

// DefaultTracing is the one place where the defaults stand.
func DefaultTracing() Tracing { return Tracing{Sample: 0.01, Headers: map[string]Secret{}} }

// URL is where spans are posted. It is to be called only if there are traces.
func (t Tracing) URL() (*url.URL, error) {
	u, err := url.Parse(t.Endpoint)
	const write = "write where a collector takes OTLP over HTTP, such as http://127.0.0.1:4318"
	switch {
	case err != nil: // it may hold a password
		return nil, errors.New("it is not a URL; " + write)
	case u.User != nil:
		return nil, errors.New("it has a user or password; remove them, and send them as headers: {authorization: Basic …}")
	case u.RawQuery != "":
		return nil, errors.New("it has a query, which messages would show; remove it, and send what it says as headers")
	case u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		return nil, errors.New("it is not an http:// or https:// URL with a host; " + write)
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = "/v1/traces"
	}
	u.Fragment, u.RawFragment = "", ""
	return u, nil
}

// checkTracing checks the section, and reads the file of authorities.
func (l *loader) checkTracing() {
	t := &l.config.Tracing
	if t.On() {
		if _, err := t.URL(); err != nil {
			l.bad("tracing.endpoint", "%w", err)
		}
	}
	if !(t.Sample >= 0 && t.Sample <= 1) { // NaN too
		l.bad("tracing.sample", "%v is not from 0 to 1; 0.01 is one event in a hundred", t.Sample)
	}
	for _, name := range slices.Sorted(maps.Keys(t.Headers)) {
		if err := checkTracingHeader(name, t.Headers[name]); err != nil {
			l.bad("tracing.headers", "%w", err)
		}
	}
	if t.CA == "" || !l.absolute("tracing.ca", &t.CA) {
		return
	}
	data, err := l.read(t.CA, maxCertFile)
	if err != nil {
		l.bad("tracing.ca", "%s cannot be read: %w", t.CA, reason(err))
	} else if _, err := certs.Pool(data); err != nil {
		l.bad("tracing.ca", "%s: %w", t.CA, err)
	}
}

// What the name and the value of a header can be (RFC 9110 §5.5, §5.6.2).
var (
	headerName  = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")
	headerValue = regexp.MustCompile(`^[^\x00-\x08\x0A-\x1F\x7F]*$`)
)

// checkTracingHeader checks a header to be added. Its errors do not quote the value.
func checkTracingHeader(name string, value Secret) error {
	switch {
	case !headerName.MatchString(name):
		return fmt.Errorf("%.64q cannot be the name of a header", name)
	case slices.Contains([]string{"Content-Type", "Content-Length", "Content-Encoding", "Host"}, http.CanonicalHeaderKey(name)):
		return fmt.Errorf("%s is set by gatebus itself; remove it", name)
	case value.IsMask():
		return fmt.Errorf("%s is the mask of a printed configuration; put the value itself in", name)
	case !headerValue.MatchString(string(value)):
		return fmt.Errorf("%s has a byte that no header can have", name)
	}
	return nil
}
