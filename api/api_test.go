package api

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/worker"
	"github.com/gatebus/gatebus/workertest"
)

func TestPush(t *testing.T) {
	f := start(t, 2)
	ann, annID := f.connect(0)
	bob, bobID := f.connect(1)
	f.ask("PUT", "clients/"+string(annID)+"/uid", `{"uid":"ann"}`).is(200, `{"clients":1}`)
	f.ask("PUT", "clients/"+string(bobID)+"/groups/room", "").is(204, "")
	f.ask("PUT", "clients/"+string(annID)+"/groups/hall", "").is(204, "")

	for _, c := range []struct {
		to      string
		clients int
		ann     bool
		bob     bool
	}{
		{`{"all":true}`, 2, true, true},
		{`{"client":"` + string(annID) + `"}`, 1, true, false},
		{`{"clients":["` + string(annID) + `","` + string(bobID) + `","` + string(annID) + `"]}`, 2, true, true},
		{`{"uid":"ann"}`, 1, true, false},
		{`{"uids":["ann","eve"]}`, 1, true, false},
		{`{"group":"room"}`, 1, false, true},
		{`{"groups":["room","hall"]}`, 2, true, true},
		{`{"group":"nobody's"}`, 0, false, false},
	} {
		f.ask("POST", "push", `{"to":`+c.to+`,"text":`+quoted(c.to)+`}`).is(200, fmt.Sprintf(`{"clients":%d}`, c.clients))
		if c.ann {
			ann.Expect(c.to)
		}
		if c.bob {
			bob.Expect(c.to)
		}
	}
	data := []byte{0, 0xff, '\n'}
	f.ask("POST", "push", `{"to":{"all":true},"except":["`+string(annID)+`"],"binary":"`+base64.StdEncoding.EncodeToString(data)+`"}`).is(200, `{"clients":1}`)
	if got := bob.Receive(); got != (workertest.Frame{Kind: worker.Binary, Data: string(data)}) {
		t.Errorf("got %v", got)
	}
	f.ask("POST", "push", `{"to":{"uid":"ann"},"text":""}`).is(200, `{"clients":1}`)
	ann.Expect("")

	for _, c := range []struct{ body, says string }{
		{`{"to":{"all":true}}`, "there is no frame"},
		{`{"to":{"all":true},"text":"a","binary":"YQ=="}`, "not both"},
		{`{"to":{},"text":"a"}`, "here are 0 of them"},
		{`{"text":"a"}`, "here are 0 of them"},
		{`{"to":{"uid":"ann","group":"g"},"text":"a"}`, "here are 2 of them"},
		{`{"to":{"all":true},"txt":"a"}`, `unknown field "txt"`},
		{`{"to":{"uid":""},"text":"a"}`, "it is empty"},
		{`{"to":{"uids":[]},"text":"a"}`, "names none"},
		{`{"to":{"client":"x"},"text":"a"}`, "is not <gateway>-<epoch>-<number>"},
		{`{"to":{"clients":["x"]},"text":"a"}`, "is not <gateway>-<epoch>-<number>"},
		{`{"to":{"all":true},"except":["x"],"text":"a"}`, "is not <gateway>-<epoch>-<number>"},
		{`{"to":{"group":` + quoted(strings.Repeat("x", 257)) + `},"text":"a"}`, "257 bytes, the limit is 256"},
		{`{"to":{"group":"\ud800"},"text":"a"}`, "half of a surrogate pair"},
		{"{\"to\":{\"group\":\"\xff\"},\"text\":\"a\"}", "not valid UTF-8"},
		{`{"to":{"all":true},"binary":"%%"}`, "base64"},
		{`{"to":{"all":true},"text":1}`, "number"},
		{`[]`, "not a JSON object"},
		{`{} {}`, "not JSON"},
		{` `, "it is empty"},
	} {
		f.ask("POST", "push", c.body).problem(badRequest, c.says)
	}
	f.ask("POST", "push", "text", "Content-Type", "text/plain").problem(mediaType, `"text/plain"; it must be application/json`)
	f.ask("POST", "push", "{}", "Content-Type", "").problem(mediaType, "")
	f.ask("POST", "push", `{"to":{"all":true},"text":"`+strings.Repeat("x", MaxBody)+`"}`).problem(tooLarge, "8388608 bytes")
	if more := append(ann.Pending(), bob.Pending()...); len(more) > 0 {
		t.Errorf("what was refused was sent: %v", more)
	}
}

