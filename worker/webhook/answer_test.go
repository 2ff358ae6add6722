package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/worker"
)

// answered is a response. Headers are name and value in turns.
func answered(status int, body string, headers ...string) *response {
	r := &response{status: status, header: http.Header{}, body: []byte(body)}
	for i := 0; i < len(headers); i += 2 {
		r.header.Add(headers[i], headers[i+1])
	}
	return r
}

func TestAnswerToFrame(t *testing.T) {
	frame := func(kind worker.Kind, data string) bus.Reply { return bus.Reply{Kind: kind, Data: []byte(data)} }
	closed := bus.Reply{Status: bus.Closed, Code: 4401, Reason: "no more"}
	withFrame := closed
	withFrame.Kind, withFrame.Data = worker.Text, []byte("bye")
	for _, tt := range []struct {
		name string
		resp *response
		want bus.Reply
		err  string
	}{
		{"text", answered(200, "hi", "Content-Type", "text/plain"), frame(worker.Text, "hi"), ""},
		{"html, as PHP has it", answered(200, "hi", "Content-Type", "text/html; charset=UTF-8"), frame(worker.Text, "hi"), ""},
		{"json", answered(201, "{}", "Content-Type", "application/json"), frame(worker.Text, "{}"), ""},
		{"json of a kind", answered(200, "{}", "Content-Type", "application/problem+json"), frame(worker.Text, "{}"), ""},
		{"capitals", answered(200, "{}", "Content-Type", "Application/JSON"), frame(worker.Text, "{}"), ""},
		{"binary", answered(200, "\xff", "Content-Type", "application/octet-stream"), frame(worker.Binary, "\xff"), ""},
		{"kind by header", answered(200, "hi", "Content-Type", "image/png", "Gb-Kind", "binary"), frame(worker.Binary, "hi"), ""},
		{"empty text", answered(200, "", "Gb-Kind", "text"), frame(worker.Text, ""), ""},
		{"empty binary", answered(204, "", "Gb-Kind", "binary"), frame(worker.Binary, ""), ""},
		{"no body", answered(200, "", "Content-Type", "text/html; charset=UTF-8"), bus.Reply{}, ""},
		{"204", answered(204, ""), bus.Reply{}, ""},
		{"no type", answered(200, "hi"), bus.Reply{}, ""},
		{"close", answered(200, "", "Gb-Status", "close 4401 no more"), closed, ""},
		{"close with frame", answered(200, "bye", "Gb-Status", "close 4401 no more", "Content-Type", "text/plain"), withFrame, ""},
		{"close without code", answered(200, "", "Gb-Status", "close"), bus.Reply{Status: bus.Closed, Code: 4002}, ""},
		{"long reason", answered(200, "", "Gb-Status", "close 4401 "+strings.Repeat("ü", 100)),
			bus.Reply{Status: bus.Closed, Code: 4401, Reason: strings.Repeat("ü", 61)}, ""},

		{"other type", answered(200, "x", "Content-Type", "image/png"), bus.Reply{}, `the response has the Content-Type "image/png": a frame is text/*, application/json or application/octet-stream, or Gb-Kind says its kind`},
		{"no type at all", answered(200, "x", "Content-Type", ";"), bus.Reply{}, `has the Content-Type ";"`},
		{"not UTF-8", answered(200, "\xff", "Content-Type", "text/plain"), bus.Reply{}, "not valid UTF-8; send it as application/octet-stream"},
		{"bad kind", answered(200, "x", "Gb-Kind", "close"), bus.Reply{}, "Gb-Kind"},
		{"bad status", answered(200, "", "Gb-Status", "shut"), bus.Reply{}, `Gb-Status "shut"`},
		{"busy", answered(200, "", "Gb-Status", "busy"), bus.Reply{}, "answers 503 with Retry-After"},
		{"working", answered(200, "", "Gb-Status", "working"), bus.Reply{}, "answers 503 with Retry-After"},
		{"reject", answered(200, "", "Gb-Status", "reject 403"), bus.Reply{}, "reject answers only an open event"},
		{"bad code", answered(200, "", "Gb-Status", "close 1006"), bus.Reply{}, "1006"},
		{"misspelt header", answered(200, "", "Gb-Jion", "a"), bus.Reply{}, "the response has the header Gb-Jion, which means nothing; there are Gb-Kind, "},
		{"400", answered(400, "bad\nthing"), bus.Reply{}, `it answers 400 Bad Request: "bad\nthing"`},
		{"403 of a page", answered(403, strings.Repeat("x", 1000)), bus.Reply{}, `it answers 403 Forbidden: "` + strings.Repeat("x", 200) + `"`},
		{"302", answered(302, "", "Location", "/x"), bus.Reply{}, "redirects are not followed"},
		{"304", answered(304, ""), bus.Reply{}, "it answers 304"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, err := readAnswer(worker.Text, tt.resp)
			if tt.err != "" || err != nil {
				if err == nil || tt.err == "" || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("error %v, want %q", err, tt.err)
				}
				return
			}
			if a.reply.Kind == 0 {
				a.reply.Data = nil
			}
			if len(a.reply.Data) == 0 && len(tt.want.Data) == 0 {
				a.reply.Data = tt.want.Data
			}
			if !reflect.DeepEqual(a.reply, tt.want) {
				t.Errorf("got %+v, want %+v", a.reply, tt.want)
			}
			if a.ignored != (tt.name == "no type") {
				t.Errorf("a body is ignored: %v", a.ignored)
			}
		})
	}
}

