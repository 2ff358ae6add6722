package configs

import (
	"fmt"
	"strings"
)

// unknown is the error about a name that no key of the section has.
func (k *key) unknown(name string) error {
	var names []string
	for _, sub := range k.keys {
		names = append(names, sub.name)
	}
	if s := nearest(name, names); s != "" {
		return fmt.Errorf("unknown key; did you mean %s?", s)
	}
	// The right name in the wrong section.
	var found []string
	for path, other := range byPath {
		if other.name == name {
			found = append(found, path)
		}
	}
	if len(found) == 1 {
		return fmt.Errorf("unknown key; did you mean %s?", found[0])
	}
	return fmt.Errorf("unknown key; %q shows all there are", "gatebus config print")
}

// nearest is the candidate that s was most likely meant to be, or empty.
func nearest(s string, candidates []string) string {
	best, least := "", max(1, len(s)/3)+1
	for _, c := range candidates {
		if d := distance(strings.ToLower(s), strings.ToLower(c), least); d < least {
			best, least = c, d
		}
	}
	return best
}

// distance counts the letters to insert, delete or replace to make b of a, as
// far as it is less than limit.
func distance(a, b string, limit int) int {
	if d := len(a) - len(b); d >= limit || -d >= limit {
		return limit
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replace := diagonal
			if a[i] != b[j] {
				replace++
			}
			diagonal = row[j+1]
			row[j+1] = min(replace, row[j]+1, row[j+1]+1)
		}
	}
	return min(row[len(b)], limit)
}
