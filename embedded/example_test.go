package embedded_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/gatebus/gatebus/embedded"
	"github.com/gatebus/gatebus/internal/keys"
)

// A bus, a worker that echoes over TCP, and an event in process.
func Example() {
	k, err := keys.Derive("an example is no place for a secret")
	if err != nil {
		log.Fatal(err)
	}
	bus, err := embedded.New(embedded.Config{Name: "g1", Listen: "127.0.0.1:0", Keys: k})
	if err != nil {
		log.Fatal(err)
	}
	if err := bus.Start(context.Background()); err != nil {
		log.Fatal(err)
	}
	defer bus.Close()

	worker, err := nats.Connect(bus.ClientURL(), k.ConnectOptions(keys.RoleWorker)...)
	if err != nil {
		log.Fatal(err)
	}
	defer worker.Close()
	worker.QueueSubscribe("gw.*.in.default.*", "default", func(m *nats.Msg) { m.Respond(m.Data) })
	worker.Flush()

	gateway, err := nats.Connect(bus.ClientURL(), bus.ConnectOptions(keys.RoleGateway)...)
	if err != nil {
		log.Fatal(err)
	}
	defer gateway.Close()
	replies, err := gateway.SubscribeSync("gw.g1.out.*.*")
	if err != nil {
		log.Fatal(err)
	}
	gateway.PublishRequest("gw.g1.in.default.text", "gw.g1.out.g1-1-1.1", []byte("hello"))
	reply, err := replies.NextMsg(5 * time.Second)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n", reply.Data)
	// Output: hello
}
