package gateway

import (
	"bytes"
	"fmt"
	"log/slog"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/internal/wsframe"
)

// benchConn is a bus whose only worker answers every event of a batch with itself,
// when it is told to.
type benchConn struct {
	bus.Conn
	from    bus.WorkerAddress
	name    bus.GatewayID
	waiting []byte // the batch of events that was published last
	replies []byte
}

func (c *benchConn) Publish(m *bus.Msg) error {
	c.waiting = append(c.waiting[:0], m.Data...) // what was published is not to be kept
	return nil
}

// answer is a batch of replies to what was published last.
func (c *benchConn) answer() *bus.Msg {
	epoch, rest, err := bus.BatchEpoch(c.waiting)
	c.replies = bus.BeginBatch(c.replies[:0], epoch)
	for len(rest) > 0 && err == nil {
		var e bus.BatchEvent
		if e, rest, err = bus.NextEvent(rest); err == nil {
			r := bus.BatchReply{Client: e.Client, Seq: e.Seq, Reply: bus.Reply{Kind: e.Kind, Data: e.Data}}
			c.replies = r.Append(c.replies)
		}
	}
	if err != nil {
		panic(err)
	}
	return &bus.Msg{Subject: bus.RepliesSubject(c.name, c.from), Data: c.replies}
}

// benchStream is a connection that nothing goes through.
type benchStream struct{}

func (benchStream) Start()      {}
func (benchStream) Flush()      {}
func (benchStream) Resume()     {}
func (benchStream) CloseWrite() {}
func (benchStream) Abort()      {}

// benchGateway is a gateway with clients and one worker, without sockets and
// goroutines: its caller moves the data.
func benchGateway(b testing.TB, cfg Config, clients int) (*Gateway, *benchConn, []*wsConn) {
	b.Helper()
	conn := &benchConn{from: bus.NewWorkerAddress("w1", 1), name: bus.GatewayID(cfg.Name)}
	gw, err := New(cfg, bus.NewEpoch(time.Now()), conn, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	l := newLink(gw, 1, conn.from)
	gw.roster.now.Store(&rollCall{
		groups: map[string]*team{cfg.Group: {links: []*link{l}}}, at: map[bus.WorkerAddress]*link{l.at: l},
	})
	var conns []*wsConn
	for range clients {
		c := gw.newClient(gw.listeners[0], cfg.Group)
		c.accepted, c.opened = true, nil
		ws := &wsConn{client: c, conn: benchStream{}}
		c.conn = ws
		gw.index.add(c)
		conns = append(conns, ws)
	}
	return gw, conn, conns
}

// BenchmarkEcho moves frames of 128 bytes from the bytes that a socket gave,
// through the lanes and a batch, and their answers to the bytes for the socket: all
// that a gateway does for a frame but system calls and NATS.
func BenchmarkEcho(b *testing.B) { benchEcho(b, DefaultConfig()) }

// BenchmarkEchoTraced is the same where there are traces, of some of the frames; they
// go nowhere.
func BenchmarkEchoTraced(b *testing.B) {
	for _, sample := range []float64{0, 0.01, 1} {
		b.Run(fmt.Sprint("sample=", sample), func(b *testing.B) {
			cfg := DefaultConfig()
			cfg.Tracing = Tracing{Provider: sdktrace.NewTracerProvider(), Sample: sample}
			benchEcho(b, cfg)
		})
	}
}

func benchEcho(b *testing.B, cfg Config) {
	for _, clients := range []int{1, 64} { // that have a frame at the same time
		b.Run(fmt.Sprint("clients=", clients), func(b *testing.B) {
			gw, conn, conns := benchGateway(b, cfg, clients)
			payload := bytes.Repeat([]byte("x"), 128)
			frame := wsframe.AppendMasked(nil, wsframe.Text, wsframe.Key{1, 2, 3, 4}, payload)
			want := wsframe.Append(nil, wsframe.Text, payload)
			in, out := make([]byte, len(frame)), make([]byte, 0, 4096)
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				if n++; n%clients != 0 {
					continue // a turn is for all of them: figures are for a frame
				}
				gw.cork.Put()
				for _, ws := range conns {
					copy(in, frame)
					ws.Received(in)
				}
				gw.cork.Pull()
				if err := gw.replies(conn.answer()); err != nil {
					b.Fatal(err)
				}
				for _, ws := range conns {
					if got, _ := ws.Output(out); !bytes.Equal(got, want) {
						b.Fatalf("%q", got)
					}
				}
			}
		})
	}
}

// BenchmarkPush moves a push to a group of clients to the bytes for their sockets.
func BenchmarkPush(b *testing.B) {
	const members = 1000
	gw, _, conns := benchGateway(b, DefaultConfig(), members)
	for _, ws := range conns {
		if err := gw.admit(ws.client, &bus.OpenReply{Groups: []string{"room"}}); err != nil {
			b.Fatal(err)
		}
	}
	p := bus.Push{Target: bus.Target{Scope: bus.ToGroup, Name: "room"}, Kind: bus.Text, Data: bytes.Repeat([]byte("x"), 128)}
	m, err := p.Msg(gw.name)
	if err != nil {
		b.Fatal(err)
	}
	out := make([]byte, 0, 4096)
	b.ReportAllocs()
	for b.Loop() {
		if n, err := gw.push(m); n != members || err != nil {
			b.Fatal(n, err)
		}
		for _, ws := range conns {
			if got, _ := ws.Output(out); len(got) == 0 {
				b.Fatal("nothing to be written")
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/members, "ns/delivery")
}

// BenchmarkDispatcher looks for overdue events among those that are out.
func BenchmarkDispatcher(b *testing.B) {
	gw, _, conns := benchGateway(b, DefaultConfig(), 1000)
	for _, ws := range conns {
		ws.client.submit(bus.Text, []byte("x"))
	}
	b.ReportAllocs()
	for b.Loop() {
		if wait := gw.dispatch.expireAcks(); wait <= 0 {
			b.Fatal(wait)
		}
	}
}
