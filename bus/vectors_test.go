package bus_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/gatebus/gatebus/bus"
)

// vectorDir has the test vectors that implementations of the protocol share. A plain
// NATS client plays them against a real gateway too, in package examples.
const vectorDir = "../docs/protocol"

// vector is a case of the protocol: what is given, and what is to come of it.
type vector struct {
	Name, Comment string
	Given         given
	Want          map[string]any
}

// given has the fields of all files.
type given struct {
	Escape       *string           `json:"escape"`
	Times        int               `json:"times"`
	EscapeBase64 []byte            `json:"escape_base64"`
	Unescape     *string           `json:"unescape"`
	Check        *string           `json:"check"`
	Client       *string           `json:"client"`
	Subject      string            `json:"subject"`
	Reply        string            `json:"reply"`
	Event        string            `json:"event"`
	Headers      map[string]string `json:"headers"`
	Data         string            `json:"data"`
	DataBase64   []byte            `json:"data_base64"`
	Steps        [][2]any          `json:"steps"`
	Code         int               `json:"code"`
	Cause        json.RawMessage   `json:"cause"`   // for who has a gateway
	Clients      json.RawMessage   `json:"clients"` // likewise
	Offers       []string          `json:"offers"`  // likewise
}

// placeholders stand in vectors for what a gateway makes up.
var placeholders = strings.NewReplacer("{gateway}", "g1", "{a}", "g1-9ix1lr1mnk7d-1", "{b}", "g1-9ix1lr1mnk7d-2", "{c}", "g1-9ix1lr1mnk7d-3")

// readers tell what package bus makes of the vectors of a file, and which part of
// what is wanted that is.
var readers = map[string]struct {
	part string // "" for all
	read func(*given) any
}{
	"names.json":       {"", readName},
	"events.json":      {"", readEvent},
	"replies.json":     {"reply", readReply},
	"open.json":        {"open", readOpen},
	"pushes.json":      {"push", readPush},
	"commands.json":    {"refused", readCommands},
	"close-codes.json": {"", readCode},
}

// TestVectors holds package bus and the vectors together.
func TestVectors(t *testing.T) {
	eachVector(t, func(file string, v *vector) {
		r := readers[file]
		want, got := wanted(v, r.part), plain(t, r.read(&v.Given))
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %s:\ngot  %v\nwant %v", file, v.Name, got, want)
		}
	})
}

// TestVectorsBite falsifies every single thing that the vectors want, and wants that
// to be noticed.
func TestVectorsBite(t *testing.T) {
	n := 0
	eachVector(t, func(file string, v *vector) {
		r := readers[file]
		got := plain(t, r.read(&v.Given))
		falsify(wanted(v, r.part), func(wrong any) {
			n++
			if reflect.DeepEqual(got, wrong) {
				t.Errorf("%s: %s: nobody notices that %v is wrong", file, v.Name, wrong)
			}
		})
	})
	if n < 500 {
		t.Errorf("only %d things are wanted", n)
	}
}

func eachVector(t *testing.T, fn func(file string, v *vector)) {
	t.Helper()
	paths, err := filepath.Glob(vectorDir + "/*.json")
	if err != nil || len(paths) != len(readers) {
		t.Fatalf("%q, %v: want a file for each reader", paths, err)
	}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var file struct {
			About   string
			Vectors []*vector
		}
		d := json.NewDecoder(bytes.NewReader(data))
		d.DisallowUnknownFields()
		if err := d.Decode(&file); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		names := map[string]bool{}
		for _, v := range file.Vectors {
			if names[v.Name] || v.Name == "" || v.Comment == "" || v.Want == nil {
				t.Errorf("%s: %q lacks a name of its own, a comment or what is wanted", path, v.Name)
			}
			names[v.Name] = true
			fn(filepath.Base(path), v)
		}
	}
}

// wanted is what is wanted of package bus.
func wanted(v *vector, part string) any {
	want := filled(v.Want).(map[string]any)
	switch part {
	case "":
		return want
	case "refused": // what of an answer can be told from the request alone
		refused := []any{}
		for _, a := range want["answers"].([]any) {
			answer := a.(map[string]any)
			refused = append(refused, answer["code"] == bus.CodeBadRequest && answer["by"] != "gateway" || answer["code"] == bus.CodeUnknown)
		}
		return refused
	}
	return want[part]
}

