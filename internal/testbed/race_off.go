//go:build !race

package testbed

// RaceEnabled tells whether this binary, and so the one it builds, has the race
// detector in it and is many times slower.
const RaceEnabled = false
