package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	// startTimeout bounds the start of a server.
	startTimeout = 30 * time.Second
	// stopTimeout is how long a server may take to end before it is killed.
	stopTimeout = 10 * time.Second
	// lastLines is how much of a server's log an error shows.
	lastLines = 10
)

// child is a server that the bench has started.
type child struct {
	name string
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended

	started chan struct{}     // closed when it has said where it listens; then:
	at      map[string]string // the attributes of that line

	mu    sync.Mutex
	lines []string // the last of its log
}

// startChild starts the program and waits until it says that it has started, in
// a line of its log in JSON.
func startChild(ctx context.Context, name, program string, args ...string) (*child, error) {
	c := &child{
		name: name, cmd: exec.Command(program, args...),
		done: make(chan struct{}), started: make(chan struct{}),
	}
	c.cmd.Env = slices.DeleteFunc(os.Environ(), func(e string) bool { return strings.HasPrefix(e, "GATEBUS_") })
	c.cmd.SysProcAttr = attributes()
	log, err := c.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the %s: %w", name, err)
	}
	go func() {
		defer close(c.done)
		c.read(log)
		_ = c.cmd.Wait() // ProcessState says it
	}()
	ctx, cancel := startContext(ctx)
	defer cancel()
	select {
	case <-c.started:
		return c, nil
	case <-c.done:
		return nil, c.ended()
	case <-ctx.Done():
		c.stop()
		return nil, fmt.Errorf("start the %s: %w%s", name, context.Cause(ctx), c.said())
	}
}

func startContext(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, startTimeout, fmt.Errorf("it is not ready within %v", startTimeout))
}

// read keeps the log.
func (c *child) read(log io.Reader) {
	for r := bufio.NewReader(log); ; {
		line, err := r.ReadString('\n')
		if line = strings.TrimSpace(line); line != "" {
			c.mu.Lock()
			c.lines = append(c.lines, line)
			c.lines = c.lines[max(0, len(c.lines)-lastLines):]
			c.mu.Unlock()
			c.look(line)
		}
		if err != nil {
			return
		}
	}
}

// look finds the line that says where the server listens.
func (c *child) look(line string) {
	var attrs map[string]any
	if c.at != nil || json.Unmarshal([]byte(line), &attrs) != nil || attrs["msg"] != "started" {
		return
	}
	c.at = map[string]string{}
	for k, v := range attrs {
		if s, ok := v.(string); ok {
			c.at[k] = s
		}
	}
	close(c.started)
}

func (c *child) said() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.lines) == 0 {
		return ""
	}
	return "; it says:\n" + strings.Join(c.lines, "\n")
}

// ended is the error about a server that has ended by itself; nil if it runs.
func (c *child) ended() error {
	select {
	case <-c.done:
		return fmt.Errorf("the %s has ended: %v%s", c.name, c.cmd.ProcessState, c.said())
	default:
		return nil
	}
}

// ready waits until the process says at its admin listener that it serves.
func (c *child) ready(ctx context.Context) error {
	ctx, cancel := startContext(ctx)
	defer cancel()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		why := c.askReady(ctx, client)
		if why == nil {
			return nil
		}
		select {
		case <-again.C:
		case <-c.done:
			return c.ended()
		case <-ctx.Done():
			return fmt.Errorf("wait for the %s: %w: %w%s", c.name, context.Cause(ctx), why, c.said())
		}
	}
}

func (c *child) askReady(ctx context.Context, client *http.Client) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+c.at["admin"]+"/readyz", nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	said, err := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New(strings.Join(strings.Fields(string(said)), " "))
	}
	return err
}

// stop ends the process, and waits for that.
func (c *child) stop() {
	if c.cmd.Process.Signal(syscall.SIGTERM) != nil { // it is gone, or this system has no such signal
		_ = c.cmd.Process.Kill()
	}
	timer := time.NewTimer(stopTimeout)
	defer timer.Stop()
	select {
	case <-c.done:
	case <-timer.C:
		_ = c.cmd.Process.Kill()
		<-c.done
	}
}
