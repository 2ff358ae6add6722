package bus_test

import (
	"bytes"
	"testing"

	"github.com/gatebus/gatebus/bus"
)

// BenchmarkBatch puts an event of 128 bytes into a batch and takes it out, and its
// reply likewise.
func BenchmarkBatch(b *testing.B) {
	data := bytes.Repeat([]byte("x"), 128)
	buf := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		e := bus.BatchEvent{Kind: bus.Text, Client: 12345, Seq: 678, Delivery: 1, Data: data}
		got, _, err := bus.NextEvent(e.Append(buf))
		if err != nil {
			b.Fatal(err)
		}
		r := bus.BatchReply{Client: got.Client, Seq: got.Seq, Reply: bus.Reply{Kind: bus.Text, Data: got.Data}}
		if _, _, err := bus.NextReply(r.Append(buf)); err != nil {
			b.Fatal(err)
		}
	}
}
