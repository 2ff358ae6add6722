package bus_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/gatebus/gatebus/bus"
)

func FuzzParseEvent(f *testing.F) {
	f.Add("gw.g1.in.default.text", "gw.g1.out.g1-1-1.1", "2", "a%2eb", `{"a": 1}`, []byte("x"))
	f.Add("gw.g1.at.w1.7.text", "gw.g1.out.g1-1-1.1", "", "", "", []byte("x"))
	f.Add("gw.g1.in.default.open", "gw.g1.out.*.1", "", "", "", []byte(nil))
	f.Add("gw.g1.in.default.close", "gw.g2.out.g1-1-1.1", "+3", "%", "x", []byte{0})
	f.Fuzz(func(t *testing.T, subject, reply, delivery, uid, session string, data []byte) {
		e, err := bus.ParseEvent(&bus.Msg{
			Subject: subject, Reply: reply, Data: data,
			Header: header(bus.HeaderDelivery, delivery, bus.HeaderUID, uid, bus.HeaderSession, session),
		})
		if err != nil {
			if !errors.Is(err, bus.ErrMessage) && !errors.Is(err, bus.ErrSubject) {
				t.Fatal(err)
			}
			return
		}
		if e.Session != session {
			t.Fatalf("session %q is read as %q", session, e.Session)
		}
		// The session is taken over as it is; only what JSON it holds is written.
		if h, err := bus.ClientHeader("", e.Session, 0); err != nil {
			e.Session = ""
		} else {
			e.Session = h.Get(bus.HeaderSession)
		}
		m, err := e.Msg()
		if err != nil {
			t.Fatalf("%+v: %v", e, err)
		}
		if m.Subject != subject || m.Reply != reply {
			t.Fatalf("%q, %q come back as %q, %q", subject, reply, m.Subject, m.Reply)
		}
		if back, err := bus.ParseEvent(m); err != nil || !reflect.DeepEqual(back, e) {
			t.Fatalf("%+v comes back as %+v, %v", e, back, err)
		}
		if v := m.Header.Get(bus.HeaderDelivery); v != "" && v != strconv.Itoa(e.Delivery) {
			t.Fatalf("delivery %d is written %q", e.Delivery, v)
		}
	})
}

func FuzzParseReply(f *testing.F) {
	for _, status := range []string{"", "busy", "working", "close", "close 4401 a reason", "close  1000  x\ty ", "reject 503", "reject +404 \u0085"} {
		for _, kind := range []string{"", "text", "binary", "open"} {
			f.Add(uint8(bus.Text), status, kind, []byte("x"))
			f.Add(uint8(bus.Open), status, kind, []byte(nil))
			f.Add(uint8(bus.Close), status, kind, []byte("x"))
		}
	}
	f.Fuzz(func(t *testing.T, kind uint8, status, frame string, data []byte) {
		event := bus.Kind(kind%4 + 1)
		r, err := bus.ParseReply(event, &bus.Msg{Header: header(bus.HeaderStatus, status, bus.HeaderKind, frame), Data: data})
		if err != nil {
			if !errors.Is(err, bus.ErrMessage) {
				t.Fatal(err)
			}
			return
		}
		m := r.Msg(event, "r")
		back, err := bus.ParseReply(event, m)
		if err != nil || !sameReply(back, r) {
			t.Fatalf("%+v comes back from %v as %+v, %v", r, m.Header, back, err)
		}
		if again := back.Msg(event, "r"); !maps.EqualFunc(again.Header, m.Header, slices.Equal) || !bytes.Equal(again.Data, m.Data) {
			t.Fatalf("%v is written %v the next time", m.Header, again.Header)
		}
		for _, v := range m.Header {
			if strings.ContainsAny(v[0], "\r\n\x00") || strings.TrimSpace(v[0]) != v[0] {
				t.Fatalf("%q is not a header", v[0])
			}
		}
	})
}

func FuzzParsePush(f *testing.F) {
	f.Add("gw.g1.push.all", "", "", "", []byte("x"))
	f.Add("gw.g1.push.uid.a%2eb", "binary", "g1-1-1, g1-1-2,,", "", []byte{0xff})
	f.Add("gw.all.push.group.r", "text", "x", "", []byte{0xff})
	f.Add("gw.g1.push.groups", "text", "", "a%2eb, c,,%c3%b6", []byte("x"))
	f.Fuzz(func(t *testing.T, subject, kind, except, to string, data []byte) {
		p, err := bus.ParsePush(&bus.Msg{Subject: subject, Header: header(bus.HeaderKind, kind, bus.HeaderExcept, except, bus.HeaderTo, to), Data: data})
		if err != nil {
			if !errors.Is(err, bus.ErrMessage) && !errors.Is(err, bus.ErrSubject) {
				t.Fatal(err)
			}
			return
		}
		m, err := p.Msg("g1")
		if err != nil {
			t.Fatalf("%+v: %v", p, err)
		}
		back, err := bus.ParsePush(m)
		if err != nil || !reflect.DeepEqual(back, p) {
			t.Fatalf("%+v comes back as %+v, %v", p, back, err)
		}
		if again, err := back.Msg("g1"); err != nil || again.Subject != m.Subject || !maps.EqualFunc(again.Header, m.Header, slices.Equal) {
			t.Fatalf("%v is written %v the next time: %v", m, again, err)
		}
	})
}

func FuzzParseOpenReply(f *testing.F) {
	for _, s := range []string{
		"", "x", "{}", " {}", "{", `{"uid":"a","groups":["b"],"session":{"a": "<"},"subprotocol":"c"}`, `{"UID":"\ud800"}`,
		`{"session":null}`, "{\"uid\":\"\xff\"}", `{"groups":[""]}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := bus.ParseOpenReply(data)
		if err != nil {
			if !errors.Is(err, bus.ErrMessage) {
				t.Fatal(err)
			}
			return
		}
		for _, name := range append(r.Groups, r.UID) {
			if name != "" && !errors.Is(escapes(name), nil) {
				t.Fatalf("%q is no name", name)
			}
		}
		canonical, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		back, err := bus.ParseOpenReply(canonical)
		if err != nil || back.UID != r.UID || !slices.Equal(back.Groups, r.Groups) || back.Subprotocol != r.Subprotocol {
			t.Fatalf("%+v comes back as %+v, %v", r, back, err)
		}
		if again, err := json.Marshal(back); err != nil || !bytes.Equal(again, canonical) {
			t.Fatalf("%s is written %s the next time: %v", canonical, again, err)
		}
	})
}

func escapes(name string) error {
	_, err := bus.Escape(name)
	return err
}
