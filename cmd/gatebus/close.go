package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/worker"
)

func newClose() *cobra.Command {
	var (
		flags      reachFlags
		uid, group string
		code       int
		reason     string
		message    string
	)
	cmd := &cobra.Command{
		Use:   "close CLIENT | --uid NAME | --group NAME",
		Short: "Close clients",
		Long: `Close a client, those of a uid, or those in a group, and say how many there were.
` + reachText,
		Example: `  gatebus close g1-dpmq2x0sn1-7
  gatebus close --uid ann --code 4200 --reason 'signed out elsewhere'
  gatebus close --group room1 --message '{"type":"closed"}'`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var s worker.Selector
			n := len(args)
			if n > 0 {
				s.Client = bus.ClientID(args[0])
				if _, _, _, err := s.Client.Parts(); err != nil {
					return fmt.Errorf("close: %w", err)
				}
			}
			for flag, v := range map[string]struct{ from, to *string }{"uid": {&uid, &s.UID}, "group": {&group, &s.Group}} {
				if !cmd.Flags().Changed(flag) {
					continue
				}
				n++
				if *v.to = *v.from; bus.CheckToken(*v.from) != nil {
					return fmt.Errorf("close: --%s: %w", flag, bus.CheckToken(*v.from))
				}
			}
			if n != 1 {
				return errors.New("close: whom? write one of CLIENT, --uid NAME and --group NAME")
			}
			o := worker.CloseOptions{Code: code, Reason: reason}
			if cmd.Flags().Changed("code") {
				if err := bus.CheckCloseCode(bus.CloseCode(code)); err != nil {
					return fmt.Errorf("close: --code: %w", err)
				}
			}
			if cmd.Flags().Changed("message") {
				o.Kind, o.Last = worker.Text, []byte(message)
			}
			return flags.reach(cmd, func(ctx context.Context, c *worker.Cluster) error {
				n, err := c.Close(ctx, s, o)
				if err != nil && !isPartial(err) {
					return err
				}
				err = errors.Join(flags.reached(cmd.OutOrStdout(), "closed", n), err)
				if err == nil && n == 0 && s.Client != "" {
					err = fmt.Errorf("close: client %s: %w", s.Client, worker.ErrNoClient)
				}
				return err
			})
		},
	}
	flags.add(cmd)
	fs := cmd.Flags()
	fs.StringVar(&uid, "uid", "", "close the clients of a uid, by its `NAME`")
	fs.StringVar(&group, "group", "", "close the clients in a group, by its `NAME`")
	fs.IntVar(&code, "code", 0, "the close `CODE`: 1000, or 4100 to 4999; without it 4002")
	fs.StringVar(&reason, "reason", "", "the `REASON` that clients are told, of up to 123 bytes")
	fs.StringVar(&message, "message", "", "a last text frame with this `DATA`")
	return cmd
}
