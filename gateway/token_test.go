package gateway

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/gatebus/gatebus/bus"
)

const hmacKey = "0123456789abcdef0123456789abcdef"

// file is a file with that content.
func file(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func hmacFile(t *testing.T) string { return file(t, hmacKey+"\n") }

var (
	rsaPrivate = sync.OnceValue(func() *rsa.PrivateKey {
		k, err := rsa.GenerateKey(rand.Reader, minRSA)
		if err != nil {
			panic(err)
		}
		return k
	})
	ecPrivate = sync.OnceValue(func() *ecdsa.PrivateKey {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			panic(err)
		}
		return k
	})
)

// jwks is a set with the keys of the tests, by kid.
func jwks(kids ...string) string {
	b64 := base64.RawURLEncoding.EncodeToString
	x := make([]byte, 32)
	y := make([]byte, 32)
	point, err := ecPrivate().PublicKey.Bytes()
	if err != nil {
		panic(err)
	}
	copy(x, point[1:33])
	copy(y, point[33:])
	known := map[string]map[string]string{
		"r": {"kty": "RSA", "kid": "r", "use": "sig", "alg": "RS256", "n": b64(rsaPrivate().N.Bytes()), "e": b64(big.NewInt(int64(rsaPrivate().E)).Bytes())},
		"e": {"kty": "EC", "kid": "e", "crv": "P-256", "x": b64(x), "y": b64(y)},
		"x": {"kty": "RSA", "kid": "x", "use": "enc", "n": "AQAB", "e": "AQAB"},
	}
	var set struct {
		Keys []map[string]string `json:"keys"`
	}
	for _, kid := range kids {
		set.Keys = append(set.Keys, known[kid])
	}
	data, err := json.Marshal(set)
	if err != nil {
		panic(err)
	}
	return string(data)
}

