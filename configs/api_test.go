package configs

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestTokens(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("tokens", "# of the shop\n"+strings.Repeat("b", 20)+"\n\n  "+strings.Repeat("c", 20)+"=\r\n")
	path := write("host.yaml", "api:\n  tokens: ["+goodSecret+"]\n  token_file: tokens\n")
	c := mustLoad(t, Source{File: path})
	want := []string{goodSecret, strings.Repeat("b", 20), strings.Repeat("c", 20) + "="}
	if got := c.API.AllTokens(); !reflect.DeepEqual(got, want) {
		t.Errorf("tokens %q, want %q", got, want)
	}
	if c.API.TokenFile != filepath.Join(dir, "tokens") {
		t.Errorf("the file is %s", c.API.TokenFile)
	}
	text := printed(t, c)
	if !strings.Contains(text, "  tokens: ['********']\n  token_file: "+dir) {
		t.Errorf("printed:\n%s", text)
	}
	for _, token := range want {
		if strings.Contains(text+fmt.Sprintf("%v %+v", *c.API, c.API.Tokens), token) {
			t.Errorf("a token is shown:\n%s", text)
		}
	}
	_, err := Load(host(text))
	before, _, _ := strings.Cut(text, "  tokens:")
	wantError(t, err, fmt.Sprintf(`host.yaml:%d: api.tokens[0]: "********" is the mask of a printed configuration; put the token itself in, or use token_file`, 1+strings.Count(before, "\n")))
}

// Who has the admin listener off by a flag, has no API either.
func TestAdminOffByFlag(t *testing.T) {
	src := Dev()
	src.Set = []string{"admin.listen=off"}
	if c := mustLoad(t, src); c.API != nil || c.Worker == nil {
		t.Errorf("roles %v", c.Roles())
	}
	for _, src := range []Source{
		{Roles: []Role{RoleAPI}, Set: []string{"admin.listen=off"}},
		{Set: []string{"admin.listen=off", "api.tokens=" + goodSecret}},
	} {
		if _, err := Load(src); err == nil || !strings.Contains(err.Error(), "the admin listener serves it, and that is off") {
			t.Errorf("%+v: %v", src, err)
		}
	}
}

// What is wrong with tokens is told without them.
func TestWrongTokens(t *testing.T) {
	dir := t.TempDir()
	empty, bad := filepath.Join(dir, "empty"), filepath.Join(dir, "bad")
	for path, content := range map[string]string{empty: "# none\n", bad: goodSecret + "\nsesame\n"} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const (
		chars   = "a token consists of A-Z a-z 0-9 - . _ ~ + and /; make one with: openssl rand -hex 32"
		guessed = "a token of less than 16 bytes can be guessed; make one with: openssl rand -hex 32"
	)
	beyond := "there is none, and admin.listen at 10.0.0.5:8280 can be reached from other machines; set api.tokens or api.token_file, or listen on 127.0.0.1 and use a tunnel"
	for name, tt := range map[string]struct {
		src  Source
		want []string
	}{
		"short":    {host("api:\n  tokens:\n  - " + goodSecret + "\n  - sesame\n"), []string{"host.yaml:4: api.tokens[1]: " + guessed}},
		"space":    {host("api: {tokens: ['open sesame open sesame']}\n"), []string{"host.yaml:1: api.tokens[0]: " + chars}},
		"variable": {Source{Environ: []string{"GATEBUS_API__TOKENS=sesame,,"}}, []string{"GATEBUS_API__TOKENS: api.tokens: it has an empty element; write a,b,c"}},
		"no file":  {Source{Set: []string{"api.token_file=" + dir + "/none"}}, []string{"--set api.token_file: " + dir + "/none cannot be read: no such file or directory"}},
		"empty":    {Source{Set: []string{"api.token_file=" + empty}}, []string{"--set api.token_file: " + empty + " has no token; write one into it, or remove the key"}},
		"in file":  {Source{Set: []string{"api.token_file=" + bad}}, []string{"--set api.token_file: " + bad + ":2: " + guessed}},
		"no admin": {host("admin: {listen: off}\napi:\n"), []string{"host.yaml:2: api: the admin listener serves it, and that is off; set admin.listen, or remove the section"}},
		"beyond":   {host("admin: {listen: 10.0.0.5:8280}\napi: {tokens: []}\n"), []string{"host.yaml:2: api.tokens: " + beyond}},
		"insecure": {host("insecure: true\nadmin: {listen: 10.0.0.5:8280}\napi: {tokens: []}\n"), []string{"host.yaml:3: api.tokens: " + beyond}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Load(tt.src)
			wantError(t, err, tt.want...)
			if err != nil && strings.Contains(err.Error(), "sesame") {
				t.Error("the token is quoted")
			}
		})
	}
}

// With tokens, the admin listener may be beyond loopback, and wants one for everything.
func TestAdminGuarded(t *testing.T) {
	for text, want := range map[string]bool{
		"admin: {listen: 10.0.0.5:8280}\napi: {tokens: [" + goodSecret + "]}\n":                 true,
		"insecure: true\nadmin: {listen: 10.0.0.5:8280}\napi: {tokens: [" + goodSecret + "]}\n": false,
		"insecure: true\nadmin: {listen: 10.0.0.5:8280}\n":                                      false,
		"api: {tokens: [" + goodSecret + "]}\n":                                                 false,
		"api:\n":                                                                                false,
	} {
		if got := mustLoad(t, host(text)).AdminGuarded(); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
}
