package arch

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/gatebus/gatebus/internal/testbed"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(testbed.Main(m)) }

const module = "github.com/gatebus/gatebus/"

// pkg is a package of the module, with its import path shortened by the
// module's.
type pkg struct {
	ImportPath, Name, Doc              string
	GoFiles                            []string
	Imports, TestImports, XTestImports []string
}

// packages lists the packages of the module.
func packages(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Name,Doc,GoFiles,Imports,TestImports,XTestImports", "./...")
	cmd.Dir = "../.."
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, &stderr)
	}
	var all []pkg
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		p.ImportPath = strings.TrimPrefix(p.ImportPath, module)
		all = append(all, p)
	}
	if len(all) < 10 {
		t.Fatalf("go list finds %d packages; is this the root of the module?", len(all))
	}
	return all
}

// part is the top-level directory of a package of the module.
func part(path string) string {
	top, _, _ := strings.Cut(strings.TrimPrefix(path, module), "/")
	return top
}

// under tells whether a path is one of these, or below one of them.
func under(path string, roots ...string) bool {
	return slices.ContainsFunc(roots, func(root string) bool {
		return path == root || strings.HasPrefix(path, root+"/")
	})
}

// mayImport says which parts of the module the code of each part may import,
// itself and most of internal aside: the direction of dependencies.
var mayImport = map[string][]string{
	"bus":      {},
	"embedded": {"bus", "register"},
	"register": {"bus"},
	"gateway":  {"bus", "register"},
	"worker":   {"bus", "register"},
	"configs":  {"bus", "gateway", "worker"},
	"api":      {"bus", "worker"},
	"cmd":      {"bus", "configs", "worker"},
	// for tests of applications
	"workertest": {"bus", "gateway", "register", "worker"},
}

// on lists the parts that stand on all others.
var on = []string{"internal", "examples", "e2e", "docs", "deploy"}

// TestDirection checks the imports within the module.
func TestDirection(t *testing.T) {
	for _, p := range packages(t) {
		from := part(p.ImportPath)
		may, known := mayImport[from]
		if !known && !slices.Contains(on, from) {
			t.Errorf("%s: say in mayImport what %s may import", p.ImportPath, from)
			continue
		}
		for _, path := range p.Imports {
			to, ok := strings.CutPrefix(path, module)
			switch {
			case !ok || part(to) == from && from != "internal":
			case under(to, "internal/testbed"):
				if !under(p.ImportPath, "e2e", "internal/testbed", "internal/chaos", "internal/portfuzz") {
					t.Errorf("%s imports %s, which is for tests", p.ImportPath, to)
				}
			case under(to, "internal/chaos"):
				if !under(p.ImportPath, "internal/chaos") {
					t.Errorf("%s imports %s, which is a harness", p.ImportPath, to)
				}
			case under(to, "internal/portfuzz"):
				if !under(p.ImportPath, "internal/portfuzz") {
					t.Errorf("%s imports %s, which is a harness", p.ImportPath, to)
				}
			case under(to, "internal/host"):
				if from != "cmd" {
					t.Errorf("%s imports %s, which wires a process for cmd", p.ImportPath, to)
				}
			case under(to, "internal/bench"):
				if !under(p.ImportPath, "cmd", "internal/bench") {
					t.Errorf("%s imports %s, which is for gatebus bench", p.ImportPath, to)
				}
			case under(to, "api"):
				if !under(p.ImportPath, "internal/host", "internal/metrics") {
					t.Errorf("%s imports %s, which internal/host puts into a process", p.ImportPath, to)
				}
			case under(to, "internal/status"):
				if !under(p.ImportPath, "cmd", "e2e", "internal/dashboard") {
					t.Errorf("%s imports %s, which is for gatebus status and the dashboard", p.ImportPath, to)
				}
			case under(to, "internal/metrics"):
				if !under(p.ImportPath, "internal/host") {
					t.Errorf("%s imports %s, which is for internal/host", p.ImportPath, to)
				}
			case under(to, "internal/dashboard"):
				if !under(p.ImportPath, "internal/host") {
					t.Errorf("%s imports %s, which is for internal/host", p.ImportPath, to)
				}
			case under(to, "internal/admin"):
				if !under(p.ImportPath, "internal/host") {
					t.Errorf("%s imports %s, which is for internal/host", p.ImportPath, to)
				}
			case part(to) == "internal" || !known:
			case !slices.Contains(may, part(to)):
				t.Errorf("%s imports %s; %s may import only %q and internal", p.ImportPath, to, from, may)
			}
		}
	}
}

