package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/gatebus/gatebus/bus"
)

// Nothing that a client can send reaches the terminal as a command to it.
func TestTapLines(t *testing.T) {
	at := time.Date(2030, 1, 2, 3, 4, 5, 6e6, time.UTC)
	var b strings.Builder
	w := newTapWriter(&b, false, 12)
	for _, line := range []bus.Tapped{
		{Gateway: "g1", Way: bus.WayIn, Kind: "text", Client: "g1-dpmq2x0sn1-7", Size: 5, Text: "hello", Delivery: 2},
		{Gateway: "g1", Way: bus.WayIn, Kind: "text", Client: "g1-dpmq2x0sn1-7", Size: 8, Text: "\x1b[2J\r\n\u202e"},
		{Gateway: "g1", Way: bus.WayOut, Kind: "\x1b[31m", Client: "g1-dpmq2x0sn1-7", Status: "close 4100 \x07"},
		{Gateway: "all", Way: bus.WayPush, Kind: "binary", To: bus.ToGroups, Names: []string{"a\x1b]0;x", "b", "c", "d"}, Size: 3, Binary: []byte{0, 0x9b, 'm'}},
		{Gateway: "g1", Way: bus.WayOut, Client: "g1-dpmq2x0sn1-7", Size: 26, Text: "grüße grüße grüße"},
		{Gateway: "g1", Way: bus.WayOut, Client: "g1-dpmq2x0sn1-7", Kind: "text", Size: 9, Hidden: true},
		{Gateway: "g1", Way: bus.WayOut, Client: "g1-dpmq2x0sn1-7"},
		{Gateway: "g1", Way: bus.WaySkipped, Skipped: 7},
	} {
		if err := w.write(at, line); err != nil {
			t.Fatal(err)
		}
	}
	want := strings.Join([]string{
		`03:04:05.006  g1  in    g1-dpmq2x0sn1-7   text (delivery 2)       5  hello`,
		`03:04:05.006  g1  in    g1-dpmq2x0sn1-7   text                    8  "\x1b[2J\r\n\u202e"`,
		`03:04:05.006  g1  out   g1-dpmq2x0sn1-7   "close 4100 \a"         0`,
		`03:04:05.006  all  push  groups "a\x1b]0;x",b,c,and 1 more  binary                  3  "\x00\x9bm"`,
		`03:04:05.006  g1   out   g1-dpmq2x0sn1-7                    frame                  26  grüße grü…`,
		`03:04:05.006  g1   out   g1-dpmq2x0sn1-7                    text                    9  (hidden)`,
		`03:04:05.006  g1   out   g1-dpmq2x0sn1-7                    done                    0`,
		`03:04:05.006  --- g1 has mirrored 7 messages fewer than there were: it was too much`,
	}, "\n") + "\n"
	if got := b.String(); got != want {
		t.Errorf("it shows\n%s, want\n%s", got, want)
	}
	for _, r := range b.String() {
		if r < ' ' && r != '\n' || r == utf8.RuneError || r == '\u202e' || 0x7f <= r && r < 0xa0 {
			t.Errorf("%q reaches the terminal", r)
		}
	}

	b.Reset()
	w = newTapWriter(&b, true, 3)
	if err := w.write(at, bus.Tapped{Gateway: "g1", Way: bus.WayIn, Kind: "text", Size: 6, Text: "a\n<ö>"}); err != nil {
		t.Fatal(err)
	}
	if want := `{"time":"2030-01-02T03:04:05.006Z","gateway":"g1","way":"in","kind":"text","size":6,"text":"a\n<"}` + "\n"; b.String() != want || !json.Valid([]byte(b.String())) {
		t.Errorf("%s, want %s", &b, want)
	}
}

func TestTapFlags(t *testing.T) {
	const id = "g1-dpmq2x0sn1-7"
	for args, want := range map[string]string{
		"":                                 "gw.*.in.*.* gw.*.out.*.* gw.*.push.> gw.*.tap.skipped",
		"--gateway=g2 --kind=push,do":      "gw.g2.push.> gw.all.push.> gw.g2.do.* gw.all.do.* gw.g2.tap.skipped",
		"--worker-group=w":                 "gw.*.in.w.* gw.*.tap.skipped",
		"--client=" + id:                   "gw.g1.tap." + id + ".in.* gw.g1.tap." + id + ".out.* gw.g1.tap.skipped",
		"--client=" + id + " --kind=in":    "gw.g1.tap." + id + ".in.* gw.g1.tap.skipped",
		"--uid=ann":                        "gw.*.tap.skipped",
		"--group=a.b":                      "gw.*.push.groups gw.*.push.group.a%2Eb gw.*.tap.skipped",
		"--group=a --gateway=g1":           "gw.g1.push.groups gw.g1.push.group.a gw.all.push.groups gw.all.push.group.a gw.g1.tap.skipped",
		"--client=x":                       "error: --client",
		"--client=" + id + " --gateway=g2": "error: leave --gateway out",
		"--client=" + id + " --uid=a":      "error: only one",
		"--client=" + id + " --kind=push":  "error: in, out with --client",
		"--kind=sideways":                  "error: in, out, push, do",
		"--uid=":                           "error: --uid",
		"--gateway=a.b":                    "error: --gateway",
		"--count=-1":                       "error: --count",
		"--worker-group=w --kind=out,in":   "error: in with --worker-group",
		"--for=-1s":                        "error: --for",
		"--max=-1":                         "error: --max",
		"--gateway=all":                    "error: stands for every",
	} {
		got, f := "", &tapFlags{}
		cmd := f.command()
		cmd.RunE = func(cmd *cobra.Command, _ []string) error {
			err := f.check(cmd)
			if err == nil {
				var all []string
				all, err = f.subjects()
				got = strings.Join(all, " ")
			}
			return err
		}
		cmd.SetArgs(strings.Fields(args))
		cmd.SilenceErrors, cmd.SilenceUsage = true, true
		err := cmd.ExecuteContext(t.Context())
		if wrong, bad := strings.CutPrefix(want, "error: "); bad {
			if err == nil || !strings.Contains(err.Error(), wrong) {
				t.Errorf("tap %s: %v, want %q", args, err, wrong)
			}
			continue
		}
		if err != nil || got != want {
			t.Errorf("tap %s: %s, %v, want %s", args, got, err, want)
		}
	}
}