func TestMany(t *testing.T) {
	f := start(t, 2)
	var clients []*workertest.Client
	var ids []bus.ClientID
	for i := range 4 {
		cl, id := f.connect(i % 2)
		clients, ids = append(clients, cl), append(ids, id)
		f.ask("PUT", "clients/"+string(id)+"/uid", fmt.Sprintf(`{"uid":"u%d"}`, i/2)).is(200, "")
	}
	f.ask("POST", "join", `{"to":{"uid":"u0"},"groups":["a","b"]}`).is(200, `{"clients":2}`)
	f.ask("POST", "join", `{"to":{"all":true},"except":["`+string(ids[0])+`"],"groups":["c"]}`).is(200, `{"clients":3}`)
	f.ask("GET", "groups", "").is(200, `{"names":[{"name":"a","clients":2},{"name":"b","clients":2},{"name":"c","clients":3}]}`)
	f.ask("GET", "groups/a", "").is(200, `{"name":"a","clients":2}`)
	f.ask("GET", "groups/none", "").is(200, `{"name":"none","clients":0}`)
	f.ask("GET", "uids?group=c", "").is(200, `{"names":[{"name":"u0","clients":1},{"name":"u1","clients":2}]}`)
	f.ask("GET", "uids/u1", "").is(200, `{"name":"u1","clients":2}`)
	f.ask("POST", "leave", `{"to":{"clients":["`+string(ids[0])+`"]},"groups":["a","nothing"]}`).is(200, `{"clients":1}`)
	f.ask("GET", "clients/"+string(ids[0])+"/groups", "").is(200, `{"groups":["b"]}`)
	f.ask("DELETE", "groups/c", "").is(200, `{"clients":3}`)
	f.ask("GET", "counts", "").is(200, `{"count":4}`)
	f.ask("GET", "counts?of=uids", "").is(200, `{"count":2}`)
	f.ask("GET", "counts?of=groups", "").is(200, `{"count":2}`)
	f.ask("GET", "counts?of=uids&group=a", "").is(200, `{"count":1}`)
	f.ask("GET", "counts?group=b", "").is(200, `{"count":2}`)
	f.ask("GET", "counts?of=groups&group=b", "").problem(badRequest, "not with groups")
	f.ask("GET", "counts?of=teeth", "").problem(badRequest, `"teeth"`)
	f.ask("POST", "counts", `{"uids":["u1","eve","u0"]}`).is(200, `{"counts":[{"name":"u1","clients":2},{"name":"eve","clients":0},{"name":"u0","clients":2}]}`)
	f.ask("POST", "counts", `{"groups":["b"]}`).is(200, `{"counts":[{"name":"b","clients":2}]}`)
	f.ask("POST", "counts", `{"groups":[]}`).is(200, `{"counts":[]}`)
	f.ask("POST", "counts", `{}`).problem(badRequest, "here are 0 of them")
	f.ask("POST", "counts", `{"uids":[""]}`).problem(badRequest, "it is empty")
	f.ask("POST", "unbind", `{"to":{"uid":"u1"}}`).is(200, `{"clients":2}`)
	f.ask("POST", "unbind", `{"to":{"uids":["u1"]}}`).problem(badRequest, `unknown field "uids"`)
	f.ask("POST", "unbind", `{"to":{"uid":""}}`).problem(badRequest, "it is empty")
	f.ask("POST", "close", `{"to":{"group":"b"},"code":4200,"reason":"done","text":"bye"}`).is(200, `{"clients":2}`)
	for i, cl := range clients[:2] {
		cl.Expect("bye")
		if code, reason := cl.Closed(); code != 4200 || reason != "done" {
			t.Errorf("client %d was closed with %d %q", i, code, reason)
		}
	}
	f.ask("POST", "counts", `{"clients":["`+string(ids[0])+`","`+string(ids[2])+`","gone-1-1"]}`).
		is(200, `{"counts":[{"name":"`+string(ids[0])+`","clients":0},{"name":"`+string(ids[2])+`","clients":1},{"name":"gone-1-1","clients":0}]}`)
	f.ask("POST", "close", `{"to":{"all":true},"code":4050}`).problem(badRequest, "4050 is not a close code")
	groups := make([]string, 1025)
	for i := range groups {
		groups[i] = fmt.Sprintf("g%d", i)
	}
	f.ask("POST", "join", `{"to":{"all":true},"groups":["`+strings.Join(groups, `","`)+`"]}`).problem(overLimit, "a client may be in 1024")
}