// TestLowInternals checks that what everybody may import, because it is
// internal, knows nothing of the parts that do.
func TestLowInternals(t *testing.T) {
	for _, p := range packages(t) {
		if part(p.ImportPath) != "internal" || under(p.ImportPath, "internal/host", "internal/testbed", "internal/chaos", "internal/portfuzz", "internal/bench", "internal/metrics", "internal/status", "internal/dashboard") {
			continue
		}
		for _, path := range p.Imports {
			if to, ok := strings.CutPrefix(path, module); ok && part(to) != "internal" {
				t.Errorf("%s imports %s; an internal package serves the others and knows none", p.ImportPath, to)
			}
		}
	}
}

// TestReserved checks the imports that only some packages may have.
func TestReserved(t *testing.T) {
	for _, r := range []struct {
		path, why string
		code      []string // whose code may import it
		tests     bool     // whether any test may
	}{
		{module + "gateway", "gateway and worker know only the bus", []string{"configs", "internal/host", "internal/metrics", "internal/testbed", "internal/chaos", "workertest", "e2e"}, false},
		{module + "worker", "gateway and worker know only the bus", []string{"configs", "internal/host", "internal/metrics", "internal/testbed", "internal/chaos", "internal/bench", "workertest", "api", "cmd", "examples", "e2e"}, false},
		{"github.com/nats-io/nats-server", "the server is embedded's", []string{"embedded"}, false},
		{"github.com/gorilla/websocket", "clients are the gateway's", []string{"gateway", "internal/bench", "internal/testbed", "internal/chaos", "internal/portfuzz", "examples", "e2e", "workertest"}, true},
		{"github.com/knadh/koanf", "configuration is configs'", []string{"configs"}, false},
		{"github.com/HdrHistogram", "latencies are measured by bench", []string{"internal/bench"}, false},
		{"github.com/prometheus/client_golang", "figures are shown by internal/metrics", []string{"internal/metrics"}, true},
		{"go.opentelemetry.io/otel/sdk", "spans are made and exported as internal/host says", []string{"internal/host"}, true},
		{"go.opentelemetry.io/otel/exporters", "spans are exported by internal/host", []string{"internal/host"}, true},
		{"github.com/spf13/cobra", "the command line is cmd's", []string{"cmd"}, false},
		{"github.com/chromedp", "browsers are for tests", []string{"e2e"}, false},
		{"github.com/Shopify/toxiproxy", "bad networks are for the harness", []string{"internal/chaos"}, false},
		{"testing", "tests are not code", []string{"bus/bustest", "workertest"}, true},
	} {
		used := false
		for _, p := range packages(t) {
			imports := p.Imports
			if !r.tests {
				imports = slices.Concat(imports, p.TestImports, p.XTestImports)
			}
			for _, path := range imports {
				if !under(path, r.path) {
					continue
				}
				used = true
				if own := strings.TrimPrefix(r.path, module); !under(p.ImportPath, r.code...) && !under(p.ImportPath, own) {
					t.Errorf("%s imports %s: %s", p.ImportPath, path, r.why)
				}
			}
		}
		if !used {
			t.Errorf("nobody imports %s: this rule does not bite; remove or correct it", r.path)
		}
	}
}

// TestPackages checks that every package says what it is, in its name and in
// its documentation.
func TestPackages(t *testing.T) {
	nothing := []string{"util", "utils", "common", "manager", "helper", "helpers", "misc", "base", "lib"}
	for _, p := range packages(t) {
		if slices.Contains(nothing, p.Name) || slices.ContainsFunc(strings.Split(p.ImportPath, "/"), func(dir string) bool { return slices.Contains(nothing, dir) }) {
			t.Errorf("%s: the name says nothing; name it for what it is", p.ImportPath)
		}
		begin := "Package " + p.Name + " "
		if p.Name == "main" {
			begin = "Command "
		}
		if len(p.GoFiles) > 0 && !strings.HasPrefix(p.Doc, begin) {
			t.Errorf("%s: its documentation begins with %.40q; let it begin with %q", p.ImportPath, p.Doc, begin)
		}
	}
}
