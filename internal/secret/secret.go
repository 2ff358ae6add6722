// Package secret has the type of texts that must not be seen: keys, tokens and
// passwords of a configuration. Whatever formats, logs or marshals one gets a
// mask instead; only a conversion to a string gives the text itself.
package secret

import (
	"fmt"
	"strings"
)

// Text is a text that shows as a mask wherever it is formatted, logged or
// marshalled. Convert it to a string to use it.
type Text string

// Mask is what stands for a text that is set; its length tells nothing.
const Mask = "********"

// String is the mask, or empty where no text is set.
func (t Text) String() string {
	if t == "" {
		return ""
	}
	return Mask
}

// GoString hides the text from %#v.
func (t Text) GoString() string { return fmt.Sprintf("%q", t.String()) }

// MarshalText hides the text from JSON and from log/slog.
func (t Text) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// IsMask tells whether the text is a mask: it was copied from where a text had
// been hidden.
func (t Text) IsMask() bool { return t != "" && strings.Trim(string(t), "*") == "" }