func TestClient(t *testing.T) {
	f := start(t, 2)
	ann, id := f.connect(1)
	bob, bobID := f.connect(0)
	at := "clients/" + string(id)
	f.ask("PUT", at+"/uid", `{"uid":"ann"}`).is(200, "")
	f.ask("POST", at+"/groups", `{"groups":["b","a"]}`).is(204, "")
	f.ask("DELETE", at+"/groups/b", "").is(204, "")
	var c worker.ClientInfo
	f.ask("GET", at, "").is(200, "").into(&c)
	if c.Client != id || c.UID != "ann" || !slices.Equal(c.Groups, []string{"a"}) || c.Open == nil || c.Open.Path != "/" || c.Connected.IsZero() {
		t.Errorf("%+v", c)
	}
	if a := f.ask("HEAD", at, "").is(200, ""); len(a.body) > 0 {
		t.Errorf("HEAD has a body: %s", a.body)
	}
	f.ask("PUT", "clients/"+string(bobID)+"/uid", `{"uid":"ann","others":"refuse"}`).problem(uidTaken, "taken")
	f.ask("PUT", "clients/"+string(bobID)+"/uid", `{"uid":"ann","others":"ask"}`).problem(badRequest, `"ask"`)
	f.ask("PUT", "clients/"+string(bobID)+"/uid", `{"uid":"ann","others":"replace"}`).is(200, `{"clients":1}`)
	if code, _ := ann.Closed(); code != 4003 {
		t.Errorf("closed with %d", code)
	}
	f.ask("GET", at, "").problem(noClient, "not connected")
	f.ask("DELETE", at, "").problem(noClient, "")
	f.ask("DELETE", "clients/g1-1-1", "").problem(noClient, "that life of gateway g1 is over, or never was")
	f.ask("DELETE", "clients/"+string(bobID)+"/uid", "").is(204, "")
	f.ask("DELETE", "clients/"+string(bobID)+"?code=4050", "").problem(badRequest, "4050")
	f.ask("DELETE", "clients/"+string(bobID)+"?code=0", "").problem(badRequest, "0 is not")
	f.ask("DELETE", "clients/"+string(bobID)+"?cod=4100", "").problem(badRequest, `"cod", which is not among`)
	f.ask("DELETE", "clients/"+string(bobID)+"?code=4100&reason=no+more&binary=AP8%3D", "").is(204, "")
	if got := bob.Receive(); got != (workertest.Frame{Kind: worker.Binary, Data: "\x00\xff"}) {
		t.Errorf("got %v", got)
	}
	if code, reason := bob.Closed(); code != 4100 || reason != "no more" {
		t.Errorf("closed with %d %q", code, reason)
	}
	eve, eveID := f.connect(0)
	f.ask("DELETE", "clients/"+string(eveID)+"?abort=true", "").is(204, "")
	if code, _ := eve.Closed(); code != 1006 {
		t.Errorf("aborted with %d", code)
	}
}

