package worker

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"testing"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/register"
)

// benchConn takes replies and says when all of a batch have come.
type benchConn struct {
	bus.Conn
	answers chan int // replies of one batch
}

func (benchConn) ID() bus.ConnID { return 1 }

func (c benchConn) Publish(m *bus.Msg) error {
	_, rest, err := bus.BatchEpoch(m.Data)
	n := 0
	for len(rest) > 0 && err == nil {
		if _, rest, err = bus.NextReply(rest); err == nil {
			n++
		}
	}
	if err != nil {
		return err
	}
	c.answers <- n
	return nil
}

// BenchmarkEcho moves events of 128 bytes from a batch through a handler that echoes
// to batches of replies: all that a worker does for an event but NATS.
func BenchmarkEcho(b *testing.B) {
	for _, events := range []int{1, 64} { // in a batch, each of another client
		b.Run(fmt.Sprint("events=", events), func(b *testing.B) {
			w, err := New(Config{Name: "w1", Log: slog.New(slog.DiscardHandler)}, HandlerFunc(func(_ context.Context, ev *Event) error {
				ev.Reply(ev.Data)
				return nil
			}))
			if err != nil {
				b.Fatal(err)
			}
			w.handleCtx = b.Context()
			l := newLink(w, register.Member{Role: register.RoleGateway, Name: "g1", Epoch: 1})
			conn := benchConn{answers: make(chan int, 2*events)}
			l.conn, l.up = conn, true
			data := bus.BeginBatch(nil, 1)
			for client := range events {
				e := bus.BatchEvent{Kind: bus.Text, Client: uint64(client) + 1, Seq: 2, Delivery: 1, Data: bytes.Repeat([]byte("x"), 128)}
				data = e.Append(data)
			}
			m := &bus.Msg{Subject: bus.BatchSubject("g1", l.address()), Data: data}
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				if n++; n%events != 0 {
					continue // a turn is for all of them: figures are for an event
				}
				l.receive(m)
				for left := events; left > 0; {
					left -= <-conn.answers
				}
			}
			<-l.w.jobs.close()
			w.crew.close()
			l.senders.Wait()
		})
	}
}
