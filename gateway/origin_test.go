package gateway

import (
	"net/http"
	"strings"
	"testing"
)

func TestOrigins(t *testing.T) {
	o, _, err := parseOrigins([]string{"https://app.example.com", "https://*.example.org", "http://localhost:3000", "HTTPS://Caps.example:443"})
	if err != nil {
		t.Fatal(err)
	}
	same := o
	same.same = true
	for origin, want := range map[string]bool{
		"https://app.example.com":      true,
		"https://APP.example.com":      true,
		"https://app.example.com:443":  true,
		"https://app.example.com:8443": false,
		"http://app.example.com":       false,
		"https://evilapp.example.com":  false,
		"https://app.example.com.evil": false,
		"https://app.example.com/":     false,
		"https://u@app.example.com":    false,
		"https://a.example.org":        true,
		"https://a.b.example.org":      true,
		"https://example.org":          false,
		"https://evilexample.org":      false,
		"https://a.example.org:8443":   false,
		"http://localhost:3000":        true,
		"http://localhost":             false,
		"https://caps.example":         true,
		"null":                         false,
		"":                             false,
		"https://gateway:8282":         false,
	} {
		r := &http.Request{Host: "gateway:8282", Header: http.Header{"Origin": {origin}}}
		if got := o.allow(r); got != want {
			t.Errorf("%q is allowed: %v", origin, got)
		}
		if got := same.allow(r); got != (want || origin == "https://gateway:8282") {
			t.Errorf("%q is allowed with same: %v", origin, got)
		}
	}
	if o.allow(&http.Request{Header: http.Header{"Origin": {"https://app.example.com", "https://evil.example"}}}) {
		t.Error("two origins are allowed")
	}
	if !o.allow(&http.Request{Header: http.Header{}}) {
		t.Error("what is no browser is not allowed")
	}
	for _, s := range []string{"", "*", "app.example.com", "https://", "https://*", "https://*.*.example.com", "https://a.*.example.com", "https://app.example.com/", "https://app.example.com?x", "https://u@h", "://h", "null"} {
		c := DefaultConfig()
		c.Origins = []string{"same", s}
		if err := c.Validate(); err == nil || !strings.HasPrefix(err.Error(), "origins[1]: ") {
			t.Errorf("%q: %v", s, err)
		}
	}
}

// A page that may not connect is refused before a worker hears of it, and from a reload
// on it may.
func TestOriginIsChecked(t *testing.T) {
	inBubble(t, func(c *Config) { c.Origins = []string{"https://app.example.com"} }, func(t *testing.T, f *fixture) {
		f.worker(echo)
		from := func(origin string) int {
			t.Helper()
			_, resp, err := f.tryDial("/", http.Header{"Origin": {origin}})
			if err != nil && resp == nil {
				t.Fatal(err)
			}
			return resp.StatusCode
		}
		equal(t, "evil", from("https://evil.example"), http.StatusForbidden)
		equal(t, "events", f.gw.Stats().EventsIn, 0)
		equal(t, "counted", f.gw.Stats().RefusedFor["origin"], 1)
		equal(t, "refused", f.gw.Stats().Refused, 1)
		equal(t, "app", from("https://app.example.com"), http.StatusSwitchingProtocols)
		cfg := *f.gw.config()
		cfg.Origins = []string{}
		if err := f.gw.Reload(cfg); err != nil {
			t.Fatal(err)
		}
		equal(t, "evil, when all may", from("https://evil.example"), http.StatusSwitchingProtocols)
	})
}
