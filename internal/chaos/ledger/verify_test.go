package ledger

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

const client = "g1-abc-1"

// handled makes handlings of words like "o 10-20", "f0 30-40", "f0/2 50-" (the
// second delivery, without an end) and "c 60-70".
func handled(t *testing.T, words ...string) []Handling {
	t.Helper()
	var all []Handling
	for _, w := range words {
		what, times, _ := strings.Cut(w, " ")
		h := Handling{Event: Event{Client: client, Kind: what[0], Delivery: 1}}
		what, delivery, again := strings.Cut(what, "/")
		if again {
			h.Delivery = int(delivery[0] - '0')
		}
		if h.Kind == 'f' {
			h.Number = int(what[1] - '0')
		}
		if h.Kind == 'o' {
			h.Conn = "c1.1"
		}
		start, end, _ := strings.Cut(times, "-")
		for s, d := range map[string]*time.Duration{start: &h.Start, end: &h.End} {
			if s != "" {
				if _, err := fmt.Sscanf(s, "%d", d); err != nil {
					t.Fatal(err)
				}
			}
		}
		all = append(all, h)
	}
	return all
}

func TestVerifyNoticesEachBrokenPromise(t *testing.T) {
	for name, tt := range map[string]struct {
		words    string
		answered int
		want     string // of the findings, in order
	}{
		"kept":                         {"o 10-20, f0 30-40, f1 40-50, c 60-70", 2, ""},
		"no frames":                    {"o 10-20, c 60-70", 0, ""},
		"given out again":              {"o 10-20, f0 30-, f0/2 50-55, f1 60-70, c 80-90", 2, ""},
		"two at a time, one again":     {"o 10-20, f0 30-99, f0/2 50-55, f1 60-70, c 80-90", 2, ""},
		"a frozen worker comes late":   {"o 10-20, f0/2 30-40, f1 50-60, f0 70-80, c 100-110, f1/2 120-130", 2, ""},
		"unfinished at the end":        {"o 10-20, f0 30-40, f1 50-60, c 70-", 2, ""},
		"lost":                         {"o 10-20, f0 30-40, f2 50-60, c 70-80", 3, "lost"},
		"the first lost":               {"o 10-20, f1 50-60, c 70-80", 2, "lost"},
		"answered, never handled":      {"o 10-20, f0 30-40, c 70-80", 2, "lost"},
		"answered, not handled to end": {"o 10-20, f0 30-40, f1 50-, c 70-80", 2, "reordered lost"},
		"twice":                        {"o 10-20, f0 30-40, f0 50-60, c 70-80", 1, "duplicated"},
		"twice at a time":              {"o 10-20, f0 30-40, f0 35-60, c 70-80", 1, "duplicated"},
		"reordered":                    {"o 10-20, f1 30-40, f0 50-60, c 70-80", 2, "reordered"},
		"two at a time":                {"o 10-20, f0 30-40, f1 39-50, c 70-80", 2, "reordered"},
		"frame before open":            {"f0 5-9, o 10-20, c 70-80", 1, "reordered"},
		"frame during open":            {"o 10-20, f0 15-30, c 70-80", 1, "reordered"},
		"no open":                      {"f0 30-40, c 50-60", 1, "reordered lost"},
		"frame after close":            {"o 10-20, c 30-40, f0 50-60", 1, "reordered"},
		"close during a frame":         {"o 10-20, f0 30-40, c 35-60", 1, "reordered"},
		"next before any end":          {"o 10-20, f0 30-, f1 50-60, c 70-80", 2, "reordered"},
		"close twice":                  {"o 10-20, c 30-40, c 50-60", 0, "duplicated"},
		"close again":                  {"o 10-20, c 30-, c/2 50-60", 0, ""},
		"no close":                     {"o 10-20, f0 30-40", 1, "lost"},
		"nothing handled":              {"", 0, "lost"},
	} {
		t.Run(name, func(t *testing.T) {
			b := NewBook()
			if tt.words != "" {
				for _, h := range handled(t, strings.Split(tt.words, ", ")...) {
					b.Add(h)
				}
			}
			never := func(string, string, time.Duration) bool { return false }
			_, _, findings := b.Verify(Lives{Answered: map[string]int{"c1.1": tt.answered}, Excused: never})
			var got []string
			for _, f := range findings {
				got = append(got, string(f.Broken))
			}
			if strings.Join(got, " ") != tt.want {
				t.Errorf("%v, want %q", findings, tt.want)
			}
		})
	}
}

func TestVerifyExcusesWhatAKilledGatewayTook(t *testing.T) {
	b := NewBook()
	for _, h := range handled(t, "o 10-20", "f0 30-") {
		b.Add(h)
	}
	_, _, findings := b.Verify(Lives{
		Answered: map[string]int{"c1.1": 0},
		Excused: func(c, conn string, since time.Duration) bool {
			return c == client && conn == "c1.1" && since == 10
		},
	})
	if len(findings) != 0 {
		t.Error(findings)
	}
}

func TestRecords(t *testing.T) {
	path := filepath.Join(t.TempDir(), "records")
	r, err := NewRecorder(path)
	if err != nil {
		t.Fatal(err)
	}
	want := handled(t, "o 10-20", "f0/2 30-40", "c 50-60", "f1 45-")
	for _, h := range want {
		n, err := r.Begin(h.Event, h.Start)
		if err == nil && h.End != 0 {
			err = r.End(n, h.End)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var got []Handling
	if err := ReadRecords("w1", strings.NewReader(string(data)+"b 9 4"), func(h Handling) { got = append(got, h) }); err != nil {
		t.Fatal(err)
	}
	for i := range want {
		want[i].Worker = "w1"
	}
	if !slices.Equal(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	for _, bad := range []string{"x\n", "e 1 2\n", "b 1 x g1-1-1 o 0 1 c\n", "b 1 2 g1-1-1 o 0 x c\n", "b 1 2\n"} {
		if err := ReadRecords("w1", bytes.NewBufferString(bad), func(Handling) {}); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestFrames(t *testing.T) {
	conn, number, work, err := ParseFrame(FrameOf("c1.1", 17))
	if err != nil || conn != "c1.1" || number != 17 || work != WorkFor("c1.1", 17) {
		t.Errorf("%s %d %v %v", conn, number, work, err)
	}
	for _, bad := range []string{"", "a b", "a b 1 ", "a 1 b "} {
		if _, _, _, err := ParseFrame(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
	works := map[time.Duration]int{}
	for n := range 100_000 {
		works[WorkFor("c1.1", n)]++
	}
	if len(works) != 4 || works[3*time.Second] < 10 || works[0] < 80_000 {
		t.Errorf("%v", works)
	}
}
