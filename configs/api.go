package configs

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
)

// API is the section of the HTTP API, which the admin listener serves.
type API struct {
	// Tokens are the bearer tokens of which a request must have one; see TokenFile.
	// Without any, the API is for programs of this machine, and the admin listener
	// must be on loopback. Each at least [MinSecret] bytes.
	Tokens []Secret `koanf:"tokens"`
	// TokenFile is a file with more tokens, one a line; empty lines and such that
	// begin with # do not count. A relative path in a configuration file starts at that
	// file's directory, and is made absolute.
	TokenFile string `koanf:"token_file"`

	FromFile []Secret `koanf:"-"` // what TokenFile holds: Load fills it
}

// AllTokens are the tokens of the configuration and of the file.
func (a *API) AllTokens() []string {
	var all []string
	for _, tokens := range [][]Secret{a.Tokens, a.FromFile} {
		for _, t := range tokens {
			all = append(all, string(t))
		}
	}
	return all
}

// maxTokenFile bounds a file of tokens, in bytes.
const maxTokenFile = 64 << 10

// bearer is what RFC 6750 has a token consist of.
var bearer = regexp.MustCompile(`^[A-Za-z0-9._~+/-]+=*$`)

// checkToken tells whether something can be a token. Its error does not quote it.
func checkToken(t Secret) error {
	switch {
	case t.IsMask():
		return fmt.Errorf("%q is the mask of a printed configuration; put the token itself in, or use token_file", mask)
	case !bearer.MatchString(string(t)):
		return fmt.Errorf("a token consists of A-Z a-z 0-9 - . _ ~ + and /; make one with: openssl rand -hex 32")
	case len(t) < MinSecret:
		return fmt.Errorf("a token of less than %d bytes can be guessed; make one with: openssl rand -hex 32", MinSecret)
	}
	return nil
}

// checkAPI checks the tokens, and reads those that are in a file.
func (l *loader) checkAPI() {
	a := l.config.API
	if a == nil {
		return
	}
	if l.config.Admin.Listen == "" && l.adminOverAPI() {
		l.config.API = nil
		return
	}
	if l.config.Admin.Listen == "" {
		l.bad("api", "the admin listener serves it, and that is off; set admin.listen, or remove the section")
	}
	for i, t := range a.Tokens {
		if err := checkToken(t); err != nil {
			l.badElement("api.tokens", i, "%w", err)
		}
	}
	if a.TokenFile == "" {
		return
	}
	if !l.absolute("api.token_file", &a.TokenFile) {
		return
	}
	data, err := l.read(a.TokenFile, maxTokenFile)
	if err != nil {
		l.bad("api.token_file", "%s cannot be read: %w", a.TokenFile, reason(err))
		return
	}
	n := 0
	for line := range bytes.Lines(data) {
		n++
		t := Secret(bytes.TrimSpace(line))
		if t == "" || strings.HasPrefix(string(t), "#") {
			continue
		}
		if err := checkToken(t); err != nil {
			l.bad("api.token_file", "%s:%d: %w", a.TokenFile, n, err)
		}
		a.FromFile = append(a.FromFile, t)
	}
	if len(a.FromFile) == 0 {
		l.bad("api.token_file", "%s has no token; write one into it, or remove the key", a.TokenFile)
	}
}

// adminOverAPI tells whether the admin listener is said to be off in a higher layer than
// the one that has the API: "gatebus dev --set admin.listen=off" is to work.
func (l *loader) adminOverAPI() bool {
	api := 0
	for _, key := range []string{"api", "api.tokens", "api.token_file"} {
		if o := l.origin(key); o != (Origin{File: l.file}) {
			api = max(api, o.rank())
		}
	}
	return api > 0 && l.origin("admin.listen").rank() > api
}
