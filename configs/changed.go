package configs

import (
	"maps"
	"reflect"
	"slices"
)

// Changed are the keys whose values differ between two configurations, in ascending
// order; of a role that only one of them has, all.
func (c *Config) Changed(to *Config) []string {
	before, after := schema.values(c), schema.values(to)
	changed := map[string]struct{}{}
	for path, v := range before {
		if w, ok := after[path]; !ok || !reflect.DeepEqual(v, w) {
			changed[path] = struct{}{}
		}
	}
	for path := range after {
		if _, ok := before[path]; !ok {
			changed[path] = struct{}{}
		}
	}
	return slices.Sorted(maps.Keys(changed))
}
