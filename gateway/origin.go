package gateway

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// sameOrigin is the origin that means: a page of the host that is asked.
const sameOrigin = "same"

// origins are the pages that may connect: a browser says in Origin which one it has
// open, and no page can change that. Without any, all may.
type origins struct {
	same bool
	all  []origin
}

// origin is scheme://host, or any host below it.
type origin struct {
	scheme, host string // lower case; the host with its port unless that is the scheme's
	below        bool
}

// parseOrigins reads the list; the error is about the element at that place.
func parseOrigins(list []string) (o origins, at int, err error) {
	for i, s := range list {
		if s == sameOrigin {
			o.same = true
			continue
		}
		rest := s
		scheme, host, _ := strings.Cut(s, "://")
		below := strings.HasPrefix(host, "*.")
		if below {
			rest = scheme + "://" + host[len("*."):]
		}
		one, ok := parseOrigin(rest)
		if !ok || strings.Contains(one.host, "*") {
			return origins{}, i, fmt.Errorf("%q is not an origin; write https://app.example.com, https://*.example.com, or same", s)
		}
		one.below = below
		o.all = append(o.all, one)
	}
	return o, 0, nil
}

// parseOrigin reads what a browser calls an origin: scheme, host and port, no more.
func parseOrigin(s string) (o origin, ok bool) {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.Hostname() == "" || u.User != nil || u.Path != "" || strings.ContainsAny(s, "?# \\") {
		return o, false
	}
	o.scheme = strings.ToLower(u.Scheme)
	o.host = withoutDefaultPort(o.scheme, strings.ToLower(u.Host))
	return o, o.scheme != ""
}

func withoutDefaultPort(scheme, host string) string {
	switch scheme {
	case "http", "ws":
		return strings.TrimSuffix(host, ":80")
	case "https", "wss":
		return strings.TrimSuffix(host, ":443")
	}
	return host
}

// allow tells whether a request may come from the page that it comes from. One that
// names none is not a browser's.
func (o *origins) allow(r *http.Request) bool {
	said := r.Header["Origin"]
	if len(said) == 0 || !o.same && len(o.all) == 0 {
		return true
	}
	from, ok := parseOrigin(said[0])
	if !ok || len(said) > 1 { // such as null, of a page in a sandbox
		return false
	}
	// Whether the page has come with TLS cannot be told here: a proxy may end it.
	if o.same && from.host == withoutDefaultPort(from.scheme, strings.ToLower(r.Host)) {
		return true
	}
	return slices.ContainsFunc(o.all, func(o origin) bool {
		if o.scheme != from.scheme {
			return false
		}
		return from.host == o.host && !o.below || o.below && strings.HasSuffix(from.host, "."+o.host)
	})
}
