package gateway

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/gatebus/gatebus/bus"
)

// While a large part of the index is looked at, others can change it, and what was
// there all the time is seen once.
func TestSlowly(t *testing.T) {
	x := newIndex("g1", 1, func(bus.Scope, string, bool) {}, func(*client) {})
	const n = 5*glance + 7
	for i := range uint64(n) {
		c := &client{number: i, uid: fmt.Sprint(i)}
		x.clients[i] = c
		x.uids.add(c.uid, c)
		x.online(c)
	}
	changed := make(chan struct{})
	go func() {
		defer close(changed)
		for i := range uint64(10) {
			x.mu.Lock() // waits for who reads, and is not overtaken
			delete(x.clients, n-1-i)
			x.clients[n+i] = &client{number: n + i}
			x.mu.Unlock()
		}
	}()
	seen := map[uint64]int{}
	x.mu.RLock()
	for c := range slowly(x, maps.Values(x.clients)) {
		if len(seen) == 0 { // from now on somebody waits
			for x.mu.TryRLock() {
				x.mu.RUnlock()
			}
		}
		seen[c.number]++
	}
	missing := 0
	for i := range uint64(n - 10) {
		if seen[i] != 1 {
			missing++
		}
	}
	// Those that have waited came to it before this did.
	_, first := x.clients[n-1]
	x.mu.RUnlock()
	<-changed
	if first {
		t.Error("nobody could change the index while it was looked at")
	}
	equal(t, "not seen once", missing, 0)
	equal(t, "uids", func() int {
		x.mu.RLock()
		defer x.mu.RUnlock()
		return len(slices.Collect(x.presentLocked(x.uids)))
	}(), n)
}

// A list that has more than a page is told whole, though clients leave in between.
func TestListWhileTheyLeave(t *testing.T) {
	x := newIndex("g1", 1, func(bus.Scope, string, bool) {}, func(*client) {})
	const n = 1000
	for i := uint64(1); i <= n; i++ {
		c := &client{id: bus.NewClientID("g1", 1, i), number: i, uid: fmt.Sprintf("u%04d", i)}
		x.clients[i] = c
		x.uids.add(c.uid, c)
		x.online(c)
	}
	var ids []bus.ClientID
	r := bus.ListRequest{Of: bus.OfClients}
	for {
		a, err := x.listClients(&r, 10)
		if err != nil {
			t.Fatal(err)
		}
		for _, item := range a.Items {
			ids = append(ids, item.Client)
		}
		if r.After = a.Next; a.Next == "" {
			break
		}
		_, _, last, _ := bus.ClientID(a.Next).Parts()
		x.offline(x.clients[last]) // the one that the next page begins behind
		delete(x.clients, last)
	}
	equal(t, "clients", len(ids), n)
	if !slices.IsSortedFunc(ids, func(a, b bus.ClientID) int {
		_, _, i, _ := a.Parts()
		_, _, j, _ := b.Parts()
		return int(i) - int(j)
	}) {
		t.Error("they are not in order")
	}
}

// With too many queries before it, one is refused and not kept.
func TestTooManyQueries(t *testing.T) {
	g := &Gateway{queries: make(chan query, 1), name: "g1", outs: "gw.g1.out."}
	var answers []bus.Answer
	conn := answering{got: &answers}
	m := &bus.Msg{Subject: "gw.g1.do.count", Reply: "x", Data: []byte(`{"of":"clients"}`)}
	g.conn, g.tap = conn, &tap{}
	g.deliver(conn, m)
	equal(t, "answered at once", len(answers), 0)
	g.deliver(conn, m)
	equal(t, "refused", len(answers), 1)
	equal(t, "code", answers[0].Code, bus.CodeBusy)
}

// answering is a connection that keeps what is answered.
type answering struct {
	bus.Conn
	got *[]bus.Answer
}

func (a answering) Publish(m *bus.Msg) error {
	answer, err := bus.ParseAnswer(m.Data)
	*a.got = append(*a.got, answer)
	return err
}
