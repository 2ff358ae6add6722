package browser

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/gatebus/gatebus/internal/testbed"
)

// startExample starts an example that is a worker and serves a page, for the
// cluster and these gateways. It returns the address of the page.
func startExample(t *testing.T, c *testbed.Cluster, name string, host int, gateways ...*testbed.Process) (*testbed.Process, string) {
	t.Helper()
	ctx, cancel := testbed.Soon()
	defer cancel()
	program, err := testbed.Program("examples/" + name)
	if err != nil {
		t.Fatal(err)
	}
	var urls []string
	for _, g := range gateways {
		addr, err := g.Addr(ctx, "clients")
		if err != nil {
			t.Fatal(err)
		}
		urls = append(urls, "ws://"+addr)
	}
	p := testbed.Start(t, testbed.Spec{Name: fmt.Sprintf("examples/%s on host %d", name, host), Path: program, Args: []string{
		"-listen", testbed.MustFreeAddr(t, testbed.Host(host)),
		"-registers", c.URLs(),
		"-gateways", strings.Join(urls, ","),
	}})
	page, err := p.Addr(ctx, "page")
	if err != nil {
		t.Fatal(err)
	}
	return p, "http://" + page + "/"
}

// gatewayQuery is the query by which a page is told to use this gateway.
func gatewayQuery(t *testing.T, g *testbed.Process) string {
	t.Helper()
	ctx, cancel := testbed.Soon()
	defer cancel()
	addr, err := g.Addr(ctx, "clients")
	if err != nil {
		t.Fatal(err)
	}
	return "?gateway=" + url.QueryEscape("ws://"+addr)
}