func TestAnswerToOpen(t *testing.T) {
	rejected := func(code int, reason string) *answer {
		return &answer{reply: bus.Reply{Status: bus.Rejected, Code: code, Reason: reason}}
	}
	admits := func(a worker.Admission) *answer { return &answer{admit: a} }
	for _, tt := range []struct {
		name string
		resp *response
		want *answer
		err  string
	}{
		{"nothing", answered(204, ""), admits(worker.Admission{}), ""},
		{"not JSON", answered(200, "welcome", "Content-Type", "text/html"), admits(worker.Admission{}), ""},
		{"echo", answered(200, `{"client":"g1-1-1","headers":{}}`), admits(worker.Admission{}), ""},
		{"all", answered(200, `{"uid":"ann","groups":["a","b"],"session":{"n":1},"subprotocol":"v2"}`),
			admits(worker.Admission{UID: "ann", Groups: []string{"a", "b"}, Session: json.RawMessage(`{"n":1}`), Subprotocol: "v2"}), ""},
		{"headers", answered(200, "", "Gb-Bind", "%f0%9f%a6%84", "Gb-Join", "a, b%2Cc", "Gb-Join", "d", "Gb-Set-Session", `{"n":1}`),
			admits(worker.Admission{UID: "🦄", Groups: []string{"a", "b,c", "d"}, Session: json.RawMessage(`{"n":1}`)}), ""},
		{"others", answered(200, `{"uid":"ann","others":"replace"}`), admits(worker.Admission{UID: "ann", Others: worker.ReplaceOthers}), ""},
		{"others in a header", answered(200, "", "Gb-Bind", "ann", "Gb-Bind-Others", "refuse"), admits(worker.Admission{UID: "ann", Others: worker.RefuseOthers}), ""},
		{"both", answered(200, `{"uid":"ann","groups":["a"],"session":1}`, "Gb-Bind", "bob", "Gb-Join", "b", "Gb-Set-Session", `2`),
			admits(worker.Admission{UID: "bob", Groups: []string{"a", "b"}, Session: json.RawMessage("2")}), ""},

		{"403", answered(403, " no ticket\nsecond line", "Content-Type", "text/plain"), rejected(403, "no ticket"), ""},
		{"401 of PHP", answered(401, "who?", "Content-Type", "text/html; charset=UTF-8"), rejected(401, "who?"), ""},
		{"404 with a page", answered(404, "<html>\n<title>404</title>", "Content-Type", "text/html"), rejected(404, ""), ""},
		{"422 with JSON", answered(422, `{"error":1}`, "Content-Type", "application/json"), rejected(422, ""), ""},
		{"400 without type", answered(400, "x"), rejected(400, ""), ""},
		{"499, long", answered(499, strings.Repeat("x", 4096), "Content-Type", "text/plain"), rejected(499, strings.Repeat("x", 123)), ""},
		{"400 of bytes", answered(400, "\xff", "Content-Type", "text/plain"), rejected(400, ""), ""},
		{"reject", answered(200, `{"uid":""}`, "Gb-Status", "reject 418 tea"), rejected(418, "tea"), ""},
		{"close", answered(200, "", "Gb-Status", "close 4100 go"), &answer{reply: bus.Reply{Status: bus.Closed, Code: 4100, Reason: "go"}}, ""},

		{"redirect", answered(301, "", "Location", "/x"), nil, "redirects are not followed"},
		{"bad JSON", answered(200, `{"uid":`), nil, "reply to open"},
		{"empty group", answered(200, `{"groups":[""]}`), nil, "group: bad name: it is empty"},
		{"long uid", answered(200, `{"uid":"`+strings.Repeat("x", 257)+`"}`), nil, "257 bytes, the limit is 256"},
		{"not UTF-8", answered(200, "{\"uid\":\"\xff\"}"), nil, "not valid UTF-8"},
		{"unbind", answered(200, "", "Gb-Unbind", "true"), nil, "answer no open event"},
		{"leave", answered(200, "", "Gb-Leave", "a"), nil, "answer no open event"},
		{"merge", answered(200, "", "Gb-Merge-Session", "{}"), nil, "answer no open event"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, err := readAnswer(worker.Open, tt.resp)
			if tt.err != "" || err != nil {
				if err == nil || tt.err == "" || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("error %v, want %q", err, tt.err)
				}
				return
			}
			a.reply.Data, a.change = nil, change{}
			if !reflect.DeepEqual(a, tt.want) {
				t.Errorf("got %+v, want %+v", a, tt.want)
			}
		})
	}
}

