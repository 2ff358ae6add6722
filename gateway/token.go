package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/gorilla/websocket"
)

// JWT says how WebSocket clients prove who they are with a JSON Web Token, before a
// worker is asked. Listeners of other protocols have no place for one.
type JWT struct {
	// Source is where a token stands in the request: "header NAME" (in Authorization
	// behind the word Bearer), "query NAME", "cookie NAME", or "subprotocol", as one
	// that begins with "bearer." and goes on with the token. Empty means that no
	// token is looked for.
	Source string `koanf:"source"`
	// Required refuses WebSocket clients without a token, with 401. One with a bad
	// token is refused always.
	Required bool `koanf:"required"`
	// Keys are what tokens are verified with.
	Keys JWTKeys `koanf:"keys"`
	// Algorithms are those that a token may be signed with, of HS256, RS256, ES256.
	Algorithms []string `koanf:"algorithms"`
	// Issuer and Audience, where not empty, are what iss must be, and aud have.
	Issuer   string `koanf:"issuer"`
	Audience string `koanf:"audience"`
	// UIDClaim names the claim that is the uid, a text.
	UIDClaim string `koanf:"uid_claim"`
}

// JWTKeys says where keys are. Files are read at the start and by Reload.
type JWTKeys struct {
	// File is a JSON Web Key Set.
	File string `koanf:"file"`
	// URL is where one is to be had, by https, or http on this machine. Without it,
	// tokens of its keys are refused until it could be fetched once.
	URL string `koanf:"url"`
	// Refresh is how often that is fetched anew. It is, too, when a token names a key
	// that is not known, at most each 10s. From 10s.
	Refresh time.Duration `koanf:"refresh"`
	// HMACFile holds a key for HS256, from 32 bytes; a line break at its end is
	// not part of it.
	HMACFile string `koanf:"hmac_file"`
}

const (
	// tokenLeeway is how much clocks may differ.
	tokenLeeway = 10 * time.Second
	// refreshPause is the least between two fetches of the keys.
	refreshPause = 10 * time.Second
	// bearer is what a subprotocol begins with that is a token.
	bearer = "bearer."
)

// check names what is wrong.
func (j *JWT) check(bad func(key, format string, args ...any)) {
	if j.Source == "" {
		if j.Required {
			bad("jwt.source", "it is missing; say where the token is, such as: header authorization")
		}
		return
	}
	kind, name, _ := strings.Cut(j.Source, " ")
	if named := kind == "header" || kind == "query" || kind == "cookie"; !named && j.Source != "subprotocol" ||
		named && (name == "" || strings.ContainsAny(name, " \t,;=")) {
		bad("jwt.source", "%q: write header authorization, or another name, query NAME, cookie NAME, or subprotocol", j.Source)
	}
	if len(j.Algorithms) == 0 {
		bad("jwt.algorithms", "there is none; name those that your tokens are signed with, of HS256, RS256 and ES256")
	}
	for i, a := range j.Algorithms {
		if a != "HS256" && a != "RS256" && a != "ES256" {
			bad(fmt.Sprintf("jwt.algorithms[%d]", i), "%q: it is HS256, RS256 or ES256", a)
		}
	}
	if j.UIDClaim == "" {
		bad("jwt.uid_claim", "it is empty; the usual one is sub")
	}
	k := &j.Keys
	if k.File == "" && k.URL == "" && k.HMACFile == "" {
		bad("jwt.keys", "there is none; set file, url or hmac_file")
	}
	if k.URL != "" {
		if err := checkKeysURL(k.URL); err != nil {
			bad("jwt.keys.url", "%w", err)
		}
	}
	if k.Refresh < refreshPause {
		bad("jwt.keys.refresh", "%v is too short; from %v", k.Refresh, refreshPause)
	}
}

// checkKeysURL refuses what somebody between could change.
func checkKeysURL(s string) error {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Host == "" || u.User != nil:
		return fmt.Errorf("%q is not a URL; write https://host/path, without user or password", s)
	case u.Scheme == "https":
		return nil
	case u.Scheme == "http" && (u.Hostname() == "localhost" || net.ParseIP(u.Hostname()).IsLoopback()):
		return nil
	}
	return fmt.Errorf("%q: who is between could give keys of his own; write https://", s)
}

