package testbed

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
)

// BinaryEnv names the environment variable with the path of a gatebus binary
// to use instead of building one.
const BinaryEnv = "GATEBUS_TEST_BINARY"

var binary struct {
	once sync.Once
	path string
	err  error
}

// built are the programs that were built, in a directory that is removed at the
// end.
var built = struct {
	mu    sync.Mutex
	dir   string // "" before the first one
	paths map[string]string
}{paths: map[string]string{}}

// Binary is the path of the gatebus command. The first call builds it.
func Binary() (string, error) {
	binary.once.Do(func() {
		if binary.path = os.Getenv(BinaryEnv); binary.path == "" {
			binary.path, binary.err = Program("cmd/gatebus")
		}
	})
	return binary.path, binary.err
}

// Program is the path of the program of a main package of the module, by its
// directory, such as examples/chat. The first call builds it.
func Program(dir string) (string, error) { return program(dir, "") }

// OtherVersion is the path of the gatebus command that speaks as another version of the
// protocol does, if otherversion.Env names one. The first call builds it.
func OtherVersion() (string, error) { return program("cmd/gatebus", "gatebus_otherversion") }

// program builds a program with a build tag, if that is not empty.
func program(dir, tag string) (string, error) {
	built.mu.Lock()
	defer built.mu.Unlock()
	key := dir + " " + tag
	if path := built.paths[key]; path != "" {
		return path, nil
	}
	root, err := ModuleRoot()
	if err != nil {
		return "", err
	}
	if err := touchSources(root); err != nil {
		return "", err
	}
	if err := makeBuiltLocked(); err != nil {
		return "", err
	}
	path := filepath.Join(built.dir, strconv.Itoa(len(built.paths)), filepath.Base(dir))
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", fmt.Errorf("testbed: %w", err)
	}
	if runtime.GOOS == "windows" {
		path += ".exe"
	}
	args := []string{"build", "-tags", tag, "-o", path}
	if RaceEnabled {
		args = append(args, "-race")
	}
	cmd := exec.Command("go", append(args, "./"+dir)...)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("testbed: go build ./%s: %w\n%s", dir, err, out)
	}
	built.paths[key] = path
	return path, nil
}

// makeBuiltLocked makes the directory of the programs.
func makeBuiltLocked() (err error) {
	if built.dir != "" {
		return nil
	}
	if built.dir, err = os.MkdirTemp("", "gatebus-testbed-"); err != nil {
		return fmt.Errorf("testbed: %w", err)
	}
	return nil
}

// touchSources looks at every file that the binary may be made of. The go
// command caches the result of a test by the files that the test itself looks
// at: without this, it would not run again when only gatebus has changed.
func touchSources(root string) error {
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // somebody is at work here
		}
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() {
			if path != root && (strings.HasPrefix(name, ".") || name == "node_modules" || name == "testdata") {
				return fs.SkipDir
			}
			return nil
		}
		if strings.HasSuffix(name, "_test.go") {
			return nil
		}
		_, _ = os.Stat(path) // that it was asked for is all
		return nil
	})
}

// ModuleRoot is the directory of the go.mod that the working directory belongs
// to, which in a test is that of its package.
func ModuleRoot() (string, error) {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("testbed: go env GOMOD: %w", err)
	}
	mod := strings.TrimSpace(string(bytes.TrimSpace(out)))
	if mod == "" || mod == os.DevNull {
		return "", errors.New("testbed: the working directory is in no Go module")
	}
	return filepath.Dir(mod), nil
}

// removeBuilt removes the programs.
func removeBuilt() error {
	built.mu.Lock()
	defer built.mu.Unlock()
	if built.dir == "" {
		return nil
	}
	return os.RemoveAll(built.dir)
}
