package bus_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/gatebus/gatebus/bus"
)

func TestNames(t *testing.T) {
	t.Parallel()
	changes := []bus.NameChange{
		{Target: bus.Target{Scope: bus.ToUID, Name: "ann"}, Present: true},
		{Target: bus.Target{Scope: bus.ToUID, Name: "a.b *> ö\x00"}},
		{Target: bus.Target{Scope: bus.ToGroup, Name: "0"}, Present: true},
		{Target: bus.Target{Scope: bus.ToGroup, Name: strings.Repeat("x", bus.MaxToken)}},
	}
	var b []byte
	for _, c := range changes {
		b = c.Append(b)
	}
	whole := bus.AppendNamesEnd(b)
	rest := whole
	for _, want := range changes {
		var got bus.NameChange
		var end bool
		var err error
		if got, end, rest, err = bus.NextName(rest); err != nil || end || got != want {
			t.Fatalf("%+v comes back as %+v, %v, %v", want, got, end, err)
		}
	}
	if _, end, rest, err := bus.NextName(rest); err != nil || !end || len(rest) != 0 {
		t.Errorf("end: %v, %d left, %v", end, len(rest), err)
	}
	for n := range len(b) { // whatever is missing is noticed, or a name ends there
		for rest := b[:n]; len(rest) > 0; {
			var err error
			if _, _, rest, err = bus.NextName(rest); err != nil && !errors.Is(err, bus.ErrMessage) {
				t.Fatalf("%d bytes: %v", n, err)
			}
		}
	}
	for _, bad := range [][]byte{{}, {5}, {8, 1, 'a'}, {1, 0}, {1, 9, 'a'}} {
		if c, end, _, err := bus.NextName(bad); !errors.Is(err, bus.ErrMessage) {
			t.Errorf("%v: %+v, %v, %v", bad, c, end, err)
		}
	}
}

func TestNamesSubjects(t *testing.T) {
	t.Parallel()
	at := bus.NewWorkerAddress("w1-abc", 7)
	for s, want := range map[string]bus.WorkerAddress{
		bus.NamesSubject("g1"): "", bus.NamesFor("g1", at): at,
	} {
		if got, err := bus.ParseNamesSubject(s); err != nil || got != want || !bus.IsNames(s) {
			t.Errorf("%s: %q, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "gw", "gw.g1", "gw.g1.namesx", "gw.g1.names.", "gw.g1.names.a.b.c", "gw.*.names", "x.g1.names", "gw.g1.in.names"} {
		if at, err := bus.ParseNamesSubject(s); err == nil {
			t.Errorf("%q: %q", s, at)
		}
	}
	want := bus.NamesRequest{Worker: at, Request: 1 << 60}
	m := want.Msg("g1")
	if got, err := bus.ParseNamesRequest(m.Data); err != nil || got != want || m.Subject != "gw.g1.do.names" {
		t.Errorf("%s: %+v, %v", m.Subject, got, err)
	}
	for _, bad := range []string{"", "{}", `{"worker":"a b"}`, `{"worker":"a.*"}`, `{"worker":">"}`, `{"worker":"a","request":-1}`} {
		if _, err := bus.ParseNamesRequest([]byte(bad)); err == nil {
			t.Errorf("%q is a request", bad)
		}
	}
	b := bus.BeginNames([]byte("x"), 300)
	if n, rest, err := bus.NamesRequestOf(append(b[1:], 'y')); err != nil || n != 300 || string(rest) != "y" {
		t.Errorf("request %d, %q, %v", n, rest, err)
	}
	if _, _, err := bus.NamesRequestOf(nil); err == nil {
		t.Error("nothing is a request's number")
	}
}
