package api

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// spec is openapi.yaml, with what the tests need of JSON Schema: a keyword that is not
// known here fails them.
type spec struct{ root map[string]any }

func loadSpec(t *testing.T) *spec {
	t.Helper()
	s := &spec{}
	if err := yaml.Unmarshal(openapi, &s.root); err != nil {
		t.Fatal(err)
	}
	return s
}

// at follows keys, and references on the way.
func (s *spec) at(v any, keys ...string) any {
	for {
		m, ok := v.(map[string]any)
		if ref, is := m["$ref"].(string); ok && is {
			v = s.at(s.root, strings.Split(strings.TrimPrefix(ref, "#/"), "/")...)
			continue
		}
		if len(keys) == 0 {
			return v
		}
		if !ok {
			return nil
		}
		v, keys = m[keys[0]], keys[1:]
	}
}

// operation is the description of a request, or nil.
func (s *spec) operation(method, path string) any {
	if method == http.MethodHead {
		method = http.MethodGet
	}
	return s.at(s.root, "paths", "/"+path, strings.ToLower(method))
}

// parameters are the names of the parameters of an operation in that place.
func (s *spec) parameters(t *testing.T, r *route, in string) (names []string) {
	t.Helper()
	for _, from := range []any{s.at(s.root, "paths", "/"+r.path, "parameters"), s.at(s.operation(r.method, r.path), "parameters")} {
		list, _ := from.([]any)
		for _, p := range list {
			if s.at(p, "in") == in {
				names = append(names, s.at(p, "name").(string))
			}
		}
	}
	slices.Sort(names)
	return names
}

// TestRoutes checks that the description has what the code has, and nothing else.
func TestRoutes(t *testing.T) {
	s := loadSpec(t)
	described := 0
	for _, item := range s.root["paths"].(map[string]any) {
		for method := range item.(map[string]any) {
			if method != "parameters" {
				described++
			}
		}
	}
	if described != len(routes) {
		t.Errorf("%d operations are described, there are %d", described, len(routes))
	}
	ids := map[any]bool{}
	for _, r := range routes {
		o := s.operation(r.method, r.path)
		if o == nil {
			t.Errorf("%s %s is not described", r.method, r.path)
			continue
		}
		if id := s.at(o, "operationId"); id == nil || ids[id] {
			t.Errorf("%s %s: operationId %v is missing, or of another one", r.method, r.path, id)
		} else {
			ids[id] = true
		}
		want := append(slices.Clone(r.query), "timeout")
		slices.Sort(want)
		if got := s.parameters(t, &r, "query"); !slices.Equal(got, want) {
			t.Errorf("%s %s: described with the parameters %q, it has %q", r.method, r.path, got, want)
		}
		var inPath []string
		for _, m := range regexp.MustCompile(`{(\w+)}`).FindAllStringSubmatch(r.path, -1) {
			inPath = append(inPath, m[1])
		}
		slices.Sort(inPath)
		if got := s.parameters(t, &r, "path"); !slices.Equal(got, inPath) {
			t.Errorf("%s %s: described with %q in the path", r.method, r.path, got)
		}
	}
	var types []any
	for _, k := range kinds {
		types = append(types, typePrefix+k.name)
	}
	if got := s.at(s.root, "components", "schemas", "Problem", "properties", "type", "enum"); fmt.Sprint(got) != fmt.Sprint(types) {
		t.Errorf("described with the problems %v, there are %v", got, types)
	}
}

