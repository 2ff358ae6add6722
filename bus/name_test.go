package bus_test

import (
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/gatebus/gatebus/bus"
)

// hostile are names that a uid or client group may have, since they come from
// the application and so from its users; the last column is the subject token,
// empty when the name is refused.
var hostile = []struct{ what, name, token string }{
	{"empty", "", ""},
	{"zero", "0", "0"},
	{"plain", "Room_1-a", "Room_1-a"},
	{"dot", "a.b", "a%2Eb"},
	{"only a dot", ".", "%2E"},
	{"star", "*", "%2A"},
	{"greater", ">", "%3E"},
	{"percent", "%", "%25"},
	{"escaped already", "a%2Eb", "a%252Eb"},
	{"spaces", " a b ", "%20a%20b%20"},
	{"slash", "../a", "%2E%2E%2Fa"},
	{"mail", "a@b.example", "a%40b%2Eexample"},
	{"dollar", "$SYS", "%24SYS"},
	{"CR LF", "a\r\nPUB b 0\r\n", "a%0D%0APUB%20b%200%0D%0A"},
	{"NUL", "a\x00b", "a%00b"},
	{"emoji", "😀", "%F0%9F%98%80"},
	{"umlaut", "größe", "gr%C3%B6%C3%9Fe"},
	{"invalid UTF-8", "\xff\xfe", ""},
	{"cut UTF-8", "a\xf0\x9f", ""},
	{"longest", strings.Repeat("x", bus.MaxToken), strings.Repeat("x", bus.MaxToken)},
	{"longest, all escaped", strings.Repeat(".", bus.MaxToken), strings.Repeat("%2E", bus.MaxToken)},
	{"one too long", strings.Repeat("x", bus.MaxToken+1), ""},
	{"10 KB", strings.Repeat("x", 10<<10), ""},
}

func TestCheckName(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"a", "0", "-", "_", "g1", "Gate-Way_9", strings.Repeat("x", bus.MaxName)} {
		if err := bus.CheckName(s); err != nil {
			t.Errorf("CheckName(%q) = %v", s, err)
		}
	}
	for _, s := range []string{
		"", ".", "a.b", "*", ">", "%41", "a b", " ", "a\x00", "a\r\n", "größe", "😀", "\xff",
		strings.Repeat("x", bus.MaxName+1), strings.Repeat("x", 10<<10),
	} {
		if err := bus.CheckName(s); !errors.Is(err, bus.ErrName) {
			t.Errorf("CheckName(%q) = %v, want ErrName", s, err)
		} else if len(err.Error()) > 500 {
			t.Errorf("CheckName: an error of %d bytes", len(err.Error()))
		}
	}
	if err := bus.CheckName("all"); err != nil {
		t.Errorf("CheckName(all) = %v", err)
	}
	if err := bus.CheckGateway(bus.AllGateways); !errors.Is(err, bus.ErrName) {
		t.Errorf("CheckGateway(all) = %v, want ErrName", err)
	}
	if err := bus.CheckGateway("all1"); err != nil {
		t.Errorf("CheckGateway(all1) = %v", err)
	}
}

func TestEscape(t *testing.T) {
	t.Parallel()
	for _, h := range hostile {
		token, err := bus.Escape(h.name)
		if h.token == "" {
			if !errors.Is(err, bus.ErrName) {
				t.Errorf("%s: Escape = %q, %v, want ErrName", h.what, token, err)
			}
			continue
		}
		if err != nil || token != h.token {
			t.Errorf("%s: Escape(%q) = %q, %v, want %q", h.what, h.name, token, err, h.token)
		}
		if name, err := bus.Unescape(token); err != nil || name != h.name {
			t.Errorf("%s: Unescape(%q) = %q, %v", h.what, token, name, err)
		}
	}
}

