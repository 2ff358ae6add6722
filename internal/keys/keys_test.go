package keys_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"github.com/gatebus/gatebus/internal/keys"
)

const secret = "0123456789abcdef"

// golden was computed by a second implementation (Python's hmac and
// cryptography), not copied from this one. If a line has to change, processes
// of the old and the new version refuse each other.
var golden = []struct {
	secret string
	route  string
	users  map[keys.Role][2]string // seed, public
}{
	{
		secret: secret,
		route:  "a255678f5f92482f7f14319374f51fce724505b989f2ff7468ca9b77ed524b33",
		users: map[keys.Role][2]string{
			keys.RoleRegister:    {"SUAAN3TXOZGSEFBXJ2UO4W2EBP2HEYMA6W74Y2H3WNDRMYRHXS55FDAREE", "UCBGYZXTTE76QALJTU3DGLYVS6RFDQRWDBOOE3U6NBROQO646QJGQZDZ"},
			keys.RoleGateway:     {"SUAFH4VJCBVVNLCK2WZN5RSTSTTAPFLPEJE7HDVZUQK4673NXL6EKQSPWA", "UAYA2XQN2KPZ4WVTSOO3VMNS3L4WS6TTPV2LSAVEBZBSSBSIX26DZQBP"},
			keys.RoleWorker:      {"SUAGQ6DCP2ACW4SIYVLZSUEWM4OQQI4RCEGU2W7HGWRH66JSQK2ADCTA6A", "UDVB4BHPILE2EHNVN2JSLVPOVKQEZEZ6BWGD5P3FSLQFQBA3GCXT33V2"},
			keys.RoleApplication: {"SUAC6JDMM27LWTZSGJ7IDF23VG4YRW433JNJX3VOGW3KN2CHPXF4E6GKUY", "UDXG7GHFSER5UXT64QURW5GBV2NIJJ2BHWMX46KWCIAE55PPUPZY73HY"},
			keys.RoleObserver:    {"SUAPUYOKHXZ2F3FABV7TANAWBLWMHHEKTUQZDTHC4EXV3AJKPI7GTEKDQY", "UDGCQIHTZJQKDWLH6W7GFMXBC23GL7EO3J7BW6V25R7QC72LAUYWHX6A"},
		},
	},
	{
		secret: "gatebus test secret — never use",
		route:  "aacf26f01a042b2ad627454dfcc413df85669601532b8300660bd942f178fb0a",
		users: map[keys.Role][2]string{
			keys.RoleRegister:    {"SUAH4F4LZ6TD46XSODLCBFHM3TVSO3X6MZ4RQP2CKR4RLZZBO5KPO3ZHZU", "UAELUCB22IUQDDHX4I7OFKYUJNQBRLLVYISLVKBR3VUZNPU2C6CFHAZ2"},
			keys.RoleGateway:     {"SUAB63MRLHDNOFXNSKRGN74RT57Y4ZVQR7QE6D7ZKEK6WD64Y4WOG3XBVY", "UATR6Y5KC22G2OPPMSI4AIH2TWTLTTSCBZ3QVHX72XHDTKISBZPKEKYQ"},
			keys.RoleWorker:      {"SUALCBHJPGVZZUR2K4SPTURDFJWDCV3QZ76HCT4USPVLPPKZGDNYU4Z6HI", "UAATI3X3WZ4DWB4T2B5SDDZ55UPSNZZDGVAMCXUGDGGLDXFUKWWEBOOG"},
			keys.RoleApplication: {"SUAFEAOB7IANFYAWG43VXOCRXJF4P4Q7KVQ6ANMGQK6RKCWNYTVA6RZQ4I", "UB5S2TXJCJM76MVB5ACGJKYNK4RALKRK4QSIQ3GJZ5T4MFPOJUE6UDPA"},
			keys.RoleObserver:    {"SUALX6YFW2DAFSMBZZ6HDQWN7P4TXSXFFLNRWZXNP2LVBIZYRWCHW3PWZA", "UBWE2C2KZC5MNYPB4WLJWXWIO6PTY5LX5KE6RFVTWGBJB7GS6YA2FTDF"},
		},
	},
}

func TestGolden(t *testing.T) {
	t.Parallel()
	if keys.RouteUser != "gatebus-route" {
		t.Errorf("RouteUser = %q", keys.RouteUser)
	}
	for _, g := range golden {
		k := derive(t, g.secret)
		if got := k.RoutePassword(); got != g.route {
			t.Errorf("RoutePassword() = %s, want %s", got, g.route)
		}
		if got, want := len(g.users), len(keys.Roles()); got != want {
			t.Fatalf("%d golden users for %d roles", got, want)
		}
		for r, want := range g.users {
			if got := string(k.Seed(r)); got != want[0] {
				t.Errorf("Seed(%s) = %s, want %s", r, got, want[0])
			}
			if got := k.Public(r); got != want[1] {
				t.Errorf("Public(%s) = %s, want %s", r, got, want[1])
			}
		}
	}
}

