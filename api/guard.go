package api

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// keys are who is let in. They are not changed.
type keys struct {
	tokens []hash
	// valid has a context for each token, and for the zero hash if there are none, that
	// ends when it is not valid any more.
	valid map[hash]validity
}

type hash [sha256.Size]byte

type validity struct {
	ctx context.Context
	end context.CancelCauseFunc
}

// errRevoked is why a request ends whose token is not valid any more.
var errRevoked = errors.New("api: the token is not one of those that are configured any more")

// SetTokens replaces the tokens of which a request must have one, from the next request
// on; what that means is said at Config.Tokens. Requests that were let through
// [Handler.Guard] by a token that is not among them end. It may be called at any time, by one
// goroutine at a time.
func (h *Handler) SetTokens(tokens []string) {
	next, before := &keys{valid: map[hash]validity{}}, h.keys.Load()
	for _, t := range tokens {
		next.tokens = append(next.tokens, sha256.Sum256([]byte(t)))
	}
	names := next.tokens
	if len(names) == 0 {
		names = []hash{{}}
	}
	for _, t := range names {
		if v, ok := before.validity(t); ok {
			next.valid[t] = v
		} else if _, ok := next.valid[t]; !ok {
			ctx, end := context.WithCancelCause(context.Background())
			next.valid[t] = validity{ctx, end}
		}
	}
	h.keys.Store(next)
	if before == nil {
		return
	}
	for t, v := range before.valid {
		if _, ok := next.valid[t]; !ok {
			v.end(errRevoked)
		}
	}
}

func (k *keys) validity(t hash) (v validity, ok bool) {
	if k != nil {
		v, ok = k.valid[t]
	}
	return v, ok
}

// Guard lets requests through to next that would be let through to the API. One that is
// still answered when its token is taken away ends.
func (h *Handler) Guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		valid, err := h.admit(w, r)
		if err != nil {
			writeProblem(w, err)
			return
		}
		ctx, end := context.WithCancelCause(r.Context())
		defer end(nil)
		defer context.AfterFunc(valid, func() { end(context.Cause(valid)) })()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// admit says why a request is not served, if it is not. The context ends when it would
// not be any more.
func (h *Handler) admit(w http.ResponseWriter, r *http.Request) (valid context.Context, err error) {
	k := h.keys.Load()
	if len(k.tokens) == 0 {
		return k.valid[hash{}].ctx, admitLocal(r)
	}
	w.Header().Add("Vary", "Authorization")
	values := r.Header.Values("Authorization")
	if len(values) == 0 {
		w.Header().Set("WWW-Authenticate", `Bearer realm="gatebus"`)
		return nil, problem(unauthorized, "it takes a token: Authorization: Bearer TOKEN")
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	sum := hash(sha256.Sum256([]byte(strings.TrimLeft(token, " "))))
	if len(values) > 1 || !strings.EqualFold(scheme, "Bearer") || !k.knows(sum) {
		w.Header().Set("WWW-Authenticate", `Bearer realm="gatebus", error="invalid_token"`)
		return nil, problem(unauthorized, "the token is not one of those that are configured")
	}
	return k.valid[sum].ctx, nil
}

// knows tells whether a token is one of the tokens, in a time that does not tell which,
// or how much of it is right.
func (k *keys) knows(sum hash) bool {
	found := 0
	for i := range k.tokens {
		found |= subtle.ConstantTimeCompare(sum[:], k.tokens[i][:])
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
