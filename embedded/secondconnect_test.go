package embedded_test

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/gatebus/gatebus/embedded"
	"github.com/gatebus/gatebus/internal/keys"
)

// Who is connected and names another key has the permissions of that one from then on: or
// those of a key that was stolen could be kept by who has any other one.
func TestAnotherKeyHasItsOwnPermissions(t *testing.T) {
	t.Parallel()
	older, newer := derive(t, "the older secret"), derive(t, "the newer secret")
	s := start(t, embedded.Config{Name: "g1", Listen: loopback, Keys: newer, Accept: []*keys.Keys{older}})
	c, err := net.DialTimeout("tcp", s.Addr(), patience)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(c)
	// says writes a line and a PING, and returns what comes before the PONG.
	says := func(format string, args ...any) (answer string) {
		t.Helper()
		fmt.Fprintf(c, format+"\r\nPING\r\n", args...)
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(line, "PONG") {
				return answer
			}
			answer += line
		}
	}
	first, err := in.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	var info struct {
		Nonce string `json:"nonce"`
	}
	if err := json.Unmarshal([]byte(strings.TrimPrefix(first, "INFO ")), &info); err != nil {
		t.Fatal(err)
	}
	connect := func(k *keys.Keys, role keys.Role) {
		t.Helper()
		sig, err := k.Signer(role)([]byte(info.Nonce))
		if err != nil {
			t.Fatal(err)
		}
		says(`CONNECT {"verbose":false,"protocol":1,"nkey":%q,"sig":%q}`, k.Public(role), base64.RawURLEncoding.EncodeToString(sig))
	}
	const events = "SUB gw.*.in.*.* workers 1"
	connect(older, keys.RoleWorker)
	if answer := says(events); strings.Contains(answer, "-ERR") {
		t.Errorf("a worker is told %q", answer)
	}
	connect(newer, keys.RoleObserver)
	setKeys(t, s, newer)
	if answer := says(events); !strings.Contains(answer, "Permissions Violation") {
		t.Errorf("an observer is told %q", answer)
	}
}
