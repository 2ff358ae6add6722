package embedded_test

import (
	"fmt"
	"strconv"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/gatebus/gatebus/embedded"
	"github.com/gatebus/gatebus/internal/keys"
)

// window is how many answers are under way.
const window = 1000

// What permissions cost: answers of a worker, each on a reply subject that is
// used once (plain workers) or all on one (batches of the SDK), with and without
// a secret.
func BenchmarkAnswers(b *testing.B) {
	k, err := keys.Derive("0123456789abcdef")
	if err != nil {
		b.Fatal(err)
	}
	for name, cfg := range map[string]embedded.Config{
		"open":   bus(),
		"secret": {Name: "g1", Listen: loopback, Keys: k},
	} {
		for kind, subject := range map[string]func([]byte, int) []byte{
			"once": func(p []byte, i int) []byte {
				return strconv.AppendInt(append(p, "gw.g1.out.g1-1-1."...), int64(i), 10)
			},
			"same": func(p []byte, _ int) []byte { return append(p, "gw.g1.replies.w1-1.1"...) },
		} {
			b.Run(fmt.Sprintf("%s/%s", name, kind), func(b *testing.B) {
				s, err := embedded.New(cfg)
				if err != nil {
					b.Fatal(err)
				}
				if err := s.Start(b.Context()); err != nil {
					b.Fatal(err)
				}
				defer s.Close()
				gateway, err := nats.Connect(s.ClientURL(), s.ConnectOptions(keys.RoleGateway)...)
				if err != nil {
					b.Fatal(err)
				}
				defer gateway.Close()
				arrived := make(chan struct{}, window)
				for _, subject := range []string{"gw.g1.out.*.*", "gw.g1.replies.>"} {
					if _, err := gateway.Subscribe(subject, func(*nats.Msg) { arrived <- struct{}{} }); err != nil {
						b.Fatal(err)
					}
				}
				if err := gateway.Flush(); err != nil {
					b.Fatal(err)
				}
				var opts []nats.Option
				if cfg.Keys != nil {
					opts = k.ConnectOptions(keys.RoleWorker)
				}
				worker, err := nats.Connect(s.ClientURL(), opts...)
				if err != nil {
					b.Fatal(err)
				}
				defer worker.Close()
				payload := make([]byte, 128)
				var p []byte
				b.ReportAllocs()
				b.ResetTimer()
				for i := range b.N {
					p = subject(p[:0], i)
					if err := worker.Publish(string(p), payload); err != nil {
						b.Fatal(err)
					}
					if i >= window { // no more than the server lets wait
						<-arrived
					}
				}
				for range min(b.N, window) {
					<-arrived
				}
			})
		}
	}
}
