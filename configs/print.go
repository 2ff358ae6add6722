package configs

import (
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"time"

	"go.yaml.in/yaml/v3"
)

// Print writes the configuration as YAML, with every key of every role that is
// there. What it writes can be loaded again and means the same, but for secrets,
// for which the mask stands; those from files are not written at all.
func (c *Config) Print(w io.Writer) error {
	shown := *c
	if c.SecretFile != "" {
		shown.Secret = ""
	}
	if c.AcceptSecretFile != "" {
		shown.AcceptSecret = ""
	}
	e := yaml.NewEncoder(w)
	e.SetIndent(2)
	if err := e.Encode(schema.node(reflect.ValueOf(&shown).Elem())); err != nil {
		return fmt.Errorf("configs: print: %w", err)
	}
	return e.Close()
}

// node makes the YAML of a section, its keys in the order of declaration.
func (k *key) node(s reflect.Value) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode}
	for _, sub := range k.keys {
		v := sub.field(s)
		if !v.IsValid() {
			continue
		}
		var value *yaml.Node
		switch sub.kind {
		case section:
			value = sub.node(v)
		case sections:
			value = &yaml.Node{Kind: yaml.SequenceNode}
			if v.Len() == 0 {
				value.Style = yaml.FlowStyle
			}
			for i := range v.Len() {
				value.Content = append(value.Content, sub.element(i).node(v.Index(i)))
			}
		default:
			plain := sub.plain(v)
			if sub.secret {
				plain = masked(plain)
			}
			value = valueNode(plain)
		}
		n.Content = append(n.Content, textNode(sub.name), value)
	}
	return n
}

// masked is a value with the mask for every text in it.
func masked(v any) any {
	switch v := v.(type) {
	case string:
		return Secret(v).String()
	case []string:
		shown := make([]string, len(v))
		for i, e := range v {
			shown[i] = Secret(e).String()
		}
		return shown
	case map[string]string:
		shown := make(map[string]string, len(v))
		for name, e := range v {
			shown[name] = Secret(e).String()
		}
		return shown
	}
	return v
}

// valueNode makes the YAML of a value as parse takes it.
func valueNode(v any) *yaml.Node {
	switch v := v.(type) {
	case string:
		return textNode(v)
	case time.Duration:
		return textNode(formatDuration(v))
	case []string:
		n := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
		for _, e := range v {
			n.Content = append(n.Content, textNode(e))
		}
		return n
	case map[string]string:
		n := &yaml.Node{Kind: yaml.MappingNode}
		for _, name := range slices.Sorted(maps.Keys(v)) {
			n.Content = append(n.Content, textNode(name), textNode(v[name]))
		}
		return n
	case []any: // sections: node does those that there are
		return &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
	case float64:
		return &yaml.Node{Kind: yaml.ScalarNode, Value: strconv.FormatFloat(v, 'g', -1, 64)}
	}
	return &yaml.Node{Kind: yaml.ScalarNode, Value: fmt.Sprint(v)}
}

// textNode makes the YAML of a text; the encoder quotes it where it could be
// read as something else.
func textNode(s string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s}
	for _, r := range s {
		if !strconv.IsPrint(r) {
			n.Style = yaml.DoubleQuotedStyle
		}
	}
	return n
}
