package gateway

import (
	"bufio"
	"encoding/json"
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

func TestPushes(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, f *fixture) {
		var rec recorder
		ids := f.admit(&rec)
		a := f.dialReply("/a", `{"uid":"u","groups":["x","y"]}`)
		b := f.dialReply("/b", `{"uid":"u","groups":["x"]}`)
		c := f.dialReply("/c", `{}`)
		synctest.Wait()
		equal(t, "client", f.push(bus.ToClient, string(ids["/c"]), "1"), bus.Result{Gateway: "g1", Clients: 1})
		equal(t, "nobody", f.push(bus.ToClient, "g1-1-1", "1").Clients, 0)
		equal(t, "uid", f.push(bus.ToUID, "u", "2").Clients, 2)
		equal(t, "uid but one", f.push(bus.ToUID, "u", "3", ids["/a"]).Clients, 1)
		equal(t, "group", f.push(bus.ToGroup, "y", "4").Clients, 1)
		equal(t, "all", f.push(bus.ToAll, "", "5").Clients, 3)
		equal(t, "all but two", f.push(bus.ToAll, "", "6", ids["/a"], ids["/b"]).Clients, 1)
		bin := f.ask(&bus.Msg{Subject: "gw.g1.push.all", Data: []byte{0xff}, Header: bus.Header{bus.HeaderKind: {"binary"}}})
		equal(t, "binary", bin.Clients, 3)
		empty := f.ask(&bus.Msg{Subject: "gw.g1.push.client." + string(ids["/c"])})
		equal(t, "empty", empty.Clients, 1)
		synctest.Wait()
		equal(t, "a", a.got(), "2 4 5 <\xff>")
		equal(t, "b", b.got(), "2 3 5 <\xff>")
		equal(t, "c", c.got(), "1 5 6 <\xff> ")

		for _, m := range []*bus.Msg{
			{Subject: "gw.g1.push.all", Data: []byte{0xff}},
			{Subject: "gw.g1.push.all.x"},
			{Subject: "gw.g1.push.uid"},
			{Subject: "gw.g1.push.uid.%zz"},
			{Subject: "gw.g1.push.everybody"},
			{Subject: "gw.g1.push.all", Header: bus.Header{bus.HeaderKind: {"open"}}},
			{Subject: "gw.g1.do.dance"},
			{Subject: "gw.g1.do.close", Data: []byte("{")},
			{Subject: "gw.g1.do.close", Data: []byte(`{"client":"x"}`)},
			{Subject: "gw.g1.do.close", Data: []byte(`{"client":"g1-1-1","code":1006}`)},
		} {
			if r := f.ask(m); r.Error == "" || r.Clients != 0 {
				t.Errorf("%s %q: %+v", m.Subject, m.Data, r)
			}
		}
		synctest.Wait()
		equal(t, "nobody got any of that", a.got()+b.got()+c.got(), "")
	})
}

// What a worker pushes before its reply arrives before it.
func TestPushBeforeReply(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, f *fixture) {
		conn := f.bus.Connect()
		defer conn.Close()
		_, err := conn.QueueSubscribe(bus.EventSubjects("g1", "default"), "default", func(m *bus.Msg) {
			ev, err := bus.ParseEvent(m)
			if err != nil {
				t.Error(err)
				return
			}
			for _, out := range []*bus.Msg{
				{Subject: "gw.g1.push.client." + string(ev.Client), Data: []byte("1-" + ev.Kind.String())},
				{Subject: "gw.g1.push.client." + string(ev.Client), Data: []byte("2-" + ev.Kind.String())},
				echo(ev).Msg(ev.Kind, m.Reply),
			} {
				if err := conn.Publish(out); err != nil {
					t.Error(err)
				}
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		p := f.dial("/")
		p.send("a")
		synctest.Wait()
		equal(t, "frames", p.got(), "1-open 2-open 1-text 2-text a")
	})
}

func TestAttach(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, f *fixture) {
		registers := f.bus.Connect()
		defer registers.Close()
		if err := f.gw.Attach(registers); err != nil {
			t.Fatal(err)
		}
		f.worker(echo)
		p := f.dial("/")
		equal(t, "through the registers", f.ask(&bus.Msg{Subject: "gw.all.push.all", Data: []byte("x")}).Clients, 1)
		synctest.Wait()
		equal(t, "frame", p.got(), "x")
	})
}

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
		m, err := bus.CloseRequest{Client: id, Code: 4200, Reason: strings.Repeat("ü", 100)}.Msg("g1")
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
		time.Sleep(f.gw.cfg.HandshakeTimeout + time.Second)
		for _, conn := range never {
			if _, err := io.ReadAll(conn); err != nil {
				t.Fatalf("not closed after handshake_timeout: %v", err)
			}
		}
		equal(t, "workers were asked about one", rec.took(), "open text:a")
	})
}