func TestSession(t *testing.T) {
	f := start(t, 1)
	_, id := f.connect(0)
	at := "clients/" + string(id) + "/session"
	const patch = "application/merge-patch+json"
	etag := func(a answered, want string) {
		t.Helper()
		if got := a.header.Get("ETag"); got != want {
			t.Errorf("ETag %q, want %q", got, want)
		}
	}
	etag(f.ask("GET", at, "").is(200, "null"), `"0"`)
	etag(f.ask("PUT", at, `{"a": 1, "b": {"c": 12345678901234567890}}`, "If-Match", `"0"`).is(204, ""), `"1"`)
	etag(f.ask("GET", at, "").is(200, `{"a":1,"b":{"c":12345678901234567890}}`), `"1"`)
	f.ask("GET", at, "", "If-None-Match", `W/"7", "1"`).is(304, "")
	f.ask("PUT", at, `{}`, "If-Match", `"0"`).problem(sessionChanged, "")
	f.ask("PUT", at, `{}`, "If-Match", `W/"1"`).problem(sessionChanged, "")
	f.ask("PUT", at, `{}`, "If-Match", `"1", "2"`).problem(badRequest, "more than one")
	f.ask("PUT", at, `{}`, "If-None-Match", `*`).problem(badRequest, "If-None-Match")
	f.ask("PATCH", at, `{"b":{"d":true}}`, "Content-Type", patch).is(204, "")
	etag(f.ask("PATCH", at, `{"a":null}`, "Content-Type", patch, "If-Match", `"2"`).is(204, ""), `"3"`)
	f.ask("PATCH", at, `{"a":null}`, "Content-Type", patch, "If-Match", `"2"`).problem(sessionChanged, "version 3")
	f.ask("PATCH", at, `{}`).problem(mediaType, patch)
	f.ask("GET", at, "").is(200, `{"b":{"c":12345678901234567890,"d":true}}`)
	f.ask("PUT", at, quoted(strings.Repeat("x", 2047))).problem(overLimit, "2049 bytes")
	f.ask("PUT", at, quoted(strings.Repeat("x", 20000))).problem(overLimit, "20002 bytes")
	f.ask("PATCH", at, `{"x":`+quoted(strings.Repeat("x", 2020))+`}`, "Content-Type", patch).problem(overLimit, "the limit is 2048")
	f.ask("PUT", at, `{"a":}`).problem(badRequest, "not JSON")
	f.ask("PUT", at, `"\ud800"`).problem(badRequest, "surrogate")
	f.ask("DELETE", at, "", "If-Match", `"1"`).problem(sessionChanged, "")
	f.ask("DELETE", at, "").is(204, "")
	f.ask("GET", at, "").is(200, "null")
	f.ask("PUT", at, `"*"`, "If-Match", "*").is(204, "")
	f.ask("GET", at, "").is(200, `"*"`)
}

