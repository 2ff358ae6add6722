//go:build linux

// Command chaos runs gatebus as real processes, breaks them on purpose, and fails
// if a promise is broken. See the documentation of package chaos.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"math/rand/v2"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/gatebus/gatebus/internal/chaos"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	ok, err := run(ctx, os.Args[1:])
	switch {
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "chaos:", err)
		os.Exit(1)
	case !ok:
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) (ok bool, err error) {
	cfg := chaos.DefaultConfig()
	f := flag.NewFlagSet("chaos", flag.ContinueOnError)
	f.Uint64Var(&cfg.Seed, "seed", rand.Uint64N(1e6), "makes the schedule; the same one carries out the same faults")
	f.DurationVar(&cfg.Length, "for", cfg.Length, "how long faults go on")
	f.IntVar(&cfg.Shape.Registers, "registers", cfg.Shape.Registers, "how many")
	f.IntVar(&cfg.Shape.Gateways, "gateways", cfg.Shape.Gateways, "how many")
	f.IntVar(&cfg.Shape.Workers, "workers", cfg.Shape.Workers, "how many")
	f.IntVar(&cfg.Clients, "clients", cfg.Clients, "how many")
	f.DurationVar(&cfg.Every, "every", cfg.Every, "time between two frames of a client")
	f.BoolVar(&cfg.Shape.Network, "network", cfg.Shape.Network, "hosts of their own, cuts and lost packets, where possible")
	f.BoolVar(&cfg.Shape.Clock, "clock", cfg.Shape.Clock, "steps of the processes' clocks; builds package time anew")
	f.BoolVar(&cfg.KeepGoing, "keep-going", false, "go on after a violation")
	f.StringVar(&cfg.Gatebus, "gatebus", "", "a gatebus to run instead of building one; needs --clock=false")
	only := f.String("only", "", "kinds of faults, with commas; the others are left out")
	file := f.String("json", "", "a file for the report")
	plan := f.Bool("plan", false, "only print the schedule")
	if err := f.Parse(args); err != nil {
		return false, err
	}
	for k := range strings.SplitSeq(*only, ",") {
		if k != "" {
			cfg.Shape.Only = append(cfg.Shape.Only, chaos.Kind(k))
		}
	}
	if *plan {
		for _, fault := range chaos.Plan(cfg.Seed, cfg.Shape, cfg.Length) {
			fmt.Println(fault.Line())
		}
		return true, nil
	}
	logger := log.New(os.Stderr, "", log.Ltime|log.Lmicroseconds)
	cfg.Logf = logger.Printf
	logger.Printf("seed %d for %v", cfg.Seed, cfg.Length)
	report, err := chaos.Run(ctx, cfg)
	if report == nil {
		return false, err
	}
	if *file != "" {
		data, jsonErr := json.MarshalIndent(report, "", "  ")
		err = errors.Join(err, jsonErr, os.WriteFile(*file, append(data, '\n'), 0o644))
	}
	return report.OK(), errors.Join(err, report.Write(os.Stdout))
}
