package portfuzz

import (
	"fmt"
	"strings"
)

// apiRequests are what the HTTP API is asked, and what it is told beside. None is about
// everybody: there are some who behave.
var apiRequests = []struct{ method, path, body string }{
	{"POST", "push", `{"to": {"group": "fuzz1"}, "text": "hello"}`},
	{"POST", "push", `{"to": {"uids": ["fuzz1", "fuzz2"]}, "binary": "AAEC/w==", "except": ["front-1-1"]}`},
	{"POST", "close", `{"to": {"uid": "fuzz1"}, "code": 4200, "reason": "bye", "text": "x", "abort": true}`},
	{"POST", "join", `{"to": {"clients": ["front-zzzzzz-1"]}, "groups": ["fuzz1"]}`},
	{"POST", "leave", `{"to": {"group": "fuzz1"}, "groups": ["fuzz1"]}`},
	{"POST", "unbind", `{"to": {"uid": "fuzz1"}}`},
	{"GET", "counts?of=uids&group=fuzz1", ""},
	{"POST", "counts", `{"uids": ["fuzz1"], "groups": ["fuzz2"]}`},
	{"GET", "clients?fields=uid,groups,session,open&limit=10&group=fuzz1&after=front-1-1", ""},
	{"GET", "clients/wild-1-1", ""},
	{"DELETE", "clients/wild-1-1?code=4200&reason=x&text=y&abort=true", ""},
	{"PUT", "clients/wild-1-1/uid", `{"uid": "fuzz1", "others": "replace"}`},
	{"DELETE", "clients/wild-1-1/uid", ""},
	{"POST", "clients/wild-1-1/groups", `{"groups": ["fuzz1"]}`},
	{"PUT", "clients/wild-1-1/groups/fuzz%2F1", ""},
	{"DELETE", "clients/wild-1-1/groups/fuzz1", ""},
	{"GET", "clients/wild-1-1/session", ""},
	{"PUT", "clients/wild-1-1/session", `{"a": [1, 2, {"b": null}]}`},
	{"PATCH", "clients/wild-1-1/session", `{"a": null}`},
	{"DELETE", "clients/wild-1-1/session", ""},
	{"GET", "uids?group=fuzz1&limit=5&after=a", ""},
	{"GET", "uids/fuzz1", ""},
	{"GET", "groups", ""},
	{"GET", "groups/fuzz1", ""},
	{"DELETE", "groups/fuzz1", ""},
	{"GET", "gateways", ""},
	{"GET", "openapi.yaml", ""},
	{"GET", "openapi.json", ""},
}

// otherPaths are what else an admin address has, profiles that take long aside.
var otherPaths = []string{
	"/", "/healthz", "/readyz", "/stats", "/metrics", "/chat", "/dashboard/", "/dashboard/data/state", "/dashboard/data/live",
	"/dashboard/data/tap?client=wild-1-1", "/dashboard/data/tap?group=fuzz1&filter=x", "/dashboard/../../../etc/passwd", "/dashboard/%2e%2e/",
	"/debug/pprof/", "/debug/pprof/heap?debug=1", "/debug/pprof/goroutine?seconds=1", "/debug/pprof/profile?seconds=x", "/debug/pprof/nothing", "/debug/pprof/cmdline",
	"/api/", "/api/v1/", "/api/v2/push",
}

// request is one of HTTP, or nearly.
func (s *stage) request(d dice) []byte {
	method, path, body := "GET", of(d, otherPaths...), ""
	if d.once(2) {
		r := of(d, apiRequests...)
		method, path, body = r.method, "/api/v1/"+r.path, r.body
		if d.once(3) {
			path += of(d, "?", "&") + of(d, "timeout="+d.maybe("10ms"), "limit="+d.digits(), d.word())
		}
	}
	if d.once(3) {
		path = strings.ReplaceAll(d.text(path), " ", "%20")
	}
	if d.once(2) {
		body = d.text(body)
	}
	if d.once(20) {
		body = strings.Repeat(of(d, "[", `{"a":`, "x", `{"to":{"uids":["`), d.length(30<<10))
	}
	headers := []string{"Host: " + of(d, "127.0.0.1", "127.0.0.1", "localhost", d.maybe("fuzz.example"))}
	if !d.once(4) {
		headers = append(headers, "Authorization: "+d.maybe("Bearer "+s.token))
	}
	for range d.IntN(3) {
		headers = append(headers, of(d,
			"If-Match: "+d.maybe(`"1"`), "Accept: "+d.maybe("text/html, application/openmetrics-text;version=1.0.0;q=0.5"),
			"Accept-Encoding: "+d.maybe("gzip"), "Origin: "+d.maybe("null"), "Sec-Fetch-Site: "+d.word(),
			"Connection: "+d.maybe("close"), "Expect: 100-continue", "Range: bytes="+d.digits()+"-"+d.digits(),
			"If-Modified-Since: "+d.word(), d.word()+":"+d.word(), "X-Large: "+strings.Repeat("x", d.length(80<<10)),
		))
	}
	text := body
	switch {
	case body == "" && !d.once(10):
	case d.once(3):
		headers = append(headers, "Transfer-Encoding: "+d.maybe("chunked"))
		text = chunks(d, body)
	case d.once(8):
		headers = append(headers, "Content-Length: "+d.digits())
	default:
		headers = append(headers, fmt.Sprint("Content-Length: ", len(body)))
	}
	if body != "" {
		headers = append(headers, "Content-Type: "+d.maybe(of(d, "application/json", "application/json", "application/merge-patch+json")))
	}
	return fmt.Appendf(nil, "%s %s %s\r\n%s\r\n\r\n%s", d.maybe(method), path, d.maybe("HTTP/1.1"), strings.Join(headers, "\r\n"), text)
}

// chunks are a body in those, or nearly.
func chunks(d dice, body string) string {
	var b strings.Builder
	for len(body) > 0 {
		n := 1 + d.IntN(len(body))
		size := fmt.Sprintf("%x", n)
		if d.once(8) {
			size = of(d, d.word(), fmt.Sprintf("%x", d.number()), size+";"+d.word())
		}
		b.WriteString(size + "\r\n" + body[:n] + of(d, "\r\n", "\r\n", "\r\n", "\r\n", "\n", ""))
		body = body[n:]
	}
	return b.String() + of(d, "0\r\n\r\n", "0\r\n\r\n", "0\r\nX-Trailer: x\r\n\r\n", "")
}

// requests are some on one connection.
func (s *stage) requests(d dice, _ *talk) (b []byte) {
	for range 1 + d.IntN(4) {
		b = append(b, s.request(d)...)
	}
	if d.once(6) {
		b = d.mutate(b)
	}
	if d.once(20) {
		b = of(d, d.bytes(4096), records(d), handshake(d, "/"), []byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"+string(d.bytes(200))))
	}
	return b[:min(len(b), maxSaid)]
}
