package configs

import "strings"

// layer is what one place says: values by path, and where each one stands. A
// section that is named has an origin too, even when it is empty.
type layer struct {
	values  map[string]any
	origins map[string]Origin
}

func newLayer() layer {
	return layer{values: make(map[string]any), origins: make(map[string]Origin)}
}

// set sets a key from a text.
func (l layer) set(k *key, s string, o Origin) error {
	v, err := k.parse(s)
	if err != nil {
		return err
	}
	l.values[k.path] = v
	l.origins[k.path] = o
	return nil
}

// names tells whether the layer says anything about a role.
func (l layer) names(r Role) bool {
	if _, ok := l.origins[string(r)]; ok {
		return true
	}
	for path := range l.values {
		if strings.HasPrefix(path, string(r)+".") {
			return true
		}
	}
	return false
}
