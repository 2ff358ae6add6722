package bus

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
)

func TestProtocolCheck(t *testing.T) {
	for _, c := range []struct {
		ours, theirs Protocol
		ok           bool
	}{
		{"1.1", "1.1", true},
		{"1.1", "", true}, // who says nothing speaks 1.0
		{"", "1.7", true},
		{"", "", true},
		{"1.1", "1.999", true},
		{"1.1", "2.0", false},
		{"2.0", "1.1", false},
		{"2.0", "", false},
		{"1.1", "11.1", false},
		{"1.1", "1", false},
		{"1.1", "1.", false},
		{"1.1", "1.1.1", false},
		{"1.1", "+1.1", false},
		{"1.1", "1.1 ", false},
		{"1.1", "1.99999999999999999999", false},
		{"one", "one", false},
	} {
		err := c.ours.Check("this worker", "gateway g1", c.theirs)
		if (err == nil) != c.ok {
			t.Errorf("%q with %q: %v", c.ours, c.theirs, err)
		}
		if err == nil {
			continue
		}
		var e *ProtocolError
		if !errors.As(err, &e) || !strings.Contains(err.Error(), c.ours.String()) || !strings.Contains(err.Error(), c.theirs.String()[:min(20, len(c.theirs.String()))]) {
			t.Errorf("%q with %q: it does not name both: %v", c.ours, c.theirs, err)
		}
	}
	if err := Protocol("1.1").Check("x", "y", Protocol(strings.Repeat("9", 10000)+"\x1b")); len(err.Error()) > 300 || strings.Contains(err.Error(), "\x1b") {
		t.Errorf("what a peer says is not to be in an error as it is: %.400q", err)
	}
	if major, minor, err := CurrentProtocol().Numbers(); err != nil || major != 1 || minor != 1 {
		t.Errorf("%d.%d, %v", major, minor, err)
	}
}

func TestHello(t *testing.T) {
	want := Hello{Worker: "w1-7.12", Protocol: "1.1"}
	m := want.Msg("g1")
	if got, err := ParseHello(m.Data); err != nil || got != want || m.Subject != "gw.g1.do.hello" {
		t.Errorf("%+v, %v, %s", got, err, m.Subject)
	}
	if id, ok := want.Worker.Conn(); !ok || id != 12 {
		t.Errorf("connection %d, %v", id, ok)
	}
	if got, err := ParseHello(nil); err != nil || got != (Hello{}) {
		t.Errorf("%+v, %v", got, err)
	}
	for _, a := range []WorkerAddress{"w1", "w1.x", ""} {
		if id, ok := a.Conn(); ok {
			t.Errorf("%q: connection %d", a, id)
		}
	}
	for _, bad := range []string{"x", `[]`, `{"worker":"a b"}`, `{"worker":7}`} {
		if got, err := ParseHello([]byte(bad)); !errors.Is(err, ErrMessage) && !errors.Is(err, ErrSubject) {
			t.Errorf("%s: %+v, %v", bad, got, err)
		}
	}
}

// What a later version says beside an event, a reply or a name is skipped.
func TestExtensionsAreSkipped(t *testing.T) {
	e := BatchEvent{Kind: Text, Client: 7, Seq: 2, Delivery: 3, UID: "ann", Session: "{}", State: 4, Queue: true, Follow: true, Data: []byte("hi")}
	r := BatchReply{Client: 7, Seq: 2, Reply: Reply{Status: Closed, Kind: Text, Code: 4100, Reason: "bye", Data: []byte("hi")}}
	c := NameChange{Target: Target{ToGroup, "room"}, Present: true}
	for _, of := range []struct {
		what   string
		extend func(b []byte, number uint8, data []byte) []byte
		plain  []byte
		read   func([]byte) (again, rest []byte, err error)
	}{
		{"event", AppendEventExtension, e.Append(nil), func(b []byte) ([]byte, []byte, error) {
			got, rest, err := NextEvent(b)
			return got.Append(nil), rest, err
		}},
		{"reply", AppendReplyExtension, r.Append(nil), func(b []byte) ([]byte, []byte, error) {
			got, rest, err := NextReply(b)
			return got.Append(nil), rest, err
		}},
		{"name", func(b []byte, _ uint8, data []byte) []byte { return AppendNamesExtension(b, data) }, c.Append(nil), func(b []byte) ([]byte, []byte, error) {
			got, _, rest, err := NextName(b)
			return got.Append(nil), rest, err
		}},
		{"end", func(b []byte, _ uint8, data []byte) []byte { return AppendNamesExtension(b, data) }, AppendNamesEnd(nil), func(b []byte) ([]byte, []byte, error) {
			_, end, rest, err := NextName(b)
			if !end {
				return nil, rest, err
			}
			return AppendNamesEnd(nil), rest, err
		}},
	} {
		var b []byte
		for _, number := range []uint8{0, 2, 31} {
			b = of.extend(b, number, nil)
			b = of.extend(b, number, bytes.Repeat([]byte{0xff}, 300))
		}
		extended := len(b)
		b = append(b, of.plain...)
		again, rest, err := of.read(slices.Concat(b, of.plain))
		if err != nil || !bytes.Equal(again, of.plain) || !bytes.Equal(rest, of.plain) {
			t.Errorf("%s: %x, rest %x, %v", of.what, again, rest, err)
		}
		for n := range extended + 1 { // cut off, or nothing follows
			if again, _, err := of.read(b[:n]); err == nil {
				t.Errorf("%s: of %d bytes there is %x", of.what, n, again)
			}
		}
	}
}

// A reply that says in a wrong way how long its handler was at the event is none.
func TestTookIsANumber(t *testing.T) {
	r := BatchReply{Client: 7, Seq: 2}
	for _, bad := range [][]byte{nil, {0x80}, binary.AppendUvarint(nil, math.MaxInt64+1), bytes.Repeat([]byte{0xff}, 20)} {
		b := r.Append(AppendReplyExtension(nil, extensionTook, bad))
		if got, rest, err := NextReply(slices.Concat(b, b)); !errors.Is(err, ErrMessage) {
			t.Errorf("%x: %+v, rest %x, %v", bad, got, rest, err)
		}
	}
}
