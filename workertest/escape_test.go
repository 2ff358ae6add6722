package workertest_test

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"
)

// A session that is within the limit stays so when it is set, told and merged, though
// signs of HTML are in it.
func TestSessionOfHTML(t *testing.T) {
	c := start(t, 1)
	long := `{"html":"` + strings.Repeat("<&>", 500) + `"}`
	cl := c.Dial(at(0, url.Values{"session": {long}}))
	client := c.Cluster().Client(cl.ID())
	if s, err := client.Session(t.Context()); err != nil || string(s.Data) != long {
		t.Errorf("%d bytes instead of %d, %v", len(s.Data), len(long), err)
	}
	if err := client.SetSession(t.Context(), json.RawMessage(long)); err != nil {
		t.Errorf("set: %v", err)
	}
	if err := client.MergeSession(t.Context(), json.RawMessage(`{"n":"<"}`)); err != nil {
		t.Errorf("merge: %v", err)
	}
}
