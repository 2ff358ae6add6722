package main

import (
	"log/slog"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/gatebus/gatebus/internal/host"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// lines is a writer that hands over what is written.
type lines chan string

func (l lines) Write(p []byte) (int, error) {
	l <- string(p)
	return len(p), nil
}

// A SIGHUP does not end the process.
func TestHangup(t *testing.T) {
	said := make(lines, 10)
	stop := heedHangup(slog.New(slog.NewTextHandler(said, nil)))
	defer stop()
	for range 2 {
		self, err := os.FindProcess(os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		if err := self.Signal(syscall.SIGHUP); err != nil {
			t.Skipf("no such signal here: %v", err)
		}
		select {
		case line := <-said:
			if !strings.Contains(line, "reload is not there yet; restart to apply changes") {
				t.Fatal(line)
			}
		case <-time.After(20 * time.Second):
			t.Fatal("nothing is said")
		}
	}
}

func TestDevText(t *testing.T) {
	at := host.Addresses{Clients: "127.0.0.1:1", Bus: "127.0.0.1:2", Register: "127.0.0.1:3", Cluster: "127.0.0.1:4", Admin: "127.0.0.1:5"}
	for _, c := range []struct {
		admin     string
		has, lack string
	}{
		{"127.0.0.1:5", "http://127.0.0.1:5/chat", "off"},
		{"", "admin     off", "http://"},
	} {
		at.Admin = c.admin
		var b strings.Builder
		printDev(&b, at)
		if s := b.String(); !strings.Contains(s, c.has) || strings.Contains(s, c.lack) {
			t.Errorf("admin at %q:\n%s", c.admin, s)
		}
	}
}
