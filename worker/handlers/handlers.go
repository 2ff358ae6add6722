// Package handlers has the handlers that are built into gatebus: Echo, which
// answers every frame with itself, Chat, a room with names, and the one that asks
// an HTTP server (package webhook). [New] makes the one that a [Config] names. They
// keep no state in the worker, so any number of workers can serve the same clients.
package handlers

import (
	"context"

	"github.com/gatebus/gatebus/worker"
)

// Echo answers every frame with itself, text as text and binary as binary.
var Echo worker.Handler = worker.HandlerFunc(func(_ context.Context, ev *worker.Event) error {
	ev.Reply(ev.Data)
	return nil
})
