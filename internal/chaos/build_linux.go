package chaos

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/gatebus/gatebus/internal/testbed"
)

// build builds what runs into dir. A gatebus that is there already is not built,
// unless the clocks are to be set.
func build(dir, gatebus string, clock bool) (binaries, error) {
	bin := binaries{gatebus: gatebus, worker: filepath.Join(dir, "worker"), clock: clock}
	root, err := testbed.ModuleRoot()
	if err != nil {
		return bin, err
	}
	args := []string{"build", "-o", dir + string(filepath.Separator)}
	if testbed.RaceEnabled {
		args = append(args, "-race")
	}
	if clock {
		overlay, err := clockOverlay(root, dir)
		if err != nil {
			return bin, err
		}
		args = append(args, "-overlay", overlay)
	}
	args = append(args, "./internal/chaos/cmd/worker")
	if gatebus == "" || clock {
		args = append(args, "./cmd/gatebus")
		bin.gatebus = filepath.Join(dir, "gatebus")
	}
	cmd := exec.Command("go", args...)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return bin, fmt.Errorf("chaos: go %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return bin, nil
}

// What the overlay changes in package time: the wall clock, as Now tells it, is
// off by as many seconds as a variable says. Nothing else of a process knows.
const (
	nowIs  = "\tsec, nsec, mono := runtimeNow()\n"
	nowBe  = nowIs + "\tsec += ChaosError.Load()\n"
	nowVar = `package time

import "internal/runtime/atomic"

// ChaosError is by how many seconds Now is wrong.
var ChaosError atomic.Int64
`
	// follow is added to each command: it takes the error from a file.
	follow = `package main

import (
	"os"
	"strconv"
	"time"
)

func init() {
	file := os.Getenv("` + clockEnv + `")
	if file == "" {
		return
	}
	look := func() {
		data, err := os.ReadFile(file)
		if err != nil {
			return
		}
		if n, err := strconv.ParseInt(string(data), 10, 64); err == nil {
			time.ChaosError.Store(n)
		}
	}
	look()
	go func() {
		for range time.Tick(100 * time.Millisecond) {
			look()
		}
	}()
}
`
)

// clockOverlay writes an overlay for the go command, which has the commands take
// their clock's error from a file. It changes the sources of the Go that is
// installed, of whatever version, and fails if these are not as expected.
func clockOverlay(root, dir string) (path string, err error) {
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return "", fmt.Errorf("chaos: go env GOROOT: %w", err)
	}
	std := filepath.Join(strings.TrimSpace(string(out)), "src", "time")
	source, err := os.ReadFile(filepath.Join(std, "time.go"))
	if err != nil {
		return "", fmt.Errorf("chaos: %w", err)
	}
	if n := bytes.Count(source, []byte(nowIs)); n != 1 {
		return "", fmt.Errorf("chaos: the clocks cannot be set: time.go has %q %d times, not once", nowIs, n)
	}
	replace := map[string]string{}
	write := func(at, name, text string) {
		file := filepath.Join(dir, name)
		replace[at] = file
		err = errors.Join(err, os.WriteFile(file, []byte(text), 0o600))
	}
	write(filepath.Join(std, "time.go"), "overlay-time.go", strings.Replace(string(source), nowIs, nowBe, 1))
	write(filepath.Join(std, "chaos.go"), "overlay-chaos.go", nowVar)
	for i, command := range []string{"cmd/gatebus", "internal/chaos/cmd/worker"} {
		write(filepath.Join(root, command, "chaos_clock.go"), fmt.Sprintf("overlay-follow%d.go", i), follow)
	}
	data, jsonErr := json.Marshal(map[string]any{"Replace": replace})
	path = filepath.Join(dir, "overlay.json")
	return path, errors.Join(err, jsonErr, os.WriteFile(path, data, 0o600))
}
