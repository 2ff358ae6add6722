package browser

import (
	"net/url"
	"testing"

	"github.com/gatebus/gatebus/internal/testbed"
)

// startExample starts an example that is a worker and serves a page, and returns
// the address of the page.
func startExample(t *testing.T, c *testbed.Cluster, dir string, host int, gateways ...*testbed.Process) (*testbed.Process, string) {
	t.Helper()
	p := testbed.StartExample(t, dir, host, c.URLs(), gateways...)
	return p, "http://" + addr(t, p, "page") + "/"
}

// gatewayQuery is the query by which a page is told to use this gateway.
func gatewayQuery(t *testing.T, g *testbed.Process) string {
	t.Helper()
	return "?gateway=" + url.QueryEscape("ws://"+addr(t, g, "clients"))
}

func addr(t *testing.T, p *testbed.Process, what string) string {
	t.Helper()
	ctx, cancel := testbed.Soon()
	defer cancel()
	a, err := p.Addr(ctx, what)
	if err != nil {
		t.Fatal(err)
	}
	return a
}
