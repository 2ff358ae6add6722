package bus_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/gatebus/gatebus/bus"
)

func TestDirectSubject(t *testing.T) {
	t.Parallel()
	for _, at := range []bus.WorkerAddress{"w1", "w1-3x.7", bus.NewWorkerAddress("w", 18446744073709551615)} {
		s := bus.DirectSubject("g1", at, bus.Binary)
		g, got, k, err := bus.ParseDirectSubject(s)
		if err != nil || g != "g1" || got != at || k != bus.Binary {
			t.Errorf("ParseDirectSubject(%q) = %q, %q, %v, %v", s, g, got, k, err)
		}
		if !bus.IsDirect(s) {
			t.Errorf("IsDirect(%q) = false", s)
		}
	}
	for _, s := range append([]string{
		"gw.g1.at.text", "gw.g1.at.w1", "gw.g1.at.w1.", "gw.g1.at..text", "gw.g1.at.w1.7.ping", "gw.g1.at.w1.7.8.text",
		"gw.g1.at.w1.*.text", "gw.g1.at.>", "gw.g1.in.w1.text", "gw.g1.at." + strings.Repeat("x", bus.MaxName+1) + ".text",
	}, strays...) {
		if g, at, k, err := bus.ParseDirectSubject(s); !errors.Is(err, bus.ErrSubject) || g != "" || at != "" || k != 0 {
			t.Errorf("ParseDirectSubject(%q) = %q, %q, %v, %v, want ErrSubject", s, g, at, k, err)
		}
	}
}

func TestWorkerOf(t *testing.T) {
	t.Parallel()
	m := &bus.Msg{}
	if at, err := bus.WorkerOf(m); at != "" || err != nil {
		t.Errorf("without a name: %q, %v", at, err)
	}
	bus.NameWorker(m, "w1.7")
	if at, err := bus.WorkerOf(m); at != "w1.7" || err != nil {
		t.Errorf("got %q, %v", at, err)
	}
	for _, bad := range []string{"w1.", ".7", "w1.7.8", "*", "w 1", ">"} {
		m := &bus.Msg{Header: bus.Header{bus.HeaderWorker: {bad}}}
		if at, err := bus.WorkerOf(m); !errors.Is(err, bus.ErrMessage) || at != "" {
			t.Errorf("%q is taken for the address %q, %v", bad, at, err)
		}
	}
}

func TestHeld(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 4096, 4097, 10_000} {
		h := bus.Held{Connection: 7}
		for i := range n {
			h.Events = append(h.Events, bus.EventID{Client: bus.NewClientID(bus.GatewayID(strings.Repeat("g", bus.MaxName)), 1, uint64(i)), Seq: uint64(i)})
		}
		var got []bus.EventID
		msgs := h.Msgs(bus.HeldSubject("g1", 3))
		for i, m := range msgs {
			if g, number, err := bus.ParseHeldSubject(m.Subject); err != nil || g != "g1" || number != 3 || !bus.IsHeld(m.Subject) {
				t.Fatalf("ParseHeldSubject(%q) = %q, %d, %v", m.Subject, g, number, err)
			}
			if len(m.Data) > 1<<20 {
				t.Fatalf("%d events make a message of %d bytes", n, len(m.Data))
			}
			part, err := bus.ParseHeld(m.Data)
			if err != nil || part.Connection != 7 || part.More != (i < len(msgs)-1) {
				t.Fatalf("part %d of %d: %+v, %v", i, len(msgs), part, err)
			}
			got = append(got, part.Events...)
		}
		if !reflect.DeepEqual(got, h.Events) && n > 0 || len(got) != n {
			t.Errorf("%d events come back as %d", n, len(got))
		}
	}
	if data := (&bus.Held{Connection: 1, Events: []bus.EventID{{Client: "g1-1-1", Seq: 2}}}).Msgs("s")[0].Data; string(data) != `{"connection":1,"events":["g1-1-1.2"]}` {
		t.Errorf("on the wire: %s", data)
	}
	for _, s := range append([]string{"gw.g1.held", "gw.g1.held.", "gw.g1.held.x", "gw.g1.held.1.2", "gw.g1.ask.held"}, strays...) {
		if _, _, err := bus.ParseHeldSubject(s); !errors.Is(err, bus.ErrSubject) {
			t.Errorf("ParseHeldSubject(%q): %v, want ErrSubject", s, err)
		}
	}
}

func FuzzParseHeld(f *testing.F) {
	f.Add([]byte(`{"connection":1,"events":["g1-1-1.2","g1-1-2.3"],"more":true}`))
	f.Add([]byte(`{"events":["x"]}`))
	f.Add([]byte(`{"connection":-1}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		h, err := bus.ParseHeld(data)
		if err != nil {
			if !errors.Is(err, bus.ErrMessage) {
				t.Fatal(err)
			}
			return
		}
		wire, err := json.Marshal(h)
		if err != nil {
			t.Fatal(err)
		}
		back, err := bus.ParseHeld(wire)
		again, _ := json.Marshal(back)
		if err != nil || !bytes.Equal(wire, again) {
			t.Fatalf("%s comes back as %s, %v", wire, again, err)
		}
	})
}

func FuzzParseDirectSubject(f *testing.F) {
	f.Add("gw.g1.at.w1.7.text")
	f.Add("gw.g1.at.w1.open")
	f.Fuzz(func(t *testing.T, s string) {
		g, at, k, err := bus.ParseDirectSubject(s)
		if err != nil {
			if !errors.Is(err, bus.ErrSubject) {
				t.Fatal(err)
			}
			return
		}
		if back := bus.DirectSubject(g, at, k); back != s {
			t.Fatalf("%q comes back as %q (%v)", s, back, fmt.Sprint(g, at, k))
		}
	})
}
