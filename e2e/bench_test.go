package e2e_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/gatebus/gatebus/internal/testbed"
)

// benchReport is what users of the JSON of a bench rely on.
type benchReport struct {
	Benches []struct {
		Kind, Title string
		Sides       []struct {
			Name   string
			Median map[string]float64
			Rounds []struct{ Faults map[string]any }
		}
		Ratios []struct {
			Metric string
			Median float64
		}
	}
}

// startBench starts a bench. What it starts can be told by its environment.
func startBench(t *testing.T, args ...string) *testbed.Process {
	t.Helper()
	return testbed.Start(t, testbed.Spec{Name: "bench", Args: append([]string{"bench"}, args...), Env: []string{benchMark + t.Name() + "."}})
}

const benchMark = "BENCH_OF_TEST="

// bench runs a bench of a second or so that must be fine, and reads its JSON.
func bench(t *testing.T, args ...string) (r benchReport, p *testbed.Process) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "report.json")
	p = startBench(t, append(args, "--json", file)...)
	exits(t, p, 0)
	data, err := os.ReadFile(file)
	must(t, err)
	must(t, json.Unmarshal(data, &r))
	if len(r.Benches) != 1 {
		t.Fatalf("%s", data)
	}
	nothingLeft(t)
	return r, p
}

// marked lists the processes that benches of the test have started, and the
// benches.
func marked(t *testing.T) (processes []string) {
	t.Helper()
	environs, err := filepath.Glob("/proc/[0-9]*/environ")
	must(t, err)
	for _, path := range environs {
		if data, err := os.ReadFile(path); err == nil && strings.Contains(string(data), benchMark+t.Name()+".") {
			processes = append(processes, filepath.Dir(path))
		}
	}
	return processes
}

// nothingLeft checks that no process has outlived the bench that started it.
func nothingLeft(t *testing.T) {
	t.Helper()
	if left := marked(t); len(left) > 0 {
		t.Errorf("%v outlived the bench", left)
	}
}

func TestBenchEcho(t *testing.T) {
	t.Parallel()
	html := filepath.Join(t.TempDir(), "report.html")
	r, p := bench(t, "echo", "--clients", "10", "--for", "1s", "--warmup", "100ms", "--rounds", "2", "--baseline", "--html", html)
	b := r.Benches[0]
	if b.Kind != "echo" || len(b.Sides) != 2 || b.Sides[0].Name != "gatebus" || b.Sides[1].Name != "raw" {
		t.Fatalf("%+v", b)
	}
	for _, s := range b.Sides {
		m := s.Median
		if len(s.Rounds) != 2 || m["rate"] < 10 || m["messages"] < 10 || m["p50_us"] <= 0 || m["p50_us"] > m["p99_us"] {
			t.Errorf("%s: %+v", s.Name, s)
		}
		if runtime.GOOS == "linux" && (m["cpu_us"] <= 0 || m["memory_mb"] < 5) {
			t.Errorf("%s: %+v", s.Name, m)
		}
	}
	if len(b.Ratios) == 0 || b.Ratios[0].Metric != "rate" || b.Ratios[0].Median <= 0 {
		t.Errorf("%+v", b.Ratios)
	}
	for _, text := range []string{"Echo, 10 clients, 1 in flight, 128 B", "messages/s", "ratio (of 2)"} {
		if !strings.Contains(p.Stdout(), text) {
			t.Errorf("it does not print %q:\n%s", text, p.Stdout())
		}
	}
	says(t, p, "round 1/2", "measuring")
	if page, err := os.ReadFile(html); err != nil || !strings.Contains(string(page), "<svg") {
		t.Errorf("%v, %.200s", err, page)
	}
}

func TestBenchOfEachKind(t *testing.T) {
	t.Parallel()
	short := []string{"--for", "300ms", "--baseline", "--rounds", "1"}
	for metric, args := range map[string][]string{
		"rate":       {"echo", "--clients", "5", "--rate", "200", "--warmup", "100ms"},
		"deliveries": {"fanout", "--members", "10", "--scope", "group", "--in-flight", "4", "--warmup", "100ms"},
		"connects":   {"connect", "--clients", "4", "--warmup", "100ms"},
		"messages":   {"idle", "--clients", "50", "--settle", "100ms"},
	} {
		r, _ := bench(t, append(args, short...)...)
		for _, s := range r.Benches[0].Sides {
			if s.Median[metric] <= 0 {
				t.Errorf("%v: %s: %+v", args, s.Name, s.Median)
			}
		}
	}
}

