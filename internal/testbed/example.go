package testbed

import (
	"fmt"
	"strings"
)

// StartExample starts an example that is a worker and serves a page, by its
// directory in examples. Its pages are on the n-th host, where [Process.Addr] of
// "page" says; they connect to the gateways.
func StartExample(tb TB, dir string, n int, registers string, gateways ...*Process) *Process {
	tb.Helper()
	program, err := Program("examples/" + dir)
	if err != nil {
		tb.Fatalf("%v", err)
	}
	ctx, cancel := Soon()
	defer cancel()
	var urls []string
	for _, g := range gateways {
		addr, err := g.Addr(ctx, "clients")
		if err != nil {
			tb.Fatalf("%v", err)
		}
		urls = append(urls, "ws://"+addr)
	}
	return Start(tb, Spec{Name: fmt.Sprintf("examples/%s on host %d", dir, n), Path: program, Args: []string{
		"-listen", MustFreeAddr(tb, Host(n)),
		"-registers", registers,
		"-gateways", strings.Join(urls, ","),
	}})
}
