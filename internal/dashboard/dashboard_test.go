package dashboard

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/bus/membus"
	"github.com/gatebus/gatebus/internal/status"
	"github.com/gatebus/gatebus/register"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	patience              = 20 * time.Second
	id       bus.ClientID = "g1-dpmq2x0sn1-7"
)

// guard wants a token.
func guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer sesame" {
			problem(w, http.StatusUnauthorized, "it takes a token")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// cluster is what looks find; it may be changed.
type cluster struct {
	mu      sync.Mutex
	members []status.Member
	err     error
}

func (c *cluster) set(err error, members ...status.Member) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.members, c.err = members, err
}

func (c *cluster) take(context.Context, bus.Conn) (status.Look, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return status.Look{}, c.err
	}
	return status.Look{At: time.Now(), Register: "r1", Members: c.members}, nil
}

func seen(role register.Role, name string, err error) status.Member {
	return status.Member{Member: register.Member{Role: role, Name: name, Epoch: 7}, Err: err}
}

// start runs a Dashboard over a bus; what it looks at is c.
func start(t *testing.T, c *cluster) (d *Dashboard, url string, on *membus.Conn, stop func()) {
	t.Helper()
	d = New(Config{Guard: guard, Every: 5 * time.Millisecond, Idle: 20 * time.Millisecond})
	d.take = c.take
	var registers membus.Bus
	own, on := registers.Connect(), registers.Connect()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx, own) }()
	server := httptest.NewServer(d)
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		stop()
		server.Close()
		own.Close()
		on.Close()
		http.DefaultClient.CloseIdleConnections()
	})
	return d, server.URL + Path, on, stop
}

func get(t *testing.T, url, token string) *http.Response {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return resp
}

// stream reads a stream of events; next is the name and the data of the next one.
func stream(t *testing.T, url string) (next func() (event, data string, ok bool)) {
	t.Helper()
	resp := get(t, url, "sesame")
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("%s: %s", url, resp.Status)
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	return func() (event, data string, ok bool) {
		for lines.Scan() {
			switch line := lines.Text(); {
			case strings.HasPrefix(line, "event: "):
				event = line[7:]
			case strings.HasPrefix(line, "data: "):
				data = line[6:]
			case line == "" && event != "":
				return event, data, true
			}
		}
		return "", "", false
	}
}

// The page is open, its data is not; nothing of it may be framed, or ask elsewhere.
func TestGuard(t *testing.T) {
	c := &cluster{}
	_, url, _, stop := start(t, c)
	for path, want := range map[string]int{
		"": 200, "main.js": 200, "style.css": 200, "icon.svg": 200, "nothing": 404, "../doc.go": 404,
		"data/live": 401, "data/state": 401, "data/tap?client=" + string(id): 401, "data/nothing": 401,
	} {
		resp := get(t, url+path, "")
		if resp.StatusCode != want {
			t.Errorf("%s: %s, want %d", path, resp.Status, want)
		}
		if want == 404 {
			continue
		}
		csp := resp.Header.Get("Content-Security-Policy")
		if !strings.HasPrefix(csp, "default-src 'self'; ") || strings.Contains(csp, "unsafe") || !strings.Contains(csp, "frame-ancestors 'none'") {
			t.Errorf("%s: policy %q", path, csp)
		}
		if resp.Header.Get("X-Content-Type-Options") != "nosniff" || resp.Header.Get("Cache-Control") != "no-store" || resp.Header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s: %v", path, resp.Header)
		}
	}
	for path, want := range map[string]int{"data/state": 200, "data/nothing": 404, "data/tap": 400, "data/tap?client=a.b": 400} {
		if resp := get(t, url+path, "sesame"); resp.StatusCode != want {
			t.Errorf("%s with a token: %s, want %d", path, resp.Status, want)
		}
	}
	req, _ := http.NewRequestWithContext(t.Context(), "POST", url+"data/live", nil)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 405 {
		t.Errorf("POST: %s", resp.Status)
	}
	stop()
	if resp := get(t, url+"data/live", "sesame"); resp.StatusCode != 503 {
		t.Errorf("when it has stopped: %s", resp.Status)
	}
}

