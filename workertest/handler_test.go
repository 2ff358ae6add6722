package workertest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/worker"
	"github.com/gatebus/gatebus/workertest"
)

// counter counts a client's frames in its session and in its uid.
func counter(ctx context.Context, ev *worker.Event) error {
	if !ev.Kind.Frame() {
		return nil
	}
	n := 0
	if len(ev.Session) > 0 {
		if err := json.Unmarshal(ev.Session, &n); err != nil {
			return err
		}
	}
	if want := map[bool]string{true: "u" + strconv.Itoa(n)}[n > 0]; ev.UID != want {
		return fmt.Errorf("the uid is %q, and the session %d", ev.UID, n)
	}
	if err := ev.Client.SetSession(ctx, json.RawMessage(strconv.Itoa(n+1))); err != nil {
		return err
	}
	if err := ev.Client.Bind(ctx, "u"+strconv.Itoa(n+1), worker.AllowOthers); err != nil {
		return err
	}
	ev.Reply([]byte(strconv.Itoa(n + 1)))
	return nil
}

// What a handler changes is there in the next event of the client, though that was
// sent before; through any worker.
func TestChangesAreSeen(t *testing.T) {
	c := workertest.Start(t, workertest.Options{Handlers: []worker.Handler{worker.HandlerFunc(counter), worker.HandlerFunc(counter)}})
	cl := c.Dial(workertest.Request{})
	const frames = 200
	for range frames {
		cl.Send("x")
	}
	for i := range frames {
		cl.Expect(strconv.Itoa(i + 1))
	}
}

// diary is a handler that notes what it is told.
type diary struct {
	mu      sync.Mutex
	entries []string
	fail    error
}

func (d *diary) add(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.entries = append(d.entries, fmt.Sprintf(format, args...))
}

func (d *diary) read() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return strings.Join(d.entries, " ")
}

func (d *diary) Start(_ context.Context, c *worker.Cluster) error {
	d.add("start:%d", len(c.Gateways()))
	return d.fail
}

func (d *diary) Stop(context.Context) { d.add("stop") }

func (d *diary) GatewayConnected(_ context.Context, g worker.GatewayLink) { d.add("+%s", g.Gateway) }

func (d *diary) GatewayGone(_ context.Context, g worker.GatewayLink) {
	d.add("-%s", g.Gateway)
	panic("one failure is nobody else's")
}

func (d *diary) Handle(_ context.Context, ev *worker.Event) error {
	d.add("%v", ev.Kind)
	ev.Reply(ev.Data)
	return nil
}

// The callbacks come in order: start, gateways, events, stop.
func TestCallbacks(t *testing.T) {
	d := &diary{}
	t.Run("cluster", func(t *testing.T) {
		c := workertest.Start(t, workertest.Options{Handlers: []worker.Handler{d}, Gateways: 2})
		c.Eventually("the handler knows both gateways", func() bool { return strings.Count(d.read(), "+") == 2 }) // told beside the events
		cl := c.Dial(workertest.Request{})
		cl.Send("a")
		cl.Expect("a")
		cl.Close()
		c.Eventually("the close event is handled", func() bool { return strings.HasSuffix(d.read(), "close") })
	})
	words := strings.Fields(d.read())
	if first := words[0]; first != "start:0" || words[len(words)-1] != "stop" || strings.Count(d.read(), "start") != 1 {
		t.Errorf("%q", words)
	}
	if gateways := slices.Sorted(slices.Values(words[1:3])); !slices.Equal(gateways, []string{"+g1", "+g2"}) {
		t.Errorf("%q", words)
	}
	if got := strings.Join(words[3:6], " "); got != "open text close" {
		t.Errorf("%q", words)
	}
}

// failing does not get through Start.
func TestStartFails(t *testing.T) {
	d := &diary{fail: errors.New("no database")}
	w, err := worker.New(worker.Config{}, d)
	if err != nil {
		t.Fatal(err)
	}
	err = w.RunOn(t.Context(), nowhere{}, nil)
	if err == nil || !strings.Contains(err.Error(), "worker: start: no database") {
		t.Errorf("Run: %v", err)
	}
	if d.read() != "start:0" {
		t.Errorf("%q", d.read())
	}
}

// nowhere is a connection to registers that is not used.
type nowhere struct{ bus.Conn }

// A handler learns what its client asked for, in any event.
func TestInfoInHandler(t *testing.T) {
	h := worker.HandlerFunc(func(ctx context.Context, ev *worker.Event) error {
		switch ev.Kind {
		case worker.Open:
			if err := ev.Client.Join(ctx, "before"); err != nil { // while it is connecting
				return err
			}
			return ev.Accept(worker.Admission{UID: "ann", Groups: []string{"after"}, Subprotocol: "v2"})
		case worker.Text:
			info, err := ev.Client.Info(ctx)
			if err != nil {
				return err
			}
			ev.Reply([]byte(info.Open.Path + " " + info.Open.Query + " " + info.Open.Headers["X-Who"][0] + " " + info.UID + " " + strings.Join(info.Groups, ",")))
		}
		return nil
	})
	c := workertest.Start(t, workertest.Options{Handlers: []worker.Handler{h}})
	cl := c.Dial(workertest.Request{Path: "/chat?a=b", Header: map[string][]string{"X-Who": {"me"}}, Subprotocols: []string{"v1", "v2"}})
	cl.Send("x")
	cl.Expect("/chat a=b me ann before,after")
	if cl.Subprotocol() != "v2" {
		t.Errorf("subprotocol %q", cl.Subprotocol())
	}
	ok, err := c.Cluster().Client(cl.ID()).CloseWith(t.Context(), worker.CloseOptions{Abort: true})
	if code, _ := cl.Closed(); !ok || err != nil || code != 1006 {
		t.Errorf("aborted: %v, %v, %d", ok, err, code)
	}
}

// No update of a session is lost, whoever makes it.
func TestSessionsMeet(t *testing.T) {
	c := start(t, 2)
	cl := c.Dial(workertest.Request{Gateway: 1})
	client := c.Cluster().Client(cl.ID())
	const writers, each = 4, 20
	done := make(chan error, 2*writers)
	for w := range writers {
		go func() {
			var err error
			for range each {
				err = errors.Join(err, client.UpdateSession(t.Context(), func(data json.RawMessage) (json.RawMessage, error) {
					s := struct{ N int }{}
					if len(data) > 0 {
						if err := json.Unmarshal(data, &s); err != nil {
							return nil, err
						}
					}
					var rest map[string]json.RawMessage
					if len(data) > 0 {
						if err := json.Unmarshal(data, &rest); err != nil {
							return nil, err
						}
					}
					if rest == nil {
						rest = map[string]json.RawMessage{}
					}
					rest["N"] = json.RawMessage(strconv.Itoa(s.N + 1))
					return json.Marshal(rest)
				}))
			}
			done <- err
		}()
		go func() {
			var err error
			for i := range each {
				err = errors.Join(err, client.MergeSession(t.Context(), json.RawMessage(fmt.Sprintf(`{"w%d":%d}`, w, i))))
			}
			done <- err
		}()
	}
	for range 2 * writers {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	s, err := client.Session(context.Background())
	if want := `{"N":80,"w0":19,"w1":19,"w2":19,"w3":19}`; err != nil || string(s.Data) != want || s.Version != 160 {
		t.Errorf("%s of version %d, %v, want %s", s.Data, s.Version, err, want)
	}
}
