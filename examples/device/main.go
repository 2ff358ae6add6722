// Command device is a device that is connected over TCP, as there are many that
// speak no WebSocket: it sends what it measures and obeys commands, each a frame
// of GatewayWorker's frame protocol with JSON in it. It uses nothing of gatebus.
// The worker that it talks to is in the directory station; see README.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintf(os.Stderr, "device: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("device", flag.ContinueOnError)
	gateway := flags.String("gateway", "127.0.0.1:8283", "`host:port` of a gateway's listener for the frame protocol")
	name := flags.String("name", "fan-1", "`name` of the device")
	every := flags.Duration("every", time.Second, "`time` between two readings, from 50ms")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected %q; all is said by flags, see -help", flags.Arg(0))
	}
	newDevice(*gateway, *name, *every, slog.New(slog.NewTextHandler(os.Stderr, nil))).run(ctx)
	return nil
}