// Several gateways and workers serve the clients together; a push that goes to all
// gateways finds the one that has its user.
func TestBenchOfSeveralServers(t *testing.T) {
	t.Parallel()
	short := []string{"--for", "300ms", "--warmup", "100ms", "--rounds", "1"}
	for metric, args := range map[string][]string{
		"rate":       {"echo", "--clients", "8", "--gateways", "2", "--workers", "2"},
		"deliveries": {"fanout", "--members", "1", "--scope", "uid", "--gateways", "3", "--holding", "1", "--in-flight", "4"},
		"pushes":     {"fanout", "--members", "6", "--scope", "group", "--gateways", "3", "--holding", "2", "--in-flight", "4", "--sdk"},
	} {
		r, _ := bench(t, append(args, short...)...)
		if r.Benches[0].Sides[0].Median[metric] <= 0 {
			t.Errorf("%v: %+v", args, r.Benches[0].Sides[0].Median)
		}
	}
}

// A gateway that runs already is measured where it is; uids are given by the
// bench as the only worker.
func TestBenchOfAGateway(t *testing.T) {
	if testbed.Secret != "" {
		t.Skip("bench pushes without credentials")
	}
	t.Parallel()
	g := lone(t)
	r, _ := bench(t, "fanout", "--url", ws(t, g), "--bus", "nats://"+addr(t, g, "bus"), "--scope", "uid",
		"--pid", strconv.Itoa(g.Pid()), "--members", "10", "--for", "300ms", "--warmup", "100ms", "--rounds", "1")
	if m := r.Benches[0].Sides[0].Median; m["deliveries"] <= 0 || runtime.GOOS == "linux" && m["memory_mb"] <= 0 {
		t.Errorf("%+v", m)
	}
}

func TestBenchIsInterrupted(t *testing.T) {
	t.Parallel()
	p := startBench(t, "echo", "--clients", "5", "--for", "1m", "--warmup", "10ms", "--baseline")
	_, err := p.WaitLog(soon(t), `measuring`)
	must(t, err)
	if n := len(marked(t)); runtime.GOOS == "linux" && n < 3 {
		t.Errorf("%d processes are there, want the bench, a gateway and a worker", n)
	}
	must(t, p.Signal(sigterm))
	exits(t, p, 1)
	says(t, p, "interrupted")
	nothingLeft(t)
}

// The bare server can be behind a relay.
func TestBenchRelayed(t *testing.T) {
	t.Parallel()
	html := filepath.Join(t.TempDir(), "report.html")
	r, _ := bench(t, "echo", "--clients", "3", "--for", "300ms", "--warmup", "100ms", "--rounds", "1", "--baseline", "--relayed", "--html", html)
	if s := r.Benches[0].Sides; len(s) != 2 || s[1].Name != "relayed" || s[1].Median["messages"] < 10 {
		t.Errorf("%+v", s)
	}
	if page, err := os.ReadFile(html); err != nil || !strings.Contains(string(page), "gatebus ÷ relayed") {
		t.Errorf("%v, %.200s", err, page)
	}
	if runtime.GOOS != "linux" {
		return // there is no process table
	}
	p := startBench(t, "echo", "--clients", "3", "--for", "300ms", "--warmup", "100ms", "--rounds", "1000", "--baseline", "--relayed")
	_, err := p.WaitLog(soon(t), `relayed +round 1/1000 +measuring`)
	must(t, err)
	relays := 0
	for _, proc := range marked(t) {
		if cmd, err := os.ReadFile(filepath.Join(proc, "cmdline")); err == nil && strings.Contains(string(cmd), "--relay-to") {
			relays++
		}
	}
	if relays != 1 {
		t.Errorf("there are %d relays", relays)
	}
	must(t, p.Signal(sigterm))
	exits(t, p, 1)
	nothingLeft(t)
}

func TestBenchUsage(t *testing.T) {
	t.Parallel()
	for args, says := range map[string]string{
		"echo --size 3":                     "size: 3",
		"echo --for 10":                     "--for",
		"echo --for 1ms":                    "for: 1ms",
		"echo --url http://127.0.0.1":       "url:",
		"echo --rate 5 --window 2":          "no window",
		"echo --relayed":                    "relayed: it is for the baseline",
		"fanout --scope everybody":          "scope",
		"fanout --url ws://127.0.0.1:8282/": "bus:",
		"idle --rounds 0":                   "rounds: 0",
		"all --for 1ns":                     "bench all: for:",
		"echo more":                         "unknown command",
	} {
		p := testbed.Start(t, testbed.Spec{Name: args, Args: append([]string{"bench"}, strings.Fields(args)...)})
		exits(t, p, 2)
		if !strings.Contains(p.Log(), says) {
			t.Errorf("bench %s does not say %q:\n%s", args, says, p.Log())
		}
	}
}

// A bench of a server that answers wrongly fails, and says how.
func TestBenchFailsForWrongAnswers(t *testing.T) {
	t.Parallel()
	g := lone(t)
	plainWorker(t, g, func(m *nats.Msg) { m.Respond([]byte("something else")) })
	p := startBench(t, "echo", "--url", ws(t, g), "--clients", "2", "--for", "200ms", "--warmup", "0s", "--rounds", "1")
	exits(t, p, 1)
	says(t, p, "wrong answers")
}
