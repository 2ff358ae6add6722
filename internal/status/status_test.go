package status

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"go.uber.org/goleak"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/internal/latency"
	"github.com/gatebus/gatebus/register"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// observed is a histogram of n times d.
func observed(n int, d time.Duration) latency.Snapshot {
	var h latency.Histogram
	for range n {
		h.Observe(d)
	}
	return h.Snapshot()
}

// member is one that has answered with the JSON.
func member(t *testing.T, role register.Role, name string, answer string) Member {
	t.Helper()
	var f figures
	if err := json.Unmarshal([]byte(answer), &f); err != nil {
		t.Fatal(err)
	}
	return Member{Member: register.Member{
		Role: role, Name: name, Epoch: 7, Address: name + ":8300", Version: "v1.2.3", Group: "default",
	}, Figures: &f}
}

// cluster is a small one at a moment, a bit busier the later that is.
func cluster(t *testing.T, second int) Look {
	t.Helper()
	process := fmt.Sprintf(`"process":{"uptime_seconds":%d,"cpu_seconds":%g,"memory_bytes":33554432}`, 7384+second, 10+0.5*float64(second))
	g1 := member(t, register.RoleGateway, "g1", fmt.Sprintf(`{%s,"clients":1234,"waiting":1,"in_flight":17,"frames_in":%d,"frames_out":%d,"redelivered":3,
		"busy":4,"dropped_poison":1,"dropped_hold":1,"queues":{"lane_events":5,"oldest_seconds":0.25},"workers":{"default":2},"unknown":[1]}`, process, 1000*second, 2500*second))
	g1.Figures.AckLatency = observed(100, 50*time.Millisecond).Add(observed(10*second, 800*time.Microsecond))
	g2 := member(t, register.RoleGateway, "g2", "{"+process+"}")
	g2.Figures, g2.Err = nil, errors.New("no answer in 1s")
	w1 := member(t, register.RoleWorker, "w1", fmt.Sprintf(`{%s,"handled":%d,"working":17,"busy":4,"failed":2,"links":1,
		"gateways":[{"gateway":"g1","epoch":"7","address":"g1:8300","up":true,"working":17,"handled":%d},{"gateway":"g0","epoch":"7","address":"g0:8300","up":false}]}`, process, 900*second, 300*second))
	r1 := member(t, register.RoleRegister, "r1", fmt.Sprintf(`{%s,"members":[{},{},{},{}],"notices":{"leads":true,"pending":2},"nats":{"connections":5,"routes":4,"slow_consumers":1}}`, process))
	return Look{At: noon.Add(time.Duration(second) * time.Second), Register: "r1", Members: []Member{g1, g2, r1, w1}}
}

