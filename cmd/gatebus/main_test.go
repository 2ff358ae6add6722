package main

import (
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/gatebus/gatebus/internal/host"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Each SIGHUP reloads, and none ends the process.
func TestHangup(t *testing.T) {
	signals, reloads := make(chan os.Signal, 1), make(chan struct{}, 10)
	signal.Notify(signals, syscall.SIGHUP)
	defer signal.Stop(signals)
	defer heed(signals, func() { reloads <- struct{}{} })()
	for range 2 {
		self, err := os.FindProcess(os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		if err := self.Signal(syscall.SIGHUP); err != nil {
			t.Skipf("no such signal here: %v", err)
		}
		select {
		case <-reloads:
		case <-time.After(20 * time.Second):
			t.Fatal("it does not reload")
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
