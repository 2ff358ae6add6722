package bus

import (
	"errors"
	"fmt"
	"unicode/utf8"
)

// Selector says which clients of a gateway a command is about: exactly one of
// its fields but Except is set. Clients that the gateway does not have count as
// none, so that a command may be sent to every gateway.
type Selector struct {
	Client  ClientID   `json:"client,omitempty"`
	Clients []ClientID `json:"clients,omitempty"`
	UID     string     `json:"uid,omitempty"`
	Group   string     `json:"group,omitempty"`
	All     bool       `json:"all,omitempty"`
	// Except are left out.
	Except []ClientID `json:"except,omitempty"`
}

func (s *Selector) check() error {
	n := 0
	for _, set := range []bool{s.Client != "", len(s.Clients) > 0, s.UID != "", s.Group != "", s.All} {
		if set {
			n++
		}
	}
	if n != 1 {
		return fmt.Errorf("bus: %w: say who is meant by one of client, clients, uid, group and all; here are %d of them", ErrMessage, n)
	}
	if s.Client != "" {
		if _, _, _, err := s.Client.Parts(); err != nil {
			return err
		}
	}
	if err := checkClients(s.Clients); err != nil {
		return err
	}
	for what, name := range map[string]string{"uid": s.UID, "group": s.Group} {
		if name != "" {
			if err := CheckToken(name); err != nil {
				return fmt.Errorf("bus: %s: %w", what, err)
			}
		}
	}
	return checkClients(s.Except)
}

func checkClients(ids []ClientID) error {
	for _, id := range ids {
		if _, _, _, err := id.Parts(); err != nil {
			return err
		}
	}
	return nil
}

func checkTokens(what string, names []string) error {
	for _, n := range names {
		if err := CheckToken(n); err != nil {
			return fmt.Errorf("bus: %s: %w", what, err)
		}
	}
	return nil
}

// errLossy says that JSON holds text which decodes to another one.
var errLossy = errors.New("it is not valid UTF-8, or has half of a surrogate pair (\\ud800 to \\udfff)")

// CheckJSON finds text in JSON that encoding/json, and others, would change in
// silence: one and the same name would be made of different ones.
func CheckJSON(data []byte) error {
	if !utf8.Valid(data) {
		return errLossy
	}
	for i := 0; i < len(data); i++ {
		if data[i] != '\\' {
			continue
		}
		i++ // what is escaped: a quote, a backslash, u, …
		high := surrogate(data[min(i, len(data)):])
		switch {
		case high < 0xd800 || high > 0xdfff:
		case high > 0xdbff || i+5 >= len(data) || data[i+5] != '\\':
			return errLossy
		default:
			if low := surrogate(data[i+6:]); low < 0xdc00 || low > 0xdfff {
				return errLossy
			}
			i += 10
		}
	}
	return nil
}

// surrogate reads u and four hexadecimal digits; 0 if there is something else.
func surrogate(b []byte) int {
	if len(b) < 5 || b[0] != 'u' {
		return 0
	}
	n := 0
	for _, c := range b[1:5] {
		switch {
		case '0' <= c && c <= '9':
			n = n<<4 | int(c-'0')
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			n = n<<4 | int(c|0x20-'a'+10)
		default:
			return 0
		}
	}
	return n
}
