package bus_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/gatebus/gatebus/bus"
)

func TestResult(t *testing.T) {
	t.Parallel()
	for want, r := range map[string]bus.Result{
		`{"gateway":"g1","clients":3}`:                           {Gateway: "g1", Clients: 3},
		`{"gateway":"g1","clients":0,"error":"bus: \"a\nb\" x"}`: {Gateway: "g1", Error: "bus: \"a\nb\" x"},
	} {
		m := r.Msg("_INBOX.1")
		if m.Subject != "_INBOX.1" || string(m.Data) != want || len(m.Header) != 0 {
			t.Errorf("Msg of %v: %s on %q, want %s", r, m.Data, m.Subject, want)
		}
		if back, err := bus.ParseResult(m.Data); err != nil || back != r {
			t.Errorf("ParseResult(%s) = %v, %v", m.Data, back, err)
		}
	}
	for _, s := range []string{"", "x", "[]", `"a"`, `{"clients":"3"}`, `{"clients":1.5}`, `{"gateway":1}`, "{", "\xff"} {
		if r, err := bus.ParseResult([]byte(s)); !errors.Is(err, bus.ErrMessage) || r != (bus.Result{}) {
			t.Errorf("ParseResult(%q) = %v, %v, want ErrMessage", s, r, err)
		}
	}
}

func TestCloseRequest(t *testing.T) {
	t.Parallel()
	m, err := bus.CloseRequest{Selector: bus.Selector{Client: "g1-1-2"}, Code: 4401, Reason: "who \"are\" you"}.Msg("g1")
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"client":"g1-1-2","code":4401,"reason":"who \"are\" you"}`; m.Subject != "gw.g1.do.close" || string(m.Data) != want {
		t.Errorf("Msg: %s on %q, want %s", m.Data, m.Subject, want)
	}
	for data, want := range map[string]bus.CloseRequest{
		string(m.Data):                          {Selector: bus.Selector{Client: "g1-1-2"}, Code: 4401, Reason: "who \"are\" you"},
		`{"client":"g1-1-2"}`:                   {Selector: bus.Selector{Client: "g1-1-2"}, Code: bus.CloseKicked},
		`{"client":"g1-1-2","code":0}`:          {Selector: bus.Selector{Client: "g1-1-2"}, Code: bus.CloseKicked},
		` {"client":"a-b-1-2","more":[],"x":1}`: {Selector: bus.Selector{Client: "a-b-1-2"}, Code: bus.CloseKicked},
	} {
		if r, err := bus.ParseCloseRequest([]byte(data)); err != nil || !reflect.DeepEqual(r, want) {
			t.Errorf("ParseCloseRequest(%s) = %v, %v, want %v", data, r, err, want)
		}
	}
	for _, data := range []string{
		"", "x", "[]", "null", "{}", "{", `{"client":1}`, `{"client":""}`, `{"client":"x"}`, `{"client":"all-1-1"}`, `{"client":"*"}`,
		`{"client":"g1-1-2","code":1005}`, `{"client":"g1-1-2","code":4050}`, `{"client":"g1-1-2","code":"4401"}`,
		`{"client":"g1-1-2","code":-1}`, `{"client":"g1-1-2","code":1e99}`, `{"client":"` + strings.Repeat("x", 10<<10) + `"}`,
	} {
		if r, err := bus.ParseCloseRequest([]byte(data)); err == nil || !reflect.DeepEqual(r, bus.CloseRequest{}) {
			t.Errorf("ParseCloseRequest(%s) = %v, %v", data, r, err)
		} else if len(err.Error()) > 500 {
			t.Errorf("ParseCloseRequest: an error of %d bytes", len(err.Error()))
		}
	}
	for g, r := range map[bus.GatewayID]bus.CloseRequest{
		"g1": {Selector: bus.Selector{Client: "x"}}, "g2": {Selector: bus.Selector{Client: "g2-1-1"}, Code: 1006}, "a.b": {Selector: bus.Selector{Client: "g1-1-1"}}, "": {Selector: bus.Selector{Client: "g1-1-1"}}, ">": {Selector: bus.Selector{Client: "g1-1-1"}},
	} {
		if m, err := r.Msg(g); err == nil {
			t.Errorf("Msg of %v to %q = %s on %q", r, g, m.Data, m.Subject)
		}
	}
	if m, err := (bus.CloseRequest{Selector: bus.Selector{Client: "g1-1-1"}}).Msg(bus.AllGateways); err != nil || m.Subject != "gw.all.do.close" {
		t.Errorf("Msg to all: %v, %v", m, err)
	}
}

func FuzzCloseRequest(f *testing.F) {
	for _, s := range []string{`{"client":"g1-1-2","code":4401,"reason":"x"}`, `{"client":"g1-1-2"}`, `{"CLIENT":"g1-1-2","Reason":"\ud800"}`, "null", "{"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := bus.ParseCloseRequest(data)
		if err != nil {
			return
		}
		m, err := r.Msg("g1")
		if err != nil {
			t.Fatalf("%q is parsed as %v: %v", data, r, err)
		}
		if back, err := bus.ParseCloseRequest(m.Data); err != nil || !reflect.DeepEqual(back, r) {
			t.Fatalf("%v comes back as %v, %v", r, back, err)
		}
	})
}

func FuzzResult(f *testing.F) {
	for _, s := range []string{`{"gateway":"g1","clients":3}`, `{"gateway":"g1","clients":0,"error":"x"}`, "null", "{}", "{"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := bus.ParseResult(data)
		if err != nil {
			if !errors.Is(err, bus.ErrMessage) {
				t.Fatalf("ParseResult(%q): %v", data, err)
			}
			return
		}
		if back, err := bus.ParseResult(r.Msg("x").Data); err != nil || back != r {
			t.Fatalf("%v comes back as %v, %v", r, back, err)
		}
	})
}
