package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gatebus/gatebus/configs"
	"github.com/gatebus/gatebus/internal/keys"
)

// credentialRoles are the roles that something outside of gatebus can have, and
// what it does with them. The keys of gateways and registers are of no use
// elsewhere, so they are not given out.
var credentialRoles = []struct {
	role keys.Role
	does string
}{
	{keys.RoleWorker, "takes and answers events, pushes and commands, on the bus of each gateway"},
	{keys.RoleApplication, "pushes and commands, on registers or buses; gets no events"},
	{keys.RoleObserver, "looks: taps, members, figures, nats micro, on registers; changes nothing"},
}

// The forms in which credentials are given.
const (
	formatSeed    = "nk"
	formatEnv     = "env"
	formatContext = "context"
)

// credentialFlags is what the command was told.
type credentialFlags struct {
	source sourceFlags
	role   string
	format string
	out    string
	force  bool
}

func newCredentials() *cobra.Command {
	f := &credentialFlags{role: string(keys.RoleWorker), format: formatSeed}
	var roles strings.Builder
	for _, r := range credentialRoles {
		fmt.Fprintf(&roles, "  %-12s %s\n", r.role, r.does)
	}
	cmd := &cobra.Command{
		Use:   "credentials [-c FILE] [--role ROLE] [--out SEED]",
		Short: "Give the nats command and workers in other languages what they need to connect",
		Long: `Give the plain nats command, and workers in other languages, what they need to
connect where a secret is set: the seed of the NATS key (nkey) that a role has by
that secret. Who has the seed can act as that role, and learns neither the secret
nor another key from it.

Roles:
` + roles.String() + `
Formats:
  nk           the seed, as a file that "nats --nkey" and every NATS client reads
  env          variables for the nats command, for eval; with --out
  context      a context file of the nats command (JSON); with --out

With --out the seed is written to a file that only its owner can read, and what is
printed says how to use it. The secret comes from the configuration: of FILE, or
GATEBUS_SECRET or GATEBUS_SECRET_FILE. While a secret is being replaced it is the
one in use; see docs/security.md.`,
		Example: `  gatebus credentials -c host1.yaml --out worker.nk
  gatebus credentials -c host1.yaml --role observer --out observer.nk
  eval "$(gatebus credentials -c host1.yaml --out worker.nk --format env)"
  gatebus credentials -c host1.yaml --role observer --out ~/observer.nk --format context > ~/.config/nats/context/gatebus.json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd.OutOrStdout()) },
	}
	f.source.add(cmd, true)
	fs := cmd.Flags()
	fs.StringVar(&f.role, "role", f.role, "what the credentials are for: "+strings.Join(roleNames(), ", "))
	fs.StringVar(&f.format, "format", f.format, "what is printed: nk, env or context")
	fs.StringVar(&f.out, "out", "", "write the seed to this `FILE`, readable by its owner only, instead of printing it")
	fs.BoolVar(&f.force, "force", false, "replace FILE if it is there")
	return cmd
}

func roleNames() (names []string) {
	for _, r := range credentialRoles {
		names = append(names, string(r.role))
	}
	return names
}

func (f *credentialFlags) run(w io.Writer) error {
	if !slices.Contains(roleNames(), f.role) {
		return fmt.Errorf("credentials: --role %s: there are %s", f.role, strings.Join(roleNames(), ", "))
	}
	switch {
	case !slices.Contains([]string{formatSeed, formatEnv, formatContext}, f.format):
		return fmt.Errorf("credentials: --format %s: there are nk, env and context", f.format)
	case f.format != formatSeed && f.out == "":
		return fmt.Errorf("credentials: --format %s names the file of the seed; say with --out where to write it", f.format)
	case f.force && f.out == "":
		return errors.New("credentials: --force goes with --out FILE")
	}
	cfg, err := f.source.load(configs.Source{})
	if err != nil {
		return err
	}
	if cfg.Secret == "" {
		return errors.New("credentials: no secret is set, so none are needed: anybody may connect; give a file that has one with -c FILE")
	}
	k, err := keys.Derive(string(cfg.Secret))
	if err != nil {
		return fmt.Errorf("credentials: %w", err)
	}
	seed := append(k.Seed(keys.Role(f.role)), '\n')
	if f.out == "" {
		_, err := w.Write(seed)
		return failed(err)
	}
	if err := writeSeed(f.out, seed, f.force); err != nil {
		return failed(fmt.Errorf("credentials: %w", err))
	}
	return failed(f.explain(w, cfg))
}

// writeSeed writes a file that only its owner can read, whole or not at all.
func writeSeed(path string, seed []byte, replace bool) (err error) {
	if !replace {
		file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("%s is there already; give another --out, or --force to replace it", path)
		}
		if err != nil {
			return err
		}
		_, err = file.Write(seed)
		return errors.Join(err, file.Close())
	}
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*") // of mode 0600
	if err != nil {
		return err
	}
	_, err = file.Write(seed)
	if err = errors.Join(err, file.Close()); err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(file.Name()))
	}
	return nil
}

// urls are where a role connects: a worker to the bus of the gateway of this
// host, if there is one, all others to the registers.
func (f *credentialFlags) urls(cfg *configs.Config) string {
	if f.role == string(keys.RoleWorker) && cfg.Gateway != nil {
		return "nats://" + cfg.BusAdvertise()
	}
	return strings.Join(cfg.Registers, ",")
}

// explain says how to use the seed that was written.
func (f *credentialFlags) explain(w io.Writer, cfg *configs.Config) error {
	path, err := filepath.Abs(f.out)
	if err != nil {
		return err
	}
	url, prefix := f.urls(cfg), keys.InboxPrefix(keys.Role(f.role))
	files := tlsFiles(cfg.TLS)
	switch f.format {
	case formatContext:
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		context := map[string]string{
			"description": "gatebus " + f.role, "url": url, "nkey": path, "inbox_prefix": prefix,
		}
		for _, file := range files {
			context[file.key] = file.path
		}
		return e.Encode(context)
	case formatEnv:
		if prefix != defaultInbox { // there is no variable for it
			fmt.Fprintf(w, "# Requests need the option --inbox-prefix %s as well.\n", prefix)
		}
		_, err = fmt.Fprintf(w, "export NATS_URL=%s\nexport NATS_NKEY=%s\n", shellQuote(url), shellQuote(path))
		for _, file := range files {
			_, err = fmt.Fprintf(w, "export NATS_%s=%s\n", strings.ToUpper(file.key), shellQuote(file.path))
		}
		return err
	}
	words := []string{"--nkey", shellQuote(f.out)}
	if prefix != defaultInbox {
		words = append(words, "--inbox-prefix", prefix)
	}
	for _, file := range files {
		words = append(words, "--tls"+file.key, shellQuote(file.path))
	}
	options := strings.Join(words, " ")
	fmt.Fprintf(w, "%s has the seed of the role %s. It is as good as a password: keep it so.\n\n", f.out, f.role)
	switch keys.Role(f.role) {
	case keys.RoleWorker:
		if cfg.Gateway == nil {
			url = "nats://GATEWAY:8300"
		}
		_, err = fmt.Fprintf(w, "A worker that echoes, on the bus of a gateway:\n\n  nats reply -s %s %s --queue default 'gw.*.in.default.*' --echo\n", url, options)
	case keys.RoleApplication:
		_, err = fmt.Fprintf(w, "A push to all clients:\n\n  nats pub -s %s %s gw.all.push.all 'hello, everybody'\n", url, options)
	case keys.RoleObserver:
		_, err = fmt.Fprintf(w, "Who is there:\n\n  nats micro ls -s %s %s\n  nats req -s %s %s reg.members ''\n", url, options, url, options)
	}
	if err == nil && prefix != defaultInbox {
		_, err = fmt.Fprintf(w, "\nA NATS client in a program needs the inbox prefix %s as well.\n", prefix)
	}
	return err
}

// tlsFile is a file that the nats command needs for TLS, by what it calls it.
type tlsFile struct{ key, path string }

// tlsFiles are those of this host: the authorities, and where it is asked for a
// certificate of its own.
func tlsFiles(t configs.TLS) (files []tlsFile) {
	if t.CA != "" {
		files = append(files, tlsFile{"ca", t.CA})
	}
	if t.Verify && t.Cert != "" {
		files = append(files, tlsFile{"cert", t.Cert}, tlsFile{"key", t.Key})
	}
	return files
}

// defaultInbox is the inbox prefix that every NATS client has if it is told
// none.
const defaultInbox = "_INBOX"

// shellQuote makes one word of s for a POSIX shell.
func shellQuote(s string) string {
	plain := func(r rune) bool {
		return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("@%+=:,./_-", r)
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
