package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatebus/gatebus/internal/bench"
	"github.com/gatebus/gatebus/internal/bench/report"
)

func newBench() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Put load on a gateway and measure it, beside a bare server",
		Long: `Put load on a gateway and measure messages a second, latency, and what the
servers take of CPU and memory. Without --url it starts servers of its own on
free ports of this machine and ends them afterwards. --baseline measures a bare
gorilla echo server in turns with the gateway, for ratios that hold whatever else
the machine does. Every answer is checked; a wrong one fails the bench.`,
		Example: `  gatebus bench echo --baseline
  gatebus bench echo --clients 1 --for 5s
  gatebus bench echo --url ws://127.0.0.1:8282/ --pid 4711 --rate 10000
  gatebus bench fanout --scope group --in-flight 16 --html report.html`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newBenchEcho(), newBenchFanout(), newBenchConnect(), newBenchIdle(), newBenchAll(), newBenchServer())
	return cmd
}

// benchFlags are the flags of one kind of load.
type benchFlags struct {
	options bench.Options
	out     benchOutput
}

// benchOutput says where reports go, beside standard output.
type benchOutput struct{ json, html, markdown string }

func (o *benchOutput) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&o.json, "json", "", "write all figures to a `FILE` as JSON")
	cmd.Flags().StringVar(&o.html, "html", "", "write a report with plots to a `FILE`, a page that needs nothing else")
}

// command makes the command of a kind of load, with the flags that all have.
func (f *benchFlags) command(k bench.Kind, short, long string) *cobra.Command {
	f.options = bench.DefaultOptions(k)
	o := &f.options
	cmd := &cobra.Command{
		Use: string(k), Short: short, Long: long, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.Validate(); err != nil {
				return fmt.Errorf("bench %s: %w", k, err)
			}
			return runBench(cmd, f.out, []bench.Row{{Name: string(k), Options: *o}})
		},
	}
	fs := cmd.Flags()
	fs.StringArrayVar(&o.URLs, "url", nil, "connect to this ws:// or wss:// `URL` instead of starting servers; can be repeated")
	fs.IntSliceVar(&o.PIDs, "pid", nil, "measure CPU and memory of the process `ID` that serves --url; several with commas")
	fs.StringArrayVar(&o.Set, "set", nil, "set a `KEY=VALUE` of the configuration of the servers that are started; can be repeated")
	fs.IntVar(&o.Gateways, "gateways", o.Gateways, "how many gateways are started")
	fs.IntVar(&o.Holding, "holding", o.Holding, "on how many of them the clients are; 0: all")
	fs.BoolVar(&o.Baseline, "baseline", false, "measure a bare gorilla server in turns with it")
	fs.IntVar(&o.Rounds, "rounds", o.Rounds, "how many times each is measured")
	fs.DurationVar(&o.For, "for", o.For, "how long a round measures")
	f.out.add(cmd)
	return cmd
}

func newBenchEcho() *cobra.Command {
	f := &benchFlags{}
	cmd := f.command(bench.Echo, "Clients that send frames and want them back", `Clients that send numbered frames and want each back, whole and in order.

Without --rate it is a closed loop: a client sends when it has fewer than
--window frames unanswered. With --rate it is an open loop: frames are due at
that rate whatever the server does, and latency counts from when a frame was due,
so that a stall is charged for all that it delayed.`)
	o, fs := &f.options, cmd.Flags()
	addWarmup(cmd, o)
	fs.IntVar(&o.Clients, "clients", o.Clients, "how many clients")
	fs.IntVar(&o.Size, "size", o.Size, "payload of a frame, in bytes")
	fs.IntVar(&o.Workers, "workers", o.Workers, "how many workers are started")
	fs.BoolVar(&o.Relayed, "relayed", false, "with --baseline: put a bare relay of bytes before the bare server, which is then as far away as a worker")
	fs.IntVar(&o.Window, "window", o.Window, "how many frames of a client are unanswered")
	fs.Float64Var(&o.Rate, "rate", o.Rate, "frames a second of all clients together, for an open loop")
	return cmd
}

func newBenchFanout() *cobra.Command {
	f := &benchFlags{}
	cmd := f.command(bench.Fanout, "Pushes to many clients", `Pushes of one frame to many clients, as a NATS client sends them. A push is in
flight until every member has read it. The baseline is a bare loop of write
system calls. For a group or a uid the bench is the worker that lets the members
in, so it must be the only one of its group.`)
	o, fs := &f.options, cmd.Flags()
	addWarmup(cmd, o)
	fs.IntVar(&o.Clients, "members", o.Clients, "how many clients get each push")
	fs.IntVar(&o.Size, "size", o.Size, "payload of a frame, in bytes")
	fs.StringVar(&o.Scope, "scope", o.Scope, "whom pushes go to: all, or a group or uid that all members have")
	fs.BoolVar(&o.SDK, "sdk", false, "push as a worker of the Go SDK does, only where the uid or group is")
	fs.IntVar(&o.InFlight, "in-flight", o.InFlight, "how many pushes are under way")
	fs.StringVar(&o.Bus, "bus", o.Bus, "NATS `URL` of the bus of the gateway at --url")
	fs.StringVar(&o.Gateway, "gateway", o.Gateway, "name of the gateway at --url")
	fs.StringVar(&o.Register, "register", o.Register, "NATS `URL` of a register: push through it instead of the bus")
	fs.StringVar(&o.Group, "group", o.Group, "worker group of the gateway at --url")
	return cmd
}

