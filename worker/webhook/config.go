package webhook

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gatebus/gatebus/internal/secret"
)

// Secret is a text that shows as a mask wherever it is formatted, logged or
// marshalled. Convert it to a string to use it.
type Secret = secret.Text

// Config is what a handler can be told. [DefaultConfig] names every default; the
// URL has none.
type Config struct {
	// URL is where the events are posted, http or https. It has neither user nor
	// password: those are for Headers.
	URL string `koanf:"url"`
	// Timeout is how long one request may take, the response's body included.
	// From 100ms.
	Timeout time.Duration `koanf:"timeout"`
	// Retries is how many more times a request is tried that failed for now. From
	// 0 to 1000.
	Retries int `koanf:"retries"`
	// MaxElapsed is how long all tries of one event may take together, with the
	// pauses between them. It should be less than the worker's Drain, or a worker
	// that stops may close clients. From 100ms.
	MaxElapsed time.Duration `koanf:"max_elapsed"`
	// MaxResponse is the largest body of a response, in bytes. A frame that is
	// larger than the gateway's bus takes fails in any case. From 1 to 67108864.
	MaxResponse int `koanf:"max_response"`
	// SigningKeys sign the requests, each of them: a receiver accepts a request if
	// one of the signatures is of a key that it knows, so keys can be changed
	// without a gap. whsec_ and 24 to 64 bytes in base64. Empty: not signed.
	SigningKeys []Secret `koanf:"signing_keys"`
	// Headers are added to every request, such as an authorization.
	Headers map[string]Secret `koanf:"headers"`

	// Concurrency is how many events the worker handles at the same time, and so
	// how many connections there are at most. 0 means 256, as with the worker.
	Concurrency int `koanf:"-"`
	// Group is the worker's group, for the receiver to know; empty says nothing.
	Group string `koanf:"-"`
	// Log gets what the handler has to say; nil means slog.Default().
	Log *slog.Logger `koanf:"-"`
}

// DefaultConfig is the one place where the defaults stand.
func DefaultConfig() Config {
	return Config{
		Timeout:     10 * time.Second,
		Retries:     10,
		MaxElapsed:  25 * time.Second,
		MaxResponse: 1 << 20,
		SigningKeys: []Secret{},
		Headers:     map[string]Secret{},
	}
}

const (
	// minWait is the shortest time to wait: less is a number without its unit.
	minWait = 100 * time.Millisecond

	maxRetries  = 1000
	maxResponse = 64 << 20
	// maxURL and maxHeader bound what everybody has to read who gets a request,
	// in bytes.
	maxURL    = 2048
	maxHeader = 4096

	defaultConcurrency = 256
)

// Validate names everything that is wrong, one error a key. It quotes no secret.
func (c *Config) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if _, err := parseURL(c.URL); err != nil {
		bad("url: %w", err)
	}
	if c.Timeout < minWait {
		bad("timeout: %v is too short; from %v", c.Timeout, minWait)
	}
	if c.Retries < 0 || c.Retries > maxRetries {
		bad("retries: %d is not from 0 to %d", c.Retries, maxRetries)
	}
	if c.MaxElapsed < minWait {
		bad("max_elapsed: %v is too short; from %v", c.MaxElapsed, minWait)
	}
	if c.MaxResponse < 1 || c.MaxResponse > maxResponse {
		bad("max_response: %d is not from 1 to %d", c.MaxResponse, maxResponse)
	}
	for i, k := range c.SigningKeys {
		if _, err := decodeKey(k); err != nil {
			bad("signing_keys[%d]: %w", i, err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Headers)) {
		if err := checkHeader(name, string(c.Headers[name])); err != nil {
			bad("headers: %w", err)
		}
	}
	return errors.Join(errs...)
}

// parseURL checks the URL of a receiver. Its errors quote nothing of a URL that
// may hold a password.
func parseURL(s string) (*url.URL, error) {
	const write = "write where events are posted, such as http://127.0.0.1:8000/gatebus"
	switch {
	case s == "":
		return nil, errors.New("it is empty; " + write)
	case len(s) > maxURL:
		return nil, fmt.Errorf("it has %d bytes, the limit is %d", len(s), maxURL)
	}
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return nil, errors.New("it is not a URL; " + write)
	case u.User != nil:
		return nil, errors.New("it has a user or password; remove them, and send them as headers: {authorization: Basic …}")
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, errors.New("it is not an http:// or https:// URL; " + write)
	case u.Hostname() == "":
		return nil, errors.New("it has no host; " + write)
	}
	u.Fragment, u.RawFragment = "", ""
	return u, nil
}

// ownHeaders are those that a request has from the handler or from HTTP itself.
var ownHeaders = []string{
	"content-type", "content-length", "content-encoding", "transfer-encoding", "host", "connection",
	"keep-alive", "te", "trailer", "upgrade", "expect", "accept-encoding",
}

// checkHeader checks a header to be added. Its errors do not quote the value.
func checkHeader(name, value string) error {
	lower := strings.ToLower(name)
	switch {
	case !isToken(name) || len(name) > maxHeader:
		return fmt.Errorf("%.64q cannot be the name of a header", name)
	case slices.Contains(ownHeaders, lower), strings.HasPrefix(lower, "ce-"), strings.HasPrefix(lower, "webhook-"):
		return fmt.Errorf("%s is set by gatebus itself; remove it", name)
	case len(value) > maxHeader:
		return fmt.Errorf("%s has %d bytes, the limit is %d", name, len(value), maxHeader)
	case secret.Text(value).IsMask():
		return fmt.Errorf("%s is the mask of a printed configuration; put the value itself in", name)
	}
	for i := range len(value) {
		if b := value[i]; b < ' ' && b != '\t' || b == 0x7f {
			return fmt.Errorf("%s has the byte 0x%02X, which no header can have", name, b)
		}
	}
	return nil
}

// isToken tells whether s is a token of HTTP (RFC 9110 §5.6.2).
func isToken(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0:
		default:
			return false
		}
	}
	return s != ""
}
