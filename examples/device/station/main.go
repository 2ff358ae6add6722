// Command station is the worker for the devices of the directory above: it gets
// their readings from every gateway, and has a fan switched on where it is warm.
// What it decides stands in the reading alone, so any number of stations work
// side by side.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/gatebus/gatebus/worker"
)

// Warmer than warm the fan is switched on, colder than cold off again.
const warm, cold = 27.0, 23.0 // °C

// reading and command are what a device sends and receives.
type reading struct {
	Device      string   `json:"device"`
	N           int64    `json:"n"`
	Temperature *float64 `json:"temperature"` // °C
	Fan         bool     `json:"fan"`
}

type command struct {
	Fan bool `json:"fan"`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintf(os.Stderr, "station: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("station", flag.ContinueOnError)
	registers := flags.String("registers", "nats://127.0.0.1:4222", "the registers' `URLs`, separated by commas; any one suffices")
	group := flags.String("group", "default", "the worker `group` of the devices' listener")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected %q; all is said by flags, see -help", flags.Arg(0))
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	return worker.Run(ctx, worker.Config{
		Registers: strings.Split(*registers, ","),
		Group:     *group,
		Secret:    os.Getenv("GATEBUS_SECRET"), // that of the cluster, if it has one
		Log:       log,
	}, station(log))
}

// station handles what comes from devices. A frame that is no reading ends the
// connection: what sends it is no device of ours.
func station(log *slog.Logger) worker.HandlerFunc {
	return func(_ context.Context, ev *worker.Event) error {
		if !ev.Kind.Frame() {
			return nil
		}
		var r reading
		if err := json.Unmarshal(ev.Data, &r); err != nil || r.Device == "" || r.Temperature == nil {
			ev.CloseClient(4100, "not a reading")
			return nil
		}
		log.Info("reading", "device", r.Device, "n", r.N, "temperature", *r.Temperature, "fan", r.Fan)
		fan := r.Fan
		switch {
		case *r.Temperature > warm:
			fan = true
		case *r.Temperature < cold:
			fan = false
		}
		if fan == r.Fan {
			return nil
		}
		data, err := json.Marshal(command{fan})
		if err != nil {
			return fmt.Errorf("station: command: %w", err)
		}
		ev.Reply(data)
		return nil
	}
}
