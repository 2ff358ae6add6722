package configs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// fileLayer reads a YAML file. It walks the node tree rather than decoding
// into a map, since only nodes know their lines, and only there can a key that
// stands twice be seen.
func fileLayer(name string, data []byte) (layer, problems) {
	f := file{name: name, layer: newLayer()}
	if root := f.parse(data); root != nil {
		f.section(schema, root)
	}
	return f.layer, f.problems
}

type file struct {
	name     string
	layer    layer
	problems problems
}

func (f *file) at(line int) Origin { return Origin{File: f.name, Line: line} }

func (f *file) bad(n *yaml.Node, key, format string, args ...any) {
	f.problems.add(f.at(n.Line), key, format, args...)
}

// parse gives the root of the one document of a file, or nil.
func (f *file) parse(data []byte) *yaml.Node {
	// The parser gives no lines for these.
	if i := firstNotText(data); i >= 0 {
		f.problems.add(f.at(1+bytes.Count(data[:i], []byte("\n"))), "",
			"byte 0x%02X cannot be in a YAML file; save it as UTF-8 text", data[i])
		return nil
	}
	d := yaml.NewDecoder(bytes.NewReader(data))
	var doc, second yaml.Node
	if err := d.Decode(&doc); err != nil {
		if !errors.Is(err, io.EOF) {
			f.syntax(err, data)
		}
		return nil
	}
	if err := d.Decode(&second); err == nil {
		f.bad(&second, "", "a second document; one file describes one host, so remove the line --- and merge what follows")
	} else if !errors.Is(err, io.EOF) {
		f.syntax(err, data)
		return nil
	}
	if doc.Kind != yaml.DocumentNode || len(doc.Content) != 1 {
		return nil
	}
	return doc.Content[0]
}

// firstNotText is the index of the first byte that YAML does not take, or -1.
func firstNotText(data []byte) int {
	for i := 0; i < len(data); {
		r, n := utf8.DecodeRune(data[i:])
		switch {
		case r == utf8.RuneError && n == 1,
			r < ' ' && r != '\t' && r != '\n' && r != '\r',
			0x7F <= r && r < 0xA0 && r != 0x85,
			r == 0xFEFF && i > 0, r == 0xFFFE, r == 0xFFFF:
			return i
		}
		i += n
	}
	return -1
}

