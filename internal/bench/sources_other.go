//go:build !linux

package bench

// manySources says that all of 127/8 are addresses of this machine.
const manySources = false
