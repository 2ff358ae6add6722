package gateway

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatebus/gatebus/bus"
)

// ask publishes a push or command and returns what the gateway answers.
func (f *fixture) ask(m *bus.Msg) bus.Result {
	f.t.Helper()
	conn := f.bus.Connect()
	defer conn.Close()
	answer, err := conn.Request(f.t.Context(), m)
	if err != nil {
		f.t.Fatalf("%s: %v", m.Subject, err)
	}
	r, err := bus.ParseResult(answer.Data)
	if err != nil {
		f.t.Fatal(err)
	}
	return r
}

func (f *fixture) push(scope bus.Scope, name, text string, except ...bus.ClientID) bus.Result {
	f.t.Helper()
	p := bus.Push{Target: bus.Target{Scope: scope, Name: name}, Kind: bus.Text, Data: []byte(text), Except: except}
	m, err := p.Msg("g1")
	if err != nil {
		f.t.Fatal(err)
	}
	return f.ask(m)
}

// admit is a worker that gives clients what their query says, and remembers
// their ids by path.
func (f *fixture) admit(rec *recorder) map[string]bus.ClientID {
	ids := map[string]bus.ClientID{}
	f.worker(func(ev bus.Event) *bus.Reply {
		rec.add(ev)
		if ev.Kind != bus.Open {
			return echo(ev)
		}
		var info bus.OpenInfo
		if err := json.Unmarshal(ev.Data, &info); err != nil {
			f.t.Error(err)
		}
		ids[info.Path] = info.Client
		return &bus.Reply{Data: []byte(info.Headers["X-Reply"][0])}
	})
	return ids
}

func (f *fixture) dialReply(path, reply string) *peer {
	f.t.Helper()
	p, _, err := f.tryDial(path, http.Header{"X-Reply": {reply}})
	if err != nil {
		f.t.Fatal(err)
	}
	go p.read()
	return p
}

func TestOpenInfo(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, f *fixture) {
		var got bus.OpenInfo
		f.worker(func(ev bus.Event) *bus.Reply {
			if ev.Kind == bus.Open {
				if err := json.Unmarshal(ev.Data, &got); err != nil {
					t.Error(err)
				}
				equal(t, "client", got.Client, ev.Client)
			}
			return &bus.Reply{Data: ev.Data} // as an echo does: accepts
		})
		_, _, err := f.tryDial("/a/b?name=x&y=%20", http.Header{"Cookie": {"k=v"}})
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		equal(t, "path", got.Path, "/a/b")
		equal(t, "query", got.Query, "name=x&y=%20")
		equal(t, "host", got.Host, "gateway")
		equal(t, "remote", got.Remote, "pipe")
		equal(t, "header", got.Headers["Cookie"][0], "k=v")
		equal(t, "gateway of the id", strings.HasPrefix(string(got.Client), "g1-"), true)
	})
}

func TestOpenReply(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, f *fixture) {
		var rec recorder
		f.admit(&rec)
		p, resp, err := f.tryDial("/", http.Header{"X-Reply": {
			`{"uid":"ann b","groups":["room.1"],"session":{ "n" : 1 },"subprotocol":"v2.gatebus","other":[1]}`,
		}})
		if err != nil {
			t.Fatal(err)
		}
		go p.read()
		equal(t, "subprotocol", resp.Header.Get("Sec-WebSocket-Protocol"), "v2.gatebus")
		p.send("a")
		synctest.Wait()
		ev := rec.events[1]
		equal(t, "uid", ev.UID, "ann b")
		equal(t, "session", ev.Session, `{"n":1}`)
		equal(t, "by uid", f.push(bus.ToUID, "ann b", "u").Clients, 1)
		equal(t, "by group", f.push(bus.ToGroup, "room.1", "g").Clients, 1)
		equal(t, "by another name", f.push(bus.ToGroup, "room", "x").Clients, 0)
		synctest.Wait()
		equal(t, "frames", p.got(), "a u g")
		_ = p.conn.Close()
		synctest.Wait()
		equal(t, "off the index", f.push(bus.ToUID, "ann b", "u").Clients, 0)
		last := rec.events[len(rec.events)-1]
		equal(t, "the close event knows them too", last.Kind.String()+last.UID, "closeann b")
	})
}

// A subprotocol that the client did not offer must not be put upon it.
func TestSubprotocolNotOffered(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, f *fixture) {
		var rec recorder
		f.admit(&rec)
		_, resp, err := f.tryDial("/", http.Header{"X-Reply": {`{"subprotocol":"v9"}`}})
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "subprotocol", resp.Header.Get("Sec-WebSocket-Protocol"), "")
	})
}

