package main

import (
	"context"
	"os/signal"
	"syscall"

	"github.com/gatebus/gatebus/worker"
)

func main() {
	ctx, _ := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	echo := worker.HandlerFunc(func(_ context.Context, ev *worker.Event) error {
		ev.Reply(ev.Data)
		return nil
	})
	if err := worker.Run(ctx, worker.Config{}, echo); err != nil {
		panic(err)
	}
}
