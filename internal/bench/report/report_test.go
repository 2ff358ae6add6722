package report

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

var rewrite = flag.Bool("rewrite", false, "write what is got into testdata")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func sample() *Report {
	round := func(scale float64) Round {
		return Round{
			Figures: Figures{Rate: 50_000 / scale, CPU: 10 * scale, P50: 900 * scale, P99: 12_000 * scale, Max: 30_000, Messages: 500_000 / scale, GeneratorCPU: 9},
			Series:  []Point{{At: 1, Rate: 49_000 / scale, P50: 900, P99: 12_000}, {At: 2, Rate: 51_000 / scale}},
		}
	}
	marks := []Mark{{1, 300}, {50, 900}, {90, 5_000}, {99, 12_000}, {99.9, 20_000}, {100, 30_000}}
	echo := Bench{
		Name: "echo", Kind: "echo", Title: "Echo, 500 clients", Command: "gatebus bench echo --baseline",
		Sides: []Side{
			{Name: "gatebus", Rounds: []Round{round(1.1), round(1.3), round(1.2)}, Curve: marks},
			{Name: "raw", Rounds: []Round{round(1), round(1), round(1)}, Curve: marks},
		},
		Targets: []Target{{Metric: Rate, Ratio: true, Least: true, Limit: 0.9}, {Metric: CPU, Ratio: true, Limit: 1.25}, {Metric: CPU, Limit: 4.5}},
		Notes:   []string{"A note with <tags> & signs."},
	}
	idle := Bench{
		Name: "idle", Kind: "idle", Title: "15000 idle connections", Command: "gatebus bench idle",
		Sides: []Side{{Name: "gatebus", Rounds: []Round{{
			Figures: Figures{PerIdle: 4.5, Memory: 90.25, Busy: 0.5}, Series: []Point{{At: 1, Memory: 95}, {At: 2, Memory: 90}},
			Faults: Faults{Broken: 2, Examples: []string{"client 1: <script>"}},
		}}}},
		Targets: []Target{{Metric: PerIdle, Limit: 5}, {Metric: P50, Ratio: true, Limit: 2.5}},
	}
	r := &Report{
		Version: "gatebus v1", Started: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Took: time.Minute,
		Machine: Machine{CPUs: 2, Model: "A CPU", Memory: 8 << 30, OS: "linux 6.1", Arch: "amd64", Go: "go1.26"},
		Benches: []Bench{echo, idle},
	}
	for i := range r.Benches {
		r.Benches[i].Complete()
	}
	return r
}

func TestComplete(t *testing.T) {
	b := sample().Benches[0]
	if r, ok := b.Ratio(CPU); !ok || r.String() != "1.20 (1.10–1.30)" {
		t.Errorf("the ratio of CPU time is %v", r)
	}
	if _, ok := b.Ratio(Messages); ok {
		t.Error("how many were measured is no figure to compare")
	}
	if got := b.Sides[0].Median[CPU]; got != 12 {
		t.Errorf("the median of CPU time is %v, want 12", got)
	}
	var verdicts []string
	for _, t := range append(b.Targets, sample().Benches[1].Targets...) {
		verdicts = append(verdicts, t.String()+" "+t.Verdict())
	}
	want := "≥ 0.9 × raw missed, ≤ 1.25 × raw reached, ≤ 4.5 µs missed, ≤ 5 KB reached, ≤ 2.5 × raw not measured"
	if got := strings.Join(verdicts, ", "); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// golden compares what is written with a file of testdata.
func golden(t *testing.T, file string, write func(io.Writer) error) {
	t.Helper()
	var b strings.Builder
	if err := write(&b); err != nil {
		t.Fatal(err)
	}
	path := "testdata/" + file
	if *rewrite {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("got\n%s\nbut %s (go test -rewrite writes it) is\n%s", b.String(), path, want)
	}
}

func TestText(t *testing.T) {
	r := sample()
	golden(t, "text.txt", func(w io.Writer) error {
		return errors.Join(r.Benches[0].WriteText(w), r.Benches[1].WriteText(w))
	})
}

func TestMarkdown(t *testing.T) { golden(t, "performance.md", sample().WriteMarkdown) }

func TestJSON(t *testing.T) {
	var b strings.Builder
	if err := sample().WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	var r Report
	if err := json.Unmarshal([]byte(b.String()), &r); err != nil {
		t.Fatal(err)
	}
	if got, ok := r.Benches[0].Ratio(CPU); !ok || got.Median != 1.2 || r.Benches[1].Sides[0].Rounds[0].Faults.Broken != 2 {
		t.Errorf("%+v", r)
	}
}

// The page has all plots, which are XML, and asks for nothing from elsewhere.
func TestHTML(t *testing.T) {
	var b strings.Builder
	if err := sample().WriteHTML(&b); err != nil {
		t.Fatal(err)
	}
	page := b.String()
	svgs := regexp.MustCompile(`(?s)<svg.*?</svg>`).FindAllString(page, -1)
	if len(svgs) != 4 {
		t.Errorf("%d plots, want latency, messages and ratios of one bench and the memory of the other", len(svgs))
	}
	for _, s := range svgs {
		d := xml.NewDecoder(strings.NewReader(s))
		for {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%v in %s", err, s)
			}
		}
		if strings.Contains(s, "NaN") || strings.Contains(s, "Inf") {
			t.Errorf("no numbers: %s", s)
		}
	}
	for _, bad := range []string{"http:", "https:", "src=", "href=", "url(", "<script", "@import", "<tags>"} {
		if strings.Contains(page, bad) {
			t.Errorf("the page has %q", bad)
		}
	}
	for _, has := range []string{"prefers-color-scheme: dark", "width=device-width", "FAULTS", "&lt;script&gt;", "Echo, 500 clients"} {
		if !strings.Contains(page, has) {
			t.Errorf("the page lacks %q", has)
		}
	}
}

// A report of nothing measured is one all the same.
func TestEmpty(t *testing.T) {
	r := &Report{Benches: []Bench{{Kind: "echo", Sides: []Side{{Name: "gatebus"}, {Name: "raw", Rounds: []Round{{}}}}}}}
	r.Benches[0].Complete()
	for _, write := range []func(io.Writer) error{r.WriteHTML, r.WriteMarkdown, r.WriteJSON, r.Benches[0].WriteText} {
		if err := write(io.Discard); err != nil {
			t.Error(err)
		}
	}
}

func TestFormat(t *testing.T) {
	for _, tt := range []struct {
		unit Unit
		v    float64
		want string
	}{
		{Count, 1234567, "1 234 567"}, {Count, 999, "999"}, {Count, 0.5, "0.50"}, {Count, 0, "0"},
		{Micros, 92.34, "92.3 µs"}, {Micros, 17_240, "17.2 ms"}, {Micros, 1_500_000, "1.50 s"},
		{MicrosCPU, 4.5, "4.50 µs"}, {Kilobytes, 16.27, "16.3 KB"}, {Megabytes, 210.4, "210 MB"}, {Percent, 99.96, "100 %"},
	} {
		if got := tt.unit.Format(tt.v); got != tt.want {
			t.Errorf("%v: %q, want %q", tt.v, got, tt.want)
		}
	}
}
