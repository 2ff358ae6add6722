// Command todpole is a pond in which every visitor is a tadpole: it swims after
// the pointer, sees the others swim, and talks. It is the worker of the pond and
// serves its page; gateways and registers run by themselves, see README.md.
//
// It keeps nothing in memory about anybody: who a tadpole is stands in its
// session, which the gateway holds, and where it is, its page says again and
// again. So any number of these workers serve one pond, and one that is killed is
// not missed.
package main

import (
	"embed"

	"github.com/gatebus/gatebus/examples/internal/site"
	"github.com/gatebus/gatebus/worker"
)

//go:embed page
var page embed.FS

func main() {
	site.Main(site.Site{
		Name:      "todpole",
		Page:      page,
		Handler:   worker.HandlerFunc(pond),
		Listen:    "127.0.0.3:8290",
		Gateways:  "ws://127.0.0.1:8282,ws://127.0.0.2:8282",
		Registers: "nats://127.0.0.1:4222,nats://127.0.0.2:4222",
	})
}
