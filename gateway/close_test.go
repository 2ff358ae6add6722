package gateway

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"github.com/gatebus/gatebus/bus"
)

func TestCloseByWorker(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, f *fixture) {
		var rec recorder
		var id bus.ClientID
		f.worker(func(ev bus.Event) *bus.Reply {
			rec.add(ev)
			id = ev.Client
			switch string(ev.Data) {
			case "go":
				return &bus.Reply{Status: bus.Closed, Code: 4123, Reason: "as you wish", Kind: bus.Text, Data: []byte("last")}
			case "odd":
				return &bus.Reply{Status: bus.Closed, Code: 1006}
			}
			return echo(ev)
		})
		p := f.dial("/")
		p.send("a", "go", "more")
		equal(t, "code", p.closed(), 4123)
		equal(t, "frames", p.got(), "a last")
		if !strings.Contains(p.end.Error(), "as you wish") {
			t.Fatalf("reason: %v", p.end)
		}
		synctest.Wait()
		equal(t, "events", rec.took(), "open text:a text:go close:4123")

		p = f.dial("/")
		synctest.Wait()
		m, err := bus.CloseRequest{Selector: bus.Selector{Client: id}, Code: 4200, Reason: strings.Repeat("ü", 100)}.Msg("g1")
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "found", f.ask(m).Clients, 1)
		equal(t, "code", p.closed(), 4200)
		synctest.Wait()
		equal(t, "events", rec.took(), "open close:4200")
		equal(t, "gone", f.ask(m).Clients, 0)

		p = f.dial("/")
		p.send("odd")
		equal(t, "a code that may not be sent", p.closed(), bus.CloseHandlerFailed)
		synctest.Wait()
		equal(t, "clients left", f.gw.Stats().Clients, 0)
	})
}

func TestBadReplyHarmsOneClient(t *testing.T) {
	for _, m := range []*bus.Msg{
		{Data: []byte{0xff}},
		{Header: bus.Header{bus.HeaderStatus: {"dance"}}},
		{Header: bus.Header{bus.HeaderStatus: {"reject 403"}}},
		{Header: bus.Header{bus.HeaderStatus: {"close nine"}}},
		{Header: bus.Header{bus.HeaderKind: {"video"}}},
	} {
		t.Run(fmt.Sprint(m.Header, m.Data), func(t *testing.T) {
			inBubble(t, nil, func(t *testing.T, f *fixture) {
				conn := f.bus.Connect()
				defer conn.Close()
				f.worker(func(ev bus.Event) *bus.Reply {
					if string(ev.Data) != "bad" {
						return echo(ev)
					}
					out := *m
					out.Subject = bus.ReplySubject(ev.Gateway, ev.Client, ev.Seq)
					if err := conn.Publish(&out); err != nil {
						t.Error(err)
					}
					return nil
				})
				p, neighbour := f.dial("/"), f.dial("/")
				p.send("a", "bad")
				neighbour.send("n")
				equal(t, "code", p.closed(), bus.CloseHandlerFailed)
				equal(t, "frames", p.got(), "a")
				synctest.Wait()
				equal(t, "neighbour", neighbour.got(), "n")
				equal(t, "counted", f.gw.Stats().BadReply, 1)
				if !strings.Contains(f.log.String(), "breaks the protocol") {
					t.Fatalf("log: %s", f.log)
				}
			})
		})
	}
}

