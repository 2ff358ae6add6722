package api

import (
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// words splits a command line as a shell does, as far as the documentation needs it.
func words(line string) (all []string) {
	var b strings.Builder
	quote, begun := rune(0), false
	for _, r := range line + " " {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote == 0 && (r == '\'' || r == '"'):
			quote, begun = r, true
		case quote == 0 && r == ' ':
			if begun || b.Len() > 0 {
				all = append(all, b.String())
			}
			b.Reset()
			begun = false
		default:
			b.WriteRune(r)
		}
	}
	return all
}

// TestDocs has every curl line of docs/http-api.md asked, each with a client that is
// ann, in room1 and a/b, and has a session of version 1. Every call is among them.
func TestDocs(t *testing.T) {
	doc, err := os.ReadFile("../docs/http-api.md")
	if err != nil {
		t.Fatal(err)
	}
	f := start(t, 2)
	asked := map[string]bool{}
	for _, line := range regexp.MustCompile(`(?m)^curl .*$`).FindAllString(string(doc), -1) {
		cl, id := f.connect(0)
		at := "clients/" + string(id)
		f.ask("PUT", at+"/uid", `{"uid":"ann"}`).is(200, "")
		f.ask("POST", at+"/groups", `{"groups":["room1","a/b"]}`).is(204, "")
		f.ask("PUT", at+"/session", `{"name":"x"}`).is(204, "")

		method, path, body := "GET", "", ""
		var header []string
		args := words(strings.ReplaceAll(line, "$CLIENT", string(id)))[1:]
		for i := 0; i < len(args); i++ {
			switch arg := args[i]; arg {
			case "-X":
				i++
				method = args[i]
			case "-H":
				i++
				name, value, _ := strings.Cut(args[i], ": ")
				header = append(header, name, value)
			case "-d":
				i++
				body = args[i]
				if method == "GET" {
					method = "POST"
				}
			default:
				var ok bool
				if path, ok = strings.CutPrefix(arg, "$API/"); !ok {
					t.Errorf("%s: %q is no path of the API", line, arg)
				}
			}
		}
		if (body != "") != (len(header) > 0) {
			t.Errorf("%s: what has a body has a Content-Type", line)
		}
		a := f.ask(method, path, body, header...)
		if a.status != 200 && a.status != 204 {
			t.Errorf("%s: %d %s", line, a.status, a.body)
		}
		for i := range routes {
			name, _, _ := strings.Cut(path, "?")
			if routes[i].method == method && matches(strings.Split(routes[i].path, "/"), strings.Split(name, "/")) {
				asked[method+" "+routes[i].path] = true
			}
		}
		cl.Cut()
		f.cluster.Eventually("the client is gone", func() bool {
			n, err := f.cluster.Cluster().CountClients(t.Context())
			return err == nil && n == 0
		})
	}
	for _, r := range routes {
		if !asked[r.method+" "+r.path] {
			t.Errorf("docs/http-api.md has no curl line for %s %s", r.method, r.path)
		}
	}
	for _, k := range kinds {
		if !regexp.MustCompile(`(?m)^\|[ \d,*]*\b` + strconv.Itoa(k.status) + `\b[ \d,*]*\|`).Match(doc) {
			t.Errorf("the table of docs/http-api.md has no status %d", k.status)
		}
	}
}
