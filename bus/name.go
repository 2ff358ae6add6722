package bus

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// GatewayID is the name of a gateway, unique in a cluster: one subject token
// (see [CheckName]).
type GatewayID string

// WorkerID is the name of a worker: one subject token (see [CheckName]).
type WorkerID string

// AllGateways stands for every gateway in the subjects of a register; no
// gateway may be called so.
const AllGateways GatewayID = "all"

const (
	// MaxName is the longest name of a gateway, worker, register or worker
	// group, in bytes. They are part of every subject and every client id.
	MaxName = 64
	// MaxToken is the longest uid or client group before escaping, in bytes.
	// Escaped it is three times as long at most, well under the 4 KB that a
	// NATS server allows for a protocol line.
	MaxToken = 256
)

// ErrName is wrapped by the errors about names that cannot be part of a subject.
var ErrName = errors.New("bad name")

// CheckName tells whether s can name a gateway, worker, register or worker
// group: 1 to [MaxName] bytes of A-Z a-z 0-9 _ and -.
func CheckName(s string) error {
	switch {
	case s == "":
		return fmt.Errorf("%w: it is empty", ErrName)
	case len(s) > MaxName:
		return fmt.Errorf("%w: %d bytes, the limit is %d", ErrName, len(s), MaxName)
	}
	for i := range len(s) {
		if !plain(s[i]) {
			return fmt.Errorf("%w %q: only A-Z a-z 0-9 _ and - are allowed", ErrName, s)
		}
	}
	return nil
}

// CheckGateway tells whether s can name a gateway.
func CheckGateway(s GatewayID) error {
	if s == AllGateways {
		return fmt.Errorf("%w %q: it stands for every gateway", ErrName, string(s))
	}
	return CheckName(string(s))
}

// plain tells whether a byte stands for itself in a subject token.
func plain(b byte) bool {
	return 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || '0' <= b && b <= '9' || b == '_' || b == '-'
}

const hexDigits = "0123456789ABCDEF"

// Escape makes one subject token of a uid or client group: bytes outside
// A-Z a-z 0-9 _ - become %XX. It refuses what [CheckToken] does; all else is
// carried faithfully.
func Escape(s string) (string, error) {
	if err := CheckToken(s); err != nil {
		return "", err
	}
	extra := 0
	for i := range len(s) {
		if !plain(s[i]) {
			extra += 2
		}
	}
	if extra == 0 {
		return s, nil
	}
	b := make([]byte, 0, len(s)+extra)
	for i := range len(s) {
		if c := s[i]; plain(c) {
			b = append(b, c)
		} else {
			b = append(b, '%', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	return string(b), nil
}

// checkToken tells whether s can be a uid or client group.
func CheckToken(s string) error {
	switch {
	case s == "":
		return fmt.Errorf("%w: it is empty", ErrName)
	case len(s) > MaxToken:
		return fmt.Errorf("%w: %d bytes, the limit is %d", ErrName, len(s), MaxToken)
	case !utf8.ValidString(s):
		return fmt.Errorf("%w %q: it is not valid UTF-8", ErrName, s)
	}
	return nil
}

// Unescape reverses [Escape]. It accepts only what Escape produces, but for
// the case of the hex digits and for plain bytes that were escaped all the
// same, which other languages' encoders do.
func Unescape(token string) (string, error) {
	b := make([]byte, 0, len(token))
	for i := 0; i < len(token); i++ {
		switch c := token[i]; {
		case plain(c):
			b = append(b, c)
		case c == '%' && i+2 < len(token):
			v, err := strconv.ParseUint(token[i+1:i+3], 16, 8)
			if err != nil {
				return "", fmt.Errorf("%w: %%%s is not a hexadecimal byte", ErrName, token[i+1:i+3])
			}
			b = append(b, byte(v))
			i += 2
		default:
			return "", fmt.Errorf("%w: byte %q must be escaped as %%%02X", ErrName, c, c)
		}
	}
	s := string(b)
	if err := CheckToken(s); err != nil {
		return "", err
	}
	return s, nil
}

// Epoch tells two lives of a process of the same name apart; a later life has
// the higher epoch as long as the clock is not set back. It is the start time
// in milliseconds with 20 random bits below, so that even two starts within
// one millisecond, or after a clock step, do not share one.
type Epoch uint64

// NewEpoch makes the epoch of a process that starts now.
func NewEpoch(now time.Time) Epoch {
	return Epoch(uint64(now.UnixMilli())<<20 | uint64(rand.Uint32N(1<<20)))
}

// String is the epoch in base 36, as it stands in client ids and in JSON.
func (e Epoch) String() string { return strconv.FormatUint(uint64(e), 36) }

// MarshalText makes the epoch a string in JSON, exact in any language.
func (e Epoch) MarshalText() ([]byte, error) { return []byte(e.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (e *Epoch) UnmarshalText(b []byte) error {
	v, err := parseBase36(string(b))
	if err != nil {
		return fmt.Errorf("bus: epoch: %w", err)
	}
	*e = Epoch(v)
	return nil
}

// ClientID names one connection of one client, for ever:
// <gateway>-<epoch>-<number>. The epoch keeps a restarted gateway from using
// an id again. It is one subject token.
type ClientID string

// maxClientID is the length of the longest client id: two numbers of up to 13
// digits in base 36 after the gateway's name.
const maxClientID = MaxName + 2*(1+13)

// NewClientID makes the id of the n-th client of a gateway's life.
func NewClientID(g GatewayID, e Epoch, n uint64) ClientID {
	b := make([]byte, 0, len(g)+28)
	b = append(b, g...)
	b = append(b, '-')
	b = strconv.AppendUint(b, uint64(e), 36)
	b = append(b, '-')
	return ClientID(strconv.AppendUint(b, n, 36))
}

// Parts takes a client id apart.
func (c ClientID) Parts() (g GatewayID, e Epoch, n uint64, err error) {
	s := string(c)
	if len(s) > maxClientID { // not quoted: it comes from outside, of any size
		return "", 0, 0, fmt.Errorf("bus: %w: client id of %d bytes, the limit is %d", ErrName, len(s), maxClientID)
	}
	last := strings.LastIndexByte(s, '-')
	if last < 0 {
		return "", 0, 0, fmt.Errorf("bus: %w: client id %q is not <gateway>-<epoch>-<number>", ErrName, s)
	}
	mid := strings.LastIndexByte(s[:last], '-')
	if mid < 0 {
		return "", 0, 0, fmt.Errorf("bus: %w: client id %q is not <gateway>-<epoch>-<number>", ErrName, s)
	}
	g = GatewayID(s[:mid])
	if err := CheckGateway(g); err != nil {
		return "", 0, 0, fmt.Errorf("bus: client id %q: gateway: %w", s, err)
	}
	ev, err := parseBase36(s[mid+1 : last])
	if err != nil {
		return "", 0, 0, fmt.Errorf("bus: client id %q: epoch: %w", s, err)
	}
	if n, err = parseBase36(s[last+1:]); err != nil {
		return "", 0, 0, fmt.Errorf("bus: client id %q: number: %w", s, err)
	}
	return g, Epoch(ev), n, nil
}

// parseBase36 accepts exactly what strconv.FormatUint(n, 36) writes, so that
// two spellings never name the same client.
func parseBase36(s string) (uint64, error) {
	n, err := strconv.ParseUint(s, 36, 64)
	if err != nil || strconv.FormatUint(n, 36) != s {
		return 0, fmt.Errorf("%w: %q is not a lower-case base 36 number", ErrName, s)
	}
	return n, nil
}