// Names are carried faithfully, or refused.
func TestHostileNames(t *testing.T) {
	f := start(t, 2)
	good := []string{
		"0", "a.b", "*", ">", "a/b", "//", "a b", " ", "%2F", "%", "a%20b", "+", "?", "#", "é", "🐙", "\x00", "\n", "\u202e",
		"<script>", `"`, `\`, "gw.all.push.all", strings.Repeat("x", 256), strings.Repeat("🐙", 64), ";", "&", "a;b=c", "..a", "'",
	}
	if testing.Short() {
		good = good[:8]
	}
	cl, id := f.connect(0)
	other, _ := f.connect(1)
	at := "clients/" + string(id)
	for _, name := range good {
		f.ask("PUT", at+"/uid", `{"uid":`+quoted(name)+`}`).is(200, "")
		f.ask("PUT", at+"/groups/"+escaped(name), "").is(204, "")
		var c worker.ClientInfo
		f.ask("GET", at, "").is(200, "").into(&c)
		if c.UID != name || !slices.Contains(c.Groups, name) {
			t.Errorf("%q became uid %q and groups %q", name, c.UID, c.Groups)
		}
		var n Name
		for _, path := range []string{"uids/", "groups/"} {
			f.ask("GET", path+escaped(name), "").is(200, "").into(&n)
			if n.Name != name || n.Clients != 1 {
				t.Errorf("%s%s: %+v", path, name, n)
			}
		}
		var list Clients
		for _, query := range []string{"uid=", "group="} {
			f.ask("GET", "clients?"+query+queryEscaped(name), "").is(200, "").into(&list)
			if len(list.Clients) != 1 || list.Clients[0].Client != id {
				t.Errorf("clients of %s%q: %+v", query, name, list)
			}
		}
		var names Names
		f.ask("GET", "uids?limit=1", "").is(200, "").into(&names)
		if len(names.Names) != 1 || names.Names[0].Name != name {
			t.Errorf("uids: %+v, want %q", names, name)
		}
		f.ask("POST", "push", `{"to":{"group":`+quoted(name)+`},"text":`+quoted(name)+`}`).is(200, `{"clients":1}`)
		cl.Expect(name)
		f.ask("DELETE", at+"/groups/"+escaped(name), "").is(204, "")
		f.ask("DELETE", "groups/"+escaped(name), "").is(200, `{"clients":0}`)
	}
	if got := other.Pending(); len(got) > 0 {
		t.Errorf("somebody else got %v", got)
	}
	long := strings.Repeat("x", 10<<10)
	for name, says := range map[string]string{
		"": "it is empty", "%ff": "not valid UTF-8", "a%00%c3%28": "not valid UTF-8", long: "10240 bytes, the limit is 256",
		"%ed%a0%80": "not valid UTF-8", strings.Repeat("x", 257): "257 bytes",
	} {
		f.ask("GET", "groups/"+name, "").problem(badRequest, "group: bad name")
		for _, path := range []string{"groups/" + name, "uids/" + name, at + "/groups/" + name} {
			method := "GET"
			if strings.HasPrefix(path, at) {
				method = "PUT"
			}
			f.ask(method, path, "").problem(badRequest, says)
		}
		f.ask("GET", "clients?group="+name, "").problem(badRequest, strings.TrimPrefix(says, "bad "))
		f.ask("GET", "clients?uid="+name, "").problem(badRequest, says)
	}
	for _, id := range []string{"", "x", "g1", "all-1-1", "g1-1-%2F", "g1-01-1", "*", long} {
		f.ask("GET", "clients/"+id, "").problem(badRequest, "client: ")
		f.ask("GET", "clients?after="+id, "").problem(badRequest, "after: ")
	}
}

func TestMethods(t *testing.T) {
	f := start(t, 1)
	_, id := f.connect(0)
	at := "clients/" + string(id)
	a := f.ask("OPTIONS", at+"/session", "").is(204, "")
	if got := a.header.Get("Allow"); got != "DELETE, GET, HEAD, OPTIONS, PATCH, PUT" {
		t.Errorf("Allow: %s", got)
	}
	a = f.ask("DELETE", "clients", "")
	a.problem(methodNotAllowed, "GET, HEAD, OPTIONS")
	if got := a.header.Get("Allow"); got != "GET, HEAD, OPTIONS" {
		t.Errorf("Allow: %s", got)
	}
	for _, path := range []string{"", "nothing", "clients/" + string(id) + "/shoes", "push/", "../v1/clients", "/clients"} {
		f.ask("GET", path, "").problem(notFound, "openapi.yaml")
	}
	f.ask("TRACE", "push", "").problem(methodNotAllowed, "TRACE")
	for _, timeout := range []string{"", "5", "1ms", "31s", "-1s", "x"} {
		f.ask("GET", "clients?timeout="+timeout, "").problem(badRequest, "timeout: ")
	}
	for _, query := range []string{"limit=0", "limit=10001", "limit=x", "limit=", "fields=teeth", "uid=a&group=b", "group=a&group=b", "page=2", "limit=%zz"} {
		f.ask("GET", "clients?"+query, "").problem(badRequest, "")
	}
	f.ask("GET", "openapi.yaml", "").is(200, strings.TrimSpace(string(openapi)))
	f.ask("GET", "openapi.json?timeout=1s", "").is(200, "")
	var g Gateways
	f.ask("GET", "gateways", "").is(200, "").into(&g)
	if len(g.Gateways) != 1 || g.Gateways[0].Gateway != "g1" || !g.Gateways[0].Up || g.Gateways[0].ClientAddress == "" {
		t.Errorf("%+v", g)
	}
}

func TestTokens(t *testing.T) {
	f := start(t, 1, "a-token-of-the-shop", "another-token-1234")
	auth := func(a answered) string { return a.header.Get("WWW-Authenticate") }
	a := f.ask("GET", "clients", "")
	a.problem(unauthorized, "Authorization: Bearer TOKEN")
	if auth(a) != `Bearer realm="gatebus"` {
		t.Error(auth(a))
	}
	for _, header := range []string{"Bearer", "Bearer ", "Bearer a-token-of-the-sho", "Bearer a-token-of-the-shop2", "Basic YTpi", "a-token-of-the-shop", "Bearer a-token-of-the-shop another-token-1234"} {
		a := f.ask("GET", "clients", "", "Authorization", header)
		a.problem(unauthorized, "not one of those")
		if auth(a) != `Bearer realm="gatebus", error="invalid_token"` {
			t.Error(auth(a))
		}
	}
	f.ask("OPTIONS", "clients", "").problem(unauthorized, "")
	f.ask("GET", "openapi.yaml", "").problem(unauthorized, "")
	for _, header := range []string{"Bearer a-token-of-the-shop", "bearer  another-token-1234"} {
		f.ask("GET", "clients", "", "Authorization", header, "Origin", "https://shop.example", "Host", "gatebus.example").is(200, `{"clients":[]}`)
	}
}

// Tokens can be replaced: what is taken away is refused, and ends what was let in by
// it and is still served; who has a token that stays notices nothing.
func TestSetTokens(t *testing.T) {
	const first, second, third = "the-first-token-0", "the-second-token-", "the-third-token-0"
	h := New(Config{Cluster: func() *worker.Cluster { return nil }, Tokens: []string{first, second, second}})
	stream := httptest.NewServer(h.Guard(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
		_, _ = io.WriteString(w, context.Cause(r.Context()).Error())
	})))
	defer stream.Close()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	open := func(token string) *http.Response {
		t.Helper()
		req, err := http.NewRequestWithContext(ctx, "GET", stream.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		if token != "" {
			req.Header.Set("Authorization", "Bearer "+token)
		}
		resp, err := transport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { resp.Body.Close() })
		return resp
	}
	ends := func(resp *http.Response) {
		t.Helper()
		if text, err := io.ReadAll(resp.Body); err != nil || !strings.Contains(string(text), "not one of those that are configured any more") {
			t.Errorf("a request whose token was taken away ends with %q, %v", text, err)
		}
	}
	old, stays := open(first), open(second)
	h.SetTokens([]string{second, third})
	ends(old)
	for token, want := range map[string]int{first: 401, second: 200, third: 200, "": 401} {
		if got := open(token).StatusCode; got != want {
			t.Errorf("token %q: %d, want %d", token, got, want)
		}
	}
	h.SetTokens(nil)
	ends(stays) // and had the second one until now
	local := open("")
	h.SetTokens([]string{third})
	ends(local)
}

// Without tokens, what web pages could send is refused.
func TestWebPages(t *testing.T) {
	f := start(t, 1)
	own := strings.TrimPrefix(f.server.URL, "http://")
	for _, c := range []struct {
		header []string
		status int
	}{
		{nil, 200},
		{[]string{"Origin", f.server.URL, "Sec-Fetch-Site", "same-origin"}, 200},
		{[]string{"Sec-Fetch-Site", "none"}, 200},
		{[]string{"Host", "localhost:8280"}, 200},
		{[]string{"Host", "[::1]:8280"}, 200},
		{[]string{"Host", "127.0.0.1"}, 200},
		{[]string{"Origin", "http://localhost:1"}, 403},
		{[]string{"Origin", "https://" + own}, 403},
		{[]string{"Origin", "https://evil.example"}, 403},
		{[]string{"Origin", "null"}, 403},
		{[]string{"Sec-Fetch-Site", "cross-site"}, 403},
		{[]string{"Sec-Fetch-Site", "same-site"}, 403},
		{[]string{"Host", "evil.example:8280"}, 403}, // resolves to 127.0.0.1
		{[]string{"Host", "evil.example", "Origin", "http://evil.example"}, 403},
		{[]string{"Host", "localhost.evil.example"}, 403},
		{[]string{"Host", "10.0.0.5:8280"}, 403},
	} {
		a := f.ask("GET", "clients", "", c.header...)
		if a.status != c.status {
			t.Errorf("%q: %d, want %d", c.header, a.status, c.status)
		}
		if a.status == 403 {
			a.problem(forbidden, "set api.tokens")
		}
	}
	f.ask("POST", "push", `{"to":{"all":true},"text":"x"}`, "Content-Type", "text/plain;charset=UTF-8").problem(mediaType, "")
	f.ask("POST", "push", `{"to":{"all":true},"text":"x"}`, "Content-Type", "application/x-www-form-urlencoded").problem(mediaType, "")
	a := f.ask("OPTIONS", "push", "", "Origin", "https://evil.example", "Access-Control-Request-Method", "POST")
	a.problem(forbidden, "evil.example")
}

func TestNoGateway(t *testing.T) {
	f := serve(t, Config{Cluster: func() *worker.Cluster { return nil }})
	a := f.ask("GET", "clients", "")
	a.problem(noGateway, "not connected to the registers yet")
	if a.header.Get("Retry-After") == "" {
		t.Error("there is no Retry-After")
	}
	f.ask("GET", "gateways", "").problem(noGateway, "")
	f.ask("GET", "openapi.json", "").is(http.StatusOK, "")

	w, err := worker.New(worker.Config{}, worker.HandlerFunc(func(context.Context, *worker.Event) error { return nil }))
	if err != nil {
		t.Fatal(err)
	}
	g := serve(t, Config{Cluster: w.Cluster})
	g.ask("GET", "clients", "").problem(noGateway, "there is no gateway")
	g.ask("POST", "push", `{"to":{"all":true},"text":"x"}`).problem(noGateway, "there is no gateway")
	g.ask("GET", "gateways", "").is(200, `{"gateways":[]}`)
}
