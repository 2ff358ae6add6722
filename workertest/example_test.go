package workertest_test

import (
	"context"
	"encoding/json"
	"net/url"
	"testing"

	"github.com/gatebus/gatebus/worker"
	"github.com/gatebus/gatebus/workertest"
)

// greeter tells everybody else what a client says, by its name.
var greeter = worker.HandlerFunc(func(_ context.Context, ev *worker.Event) error {
	switch ev.Kind {
	case worker.Open:
		info, err := ev.OpenInfo()
		if err != nil {
			return err
		}
		query, err := url.ParseQuery(info.Query)
		if err != nil {
			return err
		}
		name, err := json.Marshal(query.Get("name"))
		if err != nil {
			return err
		}
		return ev.Accept(worker.Admission{Session: name})
	case worker.Text:
		var name string
		if err := json.Unmarshal(ev.Session, &name); err != nil {
			return err
		}
		return ev.Cluster.SendAll(worker.Text, []byte(name+": "+string(ev.Data)), ev.Client.ID())
	}
	return nil
})

// The test of a handler, as docs/api.md shows it.
func TestGreeting(t *testing.T) {
	c := workertest.Start(t, workertest.Options{Handlers: []worker.Handler{greeter}, Gateways: 2})
	ann := c.Dial(workertest.Request{Path: "/?name=ann"})
	bob := c.Dial(workertest.Request{Gateway: 1, Path: "/?name=bob"})
	ann.Send("hello")
	bob.Expect("ann: hello")
}
