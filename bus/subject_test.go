package bus_test

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/gatebus/gatebus/bus"
)

// TestSubjectStrings holds the subjects in place that the contract names:
// workers in other languages have them written out.
func TestSubjectStrings(t *testing.T) {
	t.Parallel()
	push := func(g bus.GatewayID, target bus.Target) string {
		s, err := bus.PushSubject(g, target)
		if err != nil {
			t.Errorf("PushSubject(%q, %v): %v", g, target, err)
		}
		return s
	}
	for _, c := range []struct{ got, want string }{
		{bus.EventSubject("g1", "default", bus.Open), "gw.g1.in.default.open"},
		{bus.EventSubject("g1", "default", bus.Text), "gw.g1.in.default.text"},
		{bus.EventSubject("g1", "default", bus.Binary), "gw.g1.in.default.binary"},
		{bus.EventSubject("g1", "default", bus.Close), "gw.g1.in.default.close"},
		{bus.EventSubjects("g1", "default"), "gw.g1.in.default.*"},
		{bus.ReplySubject("g1", "g1-4x-2", 7), "gw.g1.out.g1-4x-2.7"},
		{bus.ReplySubject("g1", "g1-4x-2", math.MaxUint64), "gw.g1.out.g1-4x-2.18446744073709551615"},
		{bus.ReplySubjects("g1"), "gw.g1.out.*.*"},
		{push("g1", bus.Target{Scope: bus.ToClient, Name: "g1-4x-2"}), "gw.g1.push.client.g1-4x-2"},
		{push("g1", bus.Target{Scope: bus.ToUID, Name: "alice@example.com"}), "gw.g1.push.uid.alice%40example%2Ecom"},
		{push("g1", bus.Target{Scope: bus.ToGroup, Name: "room1"}), "gw.g1.push.group.room1"},
		{push("g1", bus.Target{Scope: bus.ToAll}), "gw.g1.push.all"},
		{push(bus.AllGateways, bus.Target{Scope: bus.ToGroup, Name: "room1"}), "gw.all.push.group.room1"},
		{bus.PushSubjects("g1"), "gw.g1.push.>"},
		{bus.CommandSubject("g1", bus.OpClose), "gw.g1.do.close"},
		{bus.CommandSubject(bus.AllGateways, bus.OpClose), "gw.all.do.close"},
		{bus.CommandSubjects("g1"), "gw.g1.do.*"},
		{bus.HeaderUID, "Gb-Uid"},
		{bus.HeaderSession, "Gb-Session"},
		{bus.HeaderDelivery, "Gb-Delivery"},
		{bus.HeaderKind, "Gb-Kind"},
		{bus.HeaderExcept, "Gb-Except"},
		{bus.HeaderStatus, "Gb-Status"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}

func TestKind(t *testing.T) {
	t.Parallel()
	for k, name := range map[bus.Kind]string{bus.Open: "open", bus.Text: "text", bus.Binary: "binary", bus.Close: "close"} {
		if k.String() != name {
			t.Errorf("String = %q, want %q", k, name)
		}
		if got, err := bus.ParseKind(name); err != nil || got != k {
			t.Errorf("ParseKind(%q) = %v, %v", name, got, err)
		}
		if frame := k == bus.Text || k == bus.Binary; k.Frame() != frame {
			t.Errorf("Frame of %v = %v", k, k.Frame())
		}
	}
	for _, s := range []string{"", "Text", " text", "text ", "kind(0)", "ping", "*", "\x00", strings.Repeat("text", 1000)} {
		if k, err := bus.ParseKind(s); err == nil || k != 0 {
			t.Errorf("ParseKind(%q) = %v, %v", s, k, err)
		}
	}
	for _, k := range []bus.Kind{0, 5, 255} {
		if got, err := bus.ParseKind(k.String()); err == nil || k.Frame() {
			t.Errorf("kind %d: %q is read as %v", uint8(k), k, got)
		}
	}
}

// strays are on no subject of the protocol, of whatever verb.
var strays = []string{
	"", ".", "..", "gw", "gw.", "gw..", "gw.g1", "gw.g1.", "gw..in.default.text", "GW.g1.in.default.text",
	"xgw.g1.in.default.text", " gw.g1.in.default.text", "gw.g1.IN.default.text", "gw.g1..default.text",
	"gw.g 1.in.default.text", "gw.*.in.default.text", "gw.>.in.default.text", "gw.g%31.in.default.text",
	"gw.ö.in.default.text", "gw.\xff.in.default.text", "gw.g1.inn.default.text", "gw.g1.in", "gw.g1.out", "gw.g1.push", "gw.g1.do",
	"gw." + strings.Repeat("g", bus.MaxName+1) + ".in.default.text",
	"$SYS.ACCOUNT.gatebus.CONNECT", "_INBOX.abc.1", "gw.g1.in.default.text\r\n",
	strings.Repeat("gw.", 10<<10),
}

func TestParseEventSubject(t *testing.T) {
	t.Parallel()
	for _, g := range []bus.GatewayID{"g1", "all", "a-b_C"} {
		for _, k := range []bus.Kind{bus.Open, bus.Text, bus.Binary, bus.Close} {
			s := bus.EventSubject(g, "default", k)
			gotG, group, gotK, err := bus.ParseEventSubject(s)
			if err != nil || gotG != g || group != "default" || gotK != k {
				t.Errorf("ParseEventSubject(%q) = %q, %q, %v, %v", s, gotG, group, gotK, err)
			}
		}
	}
	for _, s := range append([]string{
		"gw.g1.in.default", "gw.g1.in.default.", "gw.g1.in..text", "gw.g1.in.default.ping", "gw.g1.in.default.text.x",
		"gw.g1.in.default.*", "gw.g1.in.*.text", "gw.g1.in.a.b.text", "gw.g1.in.de fault.text", "gw.g1.out.default.text",
		"gw.g1.push.default.text", "gw.g1.in." + strings.Repeat("x", bus.MaxName+1) + ".text",
	}, strays...) {
		if g, group, k, err := bus.ParseEventSubject(s); !errors.Is(err, bus.ErrSubject) || g != "" || group != "" || k != 0 {
			t.Errorf("ParseEventSubject(%q) = %q, %q, %v, %v, want ErrSubject", s, g, group, k, err)
		}
	}
}

func TestParseReplySubject(t *testing.T) {
	t.Parallel()
	for _, seq := range []uint64{0, 1, 10, math.MaxUint64} {
		s := bus.ReplySubject("g1", "g1-4x-2", seq)
		g, c, n, err := bus.ParseReplySubject(s)
		if err != nil || g != "g1" || c != "g1-4x-2" || n != seq {
			t.Errorf("ParseReplySubject(%q) = %q, %q, %d, %v", s, g, c, n, err)
		}
	}
	for _, s := range append([]string{
		"gw.g1.out.", "gw.g1.out.c", "gw.g1.out.c.", "gw.g1.out..1", "gw.g1.out.c.1.2", "gw.g1.out.c.01", "gw.g1.out.c.00",
		"gw.g1.out.c.+1", "gw.g1.out.c.-1", "gw.g1.out.c.1_0", "gw.g1.out.c.0x1", "gw.g1.out.c.1 ", "gw.g1.out.c.x",
		"gw.g1.out.c.18446744073709551616", "gw.g1.in.c.1", "gw.g1.push.c.1", "gw.g1.out.c.*", "gw.g1.out.*.*",
	}, strays...) {
		if g, c, n, err := bus.ParseReplySubject(s); !errors.Is(err, bus.ErrSubject) || g != "" || c != "" || n != 0 {
			t.Errorf("ParseReplySubject(%q) = %q, %q, %d, %v, want ErrSubject", s, g, c, n, err)
		}
	}
}

// TestPushSubject: whatever a uid or group is called, it is carried faithfully
// in one token, or refused.
func TestPushSubject(t *testing.T) {
	t.Parallel()
	for _, scope := range []bus.Scope{bus.ToClient, bus.ToUID, bus.ToGroup} {
		for _, h := range hostile {
			target := bus.Target{Scope: scope, Name: h.name}
			s, err := bus.PushSubject("g1", target)
			if h.token == "" {
				if !errors.Is(err, bus.ErrName) || s != "" {
					t.Errorf("%s: PushSubject = %q, %v, want ErrName", h.what, s, err)
				}
				continue
			}
			if want := "gw.g1.push." + string(scope) + "." + h.token; err != nil || s != want {
				t.Errorf("%s: PushSubject = %q, %v, want %q", h.what, s, err, want)
			}
			if g, back, err := bus.ParsePushSubject(s); err != nil || g != "g1" || back != target {
				t.Errorf("%s: ParsePushSubject(%q) = %q, %q, %v", h.what, s, g, back, err)
			}
		}
	}
	if g, target, err := bus.ParsePushSubject("gw.all.push.all"); err != nil || g != bus.AllGateways || target != (bus.Target{Scope: bus.ToAll}) {
		t.Errorf("ParsePushSubject(gw.all.push.all) = %q, %q, %v", g, target, err)
	}
	for _, g := range []bus.GatewayID{"", "a.b", "*", ">", "g 1", "g\r\n"} {
		if s, err := bus.PushSubject(g, bus.Target{Scope: bus.ToAll}); !errors.Is(err, bus.ErrName) {
			t.Errorf("PushSubject of gateway %q = %q, %v, want ErrName", g, s, err)
		}
	}
	for _, scope := range []bus.Scope{"", "everybody", "uid.x", "*", "ALL"} {
		if s, err := bus.PushSubject("g1", bus.Target{Scope: scope, Name: "x"}); err == nil {
			t.Errorf("PushSubject of scope %q = %q", scope, s)
		}
	}
}

func TestParsePushSubject(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]bus.Target{
		"gw.g1.push.uid.a%2eb":  {Scope: bus.ToUID, Name: "a.b"},
		"gw.g1.push.group.%41":  {Scope: bus.ToGroup, Name: "A"},
		"gw.g1.push.client.c-1": {Scope: bus.ToClient, Name: "c-1"},
	} {
		if g, target, err := bus.ParsePushSubject(s); err != nil || g != "g1" || target != want {
			t.Errorf("ParsePushSubject(%q) = %q, %q, %v, want %q", s, g, target, err, want)
		}
	}
	for _, s := range append([]string{
		"gw.g1.push.", "gw.g1.push.all.", "gw.g1.push.all.x", "gw.g1.push.ALL", "gw.g1.push.client", "gw.g1.push.client.",
		"gw.g1.push.uid", "gw.g1.push.group.", "gw.g1.push.group.a.b", "gw.g1.push.group.*", "gw.g1.push.group.>", "gw.g1.push.>",
		"gw.g1.push.group.%", "gw.g1.push.group.%4", "gw.g1.push.group.%zz", "gw.g1.push.group.ö", "gw.g1.push.everybody.x",
		"gw.g1.in.group.x", "gw.g1.push.uid." + strings.Repeat("x", bus.MaxToken+1),
	}, strays...) {
		if g, target, err := bus.ParsePushSubject(s); !errors.Is(err, bus.ErrSubject) || g != "" || target != (bus.Target{}) {
			t.Errorf("ParsePushSubject(%q) = %q, %q, %v, want ErrSubject", s, g, target, err)
		}
	}
}

func TestParseCommandSubject(t *testing.T) {
	t.Parallel()
	for _, op := range []string{bus.OpClose, "some_thing-2"} {
		s := bus.CommandSubject("g1", op)
		if g, got, err := bus.ParseCommandSubject(s); err != nil || g != "g1" || got != op {
			t.Errorf("ParseCommandSubject(%q) = %q, %q, %v", s, g, got, err)
		}
	}
	for _, s := range append([]string{
		"gw.g1.do.", "gw.g1.do.a.b", "gw.g1.do.*", "gw.g1.do.>", "gw.g1.do.a b", "gw.g1.do.ö", "gw.g1.in.close",
		"gw.g1.do." + strings.Repeat("x", bus.MaxName+1),
	}, strays...) {
		if g, op, err := bus.ParseCommandSubject(s); !errors.Is(err, bus.ErrSubject) || g != "" || op != "" {
			t.Errorf("ParseCommandSubject(%q) = %q, %q, %v, want ErrSubject", s, g, op, err)
		}
	}
}

func TestVerbs(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]string{
		"gw.g1.out.g1-1-1.7":     "reply",
		"gw.g1.push.all":         "push",
		"gw.g1.push.uid.out":     "push",
		"gw.all.push.group.room": "push",
		"gw.g1.do.close":         "command",
		"gw.out.do.close":        "command",
		"gw.g1.in.default.text":  "",
		"gw.push.in.push.text":   "",
		"gw.out":                 "",
		"out.g1.out":             "",
		"_INBOX.out.out":         "",
		"gwx.g1.out.a.1":         "",
		"":                       "",
	} {
		for verb, is := range map[string]bool{"reply": bus.IsReply(s), "push": bus.IsPush(s), "command": bus.IsCommand(s)} {
			if is != (verb == want) {
				t.Errorf("%q is a %s: %v", s, verb, is)
			}
		}
	}
}