func TestUnescape(t *testing.T) {
	t.Parallel()
	for token, want := range map[string]string{
		"%2e":         ".",
		"%2E":         ".",
		"%41":         "A", // not what Escape writes, but what it means is clear
		"a%c3%B6":     "aö",
		"%00":         "\x00",
		"%25":         "%",
		"%2525":       "%25",
		"100%25_-sur": "100%_-sur",
	} {
		if got, err := bus.Unescape(token); err != nil || got != want {
			t.Errorf("Unescape(%q) = %q, %v, want %q", token, got, err, want)
		}
	}
	for _, token := range []string{
		"", "%", "%2", "a%2", "%zz", "%+1", "%-1", "% 1", "%0x", "%_1", "%2G",
		"a.b", "*", ">", "a b", "a\r\n", "\x00", "ö", "\xff", "a+b", "~", "%FF", "a%F0%9F",
		strings.Repeat("x", bus.MaxToken+1), strings.Repeat("%41", bus.MaxToken+1), strings.Repeat("x", 10<<10),
	} {
		if got, err := bus.Unescape(token); !errors.Is(err, bus.ErrName) {
			t.Errorf("Unescape(%q) = %q, %v, want ErrName", token, got, err)
		}
	}
}

func TestEpoch(t *testing.T) {
	t.Parallel()
	for e, want := range map[bus.Epoch]string{0: "0", 35: "z", 36: "10", math.MaxUint64: "3w5e11264sgsf"} {
		if got := e.String(); got != want {
			t.Errorf("String of %d = %q, want %q", uint64(e), got, want)
		}
		text, err := json.Marshal(e)
		if err != nil || string(text) != `"`+want+`"` {
			t.Errorf("JSON of %d = %s, %v", uint64(e), text, err)
		}
		var back bus.Epoch
		if err := json.Unmarshal(text, &back); err != nil || back != e {
			t.Errorf("%s is read as %d, %v", text, uint64(back), err)
		}
	}
	for _, s := range []string{"", "-1", "+1", " 1", "1 ", "01", "Z", "1_0", "3w5e11264sgsg", "0x1", "ö", "\x00", strings.Repeat("z", 10<<10)} {
		var e bus.Epoch
		if err := e.UnmarshalText([]byte(s)); !errors.Is(err, bus.ErrName) {
			t.Errorf("UnmarshalText(%q) = %d, %v, want ErrName", s, uint64(e), err)
		}
	}
}

func TestNewEpoch(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	last, seen := bus.Epoch(0), map[bus.Epoch]bool{}
	for i := range 100 {
		e := bus.NewEpoch(start.Add(time.Duration(i) * time.Millisecond))
		if e <= last {
			t.Errorf("epoch %v of a later start is not above %v", e, last)
		}
		last = e
		seen[bus.NewEpoch(start)] = true
	}
	if len(seen) < 95 { // of 100 out of 2^20: two of them alike are rare
		t.Errorf("%d different epochs of 100 starts in one millisecond", len(seen))
	}
	if e := bus.NewEpoch(time.Date(2500, 1, 1, 0, 0, 0, 0, time.UTC)); e <= last {
		t.Errorf("the epoch of the year 2500 overflows: %v", e)
	}
}

