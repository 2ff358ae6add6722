package socket

import (
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// watchEvery is how often the runtime's monitor is woken while there is something to
// read: twice the time for which it lets a goroutine run while others wait for its
// processor (forcePreemptNS in Go's runtime).
const watchEvery = 20 * time.Millisecond

var (
	watched   atomic.Bool // watchEnds is to be called
	watchEnds = time.AfterFunc(watchEvery, func() { watched.Store(false) })
)

// watch has the runtime's monitor look after what is done about something that was read. It
// sees to it that a goroutine which computes for long does not keep the others from
// running, and that timers and the network are seen to even if all processors are busy; but
// when they were all idle, it sleeps until the next timer, or until a system call that it
// is told of. So there is one of each, for all connections together, since each costs as
// much as many a read. It is not for bubbles of package synctest, whose time is another.
func watch() {
	if !watched.Load() && watched.CompareAndSwap(false, true) {
		watchEnds.Reset(watchEvery)
		_, _, _ = unix.Syscall(unix.SYS_GETPID, 0, 0, 0) // the cheapest
	}
}
