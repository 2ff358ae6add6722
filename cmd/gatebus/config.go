package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gatebus/gatebus/configs"
)

func newConfig() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Check or show a configuration",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newConfigCheck(), newConfigPrint())
	return cmd
}

func newConfigCheck() *cobra.Command {
	var flags sourceFlags
	cmd := &cobra.Command{
		Use:   "check -c FILE",
		Short: "Tell whether a file is right, and if not, what is wrong where",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if flags.file == "" {
				return fmt.Errorf("config check: which file? give it with -c FILE")
			}
			cfg, err := flags.load(configs.Source{})
			if err != nil {
				return err
			}
			if err := cfg.Require(); err != nil {
				return err
			}
			var roles []string
			for _, r := range cfg.Roles() {
				roles = append(roles, string(r))
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s is right: %s\n", flags.file, strings.Join(roles, ", "))
			return failed(err)
		},
	}
	flags.add(cmd, true)
	return cmd
}

func newConfigPrint() *cobra.Command {
	var (
		flags sourceFlags
		dev   bool
	)
	cmd := &cobra.Command{
		Use:   "print [-c FILE | --dev]",
		Short: "Show the effective configuration as YAML, secrets masked",
		Long: `Show the effective configuration as YAML, secrets masked: of FILE, of what
"gatebus dev" runs, or without either the defaults of all roles.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			src := configs.Source{}
			switch {
			case dev && flags.file != "":
				return fmt.Errorf("config print: give -c FILE or --dev, not both")
			case dev:
				src = configs.Dev()
			case flags.file == "":
				src.Roles = configs.AllRoles()
			}
			cfg, err := flags.load(src)
			if err != nil {
				return err
			}
			return failed(cfg.Print(cmd.OutOrStdout()))
		},
	}
	flags.add(cmd, true)
	cmd.Flags().BoolVar(&dev, "dev", false, "show what gatebus dev runs")
	return cmd
}
