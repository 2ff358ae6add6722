package main

import (
	"fmt"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"github.com/gatebus/gatebus/configs"
)

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "gatebus",
		Short: "A real-time connection layer: gateways, workers and registers on NATS",
		Long: `gatebus is a real-time connection layer. Gateways hold the clients' long
connections, workers run the logic, registers let them find each other.

Start here:  gatebus dev`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(newDev(), newRun())
	for _, role := range configs.AllRoles() {
		root.AddCommand(newRole(role))
	}
	root.AddCommand(newPush(), newClose(), newClients(), newUIDs(), newGroups(), newTap())
	root.AddCommand(newStatus(), newBench(), newConfig(), newCredentials(), newVersion())
	return root
}

// sourceFlags are the flags that say where a configuration comes from.
type sourceFlags struct {
	file string
	set  []string
}

func (f *sourceFlags) add(cmd *cobra.Command, withFile bool) {
	if withFile {
		cmd.Flags().StringVarP(&f.file, "config", "c", "", "the YAML `FILE` that describes this host")
	}
	cmd.Flags().StringArrayVar(&f.set, "set", nil,
		"set a `KEY=VALUE` of the configuration, such as gateway.listen=127.0.0.1:9000; can be repeated")
}

// load merges src with the environment and the flags.
func (f *sourceFlags) load(src configs.Source) (*configs.Config, error) {
	if f.file != "" {
		src.File = f.file
	}
	src.Environ = os.Environ()
	src.Set = f.set
	return configs.Load(src)
}

// newLogger makes the log that the configuration asks for, on standard error; of the
// level, whatever that is by then.
func newLogger(c configs.Log, level slog.Leveler) *slog.Logger {
	opts := &slog.HandlerOptions{Level: level}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(os.Stderr, opts))
	}
	return slog.New(slog.NewTextHandler(os.Stderr, opts))
}

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Show which build this is",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), versionLine())
			return failed(err)
		},
	}
}
