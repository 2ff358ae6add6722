package bus_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/gatebus/gatebus/bus"
)

func TestEvent(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		event          bus.Event
		subject, reply string
		header         bus.Header
	}{
		{bus.Event{Gateway: "g1", Group: "default", Kind: bus.Text, Client: "g1-1-2", Seq: 7, Delivery: 1, Data: []byte("hi")},
			"gw.g1.in.default.text", "gw.g1.out.g1-1-2.7", nil},
		{bus.Event{Gateway: "g1", Group: "g", Kind: bus.Binary, Client: "g1-1-2", Seq: math.MaxUint64, Delivery: 3, Data: []byte{0, 255}},
			"gw.g1.in.g.binary", "gw.g1.out.g1-1-2.18446744073709551615", bus.Header{"Gb-Delivery": {"3"}}},
		{bus.Event{Gateway: "g1", Group: "g", Kind: bus.Close, Client: "g1-1-2", Seq: 1, Delivery: 1},
			"gw.g1.in.g.close", "gw.g1.out.g1-1-2.1", nil},
		{bus.Event{Gateway: "g1", Group: "g", Kind: bus.Text, Client: "g1-1-2", Seq: 2, Delivery: 2, UID: "a.b", Session: `{"a":"<ö>\n"}`},
			"gw.g1.in.g.text", "gw.g1.out.g1-1-2.2", bus.Header{"Gb-Uid": {"a%2Eb"}, "Gb-Session": {`{"a":"<ö>\n"}`}, "Gb-Delivery": {"2"}}},
		{bus.Event{Gateway: "g1", Group: "g", Sticky: true, Kind: bus.Open, Client: "g1-1-2", Seq: 1, Delivery: 1},
			"gw.g1.in.g.open", "gw.g1.out.g1-1-2.1", bus.Header{"Gb-Route": {"sticky"}}},
		{bus.Event{Gateway: "g1", At: "w1-x.7", Kind: bus.Text, Client: "g1-1-2", Seq: 2, Delivery: 1, Data: []byte("hi")},
			"gw.g1.at.w1-x.7.text", "gw.g1.out.g1-1-2.2", nil},
	} {
		m, err := c.event.Msg()
		if err != nil {
			t.Errorf("Msg of %+v: %v", c.event, err)
			continue
		}
		if m.Subject != c.subject || m.Reply != c.reply || !bytes.Equal(m.Data, c.event.Data) || !maps.EqualFunc(m.Header, c.header, slices.Equal) {
			t.Errorf("Msg = %q, reply %q, headers %v", m.Subject, m.Reply, m.Header)
		}
		if back, err := bus.ParseEvent(m); err != nil || !reflect.DeepEqual(back, c.event) {
			t.Errorf("ParseEvent = %+v, %v, want %+v", back, err, c.event)
		}
	}
	for _, m := range []*bus.Msg{
		{},
		{Subject: "gw.g1.in.default.text"},
		{Subject: "gw.g1.in.default.text", Reply: "_INBOX.1"},
		{Subject: "gw.g1.in.default.text", Reply: "gw.g2.out.g2-1-1.1"},
		{Subject: "gw.g1.push.all", Reply: "gw.g1.out.g1-1-1.1"},
		{Subject: "gw.g1.in.default.text", Reply: "gw.g1.out.g1-1-1.1", Header: bus.Header{"Gb-Delivery": {"0"}}},
		{Subject: "gw.g1.in.default.text", Reply: "gw.g1.out.g1-1-1.1", Header: bus.Header{"Gb-Delivery": {"x"}}},
		{Subject: "gw.g1.in.default.text", Reply: "gw.g1.out.g1-1-1.1", Header: bus.Header{"Gb-Delivery": {"-1"}}},
		{Subject: "gw.g1.in.default.text", Reply: "gw.g1.out.g1-1-1.1", Header: bus.Header{"Gb-Uid": {"a.b"}}},
	} {
		if e, err := bus.ParseEvent(m); !errors.Is(err, bus.ErrMessage) && !errors.Is(err, bus.ErrSubject) || !reflect.DeepEqual(e, bus.Event{}) {
			t.Errorf("ParseEvent(%q, %q, %v) = %+v, %v", m.Subject, m.Reply, m.Header, e, err)
		}
	}
}

