// Package bubble is what the tests of a package that uses testing/synctest run
// under.
package bubble

import (
	"runtime"

	"go.uber.org/goleak"
)

// Main is for TestMain. It lets a package pass only if no goroutine is left at
// the end.
//
// With the race detector it also gives the tests a single P. Go 1.26 keeps one
// race context for all timers of a bubble (runtime.unlockAndRun), and two Ps
// that find a due timer channel at the same time use it at once, which crashes
// the race detector: eight goroutines of a bubble that poll time.NewTimer(0).C
// do it within a second, and do not on one P. The detector rests on what happens
// before what, not on what runs at the same time, so little is lost by it.
func Main(m goleak.TestingM) {
	if raceEnabled {
		runtime.GOMAXPROCS(1)
	}
	goleak.VerifyTestMain(m)
}
