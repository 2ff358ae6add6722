package stream_test

import (
	"os"
	"runtime"
	"testing"

	"github.com/gatebus/gatebus/internal/stream"
)

// Connections that do nothing have neither goroutines nor descriptors beside
// their own, and give those back.
func TestIdleConnections(t *testing.T) {
	descriptors := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	p := &stream.Pool{}
	t.Cleanup(p.Close)
	first, _ := pair(t) // starts the loops
	take(t, p, first, &user{})
	const n = 50
	var users []*user
	goroutines, files := runtime.NumGoroutine(), descriptors()
	for range n {
		server, _ := pair(t)
		users = append(users, take(t, p, server, &user{}))
	}
	if got := runtime.NumGoroutine(); got > goroutines {
		t.Errorf("%d goroutines more for %d connections", got-goroutines, n)
	}
	if got := descriptors(); got != files+2*n {
		t.Errorf("%d descriptors for %d pairs", got-files, n)
	}
	for _, u := range users {
		u.conn.Abort()
		u.end(t)
	}
	if got := descriptors(); got != files+n {
		t.Errorf("%d descriptors for %d clients whose servers have closed", got-files, n)
	}
}
