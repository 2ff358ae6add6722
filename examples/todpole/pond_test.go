package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/url"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"go.uber.org/goleak"

	"github.com/gatebus/gatebus/worker"
	"github.com/gatebus/gatebus/workertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// startPond starts two gateways and two workers: nothing may depend on which.
func startPond(t *testing.T) *workertest.Cluster {
	t.Helper()
	h := worker.HandlerFunc(pond)
	return workertest.Start(t, workertest.Options{Gateways: 2, Handlers: []worker.Handler{h, h}})
}

type guest struct {
	*workertest.Client
	t *testing.T
}

func visit(t *testing.T, c *workertest.Cluster, gateway int, name, hue string) guest {
	t.Helper()
	query := url.Values{"name": {name}, "hue": {hue}}
	return guest{c.Dial(workertest.Request{Gateway: gateway, Path: "/pond?" + query.Encode()}), t}
}

// told is what a page gets, all in one.
type told struct {
	Type, ID, Name, Text string
	Hue                  int
	X, Y, A              *float64
	At, N                int64
	Asleep               bool
}

func (p guest) hears(kind string) told {
	p.t.Helper()
	f := p.Receive()
	var m told
	if err := json.Unmarshal([]byte(f.Data), &m); err != nil || f.Kind != worker.Text {
		p.t.Fatalf("%v %q: %v", f.Kind, f.Data, err)
	}
	if m.Type != kind {
		p.t.Fatalf("want news of the type %s, got %s", kind, f.Data)
	}
	return m
}

func (p guest) isWelcome() told {
	p.t.Helper()
	p.Send(`{"type":"hello"}`)
	return p.hears("welcome")
}

func TestVisitorsSeeEachOther(t *testing.T) {
	c := startPond(t)
	ann := visit(t, c, 0, "Ann", "20")
	me := ann.isWelcome()
	if me.Name != "Ann" || me.Hue != 20 || me.ID == "" {
		t.Errorf("Ann is welcome as %+v", me)
	}
	bob := visit(t, c, 1, "Bob", "300")
	if m := ann.hears("join"); m.Name != "Bob" || m.Hue != 300 {
		t.Errorf("who comes: %+v", m)
	}
	he := bob.isWelcome()

	bob.Send(`{"type":"move","x":-12.5,"y":0,"a":1.5,"at":7}`)
	if m := ann.hears("move"); m.ID != he.ID || m.Name != "Bob" || m.Hue != 300 || *m.X != -12.5 || *m.Y != 0 || *m.A != 1.5 || m.At != 7 || m.Asleep {
		t.Errorf("who swims: %+v", m)
	}
	bob.Send(`{"type":"move","x":0,"y":0,"a":0,"at":9,"asleep":true}`)
	if m := ann.hears("move"); *m.X != 0 || !m.Asleep {
		t.Errorf("who sleeps: %+v", m)
	}
	ann.Send("{\"type\":\"say\",\"text\":\"  <b>hi</b> \\u202e\\n there\"}")
	first := bob.hears("say")
	if first.ID != me.ID || first.Name != "Ann" || first.Text != "<b>hi</b> there" {
		t.Errorf("who speaks: %+v", first)
	}
	ann.Send(`{"type":"say","text":"once more"}`)
	if m := bob.hears("say"); m.N <= first.N {
		t.Errorf("what is said has the number %d after %d", m.N, first.N)
	}

	// The name is that of the session, whichever worker has the next frame.
	ann.Send(`{"type":"name","name":" Anna  Maria "}`)
	if m := ann.hears("welcome"); m.Name != "Anna Maria" {
		t.Errorf("the new name: %+v", m)
	}
	if m := bob.hears("name"); m.ID != me.ID || m.Name != "Anna Maria" || m.Hue != 20 {
		t.Errorf("who has a new name: %+v", m)
	}
	for i := range 10 {
		ann.Send(fmt.Sprintf(`{"type":"move","x":1,"y":1,"a":0,"at":%d}`, i))
		if m := bob.hears("move"); m.Name != "Anna Maria" {
			t.Errorf("after the new name: %+v", m)
		}
	}

	bob.Cut()
	if m := ann.hears("leave"); m.ID != he.ID {
		t.Errorf("who leaves: %+v", m)
	}
	if left := ann.Pending(); len(left) > 0 {
		t.Errorf("Ann hears what is not for her: %+v", left)
	}
}

