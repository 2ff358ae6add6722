package chaos

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// dirPrefix begins the name of the directory of a harness; its process id
// follows.
const dirPrefix = "gatebus-chaos-"

// disk is the file system of the logs. It is a small one of its own, if it can
// be, so that it can be filled.
type disk struct {
	dir     string
	mounted bool
}

const logSpace = 16 << 20

// newDisk makes the directory. Without root it is no file system of its own.
func newDisk(dir string) (*disk, error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, fmt.Errorf("chaos: %w", err)
	}
	d := &disk{dir: dir}
	sweepDisks()
	if os.Geteuid() != 0 {
		return d, nil
	}
	if err := syscall.Mount("gatebus-chaos", dir, "tmpfs", 0, fmt.Sprintf("size=%d,mode=700", logSpace)); err != nil {
		return d, nil // not everybody who is root may
	}
	d.mounted = true
	return d, nil
}

func (d *disk) ballast() string { return filepath.Join(d.dir, "ballast") }

// fill leaves no room on the disk.
func (d *disk) fill() error {
	f, err := os.Create(d.ballast())
	if err != nil {
		return fmt.Errorf("chaos: %w", err)
	}
	block := make([]byte, 64<<10)
	for size := len(block); size > 0; {
		if _, err = f.Write(block[:size]); err != nil {
			size /= 2
		}
	}
	if err = errors.Join(f.Close()); err != nil {
		return fmt.Errorf("chaos: %w", err)
	}
	return nil
}

// clear makes room again.
func (d *disk) clear() error {
	if err := os.Remove(d.ballast()); err != nil {
		return fmt.Errorf("chaos: %w", err)
	}
	return nil
}

// save copies the logs to another directory.
func (d *disk) save(dir string) error {
	if err := os.CopyFS(dir, os.DirFS(d.dir)); err != nil {
		return fmt.Errorf("chaos: save the logs: %w", err)
	}
	return nil
}

// remove takes the disk away.
func (d *disk) remove() error {
	if !d.mounted {
		return nil
	}
	d.mounted = false
	if err := syscall.Unmount(d.dir, syscall.MNT_DETACH); err != nil {
		return fmt.Errorf("chaos: unmount %s: %w", d.dir, err)
	}
	return nil
}

// sweepDisks unmounts what harnesses have left that are gone.
func sweepDisks() {
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return
	}
	for line := range strings.Lines(string(mounts)) {
		fields := strings.Fields(line)
		if len(fields) < 2 || fields[0] != "gatebus-chaos" {
			continue
		}
		pid, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(filepath.Dir(fields[1])), dirPrefix), "-")
		if isGone(pid) {
			_ = syscall.Unmount(fields[1], syscall.MNT_DETACH) // another harness may have been faster
			_ = os.RemoveAll(filepath.Dir(fields[1]))          // likewise
		}
	}
}
