package configs

import (
	"fmt"
	"io"
	"os"

	"github.com/gatebus/gatebus/internal/secret"
)

// Secret is a text that shows as a mask wherever it is formatted, logged or
// marshalled. Convert it to a string to use it. A key of that type, or of a list
// or map of it, is masked by [Config.Print].
type Secret = secret.Text

// MinSecret is the least length of the secret that all roles share, in bytes: 16
// random bytes cannot be guessed, and even 16 hexadecimal digits hold 64 bits.
const MinSecret = 16

// mask stands for a secret that is set.
const mask = secret.Mask

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
