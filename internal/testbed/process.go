package testbed

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/gatebus/gatebus/gateway"
	"github.com/gatebus/gatebus/register"
	"github.com/gatebus/gatebus/worker"
)

// Spec says what to run.
type Spec struct {
	// Name is what messages call the process; empty means its first argument.
	Name string
	// Path is the program; empty means gatebus.
	Path string
	Args []string
	// Env are the NAME=VALUE pairs added to the environment. Of the
	// environment of this process no GATEBUS_ variable is passed on.
	Env []string
}

// Process is a process that was started. Its methods can be called from any
// goroutine.
type Process struct {
	Name string
	Spec Spec

	cmd    *exec.Cmd
	tb     TB
	stdout *output
	stderr *output
	done   chan struct{} // closed when the process has ended; then:
	exit   Exit
}

// Exit is how a process ended.
type Exit struct {
	// Code is the exit code, -1 if a signal ended the process.
	Code int
	// Signal is the signal that ended it, 0 if none did.
	Signal syscall.Signal
}

func (e Exit) String() string {
	if e.Signal != 0 {
		return fmt.Sprintf("ended by signal %d (%v)", int(e.Signal), e.Signal)
	}
	return fmt.Sprintf("exit code %d", e.Code)
}

// Start starts a process. It is killed when the test ends. As it may fail the
// test, it must be called from the test's own goroutine.
func Start(tb TB, s Spec) *Process {
	tb.Helper()
	if s.Path == "" {
		path, err := Binary()
		if err != nil {
			tb.Fatalf("%v", err)
		}
		s.Path = path
	}
	if s.Name == "" && len(s.Args) > 0 {
		s.Name = s.Args[0]
	}
	p := &Process{
		Name: s.Name, Spec: s, tb: tb,
		cmd:    exec.Command(s.Path, s.Args...),
		stdout: newOutput(), stderr: newOutput(),
		done: make(chan struct{}),
	}
	p.cmd.Env = append(environment(), s.Env...)
	p.cmd.Stdout, p.cmd.Stderr = p.stdout, p.stderr
	p.cmd.SysProcAttr = attributes()
	p.cmd.WaitDelay = 2 * time.Second // for output that a grandchild holds open
	if err := p.cmd.Start(); err != nil {
		tb.Fatalf("testbed: start %s: %v", p.Name, err)
	}
	running.mu.Lock()
	running.processes[p] = struct{}{}
	running.mu.Unlock()
	go p.wait()
	tb.Cleanup(p.report)
	return p
}

// Again starts the same program with the same arguments. The process must have
// ended.
func (p *Process) Again() *Process {
	p.tb.Helper()
	select {
	case <-p.done:
	default:
		p.tb.Fatalf("testbed: %s still runs", p.Name)
	}
	return Start(p.tb, p.Spec)
}

// environment is that of this process without what would configure gatebus.
func environment() []string {
	return slices.DeleteFunc(os.Environ(), func(e string) bool { return strings.HasPrefix(e, "GATEBUS_") })
}

func (p *Process) wait() {
	_ = p.cmd.Wait() // ProcessState says it
	p.exit = Exit{Code: p.cmd.ProcessState.ExitCode()}
	if ws, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		p.exit.Signal = ws.Signal()
	}
	running.mu.Lock()
	delete(running.processes, p)
	running.mu.Unlock()
	close(p.done)
}

// end kills the process, if it still runs, and waits for its end.
func (p *Process) end() {
	_ = p.cmd.Process.Kill() // it has ended already
	<-p.done
}

// report ends the process with its test, and shows its log if the test failed.
func (p *Process) report() {
	p.end()
	if broken := p.stderr.broken(); broken != "" {
		p.tb.Errorf("%s is broken:\n%s", p.Name, broken)
	}
	if p.tb.Failed() {
		p.tb.Logf("=== %s (process %d, %v): %s\n%s", p.Name, p.Pid(), p.exit, strings.Join(p.Spec.Args, " "), p.stderr.tail(60))
	}
}

// Pid is the process's id.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Signal sends a signal.
func (p *Process) Signal(s os.Signal) error {
	if err := p.cmd.Process.Signal(s); err != nil {
		return fmt.Errorf("testbed: signal %s: %w", p.Name, err)
	}
	return nil
}

// Kill ends the process with SIGKILL and waits until it is gone.
func (p *Process) Kill() { p.end() }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Wait returns how the process ended.
func (p *Process) Wait(ctx context.Context) (Exit, error) {
	select {
	case <-p.done:
		return p.exit, nil
	case <-ctx.Done():
		return Exit{}, fmt.Errorf("testbed: %s has not ended: %w", p.Name, context.Cause(ctx))
	}
}

// Stdout is what the process has written to its standard output.
func (p *Process) Stdout() string { return p.stdout.tail(maxLogLines) }

