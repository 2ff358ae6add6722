//go:build !linux

package stream

import (
	"errors"
	"net"
)

// loop is not to be had on this system.
type loop struct{}

func canEvent(net.Conn) bool { return false }

func newLoop(*Pool) (*loop, error) { return nil, errors.ErrUnsupported }

func (*loop) take(net.Conn, User) Conn { return nil }

func (*loop) cork()   {}
func (*loop) uncork() {}
func (*loop) stop()   {}
