package configs

import (
	"fmt"
	"io"
	"os"
)

// Secret is a text that shows as a mask wherever it is formatted, logged or
// marshalled. Convert it to a string to use it.
type Secret string

// MinSecret is the least length of a secret in bytes: 16 random bytes cannot be
// guessed, and even 16 hexadecimal digits hold 64 bits.
const MinSecret = 16

// mask stands for a secret that is set; its length tells nothing.
const mask = "********"

// String is the mask, or empty where no secret is set.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return mask
}

// GoString hides the secret from %#v.
func (s Secret) GoString() string { return fmt.Sprintf("%q", s.String()) }

// MarshalText hides the secret from JSON and from log/slog.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

const (
	// maxFile bounds a configuration file, maxSecretFile a secret's, in bytes:
	// what is larger is some other file, or a device that never ends.
	maxFile       = 1 << 20
	maxSecretFile = 4 << 10
)

// readFile reads a file of at most limit bytes.
func readFile(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("read %s: more than %d bytes", path, limit)
	}
	return b, nil
}