// The client is gone: its close event is acknowledged, whatever is answered.
func TestAnswerToClose(t *testing.T) {
	a, err := readAnswer(worker.Close, answered(200, "bye", "Content-Type", "image/png", "Gb-Join", "", "Gb-Status", "shut", "Gb-X", "y"))
	if err != nil || !reflect.DeepEqual(a, &answer{}) {
		t.Errorf("%+v, %v", a, err)
	}
	for _, status := range []int{302, 404} {
		if _, err := readAnswer(worker.Close, answered(status, "")); err == nil {
			t.Errorf("%d acknowledges", status)
		}
	}
}

// Names that the receiver encodes by its language's usual means come back as they
// were.
func TestNames(t *testing.T) {
	// PHP's rawurlencode and JavaScript's encodeURIComponent leave these.
	some := strings.NewReplacer("%2E", ".", "%7E", "~", "%2D", "-", "%21", "!", "%28", "(", "%2A", "*")
	for _, name := range hostile {
		token, err := bus.Escape(name)
		if err != nil {
			t.Fatal(err)
		}
		for encoder, v := range map[string]string{
			"all": token, "lower": strings.ToLower(token), "Go": url.PathEscape(name), "some": some.Replace(token),
			"query": strings.ReplaceAll(url.QueryEscape(name), "+", "%20"),
		} {
			v = strings.ReplaceAll(v, ",", "%2C")
			if encoder == "lower" && strings.ToLower(name) != name {
				continue
			}
			var c change
			if err := c.read(http.Header{headerBind: {v}, headerJoin: {"a," + v, " " + v + "\t, b"}, headerLeave: {v}}); err != nil {
				t.Errorf("%q, encoded by %s as %q: %v", name, encoder, v, err)
				continue
			}
			if c.bind != name || !slices.Equal(c.join, []string{"a", name, name, "b"}) || !slices.Equal(c.leave, []string{name}) {
				t.Errorf("%q, encoded by %s as %q: read as %+v", name, encoder, v, c)
			}
		}
	}
	for v, want := range map[string]string{
		"": "it is empty", "  ": "it is empty", "a,,b": "it is empty", "a,": "it is empty",
		"100%": "a percent sign is not followed by two hexadecimal digits; send it as %25", "%4": "percent sign", "%zz": "percent sign", "%+1": "percent sign",
		strings.Repeat("x", 257): "257 bytes, the limit is 256", strings.Repeat("%41", 257): "257 bytes", "%ff": "not valid UTF-8", "\xff": "not valid UTF-8",
	} {
		var c change
		if err := c.read(http.Header{headerJoin: {v}}); err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "Gb-Join") {
			t.Errorf("%q: read as %q, %v", v, c.join, err)
		}
	}
}

func TestChangeHeaders(t *testing.T) {
	long := `"` + strings.Repeat("x", 2047) + `"`
	for _, tt := range []struct {
		headers []string
		want    change
		err     string
	}{
		{nil, change{}, ""},
		{[]string{"Gb-Bind", "a", "Gb-Bind-Others", "replace"}, change{bind: "a", others: worker.ReplaceOthers}, ""},
		{[]string{"Gb-Bind", "a", "Gb-Bind-Others", "refuse"}, change{bind: "a", others: worker.RefuseOthers}, ""},
		{[]string{"Gb-Bind", "a", "Gb-Bind-Others", "allow"}, change{bind: "a"}, ""},
		{[]string{"Gb-Unbind", "true"}, change{unbind: true}, ""},
		{[]string{"Gb-Unbind", "0"}, change{}, ""},
		{[]string{"Gb-Set-Session", ` "ü%41" `}, change{set: json.RawMessage(`"ü%41"`)}, ""},
		{[]string{"Gb-Set-Session", "null"}, change{set: json.RawMessage("null")}, ""},
		{[]string{"Gb-Merge-Session", `{"a":null}`}, change{merge: json.RawMessage(`{"a":null}`)}, ""},

		{[]string{"Gb-Bind", "a", "Gb-Bind", "b"}, change{}, "Gb-Bind is there 2 times"},
		{[]string{"Gb-Bind", "a", "Gb-Bind-Others", "kick"}, change{}, `Gb-Bind-Others "kick": it is allow, replace or refuse`},
		{[]string{"Gb-Bind-Others", "replace"}, change{}, "which is not there"},
		{[]string{"Gb-Bind", "a", "Gb-Unbind", "true"}, change{}, "send one of them"},
		{[]string{"Gb-Unbind", ""}, change{}, `Gb-Unbind "": it is true or false`},
		{[]string{"Gb-Set-Session", "{"}, change{}, "it is not JSON"},
		{[]string{"Gb-Set-Session", ""}, change{}, "it is not JSON"},
		{[]string{"Gb-Set-Session", long}, change{}, "2049 bytes, the limit is 2048"},
		{[]string{"Gb-Set-Session", "\"\xff\""}, change{}, "not valid UTF-8"},
		{[]string{"Gb-Set-Session", "1", "Gb-Merge-Session", "{}"}, change{}, "send one of them"},
		{[]string{"Gb-Merge-Session", "[]"}, change{}, "it is a JSON object"},
	} {
		a, err := readAnswer(worker.Text, answered(204, "", tt.headers...))
		switch {
		case tt.err != "" || err != nil:
			if err == nil || tt.err == "" || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%q: error %v, want %q", tt.headers, err, tt.err)
			}
		case !reflect.DeepEqual(a.change, tt.want):
			t.Errorf("%q: %+v, want %+v", tt.headers, a.change, tt.want)
		}
	}
}

