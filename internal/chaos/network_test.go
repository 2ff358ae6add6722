//go:build linux

package chaos

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// dialEnv has the test binary dial instead of test, and print what came of it: it
// runs on hosts of a network.
const dialEnv = "GATEBUS_TEST_CHAOS_DIAL"

// reach tells what comes of a connection to a port where nobody listens: a host
// that is reached refuses it.
func reach(addr string) string {
	c, err := net.DialTimeout("tcp", addr, 500*time.Millisecond)
	var timeout net.Error
	switch {
	case err == nil:
		_ = c.Close() // it was only to see
		return "somebody listens"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "reached"
	case errors.As(err, &timeout) && timeout.Timeout():
		return "cut"
	}
	return err.Error()
}

func TestNetwork(t *testing.T) {
	if err := networkMissing(); err != nil {
		if requireAll {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	n, err := newNetwork([]string{"w1", "g1", "g2"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := n.remove(); err != nil {
			t.Error(err)
		}
		for _, ns := range namespaces() {
			if strings.HasPrefix(ns, n.router) {
				t.Errorf("%s is left", ns)
			}
		}
	}()
	from := func(host, addr string) string {
		if host == Clients {
			return reach(addr)
		}
		args := n.command(host, []string{os.Args[0]})
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Env = append(os.Environ(), dialEnv+"="+addr)
		out, err := cmd.Output()
		if err != nil {
			return err.Error()
		}
		return string(out)
	}
	for _, tt := range []struct {
		cut  string
		cuts []cut
		want string // w1 to g1, g1 to w1, w1 to g2, clients to g1, clients to the admin port of g1
	}{
		{"nothing", nil, "reached reached reached reached reached"},
		{"two hosts", []cut{{"w1", "g1", 100}}, "cut cut reached reached reached"},
		{"a worker", []cut{{"w1", "", 100}}, "cut cut cut reached reached"},
		{"clients", []cut{{Clients, "g1", 100}}, "reached reached reached cut reached"},
		{"two at a time", []cut{{"w1", "g2", 100}, {Clients, "g1", 100}}, "reached reached cut cut reached"},
	} {
		var heals []func() error
		for _, c := range tt.cuts {
			heal, err := n.lose(c)
			if err != nil {
				t.Fatal(err)
			}
			heals = append(heals, heal)
		}
		got := make([]string, 5)
		var ways sync.WaitGroup
		for i, way := range [][3]string{{"w1", "g1", "8300"}, {"g1", "w1", "8280"}, {"w1", "g2", "8300"}, {Clients, "g1", "8282"}, {Clients, "g1", "8280"}} {
			ways.Go(func() {
				want := strings.Fields(tt.want)[i]
				for begin := time.Now(); ; {
					got[i] = from(way[0], net.JoinHostPort(n.hosts[way[1]], way[2]))
					// On a busy machine what is reached may say so only later.
					if got[i] != "cut" || want == "cut" || time.Since(begin) > 10*time.Second {
						return
					}
				}
			})
		}
		ways.Wait()
		if strings.Join(got, " ") != tt.want {
			t.Errorf("%s cut: %s, want %s", tt.cut, got, tt.want)
		}
		for _, heal := range heals {
			if err := heal(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if heal, err := n.lose(cut{"w1", "g1", 30}); err != nil {
		t.Error(err)
	} else if err := heal(); err != nil {
		t.Error(err)
	}
}

// dialed is true if the test binary was only to dial.
func dialed() bool {
	addr := os.Getenv(dialEnv)
	if addr != "" {
		fmt.Print(reach(addr))
	}
	return addr != ""
}
