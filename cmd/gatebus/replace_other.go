//go:build !unix

package main

import "os"

// onReplace does nothing: sockets cannot be passed.
func onReplace(chan<- os.Signal) {}
