package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gatebus/gatebus/worker"
)

// verify is a receiver's check of a signature, from the specification.
func verify(t *testing.T, g got, key string) {
	t.Helper()
	secret, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(key, "whsec_"))
	if err != nil {
		t.Fatal(err)
	}
	id, timestamp := g.header.Get("webhook-id"), g.header.Get("webhook-timestamp")
	if n, err := strconv.ParseInt(timestamp, 10, 64); err != nil || time.Since(time.Unix(n, 0)).Abs() > 5*time.Minute {
		t.Errorf("timestamp %q: %v", timestamp, err)
	}
	if strings.Contains(id, ".") {
		t.Errorf("id %q has a full stop", id)
	}
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(strings.Join([]string{id, timestamp, g.body}, ".")))
	want := mac.Sum(nil)
	for s := range strings.FieldsSeq(g.header.Get("webhook-signature")) {
		version, code, _ := strings.Cut(s, ",")
		if sum, err := base64.StdEncoding.DecodeString(code); version == "v1" && err == nil && hmac.Equal(sum, want) {
			return
		}
	}
	t.Errorf("no signature of %q is of the key", g.header.Get("webhook-signature"))
}

// The value was computed with: printf %s 'c:1.1700000000.hello' |
// openssl dgst -sha256 -mac HMAC -macopt hexkey:303132…
func TestSignature(t *testing.T) {
	s, err := newSigner([]Secret{testKey})
	if err != nil {
		t.Fatal(err)
	}
	timestamp, signature := s.sign("c:1", time.Unix(1700000000, 999), []byte("hello"))
	sum, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(signature, "v1,"))
	if err != nil || timestamp != "1700000000" || hex.EncodeToString(sum) != "9e205193378e02cdf82c1e86b6c0cedce011a6a3bb6a3026ac9bf8262331ac6e" {
		t.Errorf("%s, %s (%x), %v", timestamp, signature, sum, err)
	}
}

func TestKeys(t *testing.T) {
	cfg := testConfig()
	cfg.SigningKeys = []Secret{testKey, otherKey}
	inBubble(t, cfg, func(http.ResponseWriter, *http.Request) {}, func(t *testing.T, f *fixture) {
		for _, body := range []string{"hello", "", "\x00\xff."} {
			if _, err := f.exchange(body); err != nil {
				t.Fatal(err)
			}
		}
		for _, g := range f.requests() {
			verify(t, g, testKey)
			verify(t, g, otherKey)
		}
	})
	for key, want := range map[Secret]string{
		"":                                  "a key begins with whsec_",
		"MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz":  "a key begins with whsec_",
		"whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODk": "not base64",
		"whsec_aHVudGVyMg==":                "a key has 24 to 64 bytes, this one has 7",
		"********":                          "the mask",
		Secret("whsec_" + base64.StdEncoding.EncodeToString(make([]byte, 65))): "this one has 65",
	} {
		if _, err := decodeKey(key); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "aHVudGVyMg") {
			t.Errorf("key %q: %v", string(key), err)
		}
	}
}

func TestRequest(t *testing.T) {
	cfg := testConfig()
	cfg.Group, cfg.Headers = "chat", map[string]Secret{"authorization": "Bearer hunter2", "X-Room": "1"}
	inBubble(t, cfg, func(http.ResponseWriter, *http.Request) {}, func(t *testing.T, f *fixture) {
		full := event(worker.Text, "hello")
		full.UID, full.Session, full.Delivery = "ann", []byte(`{"name":"Ann Ü"}`), 3
		for _, ev := range []*worker.Event{event(worker.Open, `{"client":"x"}`), full, event(worker.Binary, "\x00\xff"), event(worker.Close, `{"code":1000}`)} {
			if err := f.h.Handle(t.Context(), ev); err != nil && ev.Kind != worker.Open {
				t.Fatal(err)
			}
		}
		now := time.Now().UTC().Format(time.RFC3339Nano)
		want := []map[string]string{
			{"ce-type": "com.gatebus.client.open", "content-type": "application/json", "body": `{"client":"x"}`},
			{"ce-type": "com.gatebus.client.text", "content-type": "text/plain; charset=utf-8", "body": "hello",
				"ce-uid": "ann", "ce-session": "{%22name%22:%22Ann%20%C3%9C%22}", "ce-delivery": "3"},
			{"ce-type": "com.gatebus.client.binary", "content-type": "application/octet-stream", "body": "\x00\xff"},
			{"ce-type": "com.gatebus.client.close", "content-type": "application/json", "body": `{"code":1000}`},
		}
		for i, g := range f.requests() {
			common := map[string]string{
				"ce-specversion": "1.0", "ce-id": "g1-k3x9-7:5", "ce-source": "/gatebus/g1", "ce-subject": "g1-k3x9-7",
				"ce-time": now, "ce-delivery": "1", "ce-workergroup": "chat",
				"authorization": "Bearer hunter2", "x-room": "1",
			}
			maps.Copy(common, want[i])
			if g.body != common["body"] {
				t.Errorf("request %d: body %q", i, g.body)
			}
			delete(common, "body")
			for name, v := range common {
				if got := g.header[http.CanonicalHeaderKey(name)]; len(got) != 1 || got[0] != v {
					t.Errorf("request %d: %s %q, want %q", i, name, got, v)
				}
			}
			if g.header.Get("webhook-id") != "" || !strings.HasPrefix(g.header.Get("user-agent"), "gatebus/") {
				t.Errorf("request %d: %v", i, g.header)
			}
			for name := range g.header {
				if strings.HasPrefix(name, "Ce-") && common[strings.ToLower(name)] == "" {
					t.Errorf("request %d has %s, too", i, name)
				}
			}
		}
	})
}

