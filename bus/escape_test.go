package bus_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/gatebus/gatebus/bus"
)

// TestHTMLStaysAsItIs has text with signs of HTML stay as long as it was, in requests,
// answers and merged sessions: what is in bounds must not grow out of them on its way.
func TestHTMLStaysAsItIs(t *testing.T) {
	long := `{"html":"` + strings.Repeat("<&>\u2028", 300) + `"}`
	if len(long) > bus.MaxSession {
		t.Fatalf("%d bytes", len(long))
	}
	merged, err := bus.MergeSession(long, json.RawMessage(`{"n":1}`))
	if err != nil || len(merged) > bus.MaxSession {
		t.Errorf("a merged session has %d bytes, %v", len(merged), err)
	}
	m, err := bus.RequestMsg("g1", bus.SessionRequest{Client: "g1-1-1", Set: json.RawMessage(long)})
	if err != nil {
		t.Fatal(err)
	}
	r, err := bus.ParseRequest[bus.SessionRequest](m.Data)
	if err != nil || string(r.Set) != long {
		t.Errorf("a request has a session of %d bytes instead of %d, %v", len(r.Set), len(long), err)
	}
	a := bus.Answer{Session: json.RawMessage(long)}
	if a, err = bus.ParseAnswer(a.Msg("x").Data); err != nil || string(a.Session) != long {
		t.Errorf("an answer has a session of %d bytes instead of %d, %v", len(a.Session), len(long), err)
	}
}
