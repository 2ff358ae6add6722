package bench

import (
	"syscall"
	"time"
)

// pause waits for a time that is too short for the timers of the runtime, which
// come up to a millisecond late on an idle machine.
func pause(d time.Duration) {
	t := syscall.NsecToTimespec(int64(d))
	_ = syscall.Nanosleep(&t, nil) // a signal ends it early: the caller looks at the clock
}
