package bus_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/gatebus/gatebus/bus"
)

func TestCredentials(t *testing.T) {
	dir := t.TempDir()
	good, bad, none := filepath.Join(dir, "good"), filepath.Join(dir, "bad"), filepath.Join(dir, "none")
	// The seed of the example in the documentation of nkeys.
	const seed = "SUAKYRHVIOREXV7EUZTBHUHL7NUMHPMAS7QMDU3GTIUWEI5LDNOXD43IZY"
	for path, text := range map[string]string{good: seed, bad: "hunter2"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name string
		c    bus.Credentials
		want string // of the error; "": none
		is   func(nats.Options) bool
	}{
		{"none", bus.Credentials{}, "", func(o nats.Options) bool { return o.User == "" && o.Nkey == "" && o.UserJWT == nil }},
		{"user", bus.Credentials{User: "u", Password: "p"}, "", func(o nats.Options) bool { return o.User == "u" && o.Password == "p" }},
		{"nkey", bus.Credentials{NKey: good}, "", func(o nats.Options) bool { return strings.HasPrefix(o.Nkey, "U") }},
		{"creds", bus.Credentials{Creds: good}, "", func(o nats.Options) bool { return o.UserJWT != nil }},
		{"no seed", bus.Credentials{NKey: bad}, "holds no seed", nil},
		{"no nkey", bus.Credentials{NKey: none}, "no such file", nil},
		{"no creds", bus.Credentials{Creds: none}, "no such file", nil},
		{"no user", bus.Credentials{Password: "hunter2"}, "without a user", nil},
		{"two ways", bus.Credentials{User: "u", Password: "hunter2", NKey: good}, "choose one", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			options, err := tt.c.Options()
			if tt.want != "" {
				if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "hunter2") {
					t.Errorf("error %v, want %q", err, tt.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var o nats.Options
			for _, set := range options {
				if err := set(&o); err != nil {
					t.Fatal(err)
				}
			}
			if !tt.is(o) || tt.c.IsZero() != (len(options) == 0) {
				t.Errorf("%+v", o)
			}
		})
	}
}

// Servers number their connections each by itself: what is made anew to another one has
// another number even so.
func TestIDOfSeveralServers(t *testing.T) {
	first := serve(t, "127.0.0.1:0")
	addr := first.Addr()
	up := make(chan struct{}, 2)
	c, err := bus.Dial(bus.Config{URLs: []string{"nats://" + addr}, OnStatus: func(is bool, _ error) {
		if is {
			up <- struct{}{}
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	<-up
	id := c.ID()
	halt(t, first)
	serve(t, addr)
	<-up
	cid, err := c.NATS().GetClientID()
	if err != nil {
		t.Fatal(err)
	}
	if uint64(id) != cid {
		t.Fatalf("the servers numbered the connection %d and %d: nothing was tested", id, cid)
	}
	if c.ID() == id {
		t.Errorf("the connection that was made anew has the number %d again", id)
	}
}