var (
	syntaxError   = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)$`)
	unknownAnchor = regexp.MustCompile(`^unknown anchor '(.*)' referenced$`)
)

// syntax adds what the parser says. It gives no line for the first.
func (f *file) syntax(err error, data []byte) {
	line, what := 1, err.Error()
	if m := syntaxError.FindStringSubmatch(what); m != nil {
		what = m[2]
		if n, err := strconv.Atoi(m[1]); err == nil {
			line = n
		}
	}
	// This one comes without a line, and quotes what may be a secret.
	if m := unknownAnchor.FindStringSubmatch(what); m != nil {
		before, _, _ := bytes.Cut(data, []byte("*"+m[1]))
		line, what = 1+bytes.Count(before, []byte("\n")), "an alias (*name) to nothing; put text that begins with * in quotes"
	}
	f.problems.add(f.at(line), "", "not YAML: %s", what)
}

// section reads the keys of a section.
func (f *file) section(k *key, n *yaml.Node) {
	switch {
	case isNull(n):
		return
	case n.Kind != yaml.MappingNode && k == schema:
		f.bad(n, "", "want lines of the form key: value, not %s", describe(n))
		return
	case n.Kind != yaml.MappingNode:
		f.bad(n, k.path, "%w", k.isSection())
		return
	}
	lines := make(map[string]int)
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, value := n.Content[i], n.Content[i+1]
		if name.Kind != yaml.ScalarNode {
			f.bad(name, k.path, "%s cannot be a key", describe(name))
			continue
		}
		path := k.below(printable(name.Value))
		if first, twice := lines[name.Value]; twice {
			f.bad(name, path, "set twice, first in line %d; remove one of the two", first)
			continue
		}
		lines[name.Value] = name.Line
		sub := k.find(name.Value)
		switch {
		case sub == nil:
			f.bad(name, path, "%w", k.unknown(name.Value))
		case sub.kind == section:
			f.layer.origins[path] = f.at(name.Line)
			f.section(sub, value)
		default:
			f.value(sub, name, value)
		}
	}
}

// value reads the value of a key; name is where the key stands.
func (f *file) value(k *key, name, n *yaml.Node) {
	f.layer.origins[k.path] = f.at(name.Line)
	var v any
	ok := true
	switch {
	case isNull(n):
		f.bad(name, k.path, "it has no value; write one, or remove the line for the default")
		return
	case k.kind == list:
		v, ok = f.list(k, n)
	case k.kind == table:
		v, ok = f.table(k, n)
	case k.kind == sections:
		v, ok = f.sections(k, n)
	default:
		v, ok = f.scalar(k, k.path, n)
	}
	if ok {
		f.layer.values[k.path] = v
	}
}

func (f *file) list(k *key, n *yaml.Node) (any, bool) {
	if n.Kind != yaml.SequenceNode {
		f.bad(n, k.path, "want a list such as [a, b], not %s", describe(n))
		return nil, false
	}
	v := make([]string, 0, len(n.Content))
	good := true
	for i, e := range n.Content {
		path := element(k.path, i)
		f.layer.origins[path] = f.at(e.Line)
		s, ok := f.scalar(&key{path: path, kind: text}, path, e)
		if good = good && ok; ok {
			v = append(v, s.(string))
		}
	}
	return v, good
}

// sections reads a list of sections. The value has what is said about each, by name.
func (f *file) sections(k *key, n *yaml.Node) (any, bool) {
	if n.Kind != yaml.SequenceNode {
		f.bad(n, k.path, "want a list of sections such as [{a: b}, {a: c}], not %s", describe(n))
		return nil, false
	}
	v := make([]any, 0, len(n.Content))
	good := true
	for i, e := range n.Content {
		good = good && e.Kind == yaml.MappingNode
		sub := k.element(i)
		one := file{name: f.name, layer: newLayer()}
		one.layer.origins[sub.path] = f.at(e.Line)
		if isNull(e) {
			one.bad(e, sub.path, "it has no value; write its keys, or remove the line")
		}
		one.section(sub, e)
		f.problems = append(f.problems, one.problems...)
		maps.Copy(f.layer.origins, one.layer.origins)
		v = append(v, sub.said(one.layer.values))
	}
	return v, good // what is wrong in one of them is among the problems
}

// said makes a tree of the values, by path, of a section's keys that are there.
func (k *key) said(values map[string]any) map[string]any {
	into := make(map[string]any)
	for _, sub := range k.keys {
		if sub.kind == section {
			into[sub.name] = sub.said(values)
		} else if v, ok := values[sub.path]; ok {
			into[sub.name] = v
		}
	}
	return into
}

func (f *file) table(k *key, n *yaml.Node) (any, bool) {
	if n.Kind != yaml.MappingNode {
		f.bad(n, k.path, "want a map such as {a: b}, not %s", describe(n))
		return nil, false
	}
	v := make(map[string]string)
	good := true
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, value := n.Content[i], n.Content[i+1]
		path := k.below(printable(name.Value))
		if _, twice := v[name.Value]; twice || name.Kind != yaml.ScalarNode {
			f.bad(name, path, "set twice, or not text; remove one of the two")
			good = false
			continue
		}
		f.layer.origins[path] = f.at(name.Line)
		s, ok := f.scalar(&key{path: path, kind: text}, path, value)
		if good = good && ok; ok {
			v[name.Value] = s.(string)
		}
	}
	return v, good
}

// scalar reads one value. Text is taken as it is written, whatever YAML makes
// of it: a secret of digits is not a number. The other way round is strict.
func (f *file) scalar(k *key, path string, n *yaml.Node) (any, bool) {
	tag := n.ShortTag()
	switch {
	case isNull(n):
		f.bad(n, path, `it has no value; write "" for an empty one`)
		return nil, false
	case n.Kind == yaml.AliasNode:
		f.bad(n, path, "aliases (*name) are not read; write the value, in quotes if it begins with *")
		return nil, false
	case n.Kind != yaml.ScalarNode:
		f.bad(n, path, "want %s, not %s", k.kind, describe(n))
		return nil, false
	case tag == "!!binary" || !strings.HasPrefix(tag, "!!"):
		f.bad(n, path, "tags (!name) are not read; put text that begins with ! in quotes")
		return nil, false
	}
	v, err := k.parse(n.Value)
	if quoted := n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle) != 0; err == nil && quoted &&
		(k.kind == truth || k.kind == whole || k.kind == number) {
		err = fmt.Errorf("%s is text; write it without quotes", quote(n.Value))
	}
	if err == nil && k.kind == truth && tag != "!!bool" {
		err = fmt.Errorf("%s is not true or false", quote(n.Value))
	}
	if err != nil {
		f.bad(n, path, "%w", err)
		return nil, false
	}
	return v, true
}

// printable is a key as a message shows it: on one line.
func printable(name string) string {
	for _, r := range name {
		if !strconv.IsPrint(r) {
			return quote(name)
		}
	}
	return name
}

// element names an element of a list in messages.
func element(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// describe names what a node is, but not what it holds, which may be secret.
func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.SequenceNode:
		return "a list"
	case yaml.MappingNode:
		return "a map"
	case yaml.AliasNode:
		return "an alias"
	}
	return "a single value"
}

// String names the kind in messages.
func (k kind) String() string {
	return [...]string{
		section: "a section", text: "text", truth: "true or false", whole: "a whole number",
		number: "a number", duration: "a duration", list: "a list", table: "a map", sections: "a list of sections",
	}[k]
}
