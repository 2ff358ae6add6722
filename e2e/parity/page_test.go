package parity_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// page is the one that says which test shows what.
const page = "../../docs/coming-from-gatewayworker.md"

// cited finds a test that a page names: a directory, and a function with or without one
// of its subtests.
var cited = regexp.MustCompile("`([a-z0-9/]+) (Test[A-Za-z0-9]*)(?:/([A-Za-z0-9_]+))?`")

// TestPage checks that each row of the page names tests that there are, or says why
// there is none, and that every row of TestParity is on the page.
func TestPage(t *testing.T) {
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	named := map[string]bool{}
	n := 0
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "| ") || strings.HasSuffix(line, "| test |") {
			continue
		}
		n++
		cells := strings.Split(strings.Trim(line, "|"), " | ")
		last := strings.TrimSpace(cells[len(cells)-1])
		tests := cited.FindAllStringSubmatch(last, -1)
		if len(tests) == 0 && !strings.HasPrefix(last, "not yet") && last != "not meant" {
			t.Errorf("%s: it names no test, nor says why: %q", line, last)
		}
		for _, m := range tests {
			dir, name, sub := m[1], m[2], m[3]
			switch {
			case !functions(t, "../../"+dir, "_test.go")[name]:
				t.Errorf("%s: there is no %s in %s", line, name, dir)
			case sub != "" && (name != "TestParity" || rows[sub] == nil):
				t.Errorf("%s: there is no %s/%s", line, name, sub)
			case sub != "":
				named[sub] = true
			}
		}
	}
	if n < 90 {
		t.Errorf("the page has only %d rows", n)
	}
	for name := range rows {
		if !named[name] {
			t.Errorf("no row of the page names TestParity/%s", name)
		}
	}
}

var found = map[string]map[string]bool{}

// functions are the functions and types of a directory's files that end so, and the
// methods and fields of types as Type.Name.
func functions(t *testing.T, dir, suffix string) map[string]bool {
	t.Helper()
	if all := found[dir+suffix]; all != nil {
		return all
	}
	all := map[string]bool{}
	found[dir+suffix] = all
	paths, err := filepath.Glob(dir + "/*" + suffix)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				all[receiver(d)+d.Name.Name] = true
			case *ast.GenDecl:
				for _, s := range d.Specs {
					declared(all, s)
				}
			}
		}
	}
	return all
}

func receiver(d *ast.FuncDecl) string {
	if d.Recv == nil {
		return ""
	}
	typ := d.Recv.List[0].Type
	if star, ok := typ.(*ast.StarExpr); ok {
		typ = star.X
	}
	if id, ok := typ.(*ast.Ident); ok {
		return id.Name + "."
	}
	return ""
}

func declared(all map[string]bool, s ast.Spec) {
	switch s := s.(type) {
	case *ast.ValueSpec:
		for _, n := range s.Names {
			all[n.Name] = true
		}
	case *ast.TypeSpec:
		all[s.Name.Name] = true
		if st, ok := s.Type.(*ast.StructType); ok {
			for _, f := range st.Fields.List {
				for _, n := range f.Names {
					all[s.Name.Name+"."+n.Name] = true
				}
			}
		}
	}
}

// used finds what a page says of the API.
var used = regexp.MustCompile(`\b(worker|workertest|Cluster|Client|Event|ev|Admission|CloseOptions|ClientsQuery|NamesQuery)\.([A-Z][A-Za-z]*)`)

// TestPagesNameTheAPI checks that what the pages name of the API is there.
func TestPagesNameTheAPI(t *testing.T) {
	for _, path := range []string{page, "../../docs/api.md"} {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		api, tests := functions(t, "../../worker", "[a-z].go"), functions(t, "../../workertest", ".go")
		all := used.FindAllStringSubmatch(string(text), -1)
		if len(all) < 50 {
			t.Errorf("%s names only %d things", path, len(all))
		}
		for _, m := range all {
			in, name := m[1], m[2]
			switch {
			case in == "worker" && api[name], in == "workertest" && tests[name]:
			case in == "ev" && api["Event."+name], api[in+"."+name], in == "Cluster" && tests[in+"."+name], in == "Client" && tests[in+"."+name]:
			default:
				t.Errorf("%s: there is no %s", path, m[0])
			}
		}
	}
}
