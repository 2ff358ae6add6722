package main

import "testing"

// A page with nothing on it is not the end of a list that goes on.
func TestPagesGoOn(t *testing.T) {
	for _, limit := range []int{0, 7} {
		counts, asked := []int{0, 5, 0, 2}, 0
		err := pages(limit, func(int) (n int, more bool, err error) {
			asked++
			return counts[asked-1], asked < len(counts), nil
		})
		if err != nil || asked != len(counts) {
			t.Errorf("limit %d: %d pages, %v", limit, asked, err)
		}
	}
}
