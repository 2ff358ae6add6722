package ledger

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// Clock is the time since the machine started, by a clock that all processes
// share and nobody can set.
func Clock() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		panic(fmt.Sprintf("ledger: clock: %v", err)) // cannot be: Linux has this clock
	}
	return time.Duration(ts.Nano())
}