// token signs one.
func token(t *testing.T, m jwt.SigningMethod, key any, header map[string]any, claims jwt.MapClaims) string {
	t.Helper()
	tok := jwt.NewWithClaims(m, claims)
	maps.Copy(tok.Header, header)
	s, err := tok.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func kid(id string) map[string]any { return map[string]any{"kid": id} }

// Only what is signed by a key of the right kind, in force, and for this gateway, is
// heeded.
func TestTokens(t *testing.T) {
	now := time.Now()
	good := func(change ...any) jwt.MapClaims {
		c := jwt.MapClaims{"sub": "ann", "iss": "us", "aud": []string{"x", "gate"}, "exp": now.Add(time.Hour).Unix()}
		for i := 0; i < len(change); i += 2 {
			if change[i+1] == nil {
				delete(c, change[i].(string))
			} else {
				c[change[i].(string)] = change[i+1]
			}
		}
		return c
	}
	cfg := DefaultConfig().JWT
	cfg.Source, cfg.Issuer, cfg.Audience = "header authorization", "us", "gate"
	cfg.Algorithms = []string{"RS256", "ES256"}
	cfg.Keys.File, cfg.Keys.HMACFile = file(t, jwks("r", "e", "x")), hmacFile(t)
	verify := newTokens(&cfg)
	cfg.Algorithms = []string{"HS256", "RS256"}
	both := newTokens(&cfg)
	for _, v := range []*tokens{verify, both} {
		if err := v.load(); err != nil {
			t.Fatal(err)
		}
	}
	der, err := x509.MarshalPKIXPublicKey(rsaPrivate().Public())
	if err != nil {
		t.Fatal(err)
	}
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	other, err := rsa.GenerateKey(rand.Reader, minRSA)
	if err != nil {
		t.Fatal(err)
	}
	signed := token(t, jwt.SigningMethodRS256, rsaPrivate(), kid("r"), good())
	parts := strings.Split(signed, ".")
	b64 := base64.RawURLEncoding.EncodeToString
	for name, tt := range map[string]struct {
		v     *tokens
		token string
		ok    bool
	}{
		"RS256":                       {verify, signed, true},
		"ES256":                       {verify, token(t, jwt.SigningMethodES256, ecPrivate(), kid("e"), good()), true},
		"HS256":                       {both, token(t, jwt.SigningMethodHS256, []byte(hmacKey), nil, good()), true},
		"without kid, and one key":    {verify, token(t, jwt.SigningMethodRS256, rsaPrivate(), nil, good()), true},
		"clocks differ":               {verify, token(t, jwt.SigningMethodRS256, rsaPrivate(), kid("r"), good("nbf", now.Add(5*time.Second).Unix())), true},
		"one audience":                {verify, token(t, jwt.SigningMethodRS256, rsaPrivate(), kid("r"), good("aud", "gate")), true},
		"expired":                     {verify, token(t, jwt.SigningMethodRS256, rsaPrivate(), kid("r"), good("exp", now.Add(-time.Minute).Unix())), false},
		"without exp":                 {verify, token(t, jwt.SigningMethodRS256, rsaPrivate(), kid("r"), good("exp", nil)), false},
		"exp is a text":               {verify, token(t, jwt.SigningMethodRS256, rsaPrivate(), kid("r"), good("exp", "never")), false},
		"not yet":                     {verify, token(t, jwt.SigningMethodRS256, rsaPrivate(), kid("r"), good("nbf", now.Add(time.Minute).Unix())), false},
		"of another issuer":           {verify, token(t, jwt.SigningMethodRS256, rsaPrivate(), kid("r"), good("iss", "them")), false},
		"without an issuer":           {verify, token(t, jwt.SigningMethodRS256, rsaPrivate(), kid("r"), good("iss", nil)), false},
		"for another":                 {verify, token(t, jwt.SigningMethodRS256, rsaPrivate(), kid("r"), good("aud", "other")), false},
		"for nobody":                  {verify, token(t, jwt.SigningMethodRS256, rsaPrivate(), kid("r"), good("aud", nil)), false},
		"without a uid":               {verify, token(t, jwt.SigningMethodRS256, rsaPrivate(), kid("r"), good("sub", nil)), false},
		"with an empty uid":           {verify, token(t, jwt.SigningMethodRS256, rsaPrivate(), kid("r"), good("sub", "")), false},
		"with a number as uid":        {verify, token(t, jwt.SigningMethodRS256, rsaPrivate(), kid("r"), good("sub", 7)), false},
		"with a uid that is too long": {verify, token(t, jwt.SigningMethodRS256, rsaPrivate(), kid("r"), good("sub", strings.Repeat("a", 4000))), false},
		"signed by somebody":          {verify, token(t, jwt.SigningMethodRS256, other, kid("r"), good()), false},
		"none":                        {verify, token(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, kid("r"), good()), false},
		"None":                        {both, b64([]byte(`{"alg":"None","kid":"r"}`)) + "." + parts[1] + ".", false},
		"HS256 is not one of those":   {verify, token(t, jwt.SigningMethodHS256, []byte(hmacKey), nil, good()), false},
		"the public key as HMAC's":    {both, token(t, jwt.SigningMethodHS256, public, kid("r"), good()), false},
		"and its bytes":               {both, token(t, jwt.SigningMethodHS256, der, kid("r"), good()), false},
		"and its modulus":             {both, token(t, jwt.SigningMethodHS256, rsaPrivate().N.Bytes(), kid("r"), good()), false},
		"an RSA key for ES256":        {verify, token(t, jwt.SigningMethodES256, ecPrivate(), kid("r"), good()), false},
		"PS256":                       {verify, token(t, jwt.SigningMethodPS256, rsaPrivate(), kid("r"), good()), false},
		"a key for something else":    {verify, token(t, jwt.SigningMethodRS256, rsaPrivate(), kid("x"), good()), false},
		"a path as kid":               {both, token(t, jwt.SigningMethodHS256, []byte{}, kid("../../../dev/null"), good()), false},
		"kid is a number":             {verify, token(t, jwt.SigningMethodRS256, rsaPrivate(), map[string]any{"kid": 7}, good()), false},
		"brings its own key": {verify, token(t, jwt.SigningMethodRS256, other, map[string]any{"kid": "r", "jku": "http://127.0.0.1/",
			"jwk": map[string]string{"kty": "RSA", "n": b64(other.N.Bytes()), "e": "AQAB"}}, good()), false},
		"has extensions":     {verify, token(t, jwt.SigningMethodRS256, rsaPrivate(), map[string]any{"kid": "r", "crit": []string{"b64"}}, good()), false},
		"without signature":  {verify, parts[0] + "." + parts[1] + ".", false},
		"changed":            {verify, parts[0] + "." + b64([]byte(`{"sub":"bob","iss":"us","aud":"gate","exp":9999999999}`)) + "." + parts[2], false},
		"four parts":         {verify, signed + ".x", false},
		"padded":             {verify, signed + "==", false},
		"not a token at all": {verify, "hunter2", false},
	} {
		r := &http.Request{Header: http.Header{"Authorization": {"Bearer " + tt.token}}}
		id, err := tt.v.identify(r)
		if (err == nil) != tt.ok || tt.ok && (id.uid != "ann" || !strings.Contains(string(id.claims), `"iss":"us"`)) {
			t.Errorf("%s: %+v, %v", name, id, err)
		}
	}
}

func TestTokenSources(t *testing.T) {
	for source, r := range map[string]*http.Request{
		"header authorization": {Header: http.Header{"Authorization": {"bearer  T.o-k_n"}}},
		"header X-Token":       {Header: http.Header{"X-Token": {"T.o-k_n"}}},
		"query token":          httptest.NewRequest("GET", "/?a=b&token=T.o-k_n", nil),
		"cookie sid":           {Header: http.Header{"Cookie": {"a=b; sid=T.o-k_n"}}},
		"subprotocol":          {Header: http.Header{"Sec-Websocket-Protocol": {"v1, bearer.T.o-k_n"}}},
	} {
		cfg := DefaultConfig()
		cfg.JWT.Source, cfg.JWT.Keys.HMACFile = source, "k"
		if err := cfg.Validate(); err != nil {
			t.Error(err)
		}
		v := newTokens(&cfg.JWT)
		equal(t, source, v.find(r), "T.o-k_n")
		equal(t, source+" without one", v.find(&http.Request{Header: http.Header{"Authorization": {"Basic x"}}, URL: r.URL}) == "T.o-k_n", strings.HasPrefix(source, "query"))
	}
	for _, change := range []func(*JWT){
		func(j *JWT) { j.Source = "header" },
		func(j *JWT) { j.Source = "cookie a=b" },
		func(j *JWT) { j.Source, j.Required = "", true },
		func(j *JWT) { j.Algorithms = []string{"none"} },
		func(j *JWT) { j.Algorithms = nil },
		func(j *JWT) { j.UIDClaim = "" },
		func(j *JWT) { j.Keys.HMACFile = "" },
		func(j *JWT) { j.Keys.URL = "http://keys.example/" },
		func(j *JWT) { j.Keys.URL = "file:///etc/passwd" },
		func(j *JWT) { j.Keys.Refresh = time.Second },
	} {
		cfg := DefaultConfig()
		cfg.JWT.Source, cfg.JWT.Keys.HMACFile = "header authorization", "k"
		change(&cfg.JWT)
		if err := cfg.Validate(); err == nil || !strings.HasPrefix(err.Error(), "jwt.") {
			t.Errorf("%+v: %v", cfg.JWT, err)
		}
	}
}

func TestKeysAreChecked(t *testing.T) {
	for content, want := range map[string]string{
		"":                                    "not a JSON Web Key Set",
		"{}":                                  "no key",
		jwks("x"):                             "no key",
		`{"keys":[{"kty":"oct","k":"AAAA"}]}`: "can be guessed",
		`{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"}]}`:                                                                    "bits",
		`{"keys":[{"kty":"EC","crv":"P-256","x":"AQAB","y":"AQAB"}]}`:                                                       "32 bytes",
		`{"keys":[{"kty":"EC","crv":"P-256","x":"` + strings.Repeat("A", 43) + `","y":"` + strings.Repeat("A", 43) + `"}]}`: "keys[0]",
	} {
		if err := CheckKeys([]byte(content), false); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s: %v, want %s", content, err, want)
		}
	}
	if err := CheckKeys([]byte("short\n"), true); err == nil {
		t.Error("a short key for HS256 is taken")
	}
}