func newBenchConnect() *cobra.Command {
	f := &benchFlags{}
	cmd := f.command(bench.Connect, "Clients that connect and leave", "Clients that connect, are let in, leave orderly, and connect again.")
	addWarmup(cmd, &f.options)
	cmd.Flags().IntVar(&f.options.Clients, "clients", f.options.Clients, "how many connect at the same time")
	return cmd
}

func newBenchIdle() *cobra.Command {
	f := &benchFlags{}
	cmd := f.command(bench.Idle, "What connections cost that do nothing", `Connections that do nothing but answer pings: the memory of each, after the
servers had some time to give back what connecting took, and the CPU time of all.
Each round starts new servers.`)
	fs := cmd.Flags()
	fs.IntVar(&f.options.Clients, "clients", f.options.Clients, "how many connections")
	fs.DurationVar(&f.options.Settle, "settle", f.options.Settle, "how long servers may give memory back")
	return cmd
}

func addWarmup(cmd *cobra.Command, o *bench.Options) {
	cmd.Flags().DurationVar(&o.Warmup, "warmup", o.Warmup, "how long the load runs before it is measured")
}

func newBenchAll() *cobra.Command {
	var (
		out      benchOutput
		measured time.Duration
		rounds   int
	)
	cmd := &cobra.Command{
		Use:   "all",
		Short: "The whole table: everything that gatebus is judged by, beside the baseline",
		Long: `Measure the whole table: echo, idle connections, fan-out and connecting, each
with the baseline and beside what is asked of it. It takes some ten minutes.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			rows := bench.Table(measured, rounds)
			for _, r := range rows {
				if err := r.Options.Validate(); err != nil {
					return fmt.Errorf("bench all: %w", err)
				}
			}
			return runBench(cmd, out, rows)
		},
	}
	out.add(cmd)
	cmd.Flags().StringVar(&out.markdown, "markdown", "", "write the table to a `FILE` as a document in Markdown")
	cmd.Flags().DurationVar(&measured, "for", 0, "how long each round measures, instead of the times of the table")
	cmd.Flags().IntVar(&rounds, "rounds", 0, "how many rounds, instead of those of the table")
	return cmd
}

// newBenchServer is what a bench starts for its baseline.
func newBenchServer() *cobra.Command {
	var listen, relayTo string
	cmd := &cobra.Command{
		Use:    "server",
		Short:  "Run the bare echo server that --baseline measures",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var lc net.ListenConfig
			l, err := lc.Listen(cmd.Context(), "tcp", listen)
			if err != nil {
				return failed(err)
			}
			slog.New(slog.NewJSONHandler(os.Stderr, nil)).Info("started", "clients", l.Addr().String())
			if relayTo != "" {
				return failed(bench.ServeRelay(cmd.Context(), l, relayTo))
			}
			return failed(bench.ServeRaw(cmd.Context(), l))
		},
	}
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:0", "the `host:port` to serve")
	cmd.Flags().StringVar(&relayTo, "relay-to", "", "be a relay of bytes to this `host:port` instead")
	return cmd
}

// runBench measures row after row, shows each, and writes the reports.
func runBench(cmd *cobra.Command, out benchOutput, rows []bench.Row) error {
	program, err := os.Executable()
	if err != nil {
		return failed(err)
	}
	progress := bench.NewProgress(cmd.ErrOrStderr(), isTerminal(os.Stderr))
	r := &report.Report{Version: versionLine(), Started: time.Now().UTC().Round(time.Second), Machine: bench.Machine()}
	start := time.Now()
	var faults error
	for _, row := range rows {
		row.Options.Program, row.Options.Show = program, progress.Show
		b, err := bench.Run(cmd.Context(), row.Options)
		progress.Done()
		if errors.Is(err, context.Canceled) {
			return failed(errors.New("bench: interrupted; no report is written"))
		}
		if err != nil && !errors.Is(err, bench.ErrFaults) {
			return failed(fmt.Errorf("bench %s: %w", row.Options.Kind, err))
		}
		if err != nil {
			faults = errors.Join(faults, fmt.Errorf("bench %s: %w", row.Name, err))
		}
		b.Name, b.Targets = row.Name, row.Targets
		b.Complete()
		r.Benches = append(r.Benches, b)
		if err := b.WriteText(cmd.OutOrStdout()); err != nil {
			return failed(err)
		}
	}
	r.Took = time.Since(start)
	return failed(errors.Join(faults, out.write(r)))
}

// write writes the report to the files that are asked for.
func (o *benchOutput) write(r *report.Report) error {
	var errs []error
	for _, f := range []struct {
		path  string
		write func(io.Writer) error
	}{{o.json, r.WriteJSON}, {o.html, r.WriteHTML}, {o.markdown, r.WriteMarkdown}} {
		if f.path != "" {
			errs = append(errs, writeFile(f.path, f.write))
		}
	}
	return errors.Join(errs...)
}

func writeFile(path string, write func(io.Writer) error) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(write(f), f.Close())
}

// isTerminal tells whether somebody looks on.
func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
