package worker

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatebus/gatebus/bus"
)

// scripted is a connection to a gateway whose requests are answered by a function;
// false is no answer.
type scripted struct {
	bus.Conn
	answer func(gateway, op string) (bus.Answer, bool)
}

func (s *scripted) Request(ctx context.Context, m *bus.Msg) (*bus.Msg, error) {
	g, op, err := bus.ParseCommandSubject(m.Subject)
	if err != nil || ctx.Err() != nil {
		return nil, errors.Join(err, ctx.Err())
	}
	if a, ok := s.answer(string(g), op); ok {
		return a.Msg(m.Reply), nil
	}
	<-ctx.Done()
	return nil, context.Cause(ctx)
}

// What Bind has to take back or to end is not left because a gateway was silent until
// the deadline.
func TestBindUndoesAfterDeadline(t *testing.T) {
	for _, c := range []struct {
		others Others
		last   string // what g1 is asked in the end
		want   error
	}{
		{RefuseOthers, "unbind", context.DeadlineExceeded},
		{ReplaceOthers, "close", ErrUIDTaken},
	} {
		t.Run(string(c.others), func(t *testing.T) {
			inBubble(t, Config{}, func(context.Context, *Event) error { return nil }, func(t *testing.T, f *fixture) {
				var mu sync.Mutex
				var asked []string
				answer := func(gateway, op string) (bus.Answer, bool) {
					mu.Lock()
					defer mu.Unlock()
					asked = append(asked, gateway+":"+op)
					bound := strings.Contains(strings.Join(asked, " "), "bind")
					a := bus.Answer{Result: bus.Result{Gateway: bus.GatewayID(gateway), Clients: 1}}
					switch {
					case op == bus.OpBind:
						a.Claim = &bus.Claim{Client: "g1-1-1", At: 1}
					case op == bus.OpCount:
						a.Counts = []int{0}
					case gateway == "g2": // a close
						a.Later = 1
					}
					return a, gateway != "g3" || !bound
				}
				f.wrap = func(conn bus.Conn) bus.Conn { return &scripted{conn, answer} }
				for _, name := range []string{"g1", "g2", "g3"} {
					f.gateway(name, 1)
				}
				err := f.w.Cluster().Client("g1-1-1").Bind(t.Context(), "ann", c.others)
				if !errors.Is(err, c.want) {
					t.Errorf("Bind = %v, want %v", err, c.want)
				}
				equal(t, "asked last", asked[len(asked)-1], "g1:"+c.last)
			})
		})
	}
}

// UpdateSession ends with its time, though somebody else is always faster.
func TestUpdateSessionEnds(t *testing.T) {
	inBubble(t, Config{}, func(context.Context, *Event) error { return nil }, func(t *testing.T, f *fixture) {
		var version uint64
		f.wrap = func(conn bus.Conn) bus.Conn {
			return &scripted{conn, func(string, string) (bus.Answer, bool) {
				time.Sleep(100 * time.Millisecond) // virtual
				version++
				a := bus.Answer{Result: bus.Result{Gateway: "g1", Clients: 1}, Version: version}
				if version > 1 { // of what is to be set
					a.Code, a.Error = bus.CodeSessionChanged, "changed"
				}
				return a, true
			}}
		}
		f.gateway("g1", 1)
		start, changes := time.Now(), 0
		err := f.w.Cluster().Client("g1-1-1").UpdateSession(t.Context(), func(json.RawMessage) (json.RawMessage, error) {
			if changes++; changes > 1000 {
				return nil, errors.New("it does not end")
			}
			return json.RawMessage(`1`), nil
		})
		if took := time.Since(start); !errors.Is(err, ErrSessionChanged) || took < 4*time.Second || took > 6*time.Second {
			t.Errorf("after %v and %d changes: %v", took, changes, err)
		}
	})
}
