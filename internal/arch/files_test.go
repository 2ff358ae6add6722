package arch

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const root = "../.."

// maxLines is how long a file of Go may be; a longer one hides a type.
const maxLines = 600

// files calls fn for each text file of the repository, by its path from there.
func files(t *testing.T, fn func(path string, data []byte)) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if slices.Contains([]string{".git", "node_modules", "dist"}, d.Name()) {
				return filepath.SkipDir
			}
			return nil
		}
		if !d.Type().IsRegular() {
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err == nil && !bytes.ContainsRune(data, 0) {
			fn(filepath.ToSlash(rel), data)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

var generated = regexp.MustCompile(`(?m)^// Code generated .* DO NOT EDIT\.$`)

// TestGoFiles checks that files are short, and that code sleeps nowhere: it
// waits for an event, with a deadline.
func TestGoFiles(t *testing.T) {
	n := 0
	files(t, func(path string, data []byte) {
		if !strings.HasSuffix(path, ".go") || generated.Match(data) {
			return
		}
		n++
		if lines := bytes.Count(data, []byte("\n")); lines > maxLines {
			t.Errorf("%s: %d lines; more than %d hide something that wants a file of its own", path, lines, maxLines)
		}
		if strings.HasSuffix(path, "_test.go") {
			return
		}
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, path, data, parser.SkipObjectResolution)
		if err != nil {
			t.Error(err)
			return
		}
		ast.Inspect(file, func(node ast.Node) bool {
			if sel, ok := node.(*ast.SelectorExpr); ok && sel.Sel.Name == "Sleep" {
				if x, ok := sel.X.(*ast.Ident); ok && x.Name == "time" {
					t.Errorf("%v: code must not sleep; let it wait for an event, a timer or the end of a context", fset.Position(sel.Pos()))
				}
			}
			return true
		})
	})
	if n < 50 {
		t.Errorf("only %d files of Go were found", n)
	}
}

// foreign are texts that only mean something on the machine they come from:
// hosts of package registries, and paths.
var foreign = regexp.MustCompile(`\b(registry|registries|proxy|sum|deb|mirrors?)\.[a-z0-9-]+\.(org|com|net|io|dev)\b` +
	`|\bpypi\.org\b|npmjs\.(org|com)\b|(?:^|[^\w./-])/(work|root|home|Users)/`)

// TestTexts checks that no file names a registry or a path of a machine.
func TestTexts(t *testing.T) {
	files(t, func(path string, data []byte) {
		for i, line := range strings.Split(string(data), "\n") {
			if m := foreign.FindString(line); m != "" {
				t.Errorf("%s:%d: %q is of some machine; leave it out", path, i+1, m)
			}
			if strings.HasSuffix(path, "package-lock.json") && strings.Contains(line, `"resolved":`) {
				t.Errorf("%s:%d: it names the registry; its .npmrc says to leave that out", path, i+1)
			}
		}
	})
}