// identity is who a client is, by its token.
type identity struct {
	uid     string
	claims  json.RawMessage
	expires time.Time
}

// tokens verifies tokens.
type tokens struct {
	// set at construction
	cfg    JWT
	parser *jwt.Parser
	stale  chan struct{} // buffered: a token names a key that is not known

	files, fetched atomic.Pointer[[]key] // nil: not there yet
}

// newTokens is nil where no token is looked for.
func newTokens(j *JWT) *tokens {
	if j.Source == "" {
		return nil
	}
	options := []jwt.ParserOption{
		jwt.WithValidMethods(j.Algorithms), jwt.WithExpirationRequired(), jwt.WithLeeway(tokenLeeway), jwt.WithStrictDecoding(),
	}
	if j.Issuer != "" {
		options = append(options, jwt.WithIssuer(j.Issuer))
	}
	if j.Audience != "" {
		options = append(options, jwt.WithAudience(j.Audience))
	}
	return &tokens{cfg: *j, parser: jwt.NewParser(options...), stale: make(chan struct{}, 1)}
}

var (
	errNoToken = errors.New("no token")
	errNoKeys  = errors.New("the keys are not there yet")
)

// find is the token of a request, "" if there is none.
func (t *tokens) find(r *http.Request) string {
	kind, name, _ := strings.Cut(t.cfg.Source, " ")
	switch kind {
	case "header":
		v := r.Header.Get(name)
		if strings.EqualFold(name, "authorization") {
			scheme, rest, _ := strings.Cut(v, " ")
			if !strings.EqualFold(scheme, "Bearer") {
				return ""
			}
			v = rest
		}
		return strings.TrimSpace(v)
	case "query":
		return r.URL.Query().Get(name)
	case "cookie":
		if c, err := r.Cookie(name); err == nil {
			return c.Value
		}
	case "subprotocol":
		for _, p := range websocket.Subprotocols(r) {
			if token, ok := strings.CutPrefix(p, bearer); ok {
				return token
			}
		}
	}
	return ""
}

// identify verifies the token of a request.
func (t *tokens) identify(r *http.Request) (id identity, err error) {
	raw := t.find(r)
	if raw == "" {
		return id, errNoToken
	}
	claims := jwt.MapClaims{}
	token, err := t.parser.ParseWithClaims(raw, claims, t.keyFor)
	if err != nil {
		return id, err
	}
	uid, ok := claims[t.cfg.UIDClaim].(string)
	if !ok || uid == "" {
		return id, fmt.Errorf("the claim %s is not a text", t.cfg.UIDClaim)
	}
	if _, err := (*given)(nil).with(uid, "", false); err != nil {
		return id, err
	}
	expires, err := claims.GetExpirationTime()
	if err != nil || expires == nil {
		return id, errors.Join(errors.New("it has no exp"), err)
	}
	_, payload, _ := strings.Cut(token.Raw, ".")
	payload, _, _ = strings.Cut(payload, ".")
	data, err := t.parser.DecodeSegment(payload)
	if err != nil {
		return id, err
	}
	return identity{uid: uid, claims: data, expires: expires.Add(tokenLeeway)}, nil
}

// keyFor is the key of a token whose algorithm is one of those that may be. The key
// decides what it is good for, not the token: a public key never serves as that of an
// HMAC. What a header says of where keys are is not looked at.
func (t *tokens) keyFor(token *jwt.Token) (any, error) {
	if _, ok := token.Header["crit"]; ok {
		return nil, errors.New("it has extensions that must be understood")
	}
	id, ok := token.Header["kid"].(string)
	if _, there := token.Header["kid"]; there && !ok {
		return nil, errors.New("kid is not a text")
	}
	var fit []any
	loaded := t.cfg.Keys.URL == ""
	for _, set := range []*[]key{t.files.Load(), t.fetched.Load()} {
		if set == nil {
			continue
		}
		loaded = loaded || set == t.fetched.Load()
		for _, k := range *set {
			if k.alg == token.Method.Alg() && (k.id == id || k.id == "" || id == "") {
				fit = append(fit, k.key)
			}
		}
	}
	switch {
	case len(fit) == 1:
		return fit[0], nil
	case len(fit) > 1:
		return nil, errors.New("several keys could be meant; a kid has to say which")
	}
	if t.cfg.Keys.URL != "" {
		select {
		case t.stale <- struct{}{}:
		default:
		}
	}
	if !loaded {
		return nil, errNoKeys
	}
	return nil, fmt.Errorf("no key for %s has the kid %.64q", token.Method.Alg(), id)
}

