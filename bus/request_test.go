package bus_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/gatebus/gatebus/bus"
)

// A request comes back as it was sent, on the subject of its operation.
func TestRequests(t *testing.T) {
	t.Parallel()
	version, text := uint64(0), "bye"
	one, claim := bus.Selector{Client: "g1-1-2"}, bus.Claim{Client: "g1-1-2", At: 5}
	check := func(op, want string, r bus.Request, parse func([]byte) (bus.Request, error)) {
		t.Helper()
		m, err := bus.RequestMsg("g1", r)
		if err != nil {
			t.Fatalf("%s: %v", op, err)
		}
		if m.Subject != "gw.g1.do."+op || string(m.Data) != want {
			t.Errorf("%s: %s on %s, want %s", op, m.Data, m.Subject, want)
		}
		if back, err := parse(m.Data); err != nil || !reflect.DeepEqual(back, r) {
			t.Errorf("%s comes back as %+v, %v", m.Data, back, err)
		}
	}
	check("close", `{"uid":"a.b","except":["g1-1-3"],"code":4100,"reason":"r","text":"bye","abort":true,"before":{"client":"g1-1-2","at":5}}`,
		bus.CloseRequest{Selector: bus.Selector{UID: "a.b", Except: []bus.ClientID{"g1-1-3"}}, Code: 4100, Reason: "r", Text: &text, Abort: true, Before: &claim}, parse[bus.CloseRequest])
	check("close", `{"all":true,"binary":"AP8="}`, bus.CloseRequest{Selector: bus.Selector{All: true}, Binary: []byte{0, 255}}, parse[bus.CloseRequest])
	check("bind", `{"client":"g1-1-2","uid":"0","others":"replace","code":4100,"reason":"r"}`,
		bus.BindRequest{Client: "g1-1-2", UID: "0", Others: bus.ReplaceOthers, Code: 4100, Reason: "r"}, parse[bus.BindRequest])
	check("unbind", `{"clients":["g1-1-2","g2-1-3"]}`, bus.UnbindRequest{Selector: bus.Selector{Clients: []bus.ClientID{"g1-1-2", "g2-1-3"}}}, parse[bus.UnbindRequest])
	check("join", `{"client":"g1-1-2","groups":["*","😀"]}`, bus.JoinRequest{Selector: one, Groups: []string{"*", "😀"}}, parse[bus.JoinRequest])
	check("leave", `{"group":"x","groups":[">"]}`, bus.LeaveRequest{Selector: bus.Selector{Group: "x"}, Groups: []string{">"}}, parse[bus.LeaveRequest])
	check("dissolve", `{"group":"x"}`, bus.DissolveRequest{Group: "x"}, parse[bus.DissolveRequest])
	check("session", `{"client":"g1-1-2","merge":{"a":null},"if_version":0}`,
		bus.SessionRequest{Client: "g1-1-2", Merge: json.RawMessage(`{"a":null}`), Version: &version}, parse[bus.SessionRequest])
	check("info", `{"client":"g1-1-2"}`, bus.InfoRequest{Client: "g1-1-2"}, parse[bus.InfoRequest])
	check("count", `{"of":"clients","uids":["0"]}`, bus.CountRequest{Of: bus.OfClients, UIDs: []string{"0"}}, parse[bus.CountRequest])
	check("count", `{"of":"uids","group":"g"}`, bus.CountRequest{Of: bus.OfUIDs, Group: "g"}, parse[bus.CountRequest])
	check("list", `{"of":"clients","group":"g","after":"g1-1-2","limit":10000,"fields":["uid","groups","session","open"]}`,
		bus.ListRequest{Of: bus.OfClients, Group: "g", After: "g1-1-2", Limit: bus.MaxPage, Fields: []string{"uid", "groups", "session", "open"}}, parse[bus.ListRequest])
}

func parse[R bus.Request](data []byte) (bus.Request, error) { return bus.ParseRequest[R](data) }