// filled puts what is made up in the place of the placeholders.
func filled(v any) any {
	switch v := v.(type) {
	case string:
		return placeholders.Replace(v)
	case []any:
		v = slices.Clone(v)
		for i := range v {
			v[i] = filled(v[i])
		}
		return v
	case map[string]any:
		m := map[string]any{}
		for key, value := range v {
			m[key] = filled(value)
		}
		return m
	}
	return v
}

// plain is a value as it comes out of JSON.
func plain(t *testing.T, v any) (p any) {
	t.Helper()
	data, err := json.Marshal(v)
	if err == nil {
		err = json.Unmarshal(data, &p)
	}
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// falsify calls fn with copies of a value in each of which one thing is another.
func falsify(v any, fn func(any)) {
	switch v := v.(type) {
	case map[string]any:
		for key := range v {
			falsify(v[key], func(wrong any) {
				m := map[string]any{key: wrong}
				for k := range v {
					if k != key {
						m[k] = v[k]
					}
				}
				fn(m)
			})
		}
		fn(map[string]any{"more": true})
	case []any:
		for i := range v {
			falsify(v[i], func(wrong any) {
				l := slices.Clone(v)
				l[i] = wrong
				fn(l)
			})
		}
		fn(append(slices.Clone(v), "more"))
	case string:
		fn(v + "x")
	case float64:
		fn(v + 1)
	case bool:
		fn(!v)
	}
}

var (
	refused = map[string]any{"refused": true}
	invalid = map[string]any{"invalid": true}
)

func readName(g *given) any {
	var err error
	switch {
	case g.Check != nil:
		return map[string]any{"refused": bus.CheckName(*g.Check) != nil}
	case g.Client != nil:
		gw, epoch, number, err := bus.ClientID(*g.Client).Parts()
		if err != nil {
			return refused
		}
		return map[string]any{"gateway": gw, "epoch": epoch, "number": strconv.FormatUint(number, 36)}
	case g.Unescape != nil:
		var raw string
		if raw, err = bus.Unescape(*g.Unescape); err == nil {
			return map[string]any{"raw": raw}
		}
	default:
		name := string(g.EscapeBase64)
		if g.Escape != nil {
			name = strings.Repeat(*g.Escape, max(g.Times, 1))
		}
		var token string
		if token, err = bus.Escape(name); err == nil {
			if back, err := bus.Unescape(token); err != nil || back != name {
				return fmt.Sprintf("%q comes back as %q, %v", token, back, err)
			}
			return map[string]any{"token": token}
		}
	}
	return refused
}

// message is the one that is given.
func (g *given) message() *bus.Msg {
	m := &bus.Msg{Subject: placeholders.Replace(g.Subject), Reply: placeholders.Replace(g.Reply), Data: g.data()}
	for key, value := range g.Headers {
		if m.Header == nil {
			m.Header = bus.Header{}
		}
		m.Header[key] = []string{placeholders.Replace(value)}
	}
	return m
}

func (g *given) data() []byte {
	if g.DataBase64 != nil {
		return g.DataBase64
	}
	return []byte(placeholders.Replace(g.Data))
}

// described puts data into a description as the vector gives it.
func (g *given) described(d map[string]any, data []byte) map[string]any {
	if g.DataBase64 != nil {
		d["data_base64"] = data
	} else {
		d["data"] = string(data)
	}
	return d
}

// set puts into a description what is not zero.
func set[T comparable](d map[string]any, key string, value T) {
	var zero T
	if value != zero {
		d[key] = value
	}
}

func readEvent(g *given) any {
	m := g.message()
	e, err := bus.ParseEvent(m)
	if err != nil {
		return map[string]any{"ignored": true}
	}
	back, err := e.Msg()
	if err != nil || back.Subject != m.Subject || back.Reply != m.Reply || back.Header.Get(bus.HeaderUID) != m.Header.Get(bus.HeaderUID) {
		return fmt.Sprintf("%v comes back as %v, %v", m, back, err)
	}
	d := map[string]any{"gateway": e.Gateway, "kind": e.Kind.String(), "client": e.Client, "seq": strconv.FormatUint(e.Seq, 10), "delivery": e.Delivery}
	set(d, "group", e.Group)
	set(d, "worker", string(e.At))
	set(d, "uid", e.UID)
	set(d, "session", e.Session)
	set(d, "sticky", e.Sticky)
	if e.State > 0 {
		d["state"] = strconv.FormatUint(e.State, 10)
	}
	if e.Trace != nil {
		d["traceparent"] = e.Trace.Parent
		set(d, "tracestate", e.Trace.State)
	}
	return g.described(d, e.Data)
}

func readReply(g *given) any {
	kind, err := bus.ParseKind(g.Event)
	if err != nil {
		return err.Error()
	}
	r, err := bus.ParseReply(kind, g.message())
	if err != nil {
		return invalid
	}
	status := map[bus.Status]string{bus.Done: "done", bus.Busy: "busy", bus.Working: "working", bus.Closed: "close", bus.Rejected: "reject"}[r.Status]
	d := map[string]any{"status": status}
	set(d, "code", r.Code)
	set(d, "reason", r.Reason)
	switch {
	case r.Kind != 0:
		d["kind"] = r.Kind.String()
		return g.described(d, r.Data)
	case len(r.Data) > 0:
		return g.described(d, r.Data)
	}
	return d
}

func readOpen(g *given) any {
	r, err := bus.ParseOpenReply(g.data())
	if err != nil {
		return invalid
	}
	d := map[string]any{}
	set(d, "uid", r.UID)
	set(d, "subprotocol", r.Subprotocol)
	set(d, "others", r.Others)
	if len(r.Groups) > 0 {
		d["groups"] = r.Groups
	}
	if len(r.Session) > 0 && string(r.Session) != "null" {
		d["session"] = r.Session
	}
	return d
}

func readPush(g *given) any {
	p, err := bus.ParsePush(g.message())
	if err != nil {
		return invalid
	}
	d := map[string]any{"scope": p.Target.Scope, "kind": p.Kind.String()}
	set(d, "name", p.Target.Name)
	if len(p.Names) > 0 {
		d["names"] = p.Names
	}
	if len(p.Except) > 0 {
		d["except"] = p.Except
	}
	return d
}

// readCommands tells of which requests it can be seen that they are refused.
func readCommands(g *given) any {
	refused := []bool{}
	for _, s := range g.Steps {
		refused = append(refused, readCommand(s[0].(string), filled(s[1]).(map[string]any)) != nil)
	}
	return refused
}

func readCommand(op string, request map[string]any) error {
	data, err := json.Marshal(request)
	if err != nil {
		return err
	}
	if text, ok := request["json"].(string); ok {
		data = []byte(text)
	}
	if text, ok := request["json_base64"].(string); ok {
		if err := json.Unmarshal([]byte(`"`+text+`"`), &data); err != nil {
			return err
		}
	}
	parse := map[string]func([]byte) error{
		bus.OpHello: func(data []byte) error { _, err := bus.ParseHello(data); return err },
		bus.OpBind:  parsed[bus.BindRequest], bus.OpUnbind: parsed[bus.UnbindRequest],
		bus.OpJoin: parsed[bus.JoinRequest], bus.OpLeave: parsed[bus.LeaveRequest], bus.OpDissolve: parsed[bus.DissolveRequest],
		bus.OpSession: parsed[bus.SessionRequest], bus.OpInfo: parsed[bus.InfoRequest],
		bus.OpCount: parsed[bus.CountRequest], bus.OpList: parsed[bus.ListRequest], bus.OpClose: parsed[bus.CloseRequest],
	}[op]
	if parse == nil {
		return fmt.Errorf("unknown operation %q", op)
	}
	return parse(data)
}

func parsed[R bus.Request](data []byte) error {
	_, err := bus.ParseRequest[R](data)
	return err
}

func readCode(g *given) any {
	d := map[string]any{"application": bus.CheckCloseCode(bus.CloseCode(g.Code)) == nil}
	for _, c := range bus.CloseCodes {
		if c.Code == bus.CloseCode(g.Code) {
			first, _, _ := strings.Cut(c.Reconnect, ",")
			first, _, _ = strings.Cut(first, ":")
			d["reconnect"] = first
		}
	}
	return d
}
