//go:build !unix

package handover

import (
	"errors"
	"net"
	"syscall"
)

func rights(fds []int) ([]byte, error) {
	if len(fds) == 0 {
		return nil, nil
	}
	return nil, errors.ErrUnsupported
}

func rightsSpace(int) int { return 0 }

func parseRights([]byte) ([]int, error) { return nil, errors.ErrUnsupported }

func duplicate(net.Listener) (int, error) { return -1, errors.ErrUnsupported }

func closeDescriptor(int) {}

func ended(*net.UnixConn) bool { return false }

func ownersOnly(_, _ string, _ syscall.RawConn) error { return nil }
