package configs

import (
	"errors"
	"io/fs"
	"reflect"
	"strings"
	"testing"
)

// FuzzLoad: whatever is loaded, there is an *Error with a reason, or a
// configuration that survives being printed and loaded again.
func FuzzLoad(f *testing.F) {
	for _, name := range Samples() {
		data, _ := Sample(name)
		f.Add(string(data), "", "")
	}
	f.Add("secret: 0123456789abcdef\ngateway: {bus: {listen: ':1'}}\nadvertise: h", "GATEBUS_GATEWAY__HOLD=3s", "worker.name=w")
	f.Add("secret_file: a\n", "GATEBUS_REGISTERS=a:1,b:2", "log.level=debug")
	f.Add("secret_file: a\naccept_secret: 0123456789abcdef\n", "GATEBUS_ACCEPT_SECRET=0123456789abcdef", "")
	f.Add("a: &a [*a]\n---\n- x", "GATEBUS_X=1", "x")
	f.Add("register: {listen: '[::]:0', cluster: {routes: ['h:1']}}\ninsecure: true\nadvertise: ::1", "", "admin.listen=off")
	read := func(path string, _ int64) ([]byte, error) {
		if strings.ContainsRune(path, 0) {
			return nil, fs.ErrInvalid
		}
		return []byte("0123456789abcdef"), nil
	}
	f.Fuzz(func(t *testing.T, data, env, set string) {
		src := Source{Name: "host.yaml", Data: []byte(data)}
		if env != "" {
			src.Environ = []string{env}
		}
		if set != "" {
			src.Set = []string{set}
		}
		c, err := load(src, read)
		if err != nil {
			if e, ok := errors.AsType[*Error](err); !ok || len(e.Problems) == 0 || c != nil {
				t.Fatalf("not an Error: %v", err)
			}
			for _, p := range err.(*Error).Problems {
				if p.Err.Error() == "" {
					t.Fatalf("a problem without a reason: %+v", p)
				}
			}
			return
		}
		text := printed(t, c)
		again := Source{Name: "host.yaml", Data: []byte(text)}
		if c.Secret != "" && c.SecretFile == "" {
			again.Set = []string{"secret=" + string(c.Secret)}
		}
		if c.AcceptSecret != "" && c.AcceptSecretFile == "" {
			again.Set = append(again.Set, "accept_secret="+string(c.AcceptSecret))
		}
		d, err := load(again, read)
		if err != nil {
			t.Fatalf("printed:\n%s\nloaded again: %v", text, err)
		}
		if !reflect.DeepEqual(c, d) {
			t.Fatalf("printed:\n%s\nloaded again:\n%s", text, printed(t, d))
		}
	})
}
