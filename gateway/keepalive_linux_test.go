package gateway

import (
	"net"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// keepAlive is what the kernel does to find out whether the other side is there.
func keepAlive(t *testing.T, conn net.Conn) (on bool, idle, every time.Duration, times int) {
	t.Helper()
	raw, err := conn.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	get := func(level, option int) (n int) {
		err := raw.Control(func(fd uintptr) {
			var err error
			if n, err = unix.GetsockoptInt(int(fd), level, option); err != nil {
				t.Error(err)
			}
		})
		if err != nil {
			t.Error(err)
		}
		return n
	}
	seconds := func(option int) time.Duration { return time.Duration(get(unix.IPPROTO_TCP, option)) * time.Second }
	return get(unix.SOL_SOCKET, unix.SO_KEEPALIVE) == 1, seconds(unix.TCP_KEEPIDLE), seconds(unix.TCP_KEEPINTVL), get(unix.IPPROTO_TCP, unix.TCP_KEEPCNT)
}
