package worker

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// linkDiary notes which links it is told of.
type linkDiary struct {
	mu    sync.Mutex
	notes []string
}

func (d *linkDiary) Handle(context.Context, *Event) error { return nil }

func (d *linkDiary) note(what string, g GatewayLink) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.notes = append(d.notes, fmt.Sprintf("%s%s.%d", what, g.Gateway, g.Epoch))
}

func (d *linkDiary) GatewayConnected(_ context.Context, g GatewayLink) { d.note("+", g) }
func (d *linkDiary) GatewayGone(_ context.Context, g GatewayLink)      { d.note("-", g) }

func (d *linkDiary) read() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return strings.Join(d.notes, " ")
}

// A link that another one takes the place of is told to be gone, once, whatever of the
// restart was seen of it.
func TestReplacedLinkIsGone(t *testing.T) {
	for _, c := range []struct {
		name          string
		before, after func(g *fakeGateway)
		want          string
	}{
		{"nothing seen yet", nil, nil, "+g1.1 -g1.1 +g1.2"},
		{"down", (*fakeGateway).cut, nil, "+g1.1 -g1.1 +g1.2"},
		{"back already", func(g *fakeGateway) { g.cut(); g.mend() }, nil, "+g1.1 -g1.1 +g1.1 -g1.1 +g1.2"},
		{"down later", nil, (*fakeGateway).cut, "+g1.1 -g1.1 +g1.2"},
		{"down and back later", nil, func(g *fakeGateway) { g.cut(); g.mend() }, "+g1.1 -g1.1 +g1.2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := &linkDiary{}
			inBubbleOf(t, Config{}, d, func(t *testing.T, f *fixture) {
				old := f.gateway("g1", 1)
				old.vanish()
				if c.before != nil {
					c.before(old)
				}
				f.gateway("g1", 2)
				if c.after != nil {
					c.after(old)
				}
				time.Sleep(6 * time.Second)
				synctest.Wait()
				equal(t, "told", d.read(), c.want)
			})
		})
	}
}