// load reads the files of the keys; those from before stay in use if they are no good.
func (t *tokens) load() error {
	keys, err := t.cfg.Keys.readKeys()
	if err != nil {
		return fmt.Errorf("jwt.keys: %w", err)
	}
	t.files.Store(&keys)
	return nil
}

// loadTokens reads the files of the keys at the start.
func (g *Gateway) loadTokens() error {
	if t := g.rules().tokens; t != nil {
		return t.load()
	}
	return nil
}

// refreshKeys fetches the keys of the tokens, as they are configured, until ctx ends.
func (g *Gateway) refreshKeys(ctx context.Context) {
	for {
		t := g.rules().tokens
		pause := time.Hour // until a reload says otherwise
		var stale chan struct{}
		if t != nil && t.cfg.Keys.URL != "" {
			pause, stale = t.cfg.Keys.Refresh, t.stale
			keys, err := t.cfg.Keys.fetchKeys(ctx)
			if ctx.Err() != nil {
				return
			}
			if err == nil {
				t.fetched.Store(&keys)
			} else {
				g.count.door.keysFailed.Add(1)
				g.log.Warn("cannot fetch the keys of the tokens; trying again", "url", t.cfg.Keys.URL, "err", err)
				pause = refreshPause
			}
		}
		select {
		case <-stale: // of what came while they were fetched
		default:
		}
		first, rest := min(pause, refreshPause), pause-min(pause, refreshPause)
		if !g.pauseKeys(ctx, first, nil) && rest > 0 {
			g.pauseKeys(ctx, rest, stale)
		}
		if ctx.Err() != nil {
			return
		}
	}
}

// pauseKeys waits for so long, or until ctx ends; true: until somebody has asked for the
// keys.
func (g *Gateway) pauseKeys(ctx context.Context, d time.Duration, stale chan struct{}) (asked bool) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	case <-stale:
		return true
	case <-g.rekeyed:
		return true
	}
	return false
}

// identify tells who a client is; nil if it came without a token, and may. Else it
// tells how to refuse it.
func (g *Gateway) identify(w http.ResponseWriter, r *http.Request) (who *identity, refused openResult) {
	t := g.rules().tokens
	if t == nil {
		return nil, openResult{}
	}
	id, err := t.identify(r)
	switch {
	case err == nil:
		return &id, openResult{}
	case errors.Is(err, errNoToken) && !t.cfg.Required:
		return nil, openResult{}
	case errors.Is(err, errNoKeys):
		g.count.refusals[refusedNoKeys].Add(1)
		return nil, openResult{status: http.StatusServiceUnavailable, reason: "tokens cannot be verified yet"}
	case errors.Is(err, errNoToken):
		w.Header().Set("WWW-Authenticate", "Bearer")
	default:
		w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
	}
	g.count.refusals[refusedToken].Add(1)
	g.log.Debug("a token is refused", "remote", r.RemoteAddr, "err", err)
	return nil, openResult{status: http.StatusUnauthorized, reason: "a token is wanted that is good"}
}

// otherProtocol is the first subprotocol that the client offers beside its token: a
// browser that offers some wants one of them chosen.
func (g *Gateway) otherProtocol(r *http.Request) string {
	if t := g.rules().tokens; t == nil || t.cfg.Source != "subprotocol" {
		return ""
	}
	offered := websocket.Subprotocols(r)
	i := slices.IndexFunc(offered, func(p string) bool { return !strings.HasPrefix(p, bearer) })
	if i < 0 {
		return ""
	}
	return offered[i]
}
