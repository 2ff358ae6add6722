// Package docs_test keeps the documents and the code alike.
package docs_test

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/configs"
	"github.com/gatebus/gatebus/internal/chaos"
	"github.com/gatebus/gatebus/internal/metrics"
)

// rewrite has the tables written that are made from the code.
var rewrite = flag.Bool("rewrite", false, "write the table of metrics.md anew")

// The table of metrics is what the code shows. To write it anew: go test ./docs -rewrite.
func TestMetrics(t *testing.T) {
	doc, err := os.ReadFile("metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	var want strings.Builder
	for _, f := range metrics.Families() {
		fmt.Fprintf(&want, "| `%s` | %s | %s | %s |\n", f.Name, f.Type, strings.Join(f.Labels, ", "), f.Help)
	}
	const head = "|---|---|---|---|\n"
	before, after, _ := strings.Cut(string(doc), head)
	got, rest, _ := strings.Cut(after, "\n\n")
	if got += "\n"; after != "" && strings.HasPrefix(after, "\n") { // an empty table
		got, rest = "", after[1:]
	}
	if got == want.String() {
		return
	}
	if !*rewrite {
		t.Fatalf("the table of metrics.md is not what the code shows; write it anew with -rewrite:\n%s", want.String())
	}
	if err := os.WriteFile("metrics.md", []byte(before+head+want.String()+"\n"+rest), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestCloseCodes(t *testing.T) {
	doc, err := os.ReadFile("close-codes.md")
	if err != nil {
		t.Fatal(err)
	}
	var want, got []string
	for _, c := range bus.CloseCodes {
		want = append(want, fmt.Sprintf("| %d | %s | %s |", c.Code, c.Meaning, c.Reconnect))
	}
	for line := range strings.SplitSeq(string(doc), "\n") {
		if strings.HasPrefix(line, "| 1") || strings.HasPrefix(line, "| 4") {
			got = append(got, line)
		}
	}
	if g, w := strings.Join(got, "\n"), strings.Join(want, "\n"); g != w {
		t.Errorf("close-codes.md has\n%s\nbut bus.CloseCodes is\n%s", g, w)
	}
}

// The listeners that are shown can be had, once there are certificates.
func TestListeners(t *testing.T) {
	doc, err := os.ReadFile("listeners.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(doc), "```yaml\n")
	sample, _, _ := strings.Cut(rest, "```")
	without := regexp.MustCompile(`(?m)^  tls: .*$|, tls: \{.*?\}`).ReplaceAllString(sample, "")
	c, err := configs.Load(configs.Source{Name: "listeners.md", Data: []byte(without)})
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Gateway.Listeners) != 3 || len(c.Gateway.Paths) != 2 {
		t.Errorf("%+v", c.Gateway.Config)
	}
	if _, err := configs.Load(configs.Source{Name: "listeners.md", Data: []byte(sample)}); err == nil || strings.Count(err.Error(), "site.crt cannot be read") != 2 {
		t.Errorf("with certificates that are not there: %v", err)
	}
}

// The table of faults names every one that the harness has.
func TestFaults(t *testing.T) {
	doc, err := os.ReadFile("reliability.md")
	if err != nil {
		t.Fatal(err)
	}
	shape := chaos.Shape{Registers: 2, Gateways: 2, Workers: 4, Network: true, Disk: true, Clock: true}
	kinds := map[chaos.Kind]bool{}
	for _, f := range chaos.Plan(1, shape, 10*time.Minute) {
		kinds[f.Kind] = true
	}
	if len(kinds) < 20 {
		t.Errorf("ten minutes have only %d kinds of faults", len(kinds))
	}
	for k := range kinds {
		if !strings.Contains(string(doc), "`"+string(k)+"`") {
			t.Errorf("reliability.md does not tell of the fault %s", k)
		}
	}
}

// goBlock finds the Go of a page.
var goBlock = regexp.MustCompile("(?ms)^```go\n(.*?)^```$")

// The Go of api.md stands in files that are compiled, and run where that can be.
func TestAPIExamples(t *testing.T) {
	doc, err := os.ReadFile("api.md")
	if err != nil {
		t.Fatal(err)
	}
	var code strings.Builder
	for _, path := range []string{"../worker/example_test.go", "../workertest/example_test.go"} {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		code.WriteString(flat(string(data)))
	}
	blocks := goBlock.FindAllStringSubmatch(string(doc), -1)
	if len(blocks) < 7 {
		t.Errorf("api.md has only %d examples", len(blocks))
	}
	for _, m := range blocks {
		if !strings.Contains(code.String(), flat(m[1])) {
			t.Errorf("no file of examples has this as it is:\n%s", m[1])
		}
	}
}

// flat is text without the indentation of its lines.
func flat(s string) string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	return strings.Join(lines, "\n")
}

// protocol.md names every header, operation and code that there is.
func TestProtocol(t *testing.T) {
	doc, err := os.ReadFile("protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	names := append(constants(t, "../bus/message.go", "Header"), constants(t, "../bus/command.go", "Op", "Code")...)
	if len(names) < 25 {
		t.Errorf("only %d names were found: %q", len(names), names)
	}
	for _, name := range names {
		if name == bus.OpHello || name == bus.OpNames {
			continue // of the SDK
		}
		if !regexp.MustCompile("`[^`\n]*\\b" + regexp.QuoteMeta(name) + "\\b[^`\n]*`").Match(doc) {
			t.Errorf("protocol.md does not tell of %s", name)
		}
	}
}

// constants are the values of the constants of a file whose names begin so.
func constants(t *testing.T, path string, prefixes ...string) (values []string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Names) != 1 || len(spec.Values) != 1 {
			return true
		}
		lit, ok := spec.Values[0].(*ast.BasicLit)
		if ok && lit.Kind == token.STRING && slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(spec.Names[0].Name, p) }) {
			values = append(values, strings.Trim(lit.Value, `"`))
		}
		return true
	})
	return values
}
