//go:build !linux

package socket

import "net"

// Conn is the connection itself: on this system there is no other way to read and
// write it.
func Conn(c net.Conn) net.Conn { return c }
