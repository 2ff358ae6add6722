package chaos

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
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/gatebus/gatebus/internal/chaos/ledger"
	"github.com/gatebus/gatebus/internal/testbed"
)

const (
	// endPatience bounds the end of a process that was told to stop: a worker may
	// take 30 s to drain.
	endPatience = 40 * time.Second
	// readyPatience bounds the start of one.
	readyPatience = 20 * time.Second
)

// node is one place in the cluster: what runs there is ended and started again.
type node struct {
	// set at construction
	name    string
	role    byte // r, g or w
	args    func(life int) []string
	env     []string
	log     string // the file
	admin   string // host:port
	history *history

	// busy is held by the fault that ends and starts the process.
	busy sync.Mutex

	// guarded by busy
	life int

	now atomic.Pointer[process]
}

// process is one life of a node.
type process struct {
	cmd      *exec.Cmd
	began    time.Time
	expected atomic.Bool   // its end is
	done     chan struct{} // closed at its end; then:
	state    *os.ProcessState
}

// start starts a life of the node.
func (n *node) start() error {
	log, err := os.OpenFile(n.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("chaos: %w", err)
	}
	defer log.Close()
	n.life++
	args := n.args(n.life)
	p := &process{cmd: exec.Command(args[0], args[1:]...), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.Env = append(slices.DeleteFunc(os.Environ(), func(e string) bool { return strings.HasPrefix(e, "GATEBUS_") }), n.env...)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		return fmt.Errorf("chaos: start %s: %w", n.name, err)
	}
	p.began = time.Now()
	n.now.Store(p)
	go n.wait(p)
	return nil
}

// wait sees a life to its end.
func (n *node) wait(p *process) {
	_ = p.cmd.Wait() // ProcessState says it
	p.state = p.cmd.ProcessState
	close(p.done)
	if !p.expected.Load() {
		n.history.violated(ledger.Ended, n.name, "the process has ended by itself: %v\n%s", p.state, tail(n.log, 15))
	}
}

func (n *node) pid() int { return n.now.Load().cmd.Process.Pid }

func (n *node) signal(s syscall.Signal) error {
	if err := n.now.Load().cmd.Process.Signal(s); err != nil {
		return fmt.Errorf("chaos: signal %s: %w", n.name, err)
	}
	return nil
}

// kill ends the process with SIGKILL.
func (n *node) kill() {
	p := n.now.Load()
	p.expected.Store(true)
	n.history.kill(n.name)
	_ = p.cmd.Process.Kill() // it has ended already, which its wait reports
	<-p.done
}

// stop ends the process with SIGTERM, and finds fault with how it ends.
func (n *node) stop() {
	p := n.now.Load()
	p.expected.Store(true)
	defer n.history.stop(n.name)()
	n.awaitLife(p)
	began := time.Now()
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // likewise
	timer := time.NewTimer(endPatience)
	defer timer.Stop()
	select {
	case <-p.done:
		if p.state.ExitCode() != 0 {
			n.history.violated(ledger.Ended, n.name, "told to stop, it ended after %v with %v\n%s", time.Since(began).Round(time.Millisecond), p.state, tail(n.log, 15))
		}
	case <-timer.C:
		n.history.violated(ledger.Ended, n.name, "told to stop, it still runs after %v\n%s", endPatience, tail(n.log, 15))
		n.kill()
	}
}

// bornWithin is how long a process has to come to life at most: until then a
// signal ends it at once, as it does any process, and says nothing about how it
// stops.
const bornWithin = 2 * time.Second

// awaitLife waits until a process that was started just now is at work.
func (n *node) awaitLife(p *process) {
	age := time.Since(p.began)
	if age >= bornWithin {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), bornWithin-age)
	defer cancel()
	_ = testbed.Poll(ctx, func() error { // it has had its time then
		_, _, err := n.ask(ctx, "/readyz")
		return err
	})
}

// isReady tells whether the process says that it does its work.
func (n *node) isReady(ctx context.Context) error {
	body, status, err := n.ask(ctx, "/readyz")
	if err != nil {
		return err
	}
	if status != http.StatusOK {
		return fmt.Errorf("chaos: %s is not ready: %s", n.name, strings.Join(strings.Fields(string(body)), " "))
	}
	return nil
}

// figures are what a process says of itself; those of other roles are zero.
type figures struct {
	testbed.Stats
	Goroutines int `json:"goroutines"` // only the harness's own worker tells
}

func (n *node) stats(ctx context.Context) (f figures, err error) {
	body, _, err := n.ask(ctx, "/stats")
	if err == nil {
		err = json.Unmarshal(body, &f)
	}
	return f, err
}

var adminClient = &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

func (n *node) ask(ctx context.Context, path string) (body []byte, status int, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+n.admin+path, nil)
	if err != nil {
		return nil, 0, err
	}
	resp, err := adminClient.Do(req)
	if err != nil {
		return nil, 0, fmt.Errorf("chaos: %s: %w", n.name, err)
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(resp.Body)
	return body, resp.StatusCode, err
}

// usage is what a process has of the system.
type usage struct {
	Files      int   `json:"files"`
	Goroutines int   `json:"goroutines,omitempty"` // 0: it does not tell
	Memory     int64 `json:"memory"`               // bytes, resident
}

var rss = regexp.MustCompile(`(?m)^Rss:\s+(\d+) kB`)

func (n *node) usage(ctx context.Context) (u usage, err error) {
	proc := "/proc/" + strconv.Itoa(n.pid())
	files, err := os.ReadDir(proc + "/fd")
	if err != nil {
		return u, fmt.Errorf("chaos: %s: %w", n.name, err)
	}
	rollup, err := os.ReadFile(proc + "/smaps_rollup")
	if err != nil {
		return u, fmt.Errorf("chaos: %s: %w", n.name, err)
	}
	m := rss.FindSubmatch(rollup)
	if m == nil {
		return u, errors.New("chaos: smaps_rollup has no Rss")
	}
	kb, err := strconv.ParseInt(string(m[1]), 10, 64)
	if err != nil {
		return u, fmt.Errorf("chaos: smaps_rollup: %w", err)
	}
	f, err := n.stats(ctx)
	return usage{Files: len(files), Goroutines: f.Goroutines, Memory: kb << 10}, err
}

// tail are the last lines of a log.
func tail(path string, lines int) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimSpace(string(data)), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

var crash = regexp.MustCompile(`(?m)^(panic:|fatal error:|WARNING: DATA RACE).*`)

// crashes are the lines of a log that should never be there.
func crashes(path string) []string {
	data, err := os.ReadFile(path)
	if err != nil {
		return []string{err.Error()}
	}
	return crash.FindAllString(string(data), 10)
}
