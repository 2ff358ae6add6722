package main

import (
	"encoding/json"
	"errors"
	"fmt"
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

// startChat starts two gateways and two workers: nothing may depend on which.
func startChat(t *testing.T) *workertest.Cluster {
	t.Helper()
	h := worker.HandlerFunc(chat)
	return workertest.Start(t, workertest.Options{Gateways: 2, Handlers: []worker.Handler{h, h}})
}

type guest struct {
	*workertest.Client
	t *testing.T
}

func visit(t *testing.T, c *workertest.Cluster, gateway int, name, room string) guest {
	t.Helper()
	query := url.Values{"name": {name}, "room": {room}}
	return guest{c.Dial(workertest.Request{Gateway: gateway, Path: "/chat?" + query.Encode()}), t}
}

// told is what a page gets, all in one.
type told struct {
	Type, ID, Name, Old, Room, Text string
	N, At                           int64
	People                          []struct{ ID, Name string }
	Rooms                           []struct {
		Room   string
		People int
	}
	Partial bool
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

// sees asks who is there, and wants this answer: the room, and the people in it.
func (p guest) sees(ask, room string, people ...string) told {
	p.t.Helper()
	p.Send(ask)
	m := p.hears("room")
	var names []string
	for _, who := range m.People {
		names = append(names, who.Name)
	}
	slices.Sort(names)
	if m.Room != room || !slices.Equal(names, people) || m.Partial {
		p.t.Errorf("want %v in %q, got %+v", people, room, m)
	}
	return m
}

func (m told) rooms() (all []string) {
	for _, r := range m.Rooms {
		all = append(all, fmt.Sprintf("%s: %d", r.Room, r.People))
	}
	return all
}

const hello, who = `{"type":"hello"}`, `{"type":"who"}`

func TestRooms(t *testing.T) {
	c := startChat(t)
	ann := visit(t, c, 0, "Ann", "Garden")
	me := ann.sees(hello, "garden", "Ann")
	if me.ID != string(me.People[0].ID) || me.Name != "Ann" {
		t.Errorf("Ann is %+v", me)
	}
	bob, cleo := visit(t, c, 1, "Bob", "garden"), visit(t, c, 1, "Cleo", "cellar")
	if m := ann.hears("join"); m.Name != "Bob" || m.Room != "garden" {
		t.Errorf("who comes: %+v", m)
	}
	cleo.sees(hello, "cellar", "Cleo")
	if m := bob.sees(hello, "garden", "Ann", "Bob"); !slices.Equal(m.rooms(), []string{"garden: 2", "cellar: 1"}) {
		t.Errorf("the rooms are %v", m.rooms())
	}

	// What is said is heard in the room, by who says it too.
	bob.Send(`{"type":"say","text":" <b>hi</b>\n "}`)
	for _, p := range []guest{ann, bob} {
		if m := p.hears("say"); m.Name != "Bob" || m.Text != "<b>hi</b>" || m.N == 0 || m.At == 0 || m.Room != "garden" {
			t.Errorf("what is said: %+v", m)
		}
	}

	// One goes to another room: the first hears that it leaves, the other that it comes.
	if m := bob.sees(`{"type":"enter","room":" Cellar "}`, "cellar", "Bob", "Cleo"); !slices.Equal(m.rooms(), []string{"cellar: 2", "garden: 1"}) {
		t.Errorf("the rooms are %v", m.rooms())
	}
	if m := ann.hears("leave"); m.Name != "Bob" || m.Room != "garden" {
		t.Errorf("who leaves: %+v", m)
	}
	if m := cleo.hears("join"); m.Name != "Bob" || m.Room != "cellar" {
		t.Errorf("who comes: %+v", m)
	}
	ann.sees(who, "garden", "Ann")
	ann.Send(`{"type":"say","text":"alone"}`)
	ann.hears("say")

	cleo.Send(`{"type":"name","name":" Cleopatra "}`)
	for _, p := range []guest{cleo, bob} {
		if m := p.hears("name"); m.Old != "Cleo" || m.Name != "Cleopatra" {
			t.Errorf("the new name: %+v", m)
		}
	}
	bob.sees(who, "cellar", "Bob", "Cleopatra")
	cleo.Cut()
	if m := bob.hears("leave"); m.Name != "Cleopatra" || m.Room != "cellar" {
		t.Errorf("who leaves: %+v", m)
	}
	bob.sees(who, "cellar", "Bob")
	for name, p := range map[string]guest{"Ann": ann, "Bob": bob} {
		if left := p.Pending(); len(left) > 0 {
			t.Errorf("%s hears what is not for them: %+v", name, left)
		}
	}
}

// A gateway that does not answer makes the list shorter, and says so; the chat goes on.
func TestListOfWhatAnswers(t *testing.T) {
	c := startChat(t)
	ann, bob := visit(t, c, 0, "Ann", "garden"), visit(t, c, 1, "Bob", "garden")
	ann.hears("join")
	bob.sees(hello, "garden", "Ann", "Bob")
	c.Stall(1, true)
	ann.Send(who)
	if m := ann.hears("room"); len(m.People) != 1 || m.People[0].Name != "Ann" || !m.Partial {
		t.Errorf("with one gateway frozen: %+v", m)
	}
	c.Stall(1, false)
	ann.sees(who, "garden", "Ann", "Bob")
}

func TestNonsenseIsAnswered(t *testing.T) {
	c := startChat(t)
	mallory, bob := visit(t, c, 0, "Mallory", "r"), visit(t, c, 1, "Bob", "r")
	mallory.hears("join")
	for frame, want := range map[string]string{
		``:                                      "not the JSON",
		`null`:                                  "type",
		`[]`:                                    "not the JSON",
		`{"type":"join","name":"x"}`:            "type",
		`{"type":7}`:                            "not the JSON",
		`{"type":"say"}`:                        "empty",
		`{"type":"say","text":{}}`:              "not the JSON",
		`{"type":"say","text":"\u202e\u200b "}`: "empty",
		`{"type":"say","text":"` + strings.Repeat("x", maxText+1) + `"}`: "characters",
		`{"type":"say","text":"` + strings.Repeat("x", maxFrame) + `"}`:  "bytes",
		`{"type":"enter"}`:                 "no name",
		`{"type":"enter","room":"\u0007"}`: "no name",
		`{"type":"name","name":""}`:        "empty",
	} {
		mallory.Send(frame)
		if m := mallory.hears("error"); !strings.Contains(m.Text, want) {
			t.Errorf("%.80q is answered with %q, want %q in it", frame, m.Text, want)
		}
	}
	mallory.SendBinary([]byte{0, 255})
	mallory.hears("error")
	mallory.Send(`{"type":"say","text":"sorry"}`)
	if m := bob.hears("say"); m.Text != "sorry" {
		t.Errorf("Bob hears %+v", m)
	}
}

// Names are whatever people write: none of them is another room than it seems.
func TestStrangeNames(t *testing.T) {
	c := startChat(t)
	for room, want := range map[string]string{
		"":                        "lobby",
		" \n ":                    "lobby",
		"a.b":                     "a.b",
		"*":                       "*",
		">":                       ">",
		"0":                       "0",
		"%2E":                     "%2e",
		"two  words":              "two words",
		"🌻":                       "🌻",
		strings.Repeat("界", 1000): strings.Repeat("界", maxName),
	} {
		p := visit(t, c, 0, room, room)
		name := cleanName(room)
		if m := p.sees(hello, want, name); len(m.Rooms) != 1 {
			t.Errorf("the room %q: %+v", room, m.Rooms)
		}
		p.Close()
	}
	_, err := c.TryDial(workertest.Request{Path: "/chat?name=%zz"})
	if refused, ok := errors.AsType[*workertest.RefusedError](err); !ok || refused.Status != 400 {
		t.Errorf("a query that is none: %v, want status 400", err)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{hello, who, `{"type":"say","text":"é\n"}`, `{"type":"enter","room":"R"}`, `{"type":"name","name":"x"}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := parse(data)
		if err != nil {
			if !utf8.ValidString(err.Error()) {
				t.Errorf("what is said about it is no text: %q", err)
			}
			return
		}
		for what, tt := range map[string]struct {
			is    bool
			text  string
			again string
			most  int
		}{
			"say":   {m.Type == "say", m.Text, strings.TrimSpace(visible(m.Text)), maxText},
			"enter": {m.Type == "enter", m.Room, cleanRoom(m.Room), maxName},
			"name":  {m.Type == "name", m.Name, cleanName(m.Name), maxName},
		} {
			if tt.is && (tt.text == "" || tt.text != tt.again || utf8.RuneCountInString(tt.text) > tt.most) {
				t.Errorf("%s: %q passes", what, tt.text)
			}
		}
	})
}