func FuzzSubjects(f *testing.F) {
	for _, s := range strays {
		f.Add(s)
	}
	for _, s := range []string{
		"gw.g1.in.default.text", "gw.g1.out.g1-4x-2.7", "gw.g1.push.uid.a%2eb", "gw.all.push.all", "gw.g1.push.client.c", "gw.g1.do.close",
		"gw.g1.out.*.0", "gw.g1.out.a b.1", "gw.g1.push.group.%00",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		parsed := 0
		if g, group, k, err := bus.ParseEventSubject(s); err == nil {
			parsed++
			if back := bus.EventSubject(g, group, k); back != s {
				t.Fatalf("event %q comes back as %q", s, back)
			}
		} else if !errors.Is(err, bus.ErrSubject) {
			t.Fatalf("ParseEventSubject(%q): %v", s, err)
		}
		if g, c, seq, err := bus.ParseReplySubject(s); err == nil {
			parsed++
			if back := bus.ReplySubject(g, c, seq); back != s || !bus.IsReply(s) {
				t.Fatalf("reply %q comes back as %q", s, back)
			}
		} else if !errors.Is(err, bus.ErrSubject) {
			t.Fatalf("ParseReplySubject(%q): %v", s, err)
		}
		if g, op, err := bus.ParseCommandSubject(s); err == nil {
			parsed++
			if back := bus.CommandSubject(g, op); back != s || !bus.IsCommand(s) {
				t.Fatalf("command %q comes back as %q", s, back)
			}
		} else if !errors.Is(err, bus.ErrSubject) {
			t.Fatalf("ParseCommandSubject(%q): %v", s, err)
		}
		if g, target, err := bus.ParsePushSubject(s); err == nil {
			parsed++
			canonical, err := bus.PushSubject(g, target)
			if err != nil || !bus.IsPush(s) {
				t.Fatalf("push %q is parsed as %q: %v", s, target, err)
			}
			if g2, again, err := bus.ParsePushSubject(canonical); err != nil || g2 != g || again != target {
				t.Fatalf("push %q comes back as %q: %q, %v", s, canonical, again, err)
			}
		} else if !errors.Is(err, bus.ErrSubject) {
			t.Fatalf("ParsePushSubject(%q): %v", s, err)
		}
		if parsed > 1 {
			t.Fatalf("%q is parsed as %d things", s, parsed)
		}
	})
}

