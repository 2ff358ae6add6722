package bus_test

import (
	"errors"
	"maps"
	"slices"
	"testing"

	"github.com/gatebus/gatebus/bus"
)

func TestCovers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		subscription, subject string
		want                  bool
	}{
		{">", "gw.g1.push.all", true},
		{"gw.>", "gw.g1.push.all", true},
		{"gw.>", "gw", false},
		{"gw.*.push.>", "gw.g1.push.all", true},
		{"gw.*.push.>", "gw.g1.push", false},
		{"gw.*.in.*.text", "gw.g1.in.default.text", true},
		{"gw.*.in.*.text", "gw.g1.in.default.binary", false},
		{"gw.*.in.*", "gw.g1.in.default.text", false},
		{"gw.g1.in.default.text.x", "gw.g1.in.default.text", false},
		{"gw.g1.in.default.text", "gw.g1.in.default.text", true},
		{"*", "gw", true},
		{"*", "gw.g1", false},
		{"reg.>", "gw.g1", false},
	} {
		if got := bus.Covers(c.subscription, c.subject); got != c.want {
			t.Errorf("%s covers %s: %v", c.subscription, c.subject, got)
		}
	}
	for s, want := range map[string]bool{">": true, "gw.>": true, "*.>": true, "*.*": true, "gw": false, "*": false, "reg.>": false, "gwx.>": false, "_INBOX.>": false, "gw.": false} {
		if bus.TapsGateways(s) != want {
			t.Errorf("%s taps gateways: %v", s, !want)
		}
	}
}

func TestSplitTaps(t *testing.T) {
	t.Parallel()
	clients, others := bus.SplitTaps("g1", []string{
		bus.ClientTap("g1", "g1-1-2"), "gw.*.tap.g1-1-3.>", "gw.g2.tap.g2-1-1.>", "gw.g1.tap.*.>", "gw.>", "gw.>", "gw.g1.tap.>",
	})
	if got := slices.Sorted(maps.Keys(clients)); !slices.Equal(got, []bus.ClientID{"g1-1-2", "g1-1-3"}) {
		t.Errorf("clients %q", got)
	}
	if !slices.Equal(others, []string{"gw.>"}) {
		t.Errorf("others %q", others)
	}
	if s := bus.ClientTapSubject("g1", "g1-1-2", true, bus.Text); s != "gw.g1.tap.g1-1-2.in.text" || !bus.Covers(bus.ClientTap("g1", "g1-1-2"), s) {
		t.Errorf("%s is not covered by %s", s, bus.ClientTap("g1", "g1-1-2"))
	}
	m := bus.Taps{Register: "r1", Subjects: []string{"gw.>"}}.Msg()
	if back, err := bus.ParseTaps(m.Data); m.Subject != "reg.taps" || err != nil || back.Register != "r1" || !slices.Equal(back.Subjects, []string{"gw.>"}) {
		t.Errorf("%s comes back as %+v, %v", m.Data, back, err)
	}
	if _, err := bus.ParseTaps([]byte("[")); !errors.Is(err, bus.ErrMessage) {
		t.Errorf("what is no JSON: %v", err)
	}
}
