//go:build race

package socket

import (
	"runtime"
	"unsafe"
)

// What package syscall tells the race detector about the calls that it makes: that they read
// and write memory, and that what came before a write comes before what follows a read,
// since it may be of that.

var order byte

func raceReceived(p []byte) {
	if len(p) > 0 {
		runtime.RaceWriteRange(unsafe.Pointer(unsafe.SliceData(p)), len(p))
	}
	runtime.RaceAcquire(unsafe.Pointer(&order))
}

func raceSends(p []byte) {
	runtime.RaceReleaseMerge(unsafe.Pointer(&order))
	if len(p) > 0 {
		runtime.RaceReadRange(unsafe.Pointer(unsafe.SliceData(p)), len(p))
	}
}