// The uid of a token is bound before a worker is asked, and the client goes when the
// token expires.
func TestTokenBindsAndExpires(t *testing.T) {
	inBubble(t, func(c *Config) {
		c.JWT.Source, c.JWT.Required, c.JWT.Algorithms = "subprotocol", true, []string{"HS256"}
		c.JWT.Keys.HMACFile = hmacFile(t)
		c.Limits.Unauthenticated = time.Second
	}, func(t *testing.T, f *fixture) {
		events := make(chan bus.Event, 10)
		f.worker(func(ev bus.Event) *bus.Reply {
			events <- ev
			return &bus.Reply{}
		})
		code, _, _ := f.status(nil)
		equal(t, "without a token", code, http.StatusUnauthorized)
		code, _, _ = f.offer("v1", bearer+"x.y.z")
		equal(t, "with a bad one", code, http.StatusUnauthorized)
		equal(t, "counted", f.gw.Stats().RefusedFor["token"], 2)
		equal(t, "events", f.gw.Stats().EventsIn, 0)
		equal(t, "clients that count", f.gw.crowd.total, 0)

		good := token(t, jwt.SigningMethodHS256, []byte(hmacKey), nil, jwt.MapClaims{"sub": "ann/é", "exp": time.Now().Add(time.Minute).Unix(), "role": "x"})
		code, chosen, p := f.offer(bearer+good, "v1")
		equal(t, "with a good one", code, http.StatusSwitchingProtocols)
		equal(t, "subprotocol", chosen, "v1")
		open := <-events
		equal(t, "uid of the open event", open.UID, "ann/é")
		var info bus.OpenInfo
		if err := json.Unmarshal(open.Data, &info); err != nil {
			t.Fatal(err)
		}
		var claims struct{ Sub, Role string }
		if err := json.Unmarshal(info.Claims, &claims); err != nil || claims.Sub != "ann/é" || claims.Role != "x" {
			t.Errorf("claims %s: %v", info.Claims, err)
		}
		time.Sleep(time.Minute)
		equal(t, "within its time", p.open(), true)
		time.Sleep(tokenLeeway + 2*time.Second)
		equal(t, "after it", p.closed(), bus.CloseTokenExpired)
		equal(t, "counted", f.gw.Stats().Closed["4006"], 1)
		equal(t, "the last event", (<-events).Kind, bus.Close)
		synctest.Wait()
		equal(t, "uids that are left", len(f.gw.index.uids), 0)
	})
}