func TestClientHeader(t *testing.T) {
	t.Parallel()
	if h, err := bus.ClientHeader("", "", 0); h != nil || err != nil {
		t.Errorf("of nothing: %v, %v", h, err)
	}
	for _, name := range hostile {
		h, err := bus.ClientHeader(name.name, "1", 0)
		if name.token == "" && name.name != "" {
			if !errors.Is(err, bus.ErrName) {
				t.Errorf("%s: %v, %v, want ErrName", name.what, h, err)
			}
			continue
		}
		if got := h.Get("Gb-Uid"); err != nil || got != name.token || h.Get("Gb-Session") != "1" {
			t.Errorf("%s: %v, %v", name.what, h, err)
		}
	}
	full := `"` + strings.Repeat("x", bus.MaxSession-2) + `"`
	for session, want := range map[string]string{
		"{\r\n \"a\" :\t[1, 2]\n}\n": `{"a":[1,2]}`,
		"null":                       "null",
		full:                         full,
	} {
		if h, err := bus.ClientHeader("", session, 0); err != nil || h.Get("Gb-Session") != want || len(h) != 1 {
			t.Errorf("session %q: %q, %v", session, h, err)
		}
	}
	for _, session := range []string{" ", "{", "x", "1 2", "\"a\nb\"", full + "x", `"x` + full[1:]} {
		if h, err := bus.ClientHeader("a", session, 0); !errors.Is(err, bus.ErrMessage) || h != nil {
			t.Errorf("session %q: %q, %v, want ErrMessage", session, h, err)
		}
	}
}

// TestMarkDelivery: a redelivery keeps the other headers, and leaves those
// alone that other events share.
func TestMarkDelivery(t *testing.T) {
	t.Parallel()
	shared := bus.Header{bus.HeaderUID: {"alice"}}
	m := &bus.Msg{Header: shared}
	for delivery, want := range []string{"", "", "2", "3"} {
		bus.MarkDelivery(m, delivery)
		if got := m.Header.Get(bus.HeaderDelivery); got != want {
			t.Errorf("delivery %d: %q, want %q", delivery, got, want)
		}
	}
	if m.Header.Get(bus.HeaderUID) != "alice" {
		t.Errorf("headers %v", m.Header)
	}
	if len(shared) != 1 {
		t.Errorf("shared headers %v", shared)
	}
	m = new(bus.Msg)
	if bus.MarkDelivery(m, 1); m.Header != nil {
		t.Error("the first delivery has headers")
	}
}

