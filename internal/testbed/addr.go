package testbed

import (
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"strconv"
	"sync"
	"syscall"
)

// Ports are given out one after the other from a range below those that
// systems take for outgoing connections (from 32768 on Linux, 49152 elsewhere)
// and clear of the default ports of gatebus and NATS.
const (
	firstPort = 12000
	lastPort  = 29999
)

var ports = struct {
	mu   sync.Mutex
	next int
}{next: firstPort + os.Getpid()*61%(lastPort-firstPort)}

// Host is the n-th of the hosts 1 to 250 that a test can pretend to have: an
// address of the loopback interface. On Linux, where all of 127/8 is that, each
// n is another address and no other process has the same ones; elsewhere all
// are 127.0.0.1.
func Host(n int) string {
	if runtime.GOOS != "linux" {
		return "127.0.0.1"
	}
	pid := os.Getpid()
	return fmt.Sprintf("127.%d.%d.%d", 1+pid/250%250, 1+pid%250, n)
}

// FreeAddr is a host:port where nobody listens, on a host such as [Host] gives.
// It is never given out a second time by this process.
func FreeAddr(host string) (string, error) {
	ports.mu.Lock()
	defer ports.mu.Unlock()
	for range lastPort - firstPort + 1 {
		addr := net.JoinHostPort(host, strconv.Itoa(ports.next))
		if ports.next++; ports.next > lastPort {
			ports.next = firstPort
		}
		l, err := net.Listen("tcp", addr)
		if errors.Is(err, syscall.EADDRINUSE) {
			continue
		}
		if err != nil {
			return "", fmt.Errorf("testbed: %w", err)
		}
		return addr, l.Close()
	}
	return "", fmt.Errorf("testbed: no port of %s is free", host)
}

// MustFreeAddr is FreeAddr for a test.
func MustFreeAddr(tb TB, host string) string {
	tb.Helper()
	addr, err := FreeAddr(host)
	if err != nil {
		tb.Fatalf("%v", err)
	}
	return addr
}