func TestNonsenseIsAnswered(t *testing.T) {
	c := startPond(t)
	mallory, bob := visit(t, c, 0, "Mallory", "0"), visit(t, c, 1, "Bob", "0")
	mallory.hears("join")
	for frame, want := range map[string]string{
		``:                            "not the JSON",
		`null`:                        "type",
		`[1]`:                         "not the JSON",
		`"hi"`:                        "not the JSON",
		`{}`:                          "type",
		`{"type`:                      "not the JSON",
		`{"type":"welcome","id":"x"}`: "type",
		`{"type":"leave","id":"` + string(bob.ID()) + `"}`: "type",
		`{"type":["move"]}`:                                              "not the JSON",
		`{"type":"move","x":1001,"y":0,"a":0,"at":1}`:                    "not in the pond",
		`{"type":"move","x":800,"y":-800,"a":0,"at":1}`:                  "not in the pond",
		`{"type":"move","x":1e308,"y":1e308,"a":0}`:                      "not in the pond",
		`{"type":"move","x":1e999,"y":0,"a":0}`:                          "not the JSON",
		`{"type":"move","x":"0","y":0,"a":0}`:                            "not the JSON",
		`{"type":"move","x":NaN,"y":0,"a":0}`:                            "not the JSON",
		`{"type":"move","x":0,"y":0,"a":99,"at":1}`:                      "angle",
		`{"type":"move","x":0,"y":0,"a":0,"at":-1}`:                      "milliseconds",
		`{"type":"move","x":0,"y":0,"a":0,"at":1e300}`:                   "not the JSON",
		`{"type":"say"}`:                                                 "empty",
		`{"type":"say","text":" \u200b\u202e\n"}`:                        "empty",
		`{"type":"say","text":"` + strings.Repeat("x", maxText+1) + `"}`: "characters",
		`{"type":"say","text":"` + strings.Repeat("x", maxFrame) + `"}`:  "bytes",
		`{"type":"name","name":"\u0000 "}`:                               "empty",
		strings.Repeat(`[`, maxFrame):                                    "not the JSON",
	} {
		mallory.Send(frame)
		if m := mallory.hears("error"); !strings.Contains(m.Text, want) {
			t.Errorf("%.80q is answered with %q, want %q in it", frame, m.Text, want)
		}
	}
	mallory.SendBinary([]byte{0, 255})
	mallory.hears("error")
	// Of all that, nobody has heard anything: the next thing is what is right.
	mallory.Send(`{"type":"say","text":"sorry"}`)
	if m := bob.hears("say"); m.Text != "sorry" {
		t.Errorf("Bob hears %+v", m)
	}
}

func TestStrangeVisitors(t *testing.T) {
	c := startPond(t)
	for name, want := range map[string]string{
		"":                        "tadpole",
		" \t ":                    "tadpole",
		"\u202eevil\x00":          "evil",
		"<script>":                "<script>",
		"👩‍👩‍👧":                   "👩‍👩‍👧",
		strings.Repeat("é", 1000): strings.Repeat("é", maxName),
	} {
		if m := visit(t, c, 0, name, "-7").isWelcome(); m.Name != want || m.Hue < 0 || m.Hue >= 360 {
			t.Errorf("who asks for the name %.40q is %+v", name, m)
		}
	}
	_, err := c.TryDial(workertest.Request{Path: "/pond?name=%zz"})
	if refused, ok := errors.AsType[*workertest.RefusedError](err); !ok || refused.Status != 400 {
		t.Errorf("a query that is none: %v, want status 400", err)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{`{"type":"hello"}`, `{"type":"move","x":1,"y":2,"a":3,"at":4}`, `{"type":"say","text":"é"}`, `{"type":"name","name":"x"}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := parse(data)
		if err != nil {
			if len(err.Error()) > 4*maxFrame || !utf8.ValidString(err.Error()) {
				t.Errorf("what is said about it is itself too much: %q", err)
			}
			return
		}
		if !slices.Contains([]string{"hello", "move", "say", "name"}, m.Type) {
			t.Errorf("the type %q passes", m.Type)
		}
		switch {
		case m.Type == "move" && !(math.Hypot(m.X, m.Y) <= radius && math.Abs(m.Angle) < 4 && m.At >= 0):
			t.Errorf("the place %+v passes", m.place)
		case m.Type == "say" && (m.Text == "" || m.Text != cleanLine(m.Text) || utf8.RuneCountInString(m.Text) > maxText):
			t.Errorf("the text %q passes", m.Text)
		case m.Type == "name" && (m.Name == "" || m.Name != cleanName(m.Name) || utf8.RuneCountInString(m.Name) > maxName):
			t.Errorf("the name %q passes", m.Name)
		}
	})
}
