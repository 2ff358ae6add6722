//go:build unix

package e2e_test

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gatebus/gatebus/internal/testbed"
)

// SIGUSR2 has a process start its successor, from where the program is by then, and tell
// the service manager which process the main one is.
func TestReplacedBySignal(t *testing.T) {
	t.Parallel()
	cluster := testbed.NewCluster(t, 1)
	r, w := cluster.Register(0), cluster.Worker("w1")
	file, all := replaceable(t, cluster, "")
	dir := filepath.Dir(file)
	notify := filepath.Join(dir, "notify")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: notify, Net: "unixgram"})
	must(t, err)
	defer manager.Close()
	told := func(want string) string {
		t.Helper()
		must(t, manager.SetReadDeadline(time.Now().Add(testbed.Patience)))
		buf := make([]byte, 4096)
		n, err := manager.Read(buf)
		must(t, err)
		if got := string(buf[:n]); !strings.HasPrefix(got, want) {
			t.Errorf("the service manager is told %q, want %q", got, want)
		}
		return strings.TrimPrefix(string(buf[:n]), want)
	}
	log := func() string {
		t.Helper()
		data, err := os.ReadFile(filepath.Join(dir, "log"))
		must(t, err)
		return string(data)
	}

	binary, err := testbed.Binary()
	must(t, err)
	program := filepath.Join(dir, "gatebus") // which leads to another version by and by
	must(t, os.Symlink(binary, program))
	// The log is a file: that of a testbed.Process ends with it, and its successor goes on.
	g := testbed.Start(t, testbed.Spec{
		Name: "first", Path: "/bin/sh", Env: []string{"NOTIFY_SOCKET=" + notify},
		Args: []string{"-c", `exec "$0" run -c "$1" 2>>"$2"`, program, file, filepath.Join(dir, "log")},
	})
	told("READY=1")
	must(t, testbed.WaitReady(soon(t), r, w))
	clients := startFlow(t, all[:1], 1)
	clients.more(t, all[:1], 1)

	// A version that does not work changes nothing.
	must(t, os.Remove(program))
	must(t, os.WriteFile(program, []byte("#!/bin/sh\nexit 3\n"), 0o700))
	must(t, g.Signal(syscall.SIGUSR2))
	must(t, testbed.Poll(soon(t), func() error {
		if !strings.Contains(log(), "has ended") {
			return errNotYet
		}
		return nil
	}))
	if !strings.Contains(log(), `how="exit status 3"`) {
		t.Errorf("the log does not say how it ended:\n%s", log())
	}
	clients.more(t, all[:1], 1)

	must(t, os.Remove(program))
	must(t, os.Symlink(binary, program))
	must(t, g.Signal(syscall.SIGUSR2))
	pid, err := strconv.Atoi(told("MAINPID="))
	must(t, err)
	next, err := os.FindProcess(pid)
	must(t, err)
	t.Cleanup(func() { _ = next.Kill() }) // it has ended, if all is well
	told("READY=1")
	exits(t, g, 0)
	clients.more(t, all[:1], 1)
	drained, err := clients.stop()
	must(t, err)
	if drained != 1 || pid == g.Pid() {
		t.Errorf("%d were ended by a drain; process %d told of process %d", drained, g.Pid(), pid)
	}
	must(t, next.Signal(sigterm))
	told("STOPPING=1")
	must(t, testbed.Poll(soon(t), func() error {
		if strings.Count(log(), "msg=stopped") < 2 {
			return errNotYet
		}
		return nil
	}))
}
