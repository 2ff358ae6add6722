// Package prometheus_test checks the dashboard and the alert rules against what gatebus
// really shows, and with Prometheus's own tool.
package prometheus_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.yaml.in/yaml/v3"

	"github.com/gatebus/gatebus/internal/testbed"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(testbed.Main(m)) }

// requireAll fails what would be skipped for want of a tool.
var requireAll = os.Getenv("GATEBUS_TEST_REQUIRE_ALL") == "1"

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// promtool runs Prometheus's tool, which must find nothing wrong.
func promtool(t *testing.T, stdin string, args ...string) {
	t.Helper()
	path, err := exec.LookPath("promtool")
	if err != nil {
		const why = "needs promtool, of Prometheus: apt-get install prometheus"
		if requireAll {
			t.Fatal(why)
		}
		t.Skip(why)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Stdin = strings.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// scrape is what a process shows that has every role.
func scrape(t *testing.T) string {
	t.Helper()
	free := func() string { return testbed.MustFreeAddr(t, testbed.Host(1)) }
	p := testbed.Start(t, testbed.Spec{Name: "dev", Args: []string{
		"dev", "--set", "gateway.listen=" + free(), "--set", "gateway.bus.listen=" + free(), "--set", "register.listen=" + free(),
		"--set", "register.cluster.listen=" + free(), "--set", "admin.listen=" + free(),
	}})
	ctx, cancel := testbed.Soon()
	defer cancel()
	must(t, p.WaitReady(ctx))
	addr, err := p.Addr(ctx, "admin")
	must(t, err)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/metrics", nil)
	must(t, err)
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	must(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	must(t, err)
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s", resp.Status, body)
	}
	return string(body)
}

type rules struct {
	Groups []struct {
		Rules []struct {
			Alert, Expr         string
			Labels, Annotations map[string]string
		}
	}
}

func alerts(t *testing.T) (all rules) {
	t.Helper()
	data, err := os.ReadFile("alerts.yaml")
	must(t, err)
	must(t, yaml.Unmarshal(data, &all))
	if len(all.Groups) == 0 || len(all.Groups[0].Rules) < 10 {
		t.Fatal("there are no alert rules")
	}
	return all
}

type panel struct {
	Title, Description, Type string
	GridPos                  struct{ X, Y, W, H int }
	Targets                  []struct{ Expr string }
}

type dashboard struct {
	Title, UID  string
	Panels      []panel
	Annotations struct{ List []struct{ Expr string } }
}

func board(t *testing.T) (d dashboard) {
	t.Helper()
	data, err := os.ReadFile("dashboard.json")
	must(t, err)
	must(t, json.Unmarshal(data, &d))
	return d
}

// exprs are all expressions of the dashboard and the alerts, by where they stand.
func exprs(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, g := range alerts(t).Groups {
		for _, r := range g.Rules {
			all["alert "+r.Alert] = r.Expr
		}
	}
	d := board(t)
	for _, p := range d.Panels {
		for i, target := range p.Targets {
			all[fmt.Sprintf("panel %s, %d", p.Title, i+1)] = target.Expr
		}
	}
	for i, a := range d.Annotations.List {
		all[fmt.Sprintf("annotation %d", i+1)] = a.Expr
	}
	if len(all) < 60 {
		t.Fatalf("only %d expressions were found", len(all))
	}
	return all
}

// ours are the names of metrics in an expression, and with them the labels that it names.
var (
	ours   = regexp.MustCompile(`\b(?:gatebus|go|process)_[a-z0-9_]+`)
	labels = regexp.MustCompile(`(?:gatebus_[a-z0-9_]+)\{([^}]*)\}`)
	label  = regexp.MustCompile(`([a-z_]+)(=~|!~|!=|=)"([^"]*)"`)
)

// Every metric that somebody is told to look at is there, with the labels and, where an
// alert waits for certain ones, with those values.
func TestMetricsAreThere(t *testing.T) {
	text := scrape(t)
	for where, expr := range exprs(t) {
		for _, name := range ours.FindAllString(expr, -1) {
			if !regexp.MustCompile(`(?m)^` + name + `[{ ]`).MatchString(text) {
				t.Errorf("%s: nobody shows %s", where, name)
			}
		}
		for _, m := range labels.FindAllStringSubmatch(expr, -1) {
			name, _, _ := strings.Cut(m[0], "{")
			for _, l := range label.FindAllStringSubmatch(m[1], -1) {
				if slices.Contains([]string{"instance", "job"}, l[1]) {
					continue // the scraper's
				}
				for value := range strings.SplitSeq(l[3], "|") {
					if !regexp.MustCompile(`(?m)^` + name + `\{[^}]*` + l[1] + `="` + value + `"`).MatchString(text) {
						t.Errorf("%s: no %s has %s=%q", where, name, l[1], value)
					}
				}
			}
		}
	}
	promtool(t, text, "check", "metrics")
}

func TestRules(t *testing.T) {
	promtool(t, "", "check", "rules", "alerts.yaml")
	promtool(t, "", "test", "rules", "alerts_test.yaml")
}

// Whoever is woken by an alert finds what to do.
func TestRunbooks(t *testing.T) {
	const base = "https://github.com/gatebus/gatebus/blob/main/docs/alerts.md#"
	doc, err := os.ReadFile("../../docs/alerts.md")
	must(t, err)
	sections := regexp.MustCompile(`(?m)^## (\w+)$`).FindAllStringSubmatch(string(doc), -1)
	named := map[string]bool{}
	for _, g := range alerts(t).Groups {
		for _, r := range g.Rules {
			named[r.Alert] = true
			if got := r.Annotations["runbook_url"]; got != base+strings.ToLower(r.Alert) {
				t.Errorf("%s: its runbook is %q", r.Alert, got)
			}
			if !slices.ContainsFunc(sections, func(m []string) bool { return m[1] == r.Alert }) {
				t.Errorf("docs/alerts.md says nothing of %s", r.Alert)
			}
			if r.Annotations["summary"] == "" || r.Annotations["description"] == "" {
				t.Errorf("%s does not say what it is", r.Alert)
			}
			if !slices.Contains([]string{"info", "warning", "critical"}, r.Labels["severity"]) {
				t.Errorf("%s: severity %q", r.Alert, r.Labels["severity"])
			}
		}
	}
	for _, m := range sections {
		if !named[m[1]] {
			t.Errorf("docs/alerts.md tells of %s, which is no alert", m[1])
		}
	}
	// What the documents point to within themselves is there.
	for _, m := range regexp.MustCompile(`\]\(#(\w+)\)`).FindAllStringSubmatch(string(doc), -1) {
		if !slices.ContainsFunc(sections, func(s []string) bool { return strings.ToLower(s[1]) == m[1] }) {
			t.Errorf("docs/alerts.md points to #%s", m[1])
		}
	}
}

// The dashboard says what each panel shows, panels do not lie on each other, and what
// they ask Prometheus can be asked.
func TestDashboard(t *testing.T) {
	d := board(t)
	if d.Title == "" || d.UID == "" || len(d.Panels) < 20 {
		t.Errorf("%q %q with %d panels", d.Title, d.UID, len(d.Panels))
	}
	taken := map[[2]int]string{}
	for _, p := range d.Panels {
		if p.Type != "row" && (p.Title == "" || p.Description == "" || len(p.Targets) == 0) {
			t.Errorf("the panel %q has no title, description or expression", p.Title)
		}
		if p.GridPos.X+p.GridPos.W > 24 || p.GridPos.W == 0 || p.GridPos.H == 0 {
			t.Errorf("the panel %q stands at %+v", p.Title, p.GridPos)
		}
		for x := range p.GridPos.W {
			for y := range p.GridPos.H {
				at := [2]int{p.GridPos.X + x, p.GridPos.Y + y}
				if taken[at] != "" {
					t.Fatalf("the panels %q and %q lie on each other", taken[at], p.Title)
				}
				taken[at] = p.Title
			}
		}
	}
	// As rules, with what Grafana puts in, promtool parses them.
	var b strings.Builder
	b.WriteString("groups:\n- name: dashboard\n  rules:\n")
	for _, expr := range exprs(t) {
		expr = strings.NewReplacer("$__rate_interval", "5m", "$instance", ".*").Replace(expr)
		if strings.Contains(expr, "$") {
			t.Errorf("%s: only Grafana knows that variable", expr)
		}
		quoted, err := json.Marshal(expr)
		must(t, err)
		fmt.Fprintf(&b, "  - record: dashboard:expr%d\n    expr: %s\n", b.Len(), quoted)
	}
	path := filepath.Join(t.TempDir(), "rules.yaml")
	must(t, os.WriteFile(path, []byte(b.String()), 0o600))
	promtool(t, "", "check", "rules", path)
}

// alertTest is what promtool is told that an alert does to made-up figures.
type alertTest struct {
	Tests []struct {
		Name string
		Rule []struct {
			Alert string `yaml:"alertname"`
			Fires []struct {
				Labels map[string]string `yaml:"exp_labels"`
			} `yaml:"exp_alerts"`
		} `yaml:"alert_rule_test"`
	}
}

// Each alert is shown firing, and shown quiet where it should be.
func TestEveryAlertIsTested(t *testing.T) {
	data, err := os.ReadFile("alerts_test.yaml")
	must(t, err)
	var tests alertTest
	must(t, yaml.Unmarshal(data, &tests))
	fires, quiet := map[string]bool{}, map[string]bool{}
	for _, test := range tests.Tests {
		for _, r := range test.Rule {
			if len(r.Fires) > 0 {
				fires[r.Alert] = true
			} else {
				quiet[r.Alert] = true
			}
		}
	}
	known := map[string]bool{}
	for _, g := range alerts(t).Groups {
		for _, r := range g.Rules {
			known[r.Alert] = true
			if !fires[r.Alert] {
				t.Errorf("no test has %s fire", r.Alert)
			}
			if !quiet[r.Alert] {
				t.Errorf("no test has %s quiet", r.Alert)
			}
		}
	}
	for _, m := range []map[string]bool{fires, quiet} {
		for name := range m {
			if !known[name] {
				t.Errorf("%s is tested, and no alert", name)
			}
		}
	}
}
