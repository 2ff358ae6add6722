//go:build !linux

package ledger

import "time"

var began = time.Now()

// Clock is the time since this process started: the harness runs on Linux only.
func Clock() time.Duration { return time.Since(began) }