func TestOpenInfo(t *testing.T) {
	t.Parallel()
	info := bus.OpenInfo{
		Client: "g1-1-2", Remote: "192.0.2.1:5", Host: "example.com", Path: "/chat", Query: "a=1&b=2",
		Headers: map[string][]string{"Cookie": {"s=1"}},
	}
	data, err := json.Marshal(info)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"client":"g1-1-2","remote":"192.0.2.1:5","host":"example.com","path":"/chat","query":"a=1\u0026b=2","headers":{"Cookie":["s=1"]}}`
	if string(data) != want {
		t.Errorf("got %s, want %s", data, want)
	}
	// An echo accepts the client and says nothing else.
	if r, err := bus.ParseOpenReply(data); err != nil || !reflect.DeepEqual(r, bus.OpenReply{}) {
		t.Errorf("ParseOpenReply of an echo = %+v, %v", r, err)
	}
	data, err = json.Marshal(bus.CloseInfo{Client: "g1-1-2", Code: 1006})
	if want := `{"client":"g1-1-2","code":1006}`; err != nil || string(data) != want {
		t.Errorf("CloseInfo: %s, %v, want %s", data, err, want)
	}
}

func TestParseOpenReply(t *testing.T) {
	t.Parallel()
	full := bus.OpenReply{UID: "a.b", Groups: []string{"room 1", "*"}, Session: json.RawMessage(`{"n":1}`), Subprotocol: "v2"}
	for data, want := range map[string]bus.OpenReply{
		``:            {},
		`hello`:       {},
		`[1]`:         {},
		`"{}"`:        {},
		"\xff":        {},
		`null`:        {},
		`{}`:          {},
		" \r\n\t{}  ": {},
		`{"uid":"a.b","groups":["room 1","*"],"session":{"n":1},"subprotocol":"v2","other":[1,{}]}`: full,
		"\n" + ` {"uid":"alice"}`:                    {UID: "alice"},
		`{"uid":"😀"}`:                                {UID: "😀"},
		`{"session":"x"}`:                            {Session: json.RawMessage(`"x"`)},
		`{"uid":"","groups":[],"subprotocol":""}`:    {Groups: []string{}},
		`{"uid":"` + strings.Repeat("x", 256) + `"}`: {UID: strings.Repeat("x", 256)},
	} {
		if r, err := bus.ParseOpenReply([]byte(data)); err != nil || !reflect.DeepEqual(r, want) {
			t.Errorf("ParseOpenReply(%q) = %+v, %v, want %+v", data, r, err, want)
		}
	}
	for data, name := range map[string]bool{
		`{`:                       false,
		`{"uid":1}`:               false,
		`{"uid":"a"} x`:           false,
		`{"groups":"room"}`:       false,
		"{\"uid\":\"\xff\"}":      false, // would be the same uid as "\xfe"
		"{\"groups\":[\"\xc3\"]}": false,
		`{"groups":[""]}`:         true,
		`{"uid":"` + strings.Repeat("x", 257) + `"}`:         true,
		`{"groups":["` + strings.Repeat("x", 10<<10) + `"]}`: true,
	} {
		r, err := bus.ParseOpenReply([]byte(data))
		if !errors.Is(err, bus.ErrMessage) || errors.Is(err, bus.ErrName) != name || !reflect.DeepEqual(r, bus.OpenReply{}) {
			t.Errorf("ParseOpenReply(%q) = %+v, %v", data, r, err)
		}
	}
}

func TestReply(t *testing.T) {
	t.Parallel()
	status := func(s string) bus.Header { return bus.Header{"Gb-Status": {s}} }
	kind := func(s string) bus.Header { return bus.Header{"Gb-Kind": {s}} }
	for name, c := range map[string]struct {
		event  bus.Kind
		reply  bus.Reply
		header bus.Header
	}{
		"nothing":            {bus.Text, bus.Reply{}, nil},
		"text for text":      {bus.Text, bus.Reply{Kind: bus.Text, Data: []byte("hi")}, nil},
		"binary for binary":  {bus.Binary, bus.Reply{Kind: bus.Binary, Data: []byte("hi")}, nil},
		"binary for text":    {bus.Text, bus.Reply{Kind: bus.Binary, Data: []byte("hi")}, kind("binary")},
		"text for binary":    {bus.Binary, bus.Reply{Kind: bus.Text, Data: []byte("hi")}, kind("text")},
		"empty text":         {bus.Text, bus.Reply{Kind: bus.Text}, kind("text")},
		"empty binary":       {bus.Text, bus.Reply{Kind: bus.Binary}, kind("binary")},
		"open accepted":      {bus.Open, bus.Reply{Data: []byte(`{"uid":"a"}`)}, nil},
		"close acknowledged": {bus.Close, bus.Reply{}, nil},
		"busy":               {bus.Text, bus.Reply{Status: bus.Busy}, status("busy")},
		"working":            {bus.Open, bus.Reply{Status: bus.Working}, status("working")},
		"close":              {bus.Text, bus.Reply{Status: bus.Closed, Code: 4401, Reason: "log in first"}, status("close 4401 log in first")},
		"close, no reason":   {bus.Binary, bus.Reply{Status: bus.Closed, Code: 1000}, status("close 1000")},
		"close with a frame": {bus.Text, bus.Reply{Status: bus.Closed, Code: 1000, Kind: bus.Text, Data: []byte("bye")},
			bus.Header{"Gb-Status": {"close 1000"}, "Gb-Kind": {"text"}}},
		"close with an empty frame": {bus.Text, bus.Reply{Status: bus.Closed, Code: 1000, Kind: bus.Binary},
			bus.Header{"Gb-Status": {"close 1000"}, "Gb-Kind": {"binary"}}},
		"reject":            {bus.Open, bus.Reply{Status: bus.Rejected, Code: 403, Reason: "not für dich"}, status("reject 403 not für dich")},
		"reject, no reason": {bus.Open, bus.Reply{Status: bus.Rejected, Code: 503}, status("reject 503")},
	} {
		m := c.reply.Msg(c.event, "gw.g1.out.c.1")
		if m.Subject != "gw.g1.out.c.1" || !maps.EqualFunc(m.Header, c.header, slices.Equal) || !bytes.Equal(m.Data, c.reply.Data) {
			t.Errorf("%s: Msg has headers %v and %q, want %v", name, m.Header, m.Data, c.header)
		}
		if back, err := bus.ParseReply(c.event, m); err != nil || !sameReply(back, c.reply) {
			t.Errorf("%s: ParseReply = %+v, %v, want %+v", name, back, err, c.reply)
		}
	}
}

// sameReply compares replies; no data and empty data are the same.
func sameReply(a, b bus.Reply) bool {
	same := bytes.Equal(a.Data, b.Data)
	a.Data, b.Data = nil, nil
	return same && reflect.DeepEqual(a, b)
}

// TestReplyMsg: what Msg makes of replies that say too much or too little.
func TestReplyMsg(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		event  bus.Kind
		reply  bus.Reply
		status string
		data   string
	}{
		"data but no frame":        {bus.Text, bus.Reply{Data: []byte("x")}, "", ""},
		"frame for close":          {bus.Close, bus.Reply{Data: []byte("x")}, "", ""},
		"busy with data":           {bus.Text, bus.Reply{Status: bus.Busy, Kind: bus.Text, Data: []byte("x")}, "busy", ""},
		"working with data":        {bus.Text, bus.Reply{Status: bus.Working, Data: []byte("x")}, "working", ""},
		"reject with data":         {bus.Open, bus.Reply{Status: bus.Rejected, Code: 401, Data: []byte("x")}, "reject 401", ""},
		"close without code":       {bus.Text, bus.Reply{Status: bus.Closed}, "close", ""},
		"close with reason only":   {bus.Text, bus.Reply{Status: bus.Closed, Reason: "why"}, "close 4002 why", ""},
		"reject with reason only":  {bus.Open, bus.Reply{Status: bus.Rejected, Reason: "why"}, "reject 403 why", ""},
		"reason of several lines":  {bus.Text, bus.Reply{Status: bus.Closed, Code: 4100, Reason: " a\r\nGb-Kind: text\x00b\x7f "}, "close 4100 a  Gb-Kind: text b", ""},
		"reason of invalid UTF-8":  {bus.Text, bus.Reply{Status: bus.Closed, Code: 4100, Reason: "a\xffb"}, "close 4100 a\uFFFDb", ""},
		"reason of nothing":        {bus.Text, bus.Reply{Status: bus.Closed, Code: 4100, Reason: " \r\n "}, "close 4100", ""},
		"close with data no frame": {bus.Text, bus.Reply{Status: bus.Closed, Code: 4100, Data: []byte("x")}, "close 4100", ""},
	} {
		m := c.reply.Msg(c.event, "r")
		if got := m.Header.Get(bus.HeaderStatus); got != c.status || string(m.Data) != c.data {
			t.Errorf("%s: status %q and %q, want %q and %q", name, got, m.Data, c.status, c.data)
		}
		if _, err := bus.ParseReply(c.event, m); err != nil {
			t.Errorf("%s: ParseReply: %v", name, err)
		}
	}
}

// TestParseReply: what workers in other languages may write.
func TestParseReply(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		event  bus.Kind
		header bus.Header
		data   string
		want   bus.Reply
	}{
		"echo of open":         {bus.Open, nil, `{"client":"c"}`, bus.Reply{Data: []byte(`{"client":"c"}`)}},
		"echo of close":        {bus.Close, nil, `{"client":"c"}`, bus.Reply{}},
		"other headers":        {bus.Text, bus.Header{"Trace": {"1"}}, "x", bus.Reply{Kind: bus.Text, Data: []byte("x")}},
		"kind of open":         {bus.Open, bus.Header{"Gb-Kind": {"text"}}, "{}", bus.Reply{Data: []byte("{}")}},
		"kind of close":        {bus.Close, bus.Header{"Gb-Kind": {"ping"}}, "x", bus.Reply{}},
		"no code":              {bus.Text, bus.Header{"Gb-Status": {"close"}}, "", bus.Reply{Status: bus.Closed, Code: 4002}},
		"no code but spaces":   {bus.Text, bus.Header{"Gb-Status": {"close   "}}, "", bus.Reply{Status: bus.Closed, Code: 4002}},
		"several spaces":       {bus.Text, bus.Header{"Gb-Status": {"close  4401   go  away "}}, "", bus.Reply{Status: bus.Closed, Code: 4401, Reason: "go  away"}},
		"reject without code":  {bus.Open, bus.Header{"Gb-Status": {"reject"}}, "x", bus.Reply{Status: bus.Rejected, Code: 403}},
		"busy with more":       {bus.Text, bus.Header{"Gb-Status": {"busy 3 of 3"}}, "x", bus.Reply{Status: bus.Busy}},
		"close with a payload": {bus.Text, bus.Header{"Gb-Status": {"close 1000"}}, "bye", bus.Reply{Status: bus.Closed, Code: 1000, Kind: bus.Text, Data: []byte("bye")}},
		"close at open":        {bus.Open, bus.Header{"Gb-Status": {"close 1008"}}, "{}", bus.Reply{Status: bus.Closed, Code: 1008}},
		"empty status":         {bus.Text, bus.Header{"Gb-Status": {""}}, "x", bus.Reply{Kind: bus.Text, Data: []byte("x")}},
	} {
		got, err := bus.ParseReply(c.event, &bus.Msg{Header: c.header, Data: []byte(c.data)})
		if err != nil || !sameReply(got, c.want) {
			t.Errorf("%s: got %+v, %v, want %+v", name, got, err, c.want)
		}
	}
	for _, c := range []struct {
		event  bus.Kind
		header bus.Header
	}{
		{bus.Text, bus.Header{"Gb-Kind": {"open"}}},
		{bus.Text, bus.Header{"Gb-Kind": {"Text"}}},
		{bus.Open, bus.Header{"Gb-Kind": {"ping"}}},
		{bus.Text, bus.Header{"Gb-Status": {"Busy"}}},
		{bus.Text, bus.Header{"Gb-Status": {"done"}}},
		{bus.Text, bus.Header{"Gb-Status": {"close x"}}},
		{bus.Text, bus.Header{"Gb-Status": {"close 1006"}}},
		{bus.Text, bus.Header{"Gb-Status": {"close 4050 mine"}}},
		{bus.Text, bus.Header{"Gb-Status": {"close 99999999999999999999"}}},
		{bus.Text, bus.Header{"Gb-Status": {"reject 403"}}},
		{bus.Close, bus.Header{"Gb-Status": {"reject"}}},
		{bus.Open, bus.Header{"Gb-Status": {"reject 200"}}},
		{bus.Open, bus.Header{"Gb-Status": {"reject 399"}}},
		{bus.Open, bus.Header{"Gb-Status": {"reject 600"}}},
	} {
		if r, err := bus.ParseReply(c.event, &bus.Msg{Header: c.header, Data: []byte("x")}); !errors.Is(err, bus.ErrMessage) || !reflect.DeepEqual(r, bus.Reply{}) {
			t.Errorf("ParseReply(%v, %v) = %+v, %v, want ErrMessage", c.event, c.header, r, err)
		}
	}
}

func TestParseReplyAllocations(t *testing.T) {
	m := &bus.Msg{Subject: "gw.g1.out.c.1", Data: []byte("a frame")}
	if n := testing.AllocsPerRun(100, func() {
		if r, err := bus.ParseReply(bus.Text, m); err != nil || r.Kind != bus.Text {
			t.Error(r, err)
		}
	}); n > 0 {
		t.Errorf("ParseReply without headers: %v allocations, want 0", n)
	}
}

func TestPush(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		push    bus.Push
		subject string
		header  bus.Header
	}{
		"text":       {bus.Push{Target: bus.Target{Scope: bus.ToAll}, Kind: bus.Text, Data: []byte("hi")}, "gw.g1.push.all", nil},
		"empty text": {bus.Push{Target: bus.Target{Scope: bus.ToClient, Name: "g1-1-2"}, Kind: bus.Text}, "gw.g1.push.client.g1-1-2", nil},
		"binary": {bus.Push{Target: bus.Target{Scope: bus.ToUID, Name: "a.b"}, Kind: bus.Binary, Data: []byte{0xff}}, "gw.g1.push.uid.a%2Eb",
			bus.Header{"Gb-Kind": {"binary"}}},
		"except": {bus.Push{Target: bus.Target{Scope: bus.ToGroup, Name: "r"}, Kind: bus.Text, Data: []byte("hi"), Except: []bus.ClientID{"g1-1-2", "g2-1-3"}},
			"gw.g1.push.group.r", bus.Header{"Gb-Except": {"g1-1-2,g2-1-3"}}},
		"groups": {bus.Push{Target: bus.Target{Scope: bus.ToGroups}, Names: []string{"a.b", "c"}, Kind: bus.Text, Data: []byte("hi")},
			"gw.g1.push.groups", bus.Header{"Gb-To": {"a%2Eb,c"}}},
		"all of it": {bus.Push{Target: bus.Target{Scope: bus.ToGroup, Name: "r"}, Kind: bus.Binary, Data: []byte("hi"), Except: []bus.ClientID{"g1-1-2"}},
			"gw.g1.push.group.r", bus.Header{"Gb-Kind": {"binary"}, "Gb-Except": {"g1-1-2"}}},
	} {
		m, err := c.push.Msg("g1")
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if m.Subject != c.subject || !maps.EqualFunc(m.Header, c.header, slices.Equal) || !bytes.Equal(m.Data, c.push.Data) {
			t.Errorf("%s: %q on %q with %v", name, m.Data, m.Subject, m.Header)
		}
		if back, err := bus.ParsePush(m); err != nil || !reflect.DeepEqual(back, c.push) {
			t.Errorf("%s: ParsePush = %+v, %v", name, back, err)
		}
	}
	all := bus.Target{Scope: bus.ToAll}
	for name, p := range map[string]bus.Push{
		"no kind":       {Target: all},
		"open":          {Target: all, Kind: bus.Open},
		"invalid UTF-8": {Target: all, Kind: bus.Text, Data: []byte("\xff")},
		"no target":     {Kind: bus.Text},
		"no name":       {Target: bus.Target{Scope: bus.ToUID}, Kind: bus.Text},
		"bad except":    {Target: all, Kind: bus.Text, Except: []bus.ClientID{"g1-1-1", "a,b"}},
	} {
		if m, err := p.Msg("g1"); err == nil {
			t.Errorf("%s: Msg = %q on %q", name, m.Data, m.Subject)
		}
	}
}

func TestParsePush(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		header bus.Header
		except []bus.ClientID
		kind   bus.Kind
	}{
		"by hand":        {bus.Header{"Gb-Kind": {"text"}, "Gb-Except": {" g1-1-1 , g1-1-2,"}}, []bus.ClientID{"g1-1-1", "g1-1-2"}, bus.Text},
		"several values": {bus.Header{"Gb-Except": {"g1-1-1", "", "g1-1-2,g1-1-1"}}, []bus.ClientID{"g1-1-1", "g1-1-2", "g1-1-1"}, bus.Text},
		"other headers":  {bus.Header{"Trace": {"1"}, "Gb-Kind": {""}}, nil, bus.Text},
	} {
		p, err := bus.ParsePush(&bus.Msg{Subject: "gw.g1.push.all", Header: c.header, Data: []byte("ö")})
		if err != nil || p.Kind != c.kind || !slices.Equal(p.Except, c.except) || string(p.Data) != "ö" {
			t.Errorf("%s: ParsePush = %+v, %v", name, p, err)
		}
	}
	for name, m := range map[string]*bus.Msg{
		"no push":       {Subject: "gw.g1.do.close"},
		"kind":          {Subject: "gw.g1.push.all", Header: bus.Header{"Gb-Kind": {"close"}}},
		"except":        {Subject: "gw.g1.push.all", Header: bus.Header{"Gb-Except": {"g1-1-1,*"}}},
		"invalid UTF-8": {Subject: "gw.g1.push.all", Data: []byte{0xff}},
	} {
		if p, err := bus.ParsePush(m); !errors.Is(err, bus.ErrMessage) && !errors.Is(err, bus.ErrSubject) || !reflect.DeepEqual(p, bus.Push{}) {
			t.Errorf("%s: ParsePush = %+v, %v", name, p, err)
		}
	}
}

func TestNoResponders(t *testing.T) {
	t.Parallel()
	m := bus.NoResponders("gw.g1.out.c.1", "gw.g1.in.default.text")
	if !bus.IsNoResponders(m) || m.Subject != "gw.g1.out.c.1" {
		t.Errorf("NoResponders = %+v", m)
	}
	for _, m := range []*bus.Msg{
		{},
		{Header: bus.Header{"Status": {"100"}}},
		{Header: bus.Header{"Gb-Status": {"503"}}},
		{Header: bus.Header{"Status": {"503"}}, Data: []byte("x")},
	} {
		if bus.IsNoResponders(m) {
			t.Errorf("%+v is taken for no responders", m)
		}
	}
}

func TestTrimReason(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]string{
		"":                              "",
		"fine":                          "fine",
		"a\xffb":                        "a\uFFFDb",
		"\xff\xfe":                      "\uFFFD",
		strings.Repeat("x", 123):        strings.Repeat("x", 123),
		strings.Repeat("x", 124):        strings.Repeat("x", 123),
		strings.Repeat("ö", 62):         strings.Repeat("ö", 61), // 124 bytes
		strings.Repeat("😀", 31):         strings.Repeat("😀", 30), // 124 bytes
		"xxx" + strings.Repeat("😀", 31): "xxx" + strings.Repeat("😀", 30),
		strings.Repeat("\uFFFD", 50):    strings.Repeat("\uFFFD", 41), // 123 bytes, and no error
		strings.Repeat("x", 10<<10):     strings.Repeat("x", 123),
	} {
		if got := bus.TrimReason(s); got != want {
			t.Errorf("TrimReason(%q) = %q, want %q", s, got, want)
		}
	}
}

func FuzzTrimReason(f *testing.F) {
	for _, s := range []string{"", "a\xff", strings.Repeat("😀", 31), strings.Repeat("\xf0\x9f", 100)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := bus.TrimReason(s)
		if len(got) > 123 || !utf8.ValidString(got) || bus.TrimReason(got) != got {
			t.Fatalf("TrimReason(%q) = %q", s, got)
		}
		if valid := strings.ToValidUTF8(s, "\uFFFD"); !strings.HasPrefix(valid, got) || len(valid) <= 123 && got != valid || len(valid) > 123 && len(got) < 120 {
			t.Fatalf("TrimReason(%q) = %q", s, got)
		}
	})
}

// header makes headers of what the fuzzer gives; empty values are left out.
func header(pairs ...string) bus.Header {
	h := bus.Header{}
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			h[pairs[i]] = []string{pairs[i+1]}
		}
	}
	return h
}