// check checks an answer, and the request if that was fine, against the description.
func (s *spec) check(t *testing.T, r *route, request []byte, resp *http.Response, body []byte) {
	t.Helper()
	o := s.operation(r.method, r.path)
	described := s.at(o, "responses", strconv.Itoa(resp.StatusCode))
	if described == nil {
		t.Errorf("%s %s: status %d is not described: %s", r.method, r.path, resp.StatusCode, body)
		return
	}
	for name := range asMap(s.at(described, "headers")) {
		if resp.StatusCode == http.StatusOK && resp.Header.Get(name) == "" {
			t.Errorf("%s %s: there is no %s", r.method, r.path, name)
		}
	}
	content := asMap(s.at(described, "content"))
	if content == nil && len(body) > 0 {
		t.Errorf("%s %s: %d has a body: %s", r.method, r.path, resp.StatusCode, body)
	}
	for media, c := range content {
		if got := resp.Header.Get("Content-Type"); got != media {
			t.Errorf("%s %s: Content-Type %q, want %q", r.method, r.path, got, media)
		}
		if resp.Request.Method != http.MethodHead && strings.HasSuffix(media, "json") {
			s.checkText(t, r.path, s.at(c, "schema"), body)
		}
	}
	if resp.StatusCode < 400 && request != nil {
		for _, c := range asMap(s.at(o, "requestBody", "content")) {
			s.checkText(t, "request of "+r.path, s.at(c, "schema"), request)
		}
	}
}

func asMap(v any) map[string]any { m, _ := v.(map[string]any); return m }

func (s *spec) checkText(t *testing.T, what string, schema any, data []byte) {
	t.Helper()
	var v any
	if err := json.Unmarshal(data, &v); err != nil {
		t.Errorf("%s: %v: %s", what, err, data)
		return
	}
	for _, wrong := range s.wrong("", schema, v) {
		t.Errorf("%s: %s: %s", what, wrong, data)
	}
}

// wrong says where a value is not as the schema has it.
func (s *spec) wrong(at string, schema, v any) (all []string) {
	bad := func(format string, args ...any) {
		all = append(all, fmt.Sprintf("%s: %s", at, fmt.Sprintf(format, args...)))
	}
	m := asMap(s.at(schema))
	object, list := asMap(v), []any(nil)
	list, _ = v.([]any)
	for keyword, want := range m {
		switch keyword {
		case "description", "default", "examples", "contentEncoding", "format", "additionalProperties":
		case "type":
			if got := typeOf(v); got != want && (got != "integer" || want != "number") {
				bad("it is %s, not %v", got, want)
			}
		case "properties":
			for name, value := range object {
				switch sub := asMap(want)[name]; {
				case sub != nil:
					all = append(all, s.wrong(at+"."+name, sub, value)...)
				case m["additionalProperties"] == false:
					bad("%s is not described", name)
				}
			}
		case "required":
			for _, name := range want.([]any) {
				if _, ok := object[name.(string)]; !ok {
					bad("there is no %s", name)
				}
			}
		case "items":
			for i, value := range list {
				all = append(all, s.wrong(fmt.Sprintf("%s[%d]", at, i), want, value)...)
			}
		case "minItems":
			if len(list) < want.(int) {
				bad("it has %d items", len(list))
			}
		case "minProperties", "maxProperties":
			if len(object) != want.(int) { // both are the same here
				bad("it has %d fields", len(object))
			}
		case "enum":
			if !slices.Contains(want.([]any), v) {
				bad("%v is none of %v", v, want)
			}
		case "const":
			if v != want {
				bad("%v is not %v", v, want)
			}
		case "pattern":
			if text, ok := v.(string); ok && !regexp.MustCompile(want.(string)).MatchString(text) {
				bad("%q does not match %s", v, want)
			}
		case "minLength", "maxLength":
			text, ok := v.(string)
			if n := utf8.RuneCountInString(text); ok && (keyword == "minLength" && n < want.(int) || keyword == "maxLength" && n > want.(int)) {
				bad("it has %d characters", n)
			}
		case "minimum", "maximum":
			if n, ok := v.(float64); ok && (keyword == "minimum" && n < float64(want.(int)) || keyword == "maximum" && n > float64(want.(int))) {
				bad("%v is beyond the %s %v", n, keyword, want)
			}
		default:
			bad("the test does not know the keyword %q", keyword)
		}
	}
	return all
}

func typeOf(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case bool:
		return "boolean"
	case string:
		return "string"
	case []any:
		return "array"
	case float64:
		if v == math.Trunc(v) {
			return "integer"
		}
		return "number"
	}
	return "object"
}
