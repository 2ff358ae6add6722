package worker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gatebus/gatebus/bus"
)

// holds has a gateway list clients 1 to n, in pages, and these names with a client each.
func (g *fakeGateway) holds(n int, names string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.lists = func(r bus.ListRequest) (a bus.Answer, ok bool) {
		if r.Of == bus.OfClients {
			after := uint64(0)
			if r.After != "" {
				_, _, after, _ = bus.ClientID(r.After).Parts()
			}
			for i := after + 1; i <= uint64(n); i++ {
				if len(a.Items) == r.Limit {
					a.Next = string(a.Items[r.Limit-1].Client)
					break
				}
				a.Items = append(a.Items, bus.ClientInfo{Client: bus.NewClientID(g.name, g.epoch, i)})
			}
			return a, true
		}
		for name := range strings.FieldsSeq(names) {
			if name <= r.After {
				continue
			}
			if len(a.Names) == r.Limit {
				a.Next = a.Names[r.Limit-1].Name
				break
			}
			a.Names = append(a.Names, bus.NameCount{Name: name, Clients: 1})
		}
		return a, true
	}
}

func (g *fakeGateway) silent() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.lists = func(bus.ListRequest) (bus.Answer, bool) { return bus.Answer{}, false }
}

// missingOf are the gateways that an error names, and nothing else is wrong.
func missingOf(t *testing.T, err error) string {
	t.Helper()
	var p *PartialError
	if err != nil && !errors.As(err, &p) {
		t.Fatal(err)
	}
	if p == nil {
		return ""
	}
	return fmt.Sprint(p.gateways())
}

// Pages of every size together are the list, whatever the gateways have.
func TestPages(t *testing.T) {
	inBubble(t, Config{}, func(context.Context, *Event) error { return nil }, func(t *testing.T, f *fixture) {
		sizes := []int{3, 0, 7, 1, 0, 2}
		names := []string{"a b d", "", "b c d z", "", "d", "a"}
		for i, n := range sizes {
			f.gateway(fmt.Sprintf("g%d", i+1), 1).holds(n, names[i])
		}
		c := f.w.Cluster()
		for size := 1; size <= 14; size++ {
			seen, pages := 0, 0
			var last bus.ClientID
			for q := (ClientsQuery{Page: size}); ; {
				page, next, err := c.ClientsPage(t.Context(), q)
				if err != nil || len(page) > size {
					t.Fatalf("%d of %d clients: %v", len(page), size, err)
				}
				for _, item := range page {
					if item.Client <= last { // the numbers have one digit
						t.Fatalf("%s after %s", item.Client, last)
					}
					last = item.Client
				}
				pages++
				if seen += len(page); next == "" {
					break
				}
				q.After = next
			}
			equal(t, fmt.Sprintf("clients in pages of %d", size), seen, 13)
			if most := (13+size-1)/size + 1; pages > most {
				t.Errorf("%d pages of %d, want %d", pages, size, most)
			}
			var got []string
			for q := (NamesQuery{Page: size}); ; {
				page, next, err := c.UIDsPage(t.Context(), q)
				if err != nil || len(page) > size {
					t.Fatalf("%v of %d names: %v", page, size, err)
				}
				for _, n := range page {
					got = append(got, fmt.Sprintf("%s%d", n.Name, n.Clients))
				}
				if q.After = next; next == "" {
					break
				}
			}
			equal(t, fmt.Sprintf("uids in pages of %d", size), strings.Join(got, " "), "a2 b2 c1 d3 z1")
		}
	})
}

// A gateway that is silent is named on the page that its clients would be on, and takes
// no more than its part of the time: the others are all there.
func TestPagesWithoutAGateway(t *testing.T) {
	inBubble(t, Config{}, func(context.Context, *Event) error { return nil }, func(t *testing.T, f *fixture) {
		f.gateway("g1", 1).holds(2, "a")
		f.gateway("g2", 1).silent()
		f.gateway("g3", 1).holds(5, "a b c d")
		c := f.w.Cluster()
		ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
		defer cancel()
		page, next, err := c.ClientsPage(ctx, ClientsQuery{Page: 2})
		equal(t, "the first page", fmt.Sprint(len(page), missingOf(t, err)), "2")
		page, next, err = c.ClientsPage(ctx, ClientsQuery{Page: 3, After: next})
		equal(t, "the second page", fmt.Sprint(len(page), missingOf(t, err)), "3[g2]")
		page, next, err = c.ClientsPage(ctx, ClientsQuery{Page: 3, After: next})
		equal(t, "the third page", fmt.Sprint(len(page), next, missingOf(t, err)), "2")

		names, more, err := c.GroupsPage(ctx, NamesQuery{Page: 2})
		equal(t, "the names", fmt.Sprint(len(names), more, missingOf(t, err)), "2b[g2]")
	})
}

// So it is with the lists that are read to their ends.
func TestListsWithoutAGateway(t *testing.T) {
	inBubble(t, Config{}, func(context.Context, *Event) error { return nil }, func(t *testing.T, f *fixture) {
		f.gateway("g1", 1).silent()
		f.gateway("g2", 1).holds(9, "a b c d e f g")
		ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
		defer cancel()
		n := 0
		for _, err := range f.w.Cluster().Clients(ctx, ClientsQuery{Page: 2}) {
			if err != nil {
				equal(t, "missing of the clients", missingOf(t, err), "[g1]")
				continue
			}
			n++
		}
		equal(t, "clients", n, 9)
		uids, err := f.w.Cluster().CountUIDs(ctx, "")
		equal(t, "uids", fmt.Sprint(uids, missingOf(t, err)), "7[g1]")
	})
}

// What a gateway finds wrong with a request is as what is found wrong before.
func TestWrongRequest(t *testing.T) {
	err := fmt.Errorf("worker: %w", answerError(&bus.Result{Error: "no", Code: bus.CodeBadRequest}))
	if !errors.Is(err, bus.ErrMessage) {
		t.Errorf("%v is no bus.ErrMessage", err)
	}
}
