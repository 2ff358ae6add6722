package stream_test

import (
	"bytes"
	"io"
	"sync"
	"testing"

	"github.com/gatebus/gatebus/internal/stream"
)

// BenchmarkEcho sends 128 bytes through a connection and back, over loopback, many
// clients at the same time: its system calls and those of its clients included.
func BenchmarkEcho(b *testing.B) {
	for name, goroutines := range map[string]bool{"loops": false, "goroutines": true} {
		b.Run(name, func(b *testing.B) {
			p := &stream.Pool{Goroutines: goroutines}
			b.Cleanup(p.Close)
			const clients = 50
			var conns []io.ReadWriter
			for range clients {
				server, client := pair(b)
				e := &echo{}
				conn, err := p.Take(server, e)
				if err != nil {
					b.Fatal(err)
				}
				e.conn = conn
				conn.Start()
				b.Cleanup(conn.Abort)
				conns = append(conns, client)
			}
			data := bytes.Repeat([]byte("x"), 128)
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				if n++; n%(10*clients) != 0 {
					continue // a turn is ten of each: figures are for one
				}
				var all sync.WaitGroup
				for _, c := range conns {
					all.Go(func() {
						got := make([]byte, len(data))
						for range 10 {
							if _, err := c.Write(data); err != nil {
								b.Error(err)
							}
							if _, err := io.ReadFull(c, got); err != nil {
								b.Error(err)
							}
						}
					})
				}
				all.Wait()
			}
		})
	}
}