func TestGatewayDown(t *testing.T) {
	cfg := testConfig()
	cfg.SigningKeys = []Secret{testKey}
	inBubble(t, cfg, answers(503, 204, 400), func(t *testing.T, f *fixture) {
		var _ worker.GatewayDownHandler = f.h
		down := worker.GatewayDown{Gateway: "g1", Epoch: 1 << 40}
		if err := f.h.GatewayDown(t.Context(), down); err != nil {
			t.Fatal(err)
		}
		err := f.h.GatewayDown(t.Context(), down) // it is told again
		if err == nil || err.Error() != `webhook: http://127.0.0.1/hook: it answers 400 Bad Request: "not now\n"` {
			t.Error(err)
		}
		got := f.requests()
		if len(got) != 3 {
			t.Fatalf("%d requests", len(got))
		}
		for _, g := range got {
			verify(t, g, testKey)
			h := g.header
			if h.Get("ce-type") != "com.gatebus.gateway.down" || h.Get("ce-id") != "g1-e13wu1og:down" || h.Get("ce-subject") != "g1-e13wu1og" ||
				g.body != `{"gateway":"g1","epoch":"e13wu1og"}` || h.Get("content-type") != "application/json" {
				t.Errorf("%q, %v", g.body, h)
			}
		}
	})
}

// hostile are names that are carried faithfully or refused.
var hostile = []string{
	"0", "a b", " a ", "a,b", "a.b", "*", ">", "%", "%41", "100%", `"q"`, `\`, "a\nb", "a\r\nX: y", "\t", "\x00", "\x7f",
	"grüß", "日本", "🦄👩‍👩‍👧", strings.Repeat("x", 256), strings.Repeat("🦄", 64), strings.Repeat("%", 256),
}

func TestPercentEncode(t *testing.T) {
	for _, s := range append(slices.Clone(hostile), "", "\xff\xfe", `{"a":"b c"}`) {
		v := percentEncode(s)
		for i := range len(v) {
			if v[i] <= ' ' || v[i] > '~' || v[i] == '"' {
				t.Errorf("%q is sent as %q", s, v)
			}
		}
		if back, err := url.PathUnescape(v); err != nil || back != s {
			t.Errorf("%q is sent as %q, and read as %q, %v", s, v, back, err)
		}
	}
	// The example of the specification: "Euro € 😀".
	if v := percentEncode("Euro € 😀"); v != "Euro%20%E2%82%AC%20%F0%9F%98%80" {
		t.Error(v)
	}
	if v := percentEncode("!#$&'()*+,-./:;<=>?@[\\]^_`{|}~aZ0"); strings.Contains(v, "%") {
		t.Errorf("what need not be encoded is: %s", v)
	}
}

func TestNoCredentialsInMessages(t *testing.T) {
	cfg := testConfig()
	cfg.URL, cfg.Headers, cfg.Retries = "http://127.0.0.1/hook?token=hunter2", map[string]Secret{"authorization": "hunter2"}, 1
	cfg.SigningKeys = []Secret{testKey}
	inBubble(t, cfg, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }, func(t *testing.T, f *fixture) {
		err := f.h.Handle(t.Context(), event(worker.Text, "x"))
		f.refuse = 100
		f.h.Stop(t.Context())
		again := f.h.Handle(t.Context(), event(worker.Open, "{}"))
		if err == nil || again != nil {
			t.Fatal(err, again)
		}
		for _, text := range []string{err.Error(), f.log.String()} {
			if strings.Contains(text, "hunter2") || strings.Contains(text, "whsec") || !strings.Contains(text, "http://127.0.0.1/hook") {
				t.Errorf("it says: %s", text)
			}
		}
	})
	for _, u := range []string{"http://u:hunter2@h/", "http://hunter2@h/", "ftp://hunter2/", "hunter2", "http://", "http://[hunter2", "http:///hunter2", "//hunter2", "http://h/%hunter2", "http://h/" + strings.Repeat("x", 2048)} {
		cfg.URL = u
		if err := cfg.Validate(); err == nil || strings.Contains(err.Error(), "hunter2") || !strings.HasPrefix(err.Error(), "url: ") {
			t.Errorf("%s: %v", u, err)
		}
	}
}
