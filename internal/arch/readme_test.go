package arch

import (
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/gatebus/gatebus/internal/testbed"
)

func readme(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile(root + "/README.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// TestReadmeStart checks that the two commands that are all the set-up stand
// where a new user finds them.
func TestReadmeStart(t *testing.T) {
	lines := strings.Split(readme(t), "\n")
	for _, command := range []string{"go run ./cmd/gatebus dev", "go test ./..."} {
		at := slices.IndexFunc(lines, func(line string) bool { return strings.HasPrefix(line, command) })
		if at < 0 || at >= 50 {
			t.Errorf("no line of the first 50 begins with %q", command)
		}
	}
}

// TestReadmeWorker checks that the worker in the README is the example that is
// built and tested, and as short as it claims to be easy.
func TestReadmeWorker(t *testing.T) {
	source, err := os.ReadFile(root + "/examples/echo/main.go")
	if err != nil {
		t.Fatal(err)
	}
	var workers []string
	for _, m := range regexp.MustCompile("(?ms)^```go\n(.*?)^```$").FindAllStringSubmatch(readme(t), -1) {
		if strings.Contains(m[1], "package main") {
			workers = append(workers, m[1])
		}
	}
	if len(workers) != 1 || workers[0] != string(source) {
		t.Errorf("the README must have examples/echo/main.go as it is, once; it has %q", workers)
	}
	if lines := strings.Count(string(source), "\n"); lines > 20 {
		t.Errorf("examples/echo/main.go has %d lines; a worker takes at most 20", lines)
	}
}

var (
	codeBlock = regexp.MustCompile("(?ms)^```sh\n(.*?)^```$")
	codeSpan  = regexp.MustCompile("`[^`\n]+`")
	// command finds gatebus and the words after it: commands, not options.
	command = regexp.MustCompile("(?m)(?:^|[\\s`/])gatebus((?: [a-z]+)+)\\b")
	// available finds what cobra lists.
	available = regexp.MustCompile(`(?m)^  ([a-z]+) +[A-Z]`)
)

// TestReadmeCommands checks that the commands that the README names are there.
func TestReadmeCommands(t *testing.T) {
	text := readme(t)
	var code []string
	for _, m := range codeBlock.FindAllStringSubmatch(text, -1) {
		for line := range strings.SplitSeq(m[1], "\n") {
			line, _, _ = strings.Cut(line, "#")
			code = append(code, line)
		}
	}
	code = append(code, codeSpan.FindAllString(codeBlock.ReplaceAllString(text, ""), -1)...)
	found := command.FindAllStringSubmatch(strings.Join(code, "\n"), -1)
	if len(found) < 3 {
		t.Fatalf("only %d commands were found: %q", len(found), found)
	}
	for _, m := range found {
		path := []string{}
		for word := range strings.FieldsSeq(m[1]) {
			known := subcommands(t, path)
			if len(known) == 0 {
				break // the rest are arguments
			}
			if !slices.Contains(known, word) {
				t.Errorf("README: %q: gatebus %s has %q, not %q", strings.TrimSpace(m[0]), strings.Join(path, " "), known, word)
				break
			}
			path = append(path, word)
		}
	}
}

// subcommands lists what "gatebus path --help" has below its commands.
func subcommands(t *testing.T, path []string) []string {
	t.Helper()
	binary, err := testbed.Binary()
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(binary, append(slices.Clone(path), "--help")...).CombinedOutput()
	if err != nil {
		t.Fatalf("gatebus %s --help: %v\n%s", strings.Join(path, " "), err, out)
	}
	_, list, ok := strings.Cut(string(out), "Available Commands:")
	if !ok {
		return nil
	}
	list, _, _ = strings.Cut(list, "Flags:")
	var names []string
	for _, m := range available.FindAllStringSubmatch(list, -1) {
		names = append(names, m[1])
	}
	return names
}
