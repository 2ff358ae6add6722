package main

import (
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"sync"

	"github.com/coreos/go-systemd/v22/daemon"
)

// replacement starts the program anew beside this process, for it to take over. It
// suits a service manager that knows one process of a service: the new one is a child of
// this, and the manager is told that it is the main one.
type replacement struct {
	log *slog.Logger

	mu    sync.Mutex
	child *os.Process // nil: none runs
}

// start starts it, if none is on its way.
func (r *replacement) start() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.child != nil {
		return fmt.Errorf("process %d is to replace this one already", r.child.Pid)
	}
	path, err := programPath()
	if err != nil {
		return err
	}
	cmd := exec.Command(path, os.Args[1:]...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		return err
	}
	r.child = cmd.Process
	r.log.Info("started a process to replace this one", "pid", cmd.Process.Pid, "program", path)
	go func() { // until the child ends, or this process
		err := cmd.Wait()
		r.mu.Lock()
		r.child = nil
		r.mu.Unlock()
		r.log.Warn("the process that was to replace this one has ended", "pid", cmd.Process.Pid, "how", how(err))
	}()
	return nil
}

// programPath is where the program is now, that this process was started as: not the
// file that it runs, which may be an old version that the name does not lead to any more.
func programPath() (string, error) {
	if strings.Contains(os.Args[0], string(os.PathSeparator)) {
		return os.Args[0], nil
	}
	if path, err := exec.LookPath(os.Args[0]); err == nil {
		return path, nil
	}
	return os.Executable()
}

func how(err error) string {
	if err == nil {
		return "exit status 0"
	}
	return err.Error()
}

// replaced tells the service manager which process has taken over: the child is the
// main one from now on; one that somebody else has started belongs to somebody else.
func (r *replacement) replaced(successor int) {
	r.mu.Lock()
	own := r.child != nil && r.child.Pid == successor
	r.mu.Unlock()
	if own {
		notifyManager(r.log, fmt.Sprintf("MAINPID=%d", successor))
		return
	}
	notifyManager(r.log, daemon.SdNotifyStopping)
}
