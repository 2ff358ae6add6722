//go:build unix

package main

import (
	"os"
	"os/signal"
	"syscall"
)

// onReplace has signals ask for a replacement of this process.
func onReplace(c chan<- os.Signal) { signal.Notify(c, syscall.SIGUSR2) }
