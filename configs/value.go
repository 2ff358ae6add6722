package configs

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// parse reads the value of a key from one text: a scalar of the file, an
// environment variable or a flag.
func (k *key) parse(s string) (any, error) {
	if !utf8.ValidString(s) {
		return nil, errors.New("the value is not UTF-8 text")
	}
	switch k.kind {
	case text:
		return s, nil
	case truth:
		v, err := strconv.ParseBool(s)
		if err != nil {
			return nil, fmt.Errorf("%s is not true or false", quote(s))
		}
		return v, nil
	case whole:
		return k.parseWhole(s)
	case number:
		v, err := strconv.ParseFloat(s, k.typ.Bits())
		if err != nil || v-v != 0 { // v-v is not 0 for infinities and NaN
			return nil, fmt.Errorf("%s is not a number; write one such as %s", quote(s), k.example())
		}
		return v, nil
	case duration:
		return k.parseDuration(s)
	case list:
		v, err := parseList(s)
		return v, k.discreet(err, "it has an empty element; write a,b,c")
	case table:
		v, err := parseTable(s)
		return v, k.discreet(err, "it is not a list of name=value, each name once; write a=b,c=d")
	case sections:
		return k.parseSections(s)
	}
	return nil, k.isSection()
}

// discreet is an error that quotes a value; of a secret one, what can be said of
// it without.
func (k *key) discreet(err error, without string) error {
	if err != nil && k.secret {
		return errors.New(without)
	}
	return err
}

func (k *key) parseWhole(s string) (any, error) {
	var v any
	var err error
	if reflect.Zero(k.typ).CanUint() {
		v, err = strconv.ParseUint(s, 10, k.typ.Bits())
	} else {
		v, err = strconv.ParseInt(s, 10, k.typ.Bits())
	}
	switch {
	case errors.Is(err, strconv.ErrRange):
		return nil, fmt.Errorf("%s is out of range; write a number such as %s", quote(s), k.example())
	case err != nil:
		return nil, fmt.Errorf("%s is not a whole number; write one such as %s", quote(s), k.example())
	}
	return v, nil
}

// parseDuration refuses bare numbers: 10 may be meant in seconds, in
// milliseconds, or in the nanoseconds that Go would take it for.
func (k *key) parseDuration(s string) (any, error) {
	v, err := time.ParseDuration(s)
	if err == nil {
		return v, nil
	}
	if n, err := strconv.ParseFloat(s, 64); err == nil && n-n == 0 {
		return nil, fmt.Errorf("%s has no unit; write %[2]ss or %[2]sms", quote(s), s)
	}
	return nil, fmt.Errorf("%s is not a duration; write one such as %s", quote(s), k.example())
}

// parseList reads what is separated by commas; nothing is the empty list.
func parseList(s string) ([]string, error) {
	v := []string{}
	if strings.TrimSpace(s) == "" {
		return v, nil
	}
	for e := range strings.SplitSeq(s, ",") {
		e = strings.TrimSpace(e)
		if e == "" {
			return nil, fmt.Errorf("%s has an empty element; write a,b,c", quote(s))
		}
		v = append(v, e)
	}
	return v, nil
}

// parseTable reads a=b,c=d.
func parseTable(s string) (map[string]string, error) {
	elements, err := parseList(s)
	if err != nil {
		return nil, err
	}
	m := make(map[string]string, len(elements))
	for _, e := range elements {
		name, v, ok := strings.Cut(e, "=")
		if _, twice := m[name]; !ok || twice {
			return nil, fmt.Errorf("%s is not a list of name=value, each name once; write a=b,c=d", quote(s))
		}
		m[name] = v
	}
	return m, nil
}

// parseSections reads YAML as it stands in a file, best on one line: [{a: b}, {a: c}].
// Nothing is the empty list.
func (k *key) parseSections(s string) (any, error) {
	if strings.TrimSpace(s) == "" {
		return []any{}, nil
	}
	f := file{layer: newLayer()}
	var v any
	if root := f.parse([]byte(s)); root != nil {
		v, _ = f.sections(k, root)
	}
	if len(f.problems) > 0 {
		p := f.problems[0] // in which line of the text does not help
		if at := strings.TrimPrefix(p.Key, k.path); at != "" {
			return nil, fmt.Errorf("%s: %w", at, p.Err)
		}
		return nil, p.Err
	}
	if v == nil {
		return nil, fmt.Errorf("%s is not a list of sections; write [{a: b}, {a: c}]", quote(s))
	}
	return v, nil
}

// isSection is the error about a value where keys are wanted.
func (k *key) isSection() error {
	return fmt.Errorf("it is a section; set a key below it, such as %s", k.keys[0].path)
}

// example is the default, as it is written; where that shows nothing, a value
// of that kind.
func (k *key) example() string {
	switch v := defaults[k.path].(type) {
	case time.Duration:
		if v != 0 {
			return formatDuration(v)
		}
		return "10s"
	case int64, uint64, float64:
		return fmt.Sprint(v)
	}
	return "1"
}

// formatDuration writes 5m0s as 5m and 1h0m0s as 1h.
func formatDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// quote quotes what somebody wrote, shortened where it is long.
func quote(s string) string {
	const limit = 64
	if len(s) > limit {
		return strconv.Quote(s[:limit]) + "..."
	}
	return strconv.Quote(s)
}
