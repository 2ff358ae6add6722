package configs

import (
	"strings"
)

// flagLayer reads key=value pairs of --set flags. The last one of a key counts.
func flagLayer(set []string) (layer, problems) {
	l := newLayer()
	var ps problems
	for _, pair := range set {
		path, value, ok := strings.Cut(pair, "=")
		path = strings.TrimSpace(path)
		if path == "" {
			ps.add(Origin{Flag: "="}, "", "it names no key; write --set key=value")
			continue
		}
		o := Origin{Flag: path}
		k := byPath[path]
		switch {
		case k == nil:
			ps.add(o, path, "%w", unknownPath(path))
		case !ok:
			ps.add(o, path, "it has no value; write --set %s=value", path)
		default:
			if err := l.set(k, value, o); err != nil {
				ps.add(o, path, "%w", err)
			}
		}
	}
	return l, ps
}

// unknownPath is the error about the first part of a path that is no key.
func unknownPath(path string) error {
	k := schema
	for name := range strings.SplitSeq(path, ".") {
		sub := k.find(name)
		if sub == nil {
			return k.unknown(name)
		}
		k = sub
	}
	return k.unknown("")
}