// What cannot be is refused, with an error that says what it is.
func TestBadRequests(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", bus.MaxToken+1)
	for _, c := range []struct {
		parse func([]byte) (bus.Request, error)
		want  string
		bad   []string
	}{
		{parse[bus.CloseRequest], "say who is meant", []string{`{}`, `null`, `{"client":"g1-1-2","uid":"x"}`, `{"all":true,"group":"g"}`, `{"clients":[]}`, `{"group":""}`}},
		{parse[bus.CloseRequest], "last frame", []string{`{"all":true,"text":"a","binary":"AA=="}`}},
		{parse[bus.CloseRequest], "before goes with a uid", []string{`{"all":true,"before":{"client":"g1-1-2","at":1}}`}},
		{parse[bus.CloseRequest], "client id", []string{`{"client":"x"}`, `{"clients":["g1-1-2","x"]}`, `{"uid":"u","except":["x"]}`}},
		{parse[bus.BindRequest], "bad name", []string{`{"client":"g1-1-2"}`, `{"client":"g1-1-2","uid":""}`, `{"client":"g1-1-2","uid":"` + long + `"}`}},
		{parse[bus.BindRequest], "UTF-8", []string{"{\"client\":\"g1-1-2\",\"uid\":\"\xff\"}", `{"client":"g1-1-2","uid":"\ud800"}`, `{"client":"g1-1-2","uid":"a\udc00b"}`, `{"client":"g1-1-2","uid":"\ud83d\ud83d"}`, `{"client":"g1-1-2","uid":"\uDBFFx"}`}},
		{parse[bus.BindRequest], "others", []string{`{"client":"g1-1-2","uid":"u","others":"kill"}`}},
		{parse[bus.BindRequest], "close code", []string{`{"client":"g1-1-2","uid":"u","code":4050}`}},
		{parse[bus.JoinRequest], "names none", []string{`{"client":"g1-1-2"}`, `{"client":"g1-1-2","groups":[]}`}},
		{parse[bus.JoinRequest], "bad name", []string{`{"client":"g1-1-2","groups":["a",""]}`, `{"client":"g1-1-2","groups":["` + long + `"]}`}},
		{parse[bus.DissolveRequest], "bad name", []string{`{}`, `{"group":""}`}},
		{parse[bus.SessionRequest], "not both", []string{`{"client":"g1-1-2","set":1,"merge":{}}`}},
		{parse[bus.SessionRequest], "the limit is", []string{`{"client":"g1-1-2","set":"` + strings.Repeat("x", 10<<10) + `"}`}},
		{parse[bus.CountRequest], "of", []string{`{}`, `{"of":"workers"}`, `{"of":"groups","group":"g"}`, `{"of":"uids","uids":["u"]}`}},
		{parse[bus.CountRequest], "several", []string{`{"of":"clients","group":"g","uids":["u"]}`}},
		{parse[bus.ListRequest], "limit", []string{`{"of":"clients","limit":-1}`, `{"of":"clients","limit":10001}`}},
		{parse[bus.ListRequest], "list", []string{`{"of":"groups","group":"g"}`, `{"of":"uids","uids":["u"]}`, `{"of":"clients","uids":["u"],"group":"g"}`}},
		{parse[bus.ListRequest], "field", []string{`{"of":"clients","fields":["name"]}`}},
		{parse[bus.ListRequest], "client id", []string{`{"of":"clients","after":"x"}`}},
		{parse[bus.ListRequest], "list command", []string{``, `{`, `[]`, `{"of":1}`, `"x"`}},
	} {
		for _, data := range c.bad {
			if r, err := c.parse([]byte(data)); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%.80s is parsed as %+v, %v, want an error about %q", data, r, err, c.want)
			} else if !errors.Is(err, bus.ErrMessage) && !errors.Is(err, bus.ErrName) && c.want != "close code" {
				t.Errorf("%.80s: %v is of no kind", data, err)
			} else if len(err.Error()) > 600 {
				t.Errorf("%.80s: an error of %d bytes", data, len(err.Error()))
			}
		}
	}
	// Both halves of a pair are one character, and a backslash is none.
	for _, data := range []string{`{"group":"\ud83d\ude00"}`, `{"group":"\\ud800"}`, `{"group":"\u00e9\""}`} {
		if _, err := bus.ParseRequest[bus.DissolveRequest]([]byte(data)); err != nil {
			t.Errorf("%s: %v", data, err)
		}
	}
	if _, err := bus.RequestMsg("a.b", bus.DissolveRequest{Group: "g"}); !errors.Is(err, bus.ErrName) {
		t.Errorf("to a gateway of a bad name: %v", err)
	}
}

