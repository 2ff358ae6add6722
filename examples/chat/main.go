// Command chat is a chat with rooms: who is in a room sees who else is, and what
// is said there. It is the worker and serves the page; gateways and registers run
// by themselves, see README.md.
//
// It keeps nothing in memory: a room is a group of clients, and a name stands in
// its client's session, both of which the gateways hold. So any number of these
// workers serve all rooms, and one that is killed is not missed.
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
		Name:      "chat",
		Page:      page,
		Handler:   worker.HandlerFunc(chat),
		Listen:    "127.0.0.1:8291",
		Gateways:  "ws://127.0.0.1:8282",
		Registers: "nats://127.0.0.1:4222",
	})
}