// offer connects with subprotocols; it returns the one that was chosen.
func (f *fixture) offer(protocols ...string) (code int, chosen string, p *peer) {
	f.t.Helper()
	f.protocols = protocols
	defer func() { f.protocols = nil }()
	p, resp, err := f.tryDial("/", nil)
	if resp == nil {
		f.t.Fatal(err)
	}
	if p != nil {
		go p.read()
	}
	return resp.StatusCode, resp.Header.Get("Sec-WebSocket-Protocol"), p
}

// Keys come from a URL, and anew when a token names one that is not known; while it
// cannot be reached, the old ones stay.
func TestKeysOfURL(t *testing.T) {
	var set atomic.Value
	set.Store("")
	fetched := make(chan struct{}, 100)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if body := set.Load().(string); body == "" {
			http.Error(w, "not now", http.StatusInternalServerError)
		} else {
			_, _ = io.WriteString(w, body)
		}
		fetched <- struct{}{}
	}))
	defer s.Close()
	k := JWTKeys{URL: s.URL}
	if _, err := k.fetchKeys(t.Context()); err == nil || !strings.Contains(err.Error(), "500") {
		t.Errorf("an error as keys: %v", err)
	}
	set.Store(strings.Repeat("{", maxKeys+1))
	if _, err := k.fetchKeys(t.Context()); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("what has no end: %v", err)
	}
	set.Store(jwks("r"))
	<-fetched
	<-fetched
	cfg := DefaultConfig()
	cfg.Listen, cfg.JWT.Source, cfg.JWT.Keys.URL = "127.0.0.1:0", "header authorization", s.URL
	r := serveReal(t, cfg)
	<-fetched
	signed := func(m jwt.SigningMethod, key any, id string) *http.Request {
		tok := token(t, m, key, kid(id), jwt.MapClaims{"sub": "ann", "exp": time.Now().Add(time.Hour).Unix()})
		return &http.Request{Header: http.Header{"Authorization": {"Bearer " + tok}}}
	}
	v := r.gw.rules().tokens
	wait := func(what string, ok func() bool) {
		t.Helper()
		for end := time.Now().Add(patience); !ok(); {
			if time.Now().After(end) {
				t.Fatal(what)
			}
			select {
			case <-fetched:
			case <-time.After(time.Millisecond):
			}
		}
	}
	wait("the keys never came", func() bool { return v.fetched.Load() != nil })
	if _, err := v.identify(signed(jwt.SigningMethodRS256, rsaPrivate(), "r")); err != nil {
		t.Error(err)
	}
	if _, err := v.identify(signed(jwt.SigningMethodES256, ecPrivate(), "e")); err == nil {
		t.Error("a key that is not known is taken")
	}
	equal(t, "the keys are to be fetched anew", len(v.stale), 1)
	// A reload does so too, and keeps those that there are.
	set.Store("")
	if err := r.gw.Reload(cfg); err != nil {
		t.Fatal(err)
	}
	v = r.gw.rules().tokens
	wait("the failure is not counted", func() bool { return r.gw.Stats().Door.KeysFailed > 0 })
	if _, err := v.identify(signed(jwt.SigningMethodRS256, rsaPrivate(), "r")); err != nil {
		t.Error(err)
	}
	fresh := newTokens(&cfg.JWT)
	if _, err := fresh.identify(signed(jwt.SigningMethodRS256, rsaPrivate(), "r")); err == nil || !strings.Contains(err.Error(), errNoKeys.Error()) {
		t.Errorf("before there are keys: %v", err)
	}
}