// Log is what the process has written to its standard error, where gatebus
// logs.
func (p *Process) Log() string { return p.stderr.tail(maxLogLines) }

// WaitLog waits for a line of the log that the regular expression matches, and
// returns the match and its submatches. Lines written before count.
func (p *Process) WaitLog(ctx context.Context, re string) ([]string, error) {
	return p.waitLine(ctx, p.stderr, regexp.MustCompile(re))
}

// WaitOutput is WaitLog for the standard output.
func (p *Process) WaitOutput(ctx context.Context, re string) ([]string, error) {
	return p.waitLine(ctx, p.stdout, regexp.MustCompile(re))
}

func (p *Process) waitLine(ctx context.Context, o *output, re *regexp.Regexp) ([]string, error) {
	for {
		m, more := o.find(re)
		if m != nil {
			return m, nil
		}
		select {
		case <-more:
		case <-p.done: // and all it wrote is here
			if m, _ := o.find(re); m != nil {
				return m, nil
			}
			return nil, fmt.Errorf("testbed: %s: %v without a log line %q", p.Name, p.exit, re)
		case <-ctx.Done():
			return nil, fmt.Errorf("testbed: %s: no log line %q: %w", p.Name, re, context.Cause(ctx))
		}
	}
}

// Addr is where a gatebus process listens, as it says in its log when it has
// started: for clients, bus, register, cluster or admin. It waits for that.
func (p *Process) Addr(ctx context.Context, what string) (string, error) {
	m, err := p.WaitLog(ctx, `msg=started .*\b`+regexp.QuoteMeta(what)+`=(\S+)`)
	if err != nil {
		return "", err
	}
	return m[1], nil
}

// admin is the HTTP client of Ready and Stats: it leaves no connection open.
var admin = &http.Client{
	Timeout:   5 * time.Second,
	Transport: &http.Transport{DisableKeepAlives: true},
}

// get asks the admin server of the process.
func (p *Process) get(ctx context.Context, path string) (status int, body []byte, err error) {
	addr, err := p.Addr(ctx, "admin")
	if err != nil {
		return 0, nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+path, nil)
	if err != nil {
		return 0, nil, err
	}
	resp, err := admin.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(resp.Body)
	return resp.StatusCode, body, err
}

// Ready tells whether /readyz says that the process does its work; if not, the
// error holds what it says.
func (p *Process) Ready(ctx context.Context) error {
	status, body, err := p.get(ctx, "/readyz")
	if err != nil {
		return fmt.Errorf("testbed: %s: readyz: %w", p.Name, err)
	}
	if status != http.StatusOK {
		return fmt.Errorf("testbed: %s is not ready: %d %s", p.Name, status, strings.Join(strings.Fields(string(body)), " "))
	}
	return nil
}

// WaitReady waits until Ready, or until the process has ended.
func (p *Process) WaitReady(ctx context.Context) error {
	ctx, cancel := p.whileRunning(ctx)
	defer cancel()
	return Poll(ctx, func() error { return p.Ready(ctx) })
}

// WaitUnready waits until /readyz says that the process does not do its work,
// and returns what it says.
func (p *Process) WaitUnready(ctx context.Context) (why string, err error) {
	ctx, cancel := p.whileRunning(ctx)
	defer cancel()
	err = Poll(ctx, func() error {
		status, body, err := p.get(ctx, "/readyz")
		if err != nil {
			return err
		}
		if why = string(body); status != http.StatusServiceUnavailable {
			return fmt.Errorf("testbed: %s: readyz answers %d %s", p.Name, status, body)
		}
		return nil
	})
	return why, err
}

// whileRunning is a context that ends with ctx or with the process.
func (p *Process) whileRunning(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := make(chan struct{})
	go func() {
		select {
		case <-p.done:
			cancel(fmt.Errorf("testbed: %s: %v", p.Name, p.exit))
		case <-stop:
		case <-ctx.Done():
		}
	}()
	return ctx, func() { close(stop); cancel(context.Canceled) }
}

// Stats are the figures that /stats has; those of a role that does not run
// there are zero.
type Stats struct {
	Gateway  gateway.Stats `json:"gateway"`
	Worker   worker.Stats  `json:"worker"`
	Register struct {
		Notices register.NoticeStats `json:"notices"`
	} `json:"register"`
}

// Stats asks for the figures of the process.
func (p *Process) Stats(ctx context.Context) (Stats, error) {
	var s Stats
	status, body, err := p.get(ctx, "/stats")
	if err == nil && status != http.StatusOK {
		err = errors.New(http.StatusText(status))
	}
	if err == nil {
		err = json.Unmarshal(body, &s)
	}
	if err != nil {
		return s, fmt.Errorf("testbed: %s: stats: %w", p.Name, err)
	}
	return s, nil
}