func TestBadFrames(t *testing.T) {
	inBubble(t, func(c *Config) { c.MaxFrame = 100 }, func(t *testing.T, f *fixture) {
		var rec recorder
		f.worker(func(ev bus.Event) *bus.Reply { rec.add(ev); return echo(ev) })
		for _, c := range []struct {
			name string
			kind int
			data string
			code bus.CloseCode
		}{
			{"too big", websocket.BinaryMessage, strings.Repeat("x", 101), bus.CloseTooBig},
			{"not UTF-8", websocket.TextMessage, "a\xff", bus.CloseInvalidData},
		} {
			p := f.dial("/")
			p.send("a")
			synctest.Wait()
			_ = p.conn.WriteMessage(c.kind, []byte(c.data)) // the gateway may close before it has read all
			equal(t, c.name, p.closed(), c.code)
			synctest.Wait()
			equal(t, c.name+": frames", p.got(), "a")
			equal(t, c.name+": events", rec.took(), fmt.Sprintf("open text:a close:%d", c.code))
		}
		big := f.dial("/")
		big.send(strings.Repeat("x", 100))
		synctest.Wait()
		equal(t, "at the limit", len(big.got()), 100)

		// A frame that breaks RFC 6455: not masked.
		raw := f.rawClient(handshake)
		r := bufio.NewReader(raw)
		if _, err := http.ReadResponse(r, nil); err != nil {
			t.Fatal(err)
		}
		if _, err := raw.Write([]byte{0x81, 1, 'a'}); err != nil {
			t.Fatal(err)
		}
		head := make([]byte, 4)
		if _, err := io.ReadFull(r, head); err != nil {
			t.Fatal(err)
		}
		equal(t, "close frame", head[0], 0x88)
		equal(t, "code", bus.CloseCode(int(head[2])<<8|int(head[3])), bus.CloseProtocolError)
		_ = raw.Close()
		synctest.Wait()
		equal(t, "clients left", f.gw.Stats().Clients, 1)
	})
}

func TestNoHandshake(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, f *fixture) {
		var rec recorder
		f.worker(func(ev bus.Event) *bus.Reply { rec.add(ev); return echo(ev) })
		for _, c := range []struct {
			name, request string
			status        int
		}{
			{"plain GET", "GET / HTTP/1.1\r\nHost: g\r\n\r\n", 426},
			{"garbage", "\x16\x03\x01\r\n\r\n", 400},
			{"old version", strings.Replace(handshake, "Version: 13", "Version: 8", 1), 400},
			{"no key", strings.Replace(handshake, "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n", "", 1), 400},
			{"head too large", "GET / HTTP/1.1\r\nHost: g\r\nX: " + strings.Repeat("x", 64<<10), 431},
		} {
			conn, err := f.listener.dial(t.Context(), "", "")
			if err != nil {
				t.Fatal(err)
			}
			go func() { _, _ = io.WriteString(conn, c.request) }() // the gateway may not read it all
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
			equal(t, c.name, resp.StatusCode, c.status)
			_ = conn.Close()
		}
		var never []net.Conn
		for range 100 {
			never = append(never, f.rawClient("GET / HTT"))
		}
		p := f.dial("/")
		p.send("a")
		synctest.Wait()
		equal(t, "others are served", p.got(), "a")
		time.Sleep(f.gw.config().HandshakeTimeout + time.Second)
		for _, conn := range never {
			if _, err := io.ReadAll(conn); err != nil {
				t.Fatalf("not closed after handshake_timeout: %v", err)
			}
		}
		equal(t, "workers were asked about one", rec.took(), "open text:a")
	})
}

// A client that is to be cut off while its handshake is under way sees no close code.
func TestAbortWhileConnecting(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, f *fixture) {
		f.plainWorker(func(ev bus.Event, reply string) []*bus.Msg {
			out := []*bus.Msg{(&bus.Reply{}).Msg(ev.Kind, reply)}
			if ev.Kind == bus.Open { // the command comes before the answer
				m, err := bus.CloseRequest{Selector: bus.Selector{Client: ev.Client}, Abort: true}.Msg("g1")
				if err != nil {
					t.Error(err)
				}
				out = append([]*bus.Msg{m}, out...)
			}
			return out
		})
		p := f.dial("/")
		equal(t, "close code", p.closed(), bus.CloseAbnormal)
		synctest.Wait()
		equal(t, "clients left", f.gw.Stats().Clients, 0)
	})
}
