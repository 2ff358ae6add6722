package docs_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Every line of the threat model has a test, and it is there.
func TestThreats(t *testing.T) {
	doc, err := os.ReadFile("security.md")
	if err != nil {
		t.Fatal(err)
	}
	there := map[string]bool{}
	name := regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	err = filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() && (d.Name() == ".git" || d.Name() == "node_modules") {
			if d != nil && d.IsDir() && err == nil {
				return filepath.SkipDir
			}
			return err
		}
		if !strings.HasSuffix(path, "_test.go") {
			return nil
		}
		code, err := os.ReadFile(path)
		for _, m := range name.FindAllSubmatch(code, -1) {
			there[string(m[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	_, threats, ok := strings.Cut(string(doc), "\n## Threats\n")
	if !ok {
		t.Fatal("security.md has no threats")
	}
	quoted := regexp.MustCompile("`(Test\\w+)`")
	lines := 0
	for line := range strings.Lines(threats) {
		cells := strings.Split(strings.TrimSpace(line), "|")
		if len(cells) != 5 || strings.HasPrefix(cells[1], "--") || strings.TrimSpace(cells[1]) == "threat" {
			continue
		}
		lines++
		shown := strings.TrimSpace(cells[3])
		tests := quoted.FindAllStringSubmatch(shown, -1)
		if len(tests) == 0 && !strings.HasPrefix(shown, "none: ") {
			t.Errorf("no test shows what is said of %q", strings.TrimSpace(cells[1]))
		}
		for _, m := range tests {
			if !there[m[1]] {
				t.Errorf("there is no %s, which is to show %q", m[1], strings.TrimSpace(cells[1]))
			}
		}
	}
	if lines < 25 {
		t.Errorf("only %d lines of threats were found", lines)
	}
}
