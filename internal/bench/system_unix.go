//go:build unix

package bench

import (
	"fmt"
	"syscall"
	"time"
)

// ownCPU is the CPU time that this process has taken so far.
func ownCPU() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// spareFiles is what a process needs beside its connections.
const spareFiles = 100

// checkFiles tells whether this process, and those it starts, may have so many
// connections open. Go raises the soft limit to the hard one by itself.
func checkFiles(connections int) error {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return nil // the connections will tell
	}
	if need := uint64(connections + spareFiles); uint64(l.Max) < need {
		return fmt.Errorf("%d connections need %d open files, and the hard limit of this process is %d: raise it with ulimit -Hn %d, or take fewer clients",
			connections, need, l.Max, need)
	}
	if uint64(l.Cur) < uint64(l.Max) {
		l.Cur = l.Max
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
			return fmt.Errorf("raise the limit of open files from %d to %d: %w", l.Cur, l.Max, err)
		}
	}
	return nil
}
