package membus_test

import (
	"testing"
	"testing/synctest"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/bus/bustest"
	"github.com/gatebus/gatebus/bus/membus"
	"github.com/gatebus/gatebus/internal/bubble"
)

func TestMain(m *testing.M) { bubble.Main(m) }

// start makes a bus and returns what connects to it.
func start(*testing.T) func() bus.Conn {
	var b membus.Bus
	return func() bus.Conn { return b.Connect() }
}

func TestConformance(t *testing.T) { bustest.Run(t, start) }

func TestServerConformance(t *testing.T) {
	bustest.RunServer(t, func(*testing.T) (func() bus.Conn, bus.Server) {
		var b membus.Bus
		return func() bus.Conn { return b.Connect() }, &b
	})
}

// TestInBubble is what membus is for: a bus whose time is that of the test.
func TestInBubble(t *testing.T) {
	for _, c := range bustest.Cases() {
		t.Run(c.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { c.Run(t, start(t)) })
		})
	}
}

// TestPublishToWildcard: a NATS server would take it for a literal subject,
// which is never what was meant.
func TestPublishToWildcard(t *testing.T) {
	c := start(t)()
	defer c.Close()
	for _, subject := range []string{"a.*", "*", ">", "a.>", "a..b", "a."} {
		if err := c.Publish(&bus.Msg{Subject: subject}); err == nil {
			t.Errorf("Publish to %q is accepted", subject)
		}
	}
	for _, subject := range []string{"a.>.b", ">.b", ">.>"} {
		if _, err := c.Subscribe(func(*bus.Msg) {}, subject); err == nil {
			t.Errorf("Subscribe to %q is accepted", subject)
		}
	}
}
