package configs

import (
	"fmt"
	"reflect"
	"strings"
	"time"
)

// kind is how the value of a key is written.
type kind int

const (
	section  kind = iota // keys below it
	text                 // any one value, taken as it is written
	truth                // true or false
	whole                // a whole number, in decimal
	number               // a number
	duration             // a Go duration
	list                 // texts
	table                // texts by name
	sections             // a list of sections, which are read and shown whole
)

// key is one key of the configuration as the Config type declares it, so that
// no key, type or default is written down a second time.
type key struct {
	name   string // last part of the path
	path   string // from the root, with dots; empty for the root
	kind   kind
	typ    reflect.Type
	secret bool   // what it holds is not shown
	index  []int  // of the field in the struct of the section above
	keys   []*key // of a section, in the order of declaration; of sections, none
}

var (
	// schema is the root of all keys, byPath finds one.
	schema, byPath = schemaOf(reflect.TypeFor[Config]())
	// defaults are the defaults of all keys.
	defaults = schema.values(Default(AllRoles()...))
)

// schemaOf reads the keys off a struct type. It panics on a field that no key
// can be made of, which is a mistake in this program that any test shows.
func schemaOf(t reflect.Type) (*key, map[string]*key) {
	root := &key{typ: t}
	root.addFields(t, nil)
	paths := make(map[string]*key)
	var walk func(*key)
	walk = func(k *key) {
		for _, sub := range k.keys {
			if paths[sub.path] != nil {
				panic("configs: two fields have the key " + sub.path)
			}
			paths[sub.path] = sub
			walk(sub)
		}
	}
	walk(root)
	return root, paths
}

// addFields adds the fields of a struct type, which is k's own or squashed
// into it and found by index.
func (k *key) addFields(t reflect.Type, index []int) {
	for i := range t.NumField() {
		f := t.Field(i)
		at := append(index[:len(index):len(index)], i)
		name, option, _ := strings.Cut(f.Tag.Get("koanf"), ",")
		switch {
		case name == "-" || !f.IsExported():
			continue
		case option == "squash":
			k.addFields(f.Type, at)
			continue
		case name == "" || strings.ContainsAny(name, ". "):
			panic(fmt.Sprintf("configs: %v.%s has no koanf tag", t, f.Name))
		}
		sub := &key{name: name, path: k.below(name), typ: f.Type, index: at}
		sub.kind, sub.secret = kindOf(f.Type), holdsSecret(f.Type)
		if sub.kind == section {
			if f.Type.Kind() == reflect.Pointer {
				sub.typ = f.Type.Elem()
			}
			sub.addFields(sub.typ, nil)
		}
		k.keys = append(k.keys, sub)
	}
}

// holdsSecret tells whether a value of the type is a secret, or has some.
func holdsSecret(t reflect.Type) bool {
	if k := t.Kind(); k == reflect.Slice || k == reflect.Map {
		t = t.Elem()
	}
	return t == reflect.TypeFor[Secret]()
}

func kindOf(t reflect.Type) kind {
	if t == reflect.TypeFor[time.Duration]() {
		return duration
	}
	switch t.Kind() {
	case reflect.Struct:
		return section
	case reflect.String:
		return text
	case reflect.Bool:
		return truth
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return whole
	case reflect.Float32, reflect.Float64:
		return number
	case reflect.Pointer:
		if t.Elem().Kind() == reflect.Struct {
			return section
		}
	case reflect.Slice:
		switch t.Elem().Kind() {
		case reflect.String:
			return list
		case reflect.Struct:
			return sections
		}
	case reflect.Map:
		if t.Key().Kind() == reflect.String && t.Elem().Kind() == reflect.String {
			return table
		}
	}
	panic(fmt.Sprintf("configs: there is no kind of key for the type %v", t))
}

// below is the path of a key of this section.
func (k *key) below(name string) string {
	if k.path == "" {
		return name
	}
	return k.path + "." + name
}

// element is the i-th of the sections that the key lists.
func (k *key) element(i int) *key {
	e := &key{path: element(k.path, i), kind: section, typ: k.typ.Elem()}
	e.addFields(e.typ, nil)
	return e
}

// find is the key of this section with that name, or nil.
func (k *key) find(name string) *key {
	for _, sub := range k.keys {
		if sub.name == name {
			return sub
		}
	}
	return nil
}

// field is the value of a key of this section in s, the section's struct. It
// is invalid for a role that is not there.
func (k *key) field(s reflect.Value) reflect.Value {
	v := s.FieldByIndex(k.index)
	if v.Kind() == reflect.Pointer {
		return v.Elem()
	}
	return v
}

// values gives the value of every key but sections, by path, in plain types.
func (k *key) values(c *Config) map[string]any {
	into := make(map[string]any)
	k.collect(reflect.ValueOf(c).Elem(), into)
	return into
}

func (k *key) collect(s reflect.Value, into map[string]any) {
	for _, sub := range k.keys {
		v := sub.field(s)
		switch {
		case !v.IsValid():
		case sub.kind == section:
			sub.collect(v, into)
		default:
			into[sub.path] = sub.plain(v)
		}
	}
}

// tree gives the value of every key of a section, by name.
func (k *key) tree(s reflect.Value) map[string]any {
	into := make(map[string]any, len(k.keys))
	for _, sub := range k.keys {
		if v := sub.field(s); sub.kind == section {
			into[sub.name] = sub.tree(v)
		} else {
			into[sub.name] = sub.plain(v)
		}
	}
	return into
}

// plain is a value without the named type it may have in its struct.
func (k *key) plain(v reflect.Value) any {
	switch k.kind {
	case text:
		return v.String()
	case truth:
		return v.Bool()
	case whole:
		if v.CanUint() {
			return v.Uint()
		}
		return v.Int()
	case number:
		return v.Float()
	case duration:
		return time.Duration(v.Int())
	case list:
		s := make([]string, v.Len())
		for i := range s {
			s[i] = v.Index(i).String()
		}
		return s
	case table:
		m := make(map[string]string, v.Len())
		for it := v.MapRange(); it.Next(); {
			m[it.Key().String()] = it.Value().String()
		}
		return m
	case sections:
		s := make([]any, v.Len())
		for i := range s {
			s[i] = k.element(i).tree(v.Index(i))
		}
		return s
	}
	panic("configs: a section has no value of its own")
}