func TestEveryKeyIsDistinct(t *testing.T) {
	t.Parallel()
	seen := make(map[string]string)
	for _, s := range []string{secret, secret + "\n", secret + "0"} {
		k := derive(t, s)
		add := func(what, key string) {
			what = fmt.Sprintf("%s of %q", what, s)
			if other, dup := seen[key]; dup {
				t.Errorf("%s and %s are the same", what, other)
			}
			seen[key] = what
		}
		add("route password", k.RoutePassword())
		for _, r := range keys.Roles() {
			add(string(r), k.Public(r))
		}
	}
}

func TestSignerMatchesPublic(t *testing.T) {
	t.Parallel()
	k := derive(t, secret)
	nonce := []byte("a server's nonce")
	for _, r := range keys.Roles() {
		var sign nats.SignatureHandler = k.Signer(r) // what nats.Nkey takes
		sig, err := sign(nonce)
		if err != nil {
			t.Fatal(err)
		}
		for _, other := range keys.Roles() {
			pub, err := nkeys.FromPublicKey(k.Public(other))
			if err != nil {
				t.Fatal(err)
			}
			if ok := pub.Verify(nonce, sig) == nil; ok != (r == other) {
				t.Errorf("signature of %s verified by the key of %s: %v", r, other, ok)
			}
		}
	}
}

func TestSeedIsACopy(t *testing.T) {
	t.Parallel()
	k := derive(t, secret)
	clear(k.Seed(keys.RoleWorker))
	pair, err := nkeys.FromSeed(k.Seed(keys.RoleWorker))
	if err != nil {
		t.Fatal(err)
	}
	if pub, _ := pair.PublicKey(); pub != k.Public(keys.RoleWorker) {
		t.Errorf("seed gives %s, want %s", pub, k.Public(keys.RoleWorker))
	}
}

func TestRoleOf(t *testing.T) {
	t.Parallel()
	k := derive(t, secret)
	for _, r := range keys.Roles() {
		if got, ok := k.RoleOf(k.Public(r)); !ok || got != r {
			t.Errorf("RoleOf(Public(%s)) = %q, %v", r, got, ok)
		}
	}
	for _, public := range []string{"", "x", derive(t, secret+"x").Public(keys.RoleWorker)} {
		if got, ok := k.RoleOf(public); ok {
			t.Errorf("RoleOf(%q) = %q", public, got)
		}
	}
}

func TestShortSecretIsRefused(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"", "changeme", secret[:keys.MinSecretLen-1]} {
		_, err := keys.Derive(s)
		if !errors.Is(err, keys.ErrShortSecret) {
			t.Errorf("Derive(%d bytes) = %v, want ErrShortSecret", len(s), err)
		}
		if err != nil && s != "" && strings.Contains(err.Error(), s) {
			t.Errorf("the error shows the secret: %v", err)
		}
	}
}

func TestParseRole(t *testing.T) {
	t.Parallel()
	for _, r := range keys.Roles() {
		if got, err := keys.ParseRole(string(r)); err != nil || got != r {
			t.Errorf("ParseRole(%q) = %q, %v", r, got, err)
		}
	}
	for _, s := range []string{"", "Worker", "workers", "$SYS"} {
		if got, err := keys.ParseRole(s); err == nil {
			t.Errorf("ParseRole(%q) = %q, want an error", s, got)
		}
	}
}

func TestUnknownRolePanics(t *testing.T) {
	t.Parallel()
	k := derive(t, secret)
	for name, f := range map[string]func(){
		"Public": func() { k.Public("nobody") },
		"Signer": func() { k.Signer("nobody") },
		"Seed":   func() { k.Seed("nobody") },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			f()
		})
	}
}

func TestKeysAreNeverPrinted(t *testing.T) {
	t.Parallel()
	k := derive(t, secret)
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&out, verb+verb+"\n", k, *k)
		fmt.Fprintf(&out, verb+"\n", struct{ Keys *keys.Keys }{k})
	}
	slog.New(slog.NewTextHandler(&out, nil)).Info("start", "keys", k)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("start", "keys", k)
	for _, s := range []string{secret, k.RoutePassword(), string(k.Seed(keys.RoleWorker))} {
		if strings.Contains(out.String(), s) {
			t.Errorf("output shows %q:\n%s", s, &out)
		}
	}
}

func derive(t *testing.T, s string) *keys.Keys {
	t.Helper()
	k, err := keys.Derive(s)
	if err != nil {
		t.Fatal(err)
	}
	return k
}