func text(t *testing.T, r Report, links bool) string {
	t.Helper()
	var b strings.Builder
	if err := r.WriteText(&b, links); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestText(t *testing.T) {
	r := Compare(cluster(t, 0), cluster(t, 2))
	for _, c := range []struct {
		links bool
		want  string
	}{
		{false, `
1 register, 2 gateways, 1 worker; 1234 clients; 1.0k frames/s in, 2.5k out; p99 995µs
at 12:00:02, as r1 knows; 1 member does not answer

REGISTER  VERSION    UP   CPU  MEM  MEMBERS  CONNS  ROUTES  SLOW  PENDING
r1        v1.2.3   2h3m  0.50  32M        4      5       4     1        2  leads

GATEWAY VERSION   UP  CPU MEM WRK CONNS IN/s OUT/s   P50   P99 FLY WAIT   LAG AGAIN DROP
g1      v1.2.3  2h3m 0.50 32M   2  1.2k 1.0k  2.5k 750µs 995µs  17    6 250ms     3    2
g2      v1.2.3  does not answer: no answer in 1s

WORKER  VERSION    UP   CPU  MEM  GROUP    LINKS  EVENTS/s  P50  P99  WORK  BUSY  FAIL
w1      v1.2.3   2h3m  0.50  32M  default    1/2       900    -    -    17     4     2

1 of 3 links up

LINK  TO  ADDRESS  STATE    EVENTS
w1    g0  g0:8300  down          0
w1    g2  g2:8300  missing       0
`},
		{true, `
LINK  TO  ADDRESS  STATE    EVENTS
w1    g0  g0:8300  down          0
w1    g1  g1:8300  up           17
w1    g2  g2:8300  missing       0
`},
	} {
		got := text(t, r, c.links)
		if c.links {
			_, got, _ = strings.Cut(got, "LINK ")
			got = "LINK " + got
		}
		if want := strings.TrimPrefix(c.want, "\n"); got != want {
			t.Errorf("got\n%s\nwant\n%s", strings.ReplaceAll(got, " ", "·"), strings.ReplaceAll(want, " ", "·"))
		}
	}
}

// A link has a rate if its worker says how many events of the gateway it has handled.
func TestLinkRate(t *testing.T) {
	r := Compare(cluster(t, 0), cluster(t, 2))
	for _, l := range r.Links {
		if known := l.Gateway == "g1"; (l.Rate != nil) != known || known && *l.Rate != 300 {
			t.Errorf("%+v", l)
		}
	}
}

// Without an earlier look at the same life there are no rates; latencies are those since
// the start.
func TestCompare(t *testing.T) {
	now := cluster(t, 2)
	r := Compare(Look{}, now)
	if g := r.Gateways[0]; g.FramesIn != nil || g.CPU != nil || g.Latency == nil || g.Latency.Recent {
		t.Errorf("the first look: %+v", g)
	}
	before := cluster(t, 0)
	before.Members[0].Epoch = 6
	r = Compare(before, now)
	if g := r.Gateways[0]; g.FramesIn != nil || g.Latency.Recent || *g.Connections != 1234 {
		t.Errorf("after a restart: %+v", g)
	}
	r = Compare(cluster(t, 0), now)
	if l := r.Gateways[0].Latency; !l.Recent || l.P99 > 0.001 {
		t.Errorf("recent latency: %+v", l)
	}
	// Nothing happened in between: those since the start stand.
	later := cluster(t, 2)
	later.At = later.At.Add(time.Second)
	r = Compare(now, later)
	if g := r.Gateways[0]; *g.FramesIn != 0 || g.Latency.Recent || g.Latency.P99 < 0.025 {
		t.Errorf("nothing happened: %v %+v", *g.FramesIn, g.Latency)
	}
	// A member that is of another version and says little.
	odd := cluster(t, 2)
	odd.Members[0].Figures = &figures{}
	if g := Compare(cluster(t, 0), odd).Gateways[0]; g.Uptime != nil || *g.FramesIn != 0 || g.Latency != nil {
		t.Errorf("a member without figures: %+v", g)
	}
}

func TestJSON(t *testing.T) {
	data, err := json.Marshal(Compare(Look{}, cluster(t, 1)))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"total":{"silent":1,"connections":1234,`, `"name":"g1"`, `"frames_in_per_second":null`, `"error":"no answer in 1s"`,
		`"uptime_seconds":7385`, `"lag_seconds":0.25`, `"state":"missing"`, `"handler_latency":null`,
	} {
		if !strings.Contains(string(data), want) {
			t.Errorf("%s lacks %s", data, want)
		}
	}
	if data, _ = json.Marshal(Compare(Look{}, Look{})); strings.Contains(string(data), `"gateways":null`) {
		t.Errorf("nobody is null instead of empty: %s", data)
	}
}

// Whatever members say, and however much there is of it, lines fit and are plain.
func TestTextFits(t *testing.T) {
	long := strings.Repeat("n", 64)
	var look, before Look
	for _, role := range []register.Role{register.RoleRegister, register.RoleGateway, register.RoleWorker} {
		for i, figure := range []string{"999499999", "12345678", "0", ""} {
			m := member(t, role, fmt.Sprintf("%s-%d", long, i), "{}")
			m.Version, m.Group, m.Address = "v0.0.0-20260102030405-abcdef123456", long, long+".example:65535"
			if figure == "" {
				m.Figures, m.Err = nil, errors.New(strings.Repeat("why not ", 30)+"\x1b[2J\n")
			} else {
				f := strings.ReplaceAll(`{"process":{"uptime_seconds":N,"cpu_seconds":N,"memory_bytes":N},"nats":{"connections":N,"routes":N,"slow_consumers":N},
					"clients":N,"waiting":N,"in_flight":N,"frames_in":N,"frames_out":N,"redelivered":N,"dropped_poison":N,"queues":{"lane_events":N,"oldest_seconds":N},
					"workers":{"a":9999},"working":N,"handled":N,"failed":N,"busy":N,"notices":{"leads":true,"pending":N}}`, "N", figure)
				m.Figures = member(t, role, "x", f).Figures
				m.Figures.AckLatency, m.Figures.HandlerLatency = observed(10, 29*time.Second), observed(10, 29*time.Second)
				m.Figures.Gateways = []link{{Gateway: long, Address: long + ":1\x1b[31m", Working: 1 << 40}}
			}
			look.Members = append(look.Members, m)
			m.Figures = member(t, role, "x", `{"process":{}}`).Figures
			before.Members = append(before.Members, m)
		}
	}
	look.At, before.At, look.Register = noon, noon.Add(-time.Second), "\x07"+long
	for _, links := range []bool{false, true} {
		for line := range strings.Lines(text(t, Compare(before, look), links)) {
			if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > maxWidth {
				t.Errorf("%d columns: %s", n, line)
			}
			if strings.ContainsFunc(strings.TrimSuffix(line, "\n"), func(r rune) bool { return r < ' ' || r == utf8.RuneError }) {
				t.Errorf("not plain: %q", line)
			}
		}
	}
}

func TestShortForms(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{count(0), "0"}, {count(0.5), "0.5"}, {count(7), "7"}, {count(999), "999"}, {count(999.6), "1.0k"}, {count(12345), "12k"},
		{count(1.5e6), "1.5M"}, {count(2e16), "20000T"},
		{bytes(512), "512"}, {bytes(3 << 20), "3.0M"}, {bytes(5 << 30), "5.0G"},
		{short(0.00012), "120µs"}, {short(0.0015), "1.5ms"}, {short(0.25), "250ms"}, {short(2.5), "2.5s"}, {short(250), "4m10s"},
		{age(5), "5s"}, {age(599), "9m59s"}, {age(3599), "59m"}, {age(7384), "2h3m"}, {age(86399), "23h"}, {age(90000), "1d1h"}, {age(1e7), "115d"},
		{clip("abcdef", 4), "abc…"}, {clip("", 4), "-"}, {clip("a\x1bb", 4), "a?b"},
	} {
		if c.got != c.want {
			t.Errorf("%q, want %q", c.got, c.want)
		}
	}
}

// Who speaks another version of the protocol is named, and of another major is marked.
func TestProtocols(t *testing.T) {
	look := cluster(t, 0)
	protocols := map[string]bus.Protocol{"g1": "", "g2": "2.0", "r1": "1.1", "w1": "1.1"}
	for i, m := range look.Members {
		look.Members[i].Protocol = protocols[m.Name]
	}
	r := Compare(Look{}, look)
	head, _, _ := strings.Cut(text(t, r, false), "\n\n")
	if _, head, _ = strings.Cut(head, "\n"); head != `at 12:00:00, as r1 knows; 1 member does not answer
1 member speaks protocol 1.0: g1
1 member speaks protocol 2.0, which does not go with this one: g2` {
		t.Errorf("%s", head)
	}
	if r.Gateways[0].Protocol != "1.0" || r.Gateways[0].Incompatible || !r.Gateways[1].Incompatible || r.Workers[0].Incompatible {
		t.Errorf("%+v\n%+v", r.Gateways, r.Workers)
	}
	for _, l := range r.Links {
		if (l.State == LinkRefused) != (l.Gateway == "g2") {
			t.Errorf("%+v", l)
		}
	}
	for i := range look.Members {
		look.Members[i].Protocol = "1.1"
	}
	r = Compare(Look{}, look)
	if s := text(t, r, false); strings.Contains(s, "protocol") {
		t.Errorf("all speak the same:\n%s", s)
	}
	for i := range look.Members { // whatever they say
		look.Members[i].Protocol = bus.Protocol(strings.Repeat("\x1b[", 50))
	}
	r = Compare(Look{}, look)
	for line := range strings.Lines(text(t, r, true)) {
		if utf8.RuneCountInString(line) > maxWidth+1 || strings.Contains(line, "\x1b") {
			t.Errorf("%q", line)
		}
	}
}