// recorder is a client that writes down what is done to it.
type recorder struct {
	did  []string
	fail string
	err  error
}

func (r *recorder) do(format string, args ...any) error {
	s := fmt.Sprintf(format, args...)
	r.did = append(r.did, s)
	if r.fail != "" && strings.HasPrefix(s, r.fail) {
		return fmt.Errorf("worker: %w", r.err)
	}
	return nil
}

func (r *recorder) Bind(_ context.Context, uid string, others worker.Others) error {
	return r.do("bind %s %s", uid, others)
}
func (r *recorder) Unbind(context.Context) error                    { return r.do("unbind") }
func (r *recorder) Join(_ context.Context, groups ...string) error  { return r.do("join %q", groups) }
func (r *recorder) Leave(_ context.Context, groups ...string) error { return r.do("leave %q", groups) }
func (r *recorder) SetSession(_ context.Context, s json.RawMessage) error {
	return r.do("set %s", s)
}
func (r *recorder) MergeSession(_ context.Context, s json.RawMessage) error {
	return r.do("merge %s", s)
}

func TestChange(t *testing.T) {
	inBubble(t, testConfig(), func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Gb-Bind", "ann")
		h.Set("Gb-Bind-Others", "replace")
		h.Set("Gb-Join", "b, c")
		h.Set("Gb-Leave", "a")
		h.Set("Gb-Merge-Session", `{"n":1}`)
	}, func(t *testing.T, f *fixture) {
		r := &recorder{}
		f.h.clientOf = func(*worker.Event) client { return r }
		if err := f.h.Handle(t.Context(), event(worker.Text, "x")); err != nil {
			t.Fatal(err)
		}
		want := []string{"bind ann replace", `leave ["a"]`, `join ["b" "c"]`, `merge {"n":1}`}
		if !slices.Equal(r.did, want) {
			t.Errorf("did %q, want %q", r.did, want)
		}
		partial := &worker.PartialError{Missing: map[bus.GatewayID]error{"g2": errors.New("cut off")}}
		for _, tt := range []struct {
			fail string
			err  error
			did  int
			want string
		}{
			{"join", errors.New("it cannot be"), 3, "webhook: http://127.0.0.1/hook: the response's Gb-Join: worker: it cannot be"},
			{"join", worker.ErrLimit, 3, "webhook: http://127.0.0.1/hook: the response's Gb-Join: worker: over the limit"},
			{"leave", worker.ErrNoClient, 2, ""}, // it has left
			{"bind", worker.ErrUIDTaken, 1, ""},  // it was replaced, and closed
			{"bind", partial, 4, ""},             // nothing is known of those
			{"join", partial, 3, "webhook: http://127.0.0.1/hook: the response's Gb-Join: worker: worker: a gateway did not answer: g2: cut off"},
		} {
			r.did, r.fail, r.err = nil, tt.fail, tt.err
			err, got := f.h.Handle(t.Context(), event(worker.Text, "x")), ""
			if err != nil {
				got = err.Error()
			}
			if got != tt.want || len(r.did) != tt.did {
				t.Errorf("%s: %v: %q after %q, want %q", tt.fail, tt.err, got, r.did, tt.want)
			}
		}
		if s := f.h.Stats(); s.Failed != 3 {
			t.Errorf("stats %+v", s)
		}
		if n := strings.Count(f.log.String(), "other clients of a uid may stay"); n != 1 {
			t.Errorf("%d warnings:\n%s", n, f.log)
		}
	})
}
