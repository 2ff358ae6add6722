package api

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gatebus/gatebus/worker"
	"github.com/gatebus/gatebus/workertest"
)

// A gateway that does not answer is named, in time; what the others say is there, and
// the status tells that it is not all.
func TestPartial(t *testing.T) {
	f := start(t, 3)
	var ids []string
	for i := range 3 {
		_, id := f.connect(i)
		ids = append(ids, string(id))
		f.ask("POST", "join", `{"to":{"client":"`+string(id)+`"},"groups":["room"]}`).is(200, "")
		f.ask("PUT", "clients/"+string(id)+"/uid", fmt.Sprintf(`{"uid":"u%d"}`, i)).is(200, "")
	}
	f.cluster.Stall(1, true)
	const missing = `"missing":[{"gateway":"g2","error":`
	for _, c := range []struct{ method, path, body, want string }{
		{"POST", "push", `{"to":{"all":true},"text":"x"}`, `{"clients":2,`},
		{"POST", "push", `{"to":{"groups":["room","x"]},"text":"x"}`, `{"clients":2,`},
		{"POST", "join", `{"to":{"all":true},"groups":["hall"]}`, `{"clients":2,`},
		{"POST", "leave", `{"to":{"all":true},"groups":["hall"]}`, `{"clients":2,`},
		{"POST", "unbind", `{"to":{"group":"none"}}`, `{"clients":0,`},
		{"POST", "counts", `{"groups":["room"]}`, `{"counts":[{"name":"room","clients":2}],`},
		{"GET", "counts", "", `{"count":2,`},
		{"GET", "counts?of=uids", "", `{"count":2,`},
		{"GET", "counts?group=room", "", `{"count":2,`},
		{"GET", "clients", "", `{"clients":[{"client":"` + ids[0] + `"},{"client":"` + ids[2] + `"}],`},
		{"GET", "uids", "", `{"names":[{"name":"u0","clients":1},{"name":"u2","clients":1}],`},
		{"GET", "groups", "", `{"names":[{"name":"room","clients":2}],`},
		{"GET", "groups/room", "", `{"name":"room","clients":2,`},
		{"GET", "uids/u1", "", `{"name":"u1","clients":0,`},
		{"PUT", "clients/" + ids[0] + "/uid", `{"uid":"u1","others":"replace"}`, `{"clients":1,`},
		{"DELETE", "groups/none", "", `{"clients":0,`},
	} {
		path := c.path + "?timeout=200ms"
		if strings.Contains(c.path, "?") {
			path = c.path + "&timeout=200ms"
		}
		began := time.Now()
		a := f.ask(c.method, path, c.body)
		if got := string(a.body); a.status != 207 || !strings.HasPrefix(got, c.want+missing) || !strings.Contains(got, "no answer in ") {
			t.Errorf("%s %s: %d %s, want 207 %s%s", c.method, path, a.status, got, c.want, missing)
		}
		if took := time.Since(began); took > patience/2 {
			t.Errorf("%s %s took %v", c.method, path, took)
		}
	}
	// What was not done is an error, and who is asked alone is all.
	p := f.ask("PUT", "clients/"+ids[0]+"/uid?timeout=200ms", `{"uid":"u1","others":"refuse"}`).problem(timeout, "g2")
	if len(p.Missing) != 1 || p.Missing[0].Gateway != "g2" {
		t.Errorf("%+v", p)
	}
	f.ask("GET", "clients/"+ids[1]+"?timeout=200ms", "").problem(timeout, "no answer in 200ms")
	f.ask("GET", "clients/"+ids[0], "").is(200, "")
	f.ask("GET", "clients?after="+ids[1], "").is(207, "") // g2 is where it begins
	f.ask("GET", "clients?after="+ids[2], "").is(200, `{"clients":[]}`)
	f.cluster.Stall(0, true)
	f.cluster.Stall(2, true)
	p = f.ask("GET", "counts?timeout=200ms", "").problem(timeout, "g1")
	if len(p.Missing) != 3 {
		t.Errorf("%+v", p)
	}
}

// Page after page is everybody, once.
func TestPaging(t *testing.T) {
	f := start(t, 3)
	n := 2500
	if testing.Short() {
		n = 250
	}
	for i := range n {
		f.cluster.Dial(workertest.Request{Gateway: i % 3})
	}
	f.ask("GET", "counts", "").is(200, fmt.Sprintf(`{"count":%d}`, n))
	for _, limit := range []int{n / 10, n, 9999} {
		seen, pages := map[string]bool{}, 0
		for after := ""; ; pages++ {
			var page struct {
				Clients []worker.ClientInfo
				Next    string
			}
			f.ask("GET", fmt.Sprintf("clients?fields=open,uid&limit=%d%s", limit, after), "").is(200, "").into(&page)
			for _, c := range page.Clients {
				if seen[string(c.Client)] || c.Open == nil {
					t.Fatalf("%+v comes twice, or lacks a field", c)
				}
				seen[string(c.Client)] = true
			}
			if page.Next == "" {
				break
			}
			after = "&after=" + page.Next
		}
		if len(seen) != n || pages > n/limit+1 {
			t.Errorf("pages of %d: %d clients on %d pages, want %d", limit, len(seen), pages, n)
		}
	}
}