func TestSlowClient(t *testing.T) {
	inBubble(t, func(c *Config) { c.SendFrames = 10 }, func(t *testing.T, f *fixture) {
		var rec recorder
		f.worker(func(ev bus.Event) *bus.Reply { rec.add(ev); return echo(ev) })
		slow, _, err := f.tryDial("/", nil) // never reads
		if err != nil {
			t.Fatal(err)
		}
		neighbour := f.dial("/")
		var want []string
		for i := range 30 {
			want = append(want, fmt.Sprint(i))
			f.push(bus.ToAll, "", fmt.Sprint(i))
			synctest.Wait()
		}
		equal(t, "the neighbour gets all", neighbour.got(), strings.Join(want, " "))
		equal(t, "counted", f.gw.Stats().ClosedSlow, 1)
		equal(t, "events", rec.took(), "open open close:4000")
		time.Sleep(f.gw.cfg.CloseTimeout + time.Millisecond)
		synctest.Wait()
		// The write under way had its last chance; the rest was dropped with it.
		if _, _, err := slow.conn.ReadMessage(); err == nil {
			t.Fatal("still connected")
		}
		equal(t, "clients left", f.gw.Stats().Clients, 1)
	})
}

// A client that reads nothing while little is sent is found out by the write
// timeout; one that starts to read in time loses nothing.
func TestWriteTimeout(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, f *fixture) {
		f.worker(echo)
		stuck, _, err := f.tryDial("/", nil)
		if err != nil {
			t.Fatal(err)
		}
		late, _, err := f.tryDial("/", nil)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "pushed", f.push(bus.ToAll, "", "a").Clients, 2)
		time.Sleep(f.gw.cfg.WriteTimeout - time.Millisecond)
		go late.read()
		time.Sleep(2 * time.Millisecond)
		synctest.Wait()
		equal(t, "in time", late.got(), "a")
		if _, _, err := stuck.conn.ReadMessage(); err == nil {
			t.Fatal("still connected")
		}
		equal(t, "counted", f.gw.Stats().ClosedSlow, 1)
		equal(t, "clients left", f.gw.Stats().Clients, 1)
	})
}

func TestSilence(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, f *fixture) {
		var rec recorder
		f.worker(func(ev bus.Event) *bus.Reply { rec.add(ev); return echo(ev) })
		alive := f.dial("/") // gorilla answers pings
		talks := f.dial("/")
		talks.conn.SetPingHandler(func(string) error { return nil })
		mute := f.dial("/")
		pings := 0
		mute.conn.SetPingHandler(func(string) error { pings++; return nil })
		start := time.Now()
		go func() {
			for range 60 {
				time.Sleep(f.gw.cfg.PingInterval / 2)
				talks.send("x")
			}
		}()
		equal(t, "code", mute.closed(), bus.CloseSilent)
		least := f.gw.cfg.PingInterval + f.gw.cfg.PongTimeout
		if d := time.Since(start); d < least || d > least+f.gw.cfg.PongTimeout {
			t.Fatalf("closed after %v", d)
		}
		equal(t, "pinged once", pings, 1)
		time.Sleep(10 * least)
		synctest.Wait()
		equal(t, "who pongs stays", alive.open(), true)
		equal(t, "who talks stays", talks.open(), true)
		equal(t, "counted", f.gw.Stats().ClosedSilent, 1)
		time.Sleep(f.gw.cfg.PingInterval * 30)
	})
}