func TestRejected(t *testing.T) {
	for _, c := range []struct {
		name   string
		reply  bus.Reply
		status int
		body   string
	}{
		{"status and reason", bus.Reply{Status: bus.Rejected, Code: 402, Reason: "pay first"}, 402, "pay first\n"},
		{"no reason", bus.Reply{Status: bus.Rejected, Code: 429}, 429, "Too Many Requests\n"},
		{"close is a refusal too", bus.Reply{Status: bus.Closed, Code: 4100, Reason: "no"}, 403, "no\n"},
		{"status out of range", bus.Reply{Status: bus.Rejected, Code: 200}, 502, "the reply of the worker was not valid\n"},
		{"bad json", bus.Reply{Data: []byte(`{"uid":5}`)}, 502, "the reply of the worker was not valid\n"},
		{"bad uid", bus.Reply{Data: []byte(`{"uid":"` + strings.Repeat("x", 300) + `"}`)}, 502, "the reply of the worker was not valid\n"},
		{"bad group", bus.Reply{Data: []byte(`{"groups":[""]}`)}, 502, "the reply of the worker was not valid\n"},
		{"session too long", bus.Reply{Data: []byte(`{"session":"` + strings.Repeat("x", 3000) + `"}`)}, 502, "the reply of the worker was not valid\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, nil, func(t *testing.T, f *fixture) {
				var rec recorder
				f.worker(func(ev bus.Event) *bus.Reply { rec.add(ev); return &c.reply })
				_, resp, err := f.tryDial("/", nil)
				if err == nil {
					t.Fatal("let in")
				}
				equal(t, "status", resp.StatusCode, c.status)
				body, err := io.ReadAll(resp.Body)
				if err != nil {
					t.Fatal(err)
				}
				equal(t, "body", string(body), c.body)
				time.Sleep(time.Minute)
				synctest.Wait()
				equal(t, "no close event of a client that never was", rec.took(), "open")
				equal(t, "clients left", f.gw.Stats().Clients, 0)
				equal(t, "refused", f.gw.Stats().Refused, 1)
			})
		})
	}
}

// rawClient sends bytes of a handshake over a bare connection.
func (f *fixture) rawClient(request string) net.Conn {
	f.t.Helper()
	conn, err := f.listener.dial(f.t.Context(), "", "")
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { _ = conn.Close() })
	if _, err := io.WriteString(conn, request); err != nil {
		f.t.Fatal(err)
	}
	return conn
}

const handshake = "GET / HTTP/1.1\r\nHost: g\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"

// A client that leaves while its open event is out is told about if, and only
// if, a worker accepted it.
func TestLeavesBeforeOpen(t *testing.T) {
	for _, c := range []struct {
		name  string
		reply *bus.Reply
		want  string
	}{
		{"accepted", &bus.Reply{}, "open close:1006"},
		{"rejected", &bus.Reply{Status: bus.Rejected, Code: 403}, "open"},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, nil, func(t *testing.T, f *fixture) {
				var rec recorder
				conn := f.bus.Connect()
				defer conn.Close()
				f.worker(func(ev bus.Event) *bus.Reply {
					rec.add(ev)
					if ev.Kind == bus.Close {
						return &bus.Reply{}
					}
					time.AfterFunc(time.Second, func() {
						if err := conn.Publish(c.reply.Msg(ev.Kind, bus.ReplySubject(ev.Gateway, ev.Client, ev.Seq))); err != nil {
							t.Error(err)
						}
					})
					return nil
				})
				raw := f.rawClient(handshake)
				synctest.Wait()
				_ = raw.Close()
				time.Sleep(time.Minute)
				synctest.Wait()
				equal(t, "events", rec.took(), c.want)
				equal(t, "clients left", f.gw.Stats().Clients, 0)
			})
		})
	}
	t.Run("nobody heard of it", func(t *testing.T) {
		inBubble(t, nil, func(t *testing.T, f *fixture) {
			raw := f.rawClient(handshake)
			time.Sleep(time.Second)
			_ = raw.Close()
			time.Sleep(time.Second)
			synctest.Wait()
			equal(t, "clients left", f.gw.Stats().Clients, 0)
			var rec recorder
			f.worker(func(ev bus.Event) *bus.Reply { rec.add(ev); return echo(ev) })
			time.Sleep(time.Minute)
			synctest.Wait()
			equal(t, "events", rec.took(), "")
		})
	})
}
