package bench

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// ErrNoProcessTable is wrapped by the errors about figures that only Linux has.
var ErrNoProcessTable = errors.New("CPU time and memory of processes can only be read on Linux")

// procRoot is where Linux shows its processes.
const procRoot = "/proc"

// tick is the unit of CPU times in the process table: USER_HZ is 100 on every
// architecture that Go runs on.
const tick = 10 * time.Millisecond

// Processes are the ids of the processes of a server.
type Processes []int

// CPU is the CPU time that the processes have taken so far, all threads, in user
// and kernel mode.
func (ps Processes) CPU() (time.Duration, error) {
	var sum time.Duration
	for _, pid := range ps {
		stat, err := readProc(pid, "stat")
		if err != nil {
			return 0, err
		}
		ticks, err := cpuTicks(stat)
		if err != nil {
			return 0, fmt.Errorf("process %d: %w", pid, err)
		}
		sum += time.Duration(ticks) * tick
	}
	return sum, nil
}

// Memory is the memory that the processes have resident, in bytes.
func (ps Processes) Memory() (int64, error) {
	var sum int64
	for _, pid := range ps {
		// The counters of status lag behind by some pages a thread; what walks
		// the page table does not.
		data, err := readProc(pid, "smaps_rollup")
		field := "Rss:"
		if err != nil {
			data, err = readProc(pid, "status")
			field = "VmRSS:"
		}
		if err != nil {
			return 0, err
		}
		kb, err := kilobytes(data, field)
		if err != nil {
			return 0, fmt.Errorf("process %d: %w", pid, err)
		}
		sum += kb << 10
	}
	return sum, nil
}

func readProc(pid int, file string) ([]byte, error) {
	data, err := os.ReadFile(filepath.Join(procRoot, strconv.Itoa(pid), file))
	if err == nil {
		return data, nil
	}
	if !hasProcesses() {
		return nil, ErrNoProcessTable
	}
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("there is no process %d", pid)
	}
	return nil, err
}

// cpuTicks finds utime and stime in /proc/PID/stat: the 14th and 15th field. The
// second is the name of the command in brackets, which may have any in it.
func cpuTicks(stat []byte) (int64, error) {
	_, rest, _ := bytes.Cut(stat[bytes.LastIndexByte(stat, ')')+1:], []byte(" "))
	fields := bytes.Fields(rest) // from the third
	if len(fields) < 13 {
		return 0, fmt.Errorf("stat has %d fields", len(fields))
	}
	user, err := strconv.ParseInt(string(fields[11]), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("stat: utime: %w", err)
	}
	system, err := strconv.ParseInt(string(fields[12]), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("stat: stime: %w", err)
	}
	return user + system, nil
}

// kilobytes finds "field  n kB".
func kilobytes(data []byte, field string) (int64, error) {
	for line := range bytes.Lines(data) {
		f := bytes.Fields(line)
		if len(f) == 3 && string(f[0]) == field && string(f[2]) == "kB" {
			return strconv.ParseInt(string(f[1]), 10, 64)
		}
	}
	return 0, fmt.Errorf("there is no %s", field)
}

// hasProcesses tells whether this system shows its processes.
func hasProcesses() bool {
	_, err := os.Stat(filepath.Join(procRoot, "self", "stat"))
	return err == nil
}
