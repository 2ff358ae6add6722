// Package usage says what this process takes of its machine, for those who look at it
// from outside. What a system does not tell is 0.
package usage

import (
	"runtime"
	"runtime/metrics"
	"time"
)

// Usage is what a process takes.
type Usage struct {
	// Uptime is the age of the process in seconds.
	Uptime float64 `json:"uptime_seconds"`
	// CPU is the CPU time that it has taken so far, in user and kernel mode, in seconds.
	CPU float64 `json:"cpu_seconds"`
	// Cores is how many cores it may use at the same time.
	Cores int `json:"cores"`
	// Memory is what the Go runtime holds of the system's memory, in bytes.
	Memory int64 `json:"memory_bytes"`
	// Goroutines is how many there are.
	Goroutines int `json:"goroutines"`
}

var started = time.Now()

// Now is the usage of this process. It takes some microseconds.
func Now() Usage {
	memory := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(memory)
	return Usage{
		Uptime:     time.Since(started).Seconds(),
		CPU:        cpu().Seconds(),
		Cores:      runtime.GOMAXPROCS(0),
		Memory:     int64(memory[0].Value.Uint64() - memory[1].Value.Uint64()),
		Goroutines: runtime.NumGoroutine(),
	}
}