// What becomes of members is told to who watches, each thing once.
func TestLive(t *testing.T) {
	r, g, w := seen(register.RoleRegister, "r1", nil), seen(register.RoleGateway, "g1", nil), seen(register.RoleWorker, "w1", nil)
	dead := seen(register.RoleWorker, "w1", errors.New("nobody answers for it"))
	c := &cluster{members: []status.Member{g, r, w}}
	d, url, _, stop := start(t, c)
	next := stream(t, url+"data/live")
	var (
		v     view
		notes []string
	)
	until := func(what string, ok func() bool) {
		t.Helper()
		for {
			event, data, more := next()
			if !more || event != "state" {
				t.Fatalf("%s: the stream has ended; notes %q", what, notes)
			}
			v = view{}
			if err := json.Unmarshal([]byte(data), &v); err != nil {
				t.Fatal(err)
			}
			for _, n := range v.Notes {
				notes = append(notes, strings.TrimSpace(string(n.Role)+" "+n.Name+" "+n.What))
			}
			if ok() {
				return
			}
		}
	}
	is := func(name, state string, listed bool) func() bool {
		return func() bool {
			for _, c := range v.Conditions {
				if c.Name == name {
					return c.State == state && c.Listed == listed
				}
			}
			return state == ""
		}
	}
	until("a worker", is("w1", stateOK, true))
	if !is("g1", stateDegraded, true)() { // it knows of no worker
		t.Errorf("%+v", v.Conditions)
	}
	c.set(nil, g, r, dead)
	until("a dead worker", is("w1", stateGone, true))
	c.set(nil, g, r)
	until("its lease ends", is("w1", stateGone, false))
	c.set(nil, g, r, w)
	until("it is back", is("w1", stateOK, true))
	c.set(nil, g, r)
	until("it leaves", is("w1", "", false))
	c.set(errors.New("nobody"))
	until("no register", func() bool { return v.Error == "nobody" })
	if v.Report == nil || len(v.Conditions) != 2 {
		t.Errorf("the last that is known is forgotten: %+v", v)
	}
	c.set(nil, g, r)
	until("a register", func() bool { return v.Error == "" })
	want := []string{
		"worker w1 does not answer: nobody answers for it", "worker w1 is off the registers: its lease has ended",
		"worker w1 joined", "worker w1 left", "no register answers", "a register answers again",
	}
	if got := strings.Join(notes, "\n"); got != strings.Join(want, "\n") {
		t.Errorf("notes\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
	until("samples", func() bool { return len(v.Samples) > 0 })
	if again := d.since(mark{}); len(again.Notes) != len(want) || len(again.Samples) < 2 {
		t.Errorf("a new page is told of %d notes and %d samples", len(again.Notes), len(again.Samples))
	}
	stop()
	for more := true; more; { // and so does the stream end
		_, _, more = next()
	}
}

// Of samples and notes only so many are kept, and a member that has died is forgotten.
func TestBounds(t *testing.T) {
	var s state
	s.init()
	now := time.Now()
	dead := seen(register.RoleWorker, "w0", errors.New("gone"))
	s.saw(now, status.Look{At: now, Members: []status.Member{dead}}, nil, 5*time.Second)
	for i := range 3 * maxNotes {
		now = now.Add(5 * time.Second)
		look := status.Look{At: now}
		if i%2 == 0 {
			look.Members = append(look.Members, seen(register.RoleWorker, "w1", nil))
		}
		s.saw(now, look, nil, 5*time.Second)
		if _, there := s.members[member{register.RoleWorker, "w0"}]; there != (time.Duration(i)*5*time.Second <= remembered) {
			t.Fatalf("after %v: the dead worker is there: %v", time.Duration(i+1)*5*time.Second, there)
		}
	}
	if len(s.samples) != maxSamples || len(s.notes) != maxNotes || len(s.members) > 1 {
		t.Errorf("%d samples, %d notes, %d members", len(s.samples), len(s.notes), len(s.members))
	}
}

// A tap shows one client, cuts what is long, and ends with its reader; there are only so many.
func TestTap(t *testing.T) {
	d, url, on, _ := start(t, &cluster{})
	next := stream(t, url+"data/tap?client="+string(id))
	if event, _, _ := next(); event != "tapping" {
		t.Fatal(event)
	}
	long := strings.Repeat("ö", tapPayload)
	for _, m := range []*bus.Msg{
		{Subject: bus.ClientTapSubject("g1", "g1-dpmq2x0sn1-8", true, bus.Text), Data: []byte("of another")},
		{Subject: bus.ClientTapSubject("g1", id, true, bus.Text), Data: []byte("</script>\n\ndata: x")},
		{Subject: bus.ClientTapSubject("g1", id, false, bus.Text), Data: []byte("x" + long)},
		bus.Skipped{Gateway: "g1", Skipped: 5}.Msg(),
	} {
		if err := on.Publish(m); err != nil {
			t.Fatal(err)
		}
	}
	for i, want := range []tapped{
		{Tapped: bus.Tapped{Way: bus.WayIn, Text: "</script>\n\ndata: x"}},
		{Tapped: bus.Tapped{Way: bus.WayOut, Text: "x" + long[:tapPayload-2]}, Cut: true},
		{Tapped: bus.Tapped{Way: bus.WaySkipped, Skipped: 5}},
	} {
		event, data, _ := next()
		var got tapped
		if err := json.Unmarshal([]byte(data), &got); err != nil || event != "tapped" {
			t.Fatalf("%d: %s %s: %v", i, event, data, err)
		}
		if got.Way != want.Way || got.Text != want.Text || got.Cut != want.Cut || got.Skipped != want.Skipped {
			t.Errorf("%d: %.100q %v", i, got.Text, got)
		}
	}
	for range maxTaps - 1 {
		if event, _, _ := stream(t, url+"data/tap?client="+string(id))(); event != "tapping" {
			t.Fatal(event)
		}
	}
	resp := get(t, url+"data/tap?client="+string(id), "sesame")
	if body, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusTooManyRequests || !strings.Contains(string(body), "close one") {
		t.Errorf("%s %s", resp.Status, body)
	}
	if d.watched() {
		t.Error("a tap is no watcher")
	}
}