// The examples are those of RFC 7396, appendix A.
func TestMergeSession(t *testing.T) {
	t.Parallel()
	for _, c := range [][3]string{
		{`{"a":"b"}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"b"}`, `{"b":"c"}`, `{"a":"b","b":"c"}`},
		{`{"a":"b"}`, `{"a":null}`, `{}`},
		{`{"a":"b","b":"c"}`, `{"a":null}`, `{"b":"c"}`},
		{`{"a":["b"]}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"c"}`, `{"a":["b"]}`, `{"a":["b"]}`},
		{`{"a":{"b":"c"}}`, `{"a":{"b":"d","c":null}}`, `{"a":{"b":"d"}}`},
		{`{"a":[{"b":"c"}]}`, `{"a":[1]}`, `{"a":[1]}`},
		{`["a","b"]`, `["c","d"]`, `["c","d"]`},
		{`{"a":"b"}`, `["c"]`, `["c"]`},
		{`{"a":"foo"}`, `null`, `null`},
		{`{"a":"foo"}`, `"bar"`, `"bar"`},
		{`{"e":null}`, `{"a":1}`, `{"a":1,"e":null}`},
		{`[1,2]`, `{"a":"b","c":null}`, `{"a":"b"}`},
		{`{}`, `{"a":{"bb":{"ccc":null}}}`, `{"a":{"bb":{}}}`},
		{``, `{"a":12345678901234567890,"b":1.0}`, `{"a":12345678901234567890,"b":1.0}`},
	} {
		if got, err := bus.MergeSession(c[0], json.RawMessage(c[1])); err != nil || got != c[2] {
			t.Errorf("%s and %s make %s, %v, want %s", c[0], c[1], got, err, c[2])
		}
	}
	if got, err := bus.MergeSession(`{}`, json.RawMessage(`{`)); !errors.Is(err, bus.ErrMessage) {
		t.Errorf("what is no JSON makes %s, %v", got, err)
	}
}

// FuzzRequest: what is accepted can be sent on, and says the same then.
func FuzzRequest(f *testing.F) {
	for _, s := range []string{
		`{"client":"g1-1-2","uid":"u","others":"refuse"}`, `{"group":"g","groups":["a","\ud83d\ude00"]}`, `{"of":"clients","uids":["u"],"limit":5}`,
		`{"client":"g1-1-2","merge":{"a":{"b":null}},"if_version":3}`, `{"all":true,"except":["g1-1-2"],"text":"\ud800"}`, `{"clients":["g1-1-2"],"binary":"AA=="}`, `null`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		again(t, data, bus.ParseRequest[bus.CloseRequest])
		again(t, data, bus.ParseRequest[bus.BindRequest])
		again(t, data, bus.ParseRequest[bus.UnbindRequest])
		again(t, data, bus.ParseRequest[bus.JoinRequest])
		again(t, data, bus.ParseRequest[bus.DissolveRequest])
		again(t, data, bus.ParseRequest[bus.SessionRequest])
		again(t, data, bus.ParseRequest[bus.CountRequest])
		again(t, data, bus.ParseRequest[bus.ListRequest])
	})
}

func again[R bus.Request](t *testing.T, data []byte, parse func([]byte) (R, error)) {
	t.Helper()
	r, err := parse(data)
	if err != nil {
		return
	}
	m, err := bus.RequestMsg("g1", r)
	if err != nil {
		t.Fatalf("%q is parsed as %+v: %v", data, r, err)
	}
	back, err := parse(m.Data)
	if err != nil {
		t.Fatalf("%s of %q: %v", m.Data, data, err)
	}
	if m2, err := bus.RequestMsg("g1", back); err != nil || string(m2.Data) != string(m.Data) {
		t.Fatalf("%s comes back as %s, %v", m.Data, m2.Data, err)
	}
}

// How deep a patch may be is bounded: what is to be done must not take long, whatever
// it is.
func TestMergeDeep(t *testing.T) {
	deep := func(n int) json.RawMessage {
		return json.RawMessage(strings.Repeat(`{"a":`, n) + "1" + strings.Repeat("}", n))
	}
	merged, err := bus.MergeSession(string(deep(40)), deep(32))
	if err != nil || merged != string(deep(32)) {
		t.Errorf("%s, %v", merged, err)
	}
	if _, err := bus.MergeSession("", deep(33)); !errors.Is(err, bus.ErrMessage) || !strings.Contains(err.Error(), "32 deep at most") {
		t.Errorf("%v", err)
	}
	if _, err := bus.MergeSession("", json.RawMessage(`{"a":`+strings.Repeat("[", 100)+strings.Repeat("]", 100)+`}`)); err != nil {
		t.Errorf("lists are not merged: %v", err)
	}
}
