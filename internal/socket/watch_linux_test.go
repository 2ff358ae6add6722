package socket_test

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatebus/gatebus/internal/socket"
)

// computes, in the environment, is the address to which TestComputing, in a process of
// its own, connects.
const computes = "GATEBUS_TEST_COMPUTES"

// One goroutine computes for long about what it has read, on the only processor. What
// comes for another in the meantime is seen to all the same.
func TestWatch(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	soon := time.Now().Add(time.Minute) // so that nothing waits for a child that has failed
	if err := l.(*net.TCPListener).SetDeadline(soon); err != nil {
		t.Fatal(err)
	}
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestComputing$", "-test.v", "-test.timeout=0") // a timer would wake the monitor
	child.Env = append(os.Environ(), computes+"="+l.Addr().String(), "GOMAXPROCS=1")
	child.Stdout, child.Stderr = t.Output(), t.Output()
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	ended := sync.OnceValue(child.Wait)
	t.Cleanup(func() { _ = ended() }) // the context has ended it
	first, err1 := l.Accept()
	second, err2 := l.Accept()
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	defer func() { _, _ = first.Close(), second.Close() }()
	if err := first.SetDeadline(soon); err != nil {
		t.Fatal(err)
	}
	said := bufio.NewScanner(first)
	for range 3 {
		if !said.Scan() || said.Text() != "idle" {
			t.Fatalf("it said %q, err %v", said.Text(), said.Err())
		}
		quiet(t, child.Process.Pid, soon)
		fmt.Fprintln(first, "compute")
		if !said.Scan() || said.Text() != "computing" {
			t.Fatalf("it said %q, err %v", said.Text(), said.Err())
		}
		fmt.Fprintln(second, "stop")
	}
	if err := ended(); err != nil {
		t.Error(err)
	}
}

// quiet returns when no thread of a process has run for a while, the monitor neither.
func quiet(t *testing.T, pid int, soon time.Time) {
	t.Helper()
	look := time.NewTicker(3 * watchEvery)
	defer look.Stop()
	for before := ""; ; <-look.C {
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
		if err != nil || len(threads) == 0 {
			t.Fatalf("no threads of %d: %v", pid, err)
		}
		var now strings.Builder
		for _, f := range threads {
			b, err := os.ReadFile(f) // how long it has run, among others
			if err != nil {
				t.Fatal(err)
			}
			now.Write(b)
		}
		if now.String() == before {
			return
		}
		if time.Now().After(soon) {
			t.Fatalf("%d does not come to rest; its threads have run for\n%s", pid, now.String())
		}
		before = now.String()
	}
}

// watchEvery is that of package socket.
const watchEvery = 20 * time.Millisecond

// TestComputing is the other side of TestWatch.
func TestComputing(t *testing.T) {
	address := os.Getenv(computes)
	if address == "" {
		t.Skip("it is for TestWatch to run")
	}
	dial := func() net.Conn {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		return socket.Conn(c)
	}
	first, second := dial(), dial()
	defer func() { _, _ = first.Close(), second.Close() }()
	var stop atomic.Int64
	go func() {
		for s := bufio.NewScanner(second); s.Scan(); {
			stop.Add(1)
		}
	}()
	orders := bufio.NewScanner(first)
	for round := range int64(3) {
		fmt.Fprintln(first, "idle")
		if !orders.Scan() {
			t.Fatal(orders.Err())
		}
		fmt.Fprintln(first, "computing") // without a word to the scheduler, as all that is here
		start := time.Now()
		for stop.Load() == round {
			if time.Since(start) > 10*time.Second {
				t.Fatalf("round %d: nobody else has run while it computed for 10 s", round)
			}
		}
	}
}
