package api

import (
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// admit says why a request is not served, if it is not.
func (h *Handler) admit(w http.ResponseWriter, r *http.Request) error {
	if len(h.tokens) == 0 {
		return admitLocal(r)
	}
	w.Header().Add("Vary", "Authorization")
	values := r.Header.Values("Authorization")
	if len(values) == 0 {
		w.Header().Set("WWW-Authenticate", `Bearer realm="gatebus"`)
		return problem(unauthorized, "it takes a token: Authorization: Bearer TOKEN")
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	if len(values) > 1 || !strings.EqualFold(scheme, "Bearer") || !h.knows(strings.TrimLeft(token, " ")) {
		w.Header().Set("WWW-Authenticate", `Bearer realm="gatebus", error="invalid_token"`)
		return problem(unauthorized, "the token is not one of those that are configured")
	}
	return nil
}

// knows tells whether a token is one of the tokens, in a time that does not tell which,
// or how much of it is right.
func (h *Handler) knows(token string) bool {
	sum, found := sha256.Sum256([]byte(token)), 0
	for i := range h.tokens {
		found |= subtle.ConstantTimeCompare(sum[:], h.tokens[i][:])
	}
	return found == 1
}

// admitLocal refuses what a web page could send: browsers reach loopback too.
func admitLocal(r *http.Request) error {
	if !isLocal(r.Host) {
		return problem(forbidden, "without tokens the API is for programs of this machine, as 127.0.0.1, [::1] or localhost, and not for host %q; set api.tokens", shorten(r.Host))
	}
	for _, origin := range r.Header.Values("Origin") {
		if !strings.EqualFold(origin, "http://"+r.Host) {
			return problem(forbidden, "without tokens the API is not for web pages, and this request is of one of origin %q; set api.tokens", shorten(origin))
		}
	}
	switch site := r.Header.Get("Sec-Fetch-Site"); site {
	case "", "none", "same-origin":
		return nil
	default:
		return problem(forbidden, "without tokens the API is not for web pages of other origins, and a browser says that this request is %q; set api.tokens", shorten(site))
	}
}

// isLocal tells whether a Host header means this machine, in a way that no name server
// has a say in.
func isLocal(hostport string) bool {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return strings.EqualFold(host, "localhost") || err == nil && ip.Unmap().IsLoopback()
}

// shorten is what is quoted of a header.
func shorten(s string) string {
	if len(s) > 64 {
		return s[:64] + "..."
	}
	return s
}
