package socket

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Receive reads what has come to a socket; it never waits (MSG_DONTWAIT, whatever the
// descriptor's flags are). The errors are those of unix.Recvfrom.
func Receive(fd int, p []byte) (int, error) {
	n, _, e := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)),
		unix.MSG_DONTWAIT, 0, 0)
	if e != 0 {
		return 0, e
	}
	raceReceived(p[:n])
	return int(n), nil
}

// maxSend is how much one call of Send writes at most, in bytes: while it copies, the garbage
// collector must wait for it.
const maxSend = 256 << 10

// Send writes what the kernel takes of the first 256 KB; it never waits, as Receive. The
// errors are those of unix.Sendto.
func Send(fd int, p []byte) (int, error) {
	p = p[:min(len(p), maxSend)]
	raceSends(p)
	n, _, e := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)),
		unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
	if e != 0 {
		return 0, e
	}
	return int(n), nil
}
