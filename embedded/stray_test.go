package embedded_test

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	protocol "github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/internal/keys"
)

// Nobody can cut off who is subscribed to what they may publish: a server hands on
// subjects with a carriage return in them, which nats.go takes for too many words.
func TestStrayCarriageReturns(t *testing.T) {
	t.Parallel()
	s := start(t, bus())
	for name, cfg := range map[string]protocol.Config{
		"in process": {InProcess: s},
		"by options": {Options: s.ConnectOptions(keys.RoleGateway), InProcess: s},
		"TCP":        {URLs: []string{s.ClientURL()}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := "gw." + strings.ReplaceAll(name, " ", "-")
			down := make(chan error, 1)
			cfg.OnStatus = func(up bool, cause error) {
				if !up {
					select {
					case down <- cause:
					default:
					}
				}
			}
			conn, err := protocol.Dial(cfg)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(conn.Close)
			heard := make(chan *protocol.Msg, 10)
			if _, err := conn.Subscribe(func(m *protocol.Msg) { heard <- m }, root+".do.*"); err != nil {
				t.Fatal(err)
			}
			flush(t, conn.NATS())

			var d net.Dialer
			raw, err := d.DialContext(t.Context(), "tcp", s.Addr())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { raw.Close() })
			must := func(_ any, err error) {
				t.Helper()
				if err != nil {
					t.Fatal(err)
				}
			}
			must(nil, raw.SetDeadline(time.Now().Add(patience)))
			must(bufio.NewReader(raw).ReadString('\n'))
			must(fmt.Fprintf(raw, "CONNECT {\"headers\":true}\r\nPUB %[1]s.do.a in\rbox 5\r\na\rb\r\n\r\nPUB %[1]s.do.\rb 1\r\nx\r\nHPUB %[1]s.do.c a\r\rb 12 13\r\nNATS/1.0\r\n\r\ny\r\nPUB %[1]s.do.last 4\r\nlast\r\n", root))
			for _, want := range []string{"a in_box a\rb\r\n", "_b  x", "c a__b y", "last  last"} {
				select {
				case m := <-heard:
					if got := strings.TrimPrefix(m.Subject, root+".do.") + " " + m.Reply + " " + string(m.Data); got != want {
						t.Errorf("got %q, want %q", got, want)
					}
				case err := <-down:
					t.Fatalf("it was cut off: %v", err)
				case <-time.After(patience):
					t.Fatalf("%q has not come", want)
				}
			}
		})
	}
}