func TestClientID(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		gateway bus.GatewayID
		epoch   bus.Epoch
		n       uint64
		id      bus.ClientID
	}{
		{"g1", 0, 0, "g1-0-0"},
		{"g1", 36, 71, "g1-10-1z"},
		{"eu-west-1_a", 1, 2, "eu-west-1_a-1-2"},
		{"-", 1, 2, "--1-2"},
		{"g-1-2", 3, 4, "g-1-2-3-4"},
		{bus.GatewayID(strings.Repeat("x", bus.MaxName)), math.MaxUint64, math.MaxUint64,
			bus.ClientID(strings.Repeat("x", bus.MaxName) + "-3w5e11264sgsf-3w5e11264sgsf")},
	} {
		if id := bus.NewClientID(c.gateway, c.epoch, c.n); id != c.id {
			t.Errorf("NewClientID(%q, %v, %d) = %q, want %q", c.gateway, c.epoch, c.n, id, c.id)
		}
		g, e, n, err := c.id.Parts()
		if err != nil || g != c.gateway || e != c.epoch || n != c.n {
			t.Errorf("Parts of %q = %q, %v, %d, %v", c.id, g, e, n, err)
		}
		if token, err := bus.Escape(string(c.id)); err != nil || token != string(c.id) {
			t.Errorf("%q is not one subject token as it is: %q, %v", c.id, token, err)
		}
	}
	for _, s := range []string{
		"", "-", "--", "g1", "g1-1", "-1-2", "g1--1", "g1-1-", "g1-01-1", "g1-1-01", "g1-A-1", "g1-1-+1",
		"g1-1-1 ", " g1-1-1", "g.1-1-1", "*-1-1", ">-1-1", "all-1-1", "g1-1-3w5e11264sgsg", "ö-1-1", "g\x001-1-1",
		"g1-1-1\r\n", strings.Repeat("x", bus.MaxName+1) + "-1-1", strings.Repeat("x", 10<<10) + "-1-1",
	} {
		_, _, _, err := bus.ClientID(s).Parts()
		if !errors.Is(err, bus.ErrName) {
			t.Errorf("Parts of %q: %v, want ErrName", s, err)
		} else if len(err.Error()) > 500 {
			t.Errorf("Parts: an error of %d bytes", len(err.Error()))
		}
	}
}

func FuzzEscape(f *testing.F) {
	for _, h := range hostile {
		f.Add(h.name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		token, err := bus.Escape(name)
		if err != nil {
			if !errors.Is(err, bus.ErrName) || name != "" && len(name) <= bus.MaxToken && utf8.ValidString(name) {
				t.Fatalf("Escape(%q): %v", name, err)
			}
			return
		}
		if strings.Trim(token, "%-_0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz") != "" || token == "" {
			t.Fatalf("Escape(%q) = %q is not one token", name, token)
		}
		if back, err := bus.Unescape(token); err != nil || back != name {
			t.Fatalf("Unescape(%q) = %q, %v, want %q", token, back, err, name)
		}
	})
}

func FuzzUnescape(f *testing.F) {
	for _, h := range hostile {
		f.Add(h.name)
		f.Add(h.token)
	}
	f.Fuzz(func(t *testing.T, token string) {
		name, err := bus.Unescape(token)
		if err != nil {
			if !errors.Is(err, bus.ErrName) {
				t.Fatalf("Unescape(%q): %v", token, err)
			}
			return
		}
		canonical, err := bus.Escape(name)
		if err != nil {
			t.Fatalf("Unescape(%q) = %q, which Escape refuses: %v", token, name, err)
		}
		if back, err := bus.Unescape(canonical); err != nil || back != name {
			t.Fatalf("Unescape(%q) = %q, %v, want %q", canonical, back, err, name)
		}
	})
}

func FuzzEpoch(f *testing.F) {
	for _, s := range []string{"", "0", "01", "z", "Z", "3w5e11264sgsf", "3w5e11264sgsg", "-1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var e bus.Epoch
		if err := e.UnmarshalText([]byte(s)); err != nil {
			if !errors.Is(err, bus.ErrName) {
				t.Fatalf("UnmarshalText(%q): %v", s, err)
			}
		} else if e.String() != s {
			t.Fatalf("%q is read as %q", s, e)
		}
	})
}

func FuzzClientID(f *testing.F) {
	for _, s := range []string{"g1-0-0", "a-b-c-d", "all-1-1", "", "--1-2", "g.1-1-1", "g1-01-1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		g, e, n, err := bus.ClientID(s).Parts()
		if err != nil {
			if !errors.Is(err, bus.ErrName) {
				t.Fatalf("Parts of %q: %v", s, err)
			}
			return
		}
		if err := bus.CheckGateway(g); err != nil {
			t.Fatalf("Parts of %q: gateway: %v", s, err)
		}
		if id := bus.NewClientID(g, e, n); string(id) != s {
			t.Fatalf("%q comes back as %q", s, id)
		}
	})
}