func FuzzKind(f *testing.F) {
	for _, s := range []string{"open", "text", "binary", "close", "", "Text", "kind(0)"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if k, err := bus.ParseKind(s); err == nil && k.String() != s {
			t.Fatalf("%q comes back as %q", s, k)
		}
	})
}

// FuzzPushSubject: no name makes a subject other than its own.
func FuzzPushSubject(f *testing.F) {
	for _, h := range hostile {
		f.Add("g1", "uid", h.name)
	}
	f.Add("a.b", "all", "")
	f.Add("all", "group", "room1")
	f.Fuzz(func(t *testing.T, g, scope, name string) {
		target := bus.Target{Scope: bus.Scope(scope), Name: name}
		s, err := bus.PushSubject(bus.GatewayID(g), target)
		if err != nil {
			return
		}
		if target.Scope == bus.ToAll {
			target.Name = "" // not used
		}
		back, got, err := bus.ParsePushSubject(s)
		if err != nil || string(back) != g || got != target {
			t.Fatalf("push to %q of %q comes back from %q as %q of %q: %v", target, g, s, got, back, err)
		}
	})
}

func TestReplySubjectAllocations(t *testing.T) {
	client := bus.NewClientID("gateway-1", 1<<60, 123456)
	s := bus.ReplySubject("gateway-1", client, 1234567)
	if n := testing.AllocsPerRun(100, func() {
		if _, _, _, err := bus.ParseReplySubject(s); err != nil {
			t.Error(err)
		}
	}); n > 0 {
		t.Errorf("ParseReplySubject: %v allocations, want 0", n)
	}
	if n := testing.AllocsPerRun(100, func() { bus.ReplySubject("gateway-1", client, math.MaxUint64) }); n > 1 {
		t.Errorf("ReplySubject: %v allocations, want 1", n)
	}
}