func TestDrain(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, f *fixture) {
		var rec recorder
		conn := f.bus.Connect()
		defer conn.Close()
		f.worker(func(ev bus.Event) *bus.Reply {
			rec.add(ev)
			if ev.Kind != bus.Text {
				return echo(ev)
			}
			time.AfterFunc(100*time.Millisecond, func() { // an unhurried worker
				if err := conn.Publish(echo(ev).Msg(ev.Kind, bus.ReplySubject(ev.Gateway, ev.Client, ev.Seq))); err != nil {
					t.Error(err)
				}
			})
			return nil
		})
		const clients = 50
		var peers []*peer
		for range clients {
			p := f.dial("/")
			p.send("1", "2", "3")
			peers = append(peers, p)
		}
		synctest.Wait()
		rec.took()
		start := time.Now()
		ended := make(chan time.Duration, clients)
		for _, p := range peers {
			go func() { <-p.done; ended <- time.Since(start) }()
		}
		f.stop()
		var first, last time.Duration = time.Hour, 0
		for range peers {
			d := <-ended
			first, last = min(first, d), max(last, d)
		}
		for _, p := range peers {
			equal(t, "code", p.closed(), bus.CloseRestart)
			equal(t, "what was taken is answered", p.got(), "1 2 3")
		}
		if first > time.Second || last < 4*time.Second || last > f.gw.cfg.Drain+time.Second {
			t.Fatalf("closed from %v to %v", first, last)
		}
		equal(t, "close events", strings.Count(rec.took(), "close:1012"), clients)
		equal(t, "clients left", f.gw.Stats().Clients, 0)
	})
}

// Whatever clients and workers do, a stop ends in bounded time.
func TestDrainIsBounded(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, f *fixture) {
		f.worker(func(ev bus.Event) *bus.Reply {
			if ev.Kind == bus.Open {
				return &bus.Reply{}
			}
			return &bus.Reply{Status: bus.Busy} // for ever
		})
		stuck, _, err := f.tryDial("/", nil) // reads nothing
		if err != nil {
			t.Fatal(err)
		}
		stuck.send("a")
		f.push(bus.ToAll, "", "x") // a write under way
		f.dial("/").send("a")
		go func() {
			for range 100 { // more than the queue takes: its reader waits
				if stuck.conn.WriteMessage(websocket.TextMessage, []byte("b")) != nil {
					return
				}
			}
		}()
		synctest.Wait()
		f.rawClient("GET / HTT")
		f.stop()
		cfg := f.gw.cfg
		if most := cfg.Drain + cfg.CloseTimeout + cfg.AckWait + cfg.CloseTimeout + time.Second; f.took > most {
			t.Fatalf("took %v", f.took)
		}
		equal(t, "clients left", f.gw.Stats().Clients, 0)
		if _, _, err := f.tryDial("/", nil); err == nil {
			t.Fatal("still accepts")
		}
	})
}

func TestStopsWhileOpening(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, f *fixture) {
		refused := make(chan int, 1)
		go func() {
			_, resp, err := f.tryDial("/", nil) // held: there is no worker
			if err == nil || resp == nil {
				refused <- 0
				return
			}
			refused <- resp.StatusCode
		}()
		synctest.Wait()
		f.stop()
		equal(t, "refused with", <-refused, http.StatusServiceUnavailable)
	})
}

func TestIDsAreNeverReused(t *testing.T) {
	seen := map[bus.ClientID]bool{}
	for range 3 { // three lives that start at the same virtual instant
		inBubble(t, nil, func(t *testing.T, f *fixture) {
			f.worker(func(ev bus.Event) *bus.Reply {
				if ev.Kind == bus.Open {
					if seen[ev.Client] {
						t.Errorf("%s again", ev.Client)
					}
					seen[ev.Client] = true
				}
				return echo(ev)
			})
			for range 5 {
				f.dial("/")
			}
			synctest.Wait()
		})
	}
	equal(t, "clients", len(seen), 15)
}
