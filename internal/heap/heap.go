// Package heap suits Go's garbage collector to a server whose live heap is small
// beside what it allocates a second: by its own rule the collector would come many
// times a second, to free some megabytes. It is for programs, not for libraries:
// it changes settings of the whole process.
//
// While it runs, the collector comes when [Slack] or as much as is live has been
// allocated since the last time, whichever is more; and when little has been for
// a while, what is free is given back to the system.
package heap

import (
	"context"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// Slack is how much may be allocated before the collector comes, in bytes.
	// With 32 MiB, 60,000 frames a second make it come twice a second.
	Slack = 32 << 20

	// A process is quiet when it allocates less than quietBytes in an interval;
	// memory is given back when at least worthBytes of it are free by then.
	interval   = 5 * time.Second
	quietBytes = 512 << 10
	worthBytes = 2 << 20
)

// The figures of the runtime that are looked at.
const (
	liveBytes   = "/gc/heap/live:bytes"    // at the end of the last collection
	stackBytes  = "/gc/scan/stack:bytes"   // scanned by it
	globalBytes = "/gc/scan/globals:bytes" // scanned by it
	allocBytes  = "/gc/heap/allocs:bytes"  // since the start
	usedBytes   = "/memory/classes/heap/objects:bytes"
	freeBytes   = "/memory/classes/heap/free:bytes" // could be given back
)

// Run tunes the collector until ctx ends, and then leaves it as it was. It does
// nothing if the environment has GOGC or GOMEMLIMIT: somebody knows better.
func Run(ctx context.Context) {
	if os.Getenv("GOGC") == "" && os.Getenv("GOMEMLIMIT") == "" {
		run(ctx, interval)
	}
}

func run(ctx context.Context, interval time.Duration) {
	before := debug.SetGCPercent(percent(roots()))
	defer debug.SetGCPercent(before)
	collected := make(chan struct{}, 1)
	watch(ctx, collected)
	tick := time.NewTicker(interval)
	defer tick.Stop()
	var last, given uint64 // what was allocated by the last tick, and when memory was given back last
	for {
		select {
		case <-ctx.Done():
			return
		case <-collected:
			debug.SetGCPercent(percent(roots()))
		case <-tick.C:
			now := read(allocBytes)
			if now-last < quietBytes && now-given >= quietBytes && reclaimable() >= worthBytes {
				debug.FreeOSMemory()
				given = read(allocBytes)
			}
			last = now
		}
	}
}

// reclaimable is how much a collection could give back, in bytes.
func reclaimable() uint64 {
	used, live := read(usedBytes), read(liveBytes)
	return used - min(used, live) + read(freeBytes)
}

// minHeap is the heap below which the collector does not come at GOGC=100, in
// bytes; it grows with GOGC.
const minHeap = 4 << 20

// percent is the GOGC by which the collector comes when Slack has been allocated,
// or as much as is live, if that is more.
func percent(live uint64) int {
	return int(max(100*Slack/max(live, minHeap), 100))
}

// roots is what GOGC is a percentage of, in bytes: what is live, and what leads to
// it.
func roots() uint64 { return read(liveBytes) + read(stackBytes) + read(globalBytes) }

// watch tells of every collection, by an object that nobody has.
func watch(ctx context.Context, collected chan<- struct{}) {
	type canary struct{ _ [16]byte }
	runtime.AddCleanup(new(canary), func(struct{}) {
		if ctx.Err() != nil {
			return
		}
		select {
		case collected <- struct{}{}:
		default:
		}
		watch(ctx, collected)
	}, struct{}{})
}

func read(name string) uint64 {
	s := []metrics.Sample{{Name: name}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}
