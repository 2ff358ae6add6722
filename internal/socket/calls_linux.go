package stream

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// These are the system calls on a socket that never wait (MSG_DONTWAIT, whatever the
// descriptor's flags are), made without a word to Go's scheduler. It need not know: it
// would prepare to have others run meanwhile, and does, some thousand times a second,
// when the kernel takes the core away in the midst of a call. At 500 clients that was
// a tenth of all that the servers spend on a frame.

// receive reads what has come; the errors are those of unix.Recvfrom.
func receive(fd int, p []byte) (int, error) {
	n, _, e := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)),
		unix.MSG_DONTWAIT, 0, 0)
	if e != 0 {
		return 0, e
	}
	return int(n), nil
}

// send writes what the kernel takes; the errors are those of unix.Sendto.
func send(fd int, p []byte) (int, error) {
	n, _, e := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)),
		unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
	if e != 0 {
		return 0, e
	}
	return int(n), nil
}
