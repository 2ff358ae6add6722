package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/worker"
)

// maxPush bounds what is read from standard input, in bytes: more than any gateway
// takes.
const maxPush = 8 << 20

func newPush() *cobra.Command {
	var (
		flags  reachFlags
		binary bool
		except []string
	)
	cmd := &cobra.Command{
		Use:   "push all|client|uid|group [NAME] DATA",
		Short: "Send a frame to clients",
		Long: `Send a frame with DATA to all clients, to one, to those of a uid, or to those in a
group, and say in how many clients' queues it stands. If DATA is "-", it is what
standard input has, as it is. A NAME or DATA that begins with - goes after "--".
` + reachText,
		Example: `  gatebus push all 'hello, everybody'
  gatebus push group room1 '{"type":"say","text":"hello"}'
  gatebus push uid ann --binary - < picture.png
  gatebus push all --except g1-dpmq2x0sn1-7 -c host1.yaml -- -1`,
		Args: pushArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := pushOf(cmd.InOrStdin(), args, binary, except)
			if err != nil {
				return err
			}
			return flags.reach(cmd, func(ctx context.Context, c *worker.Cluster) error {
				n, err := c.Push(ctx, p)
				if err != nil && !isPartial(err) {
					return err
				}
				return errors.Join(flags.reached(cmd.OutOrStdout(), "pushed to", n), err)
			})
		},
	}
	flags.add(cmd)
	cmd.Flags().BoolVar(&binary, "binary", false, "send a binary frame instead of a text frame")
	cmd.Flags().StringSliceVar(&except, "except", nil, "leave out these client `IDs`, with commas between; can be repeated")
	return cmd
}

func isPartial(err error) bool {
	_, ok := errors.AsType[*worker.PartialError](err)
	return ok
}

// pushArgs checks how many arguments there are.
func pushArgs(_ *cobra.Command, args []string) error {
	if len(args) == 0 {
		return errors.New("push: to whom? write all, client, uid or group")
	}
	want, form := 3, args[0]+" NAME DATA"
	switch args[0] {
	case "all":
		want, form = 2, "all DATA"
	case "client", "uid", "group":
	default:
		return fmt.Errorf("push: %s is not all, client, uid or group", shown(args[0]))
	}
	if len(args) != want {
		return fmt.Errorf("push: it is written: push %s; here are %d words after %s", form, len(args)-1, args[0])
	}
	return nil
}

// pushOf makes the push that the arguments say.
func pushOf(in io.Reader, args []string, binary bool, except []string) (bus.Push, error) {
	p := bus.Push{Target: bus.Target{Scope: bus.Scope(args[0])}, Kind: bus.Text}
	if binary {
		p.Kind = bus.Binary
	}
	if len(args) == 3 {
		p.Target.Name = args[1]
	}
	if id := bus.ClientID(p.Target.Name); p.Target.Scope == bus.ToClient {
		if _, _, _, err := id.Parts(); err != nil {
			return p, fmt.Errorf("push: %w", err)
		}
	}
	for _, id := range except {
		p.Except = append(p.Except, bus.ClientID(strings.TrimSpace(id)))
	}
	if data := args[len(args)-1]; data != "-" {
		p.Data = []byte(data)
	} else {
		var err error
		if p.Data, err = io.ReadAll(io.LimitReader(in, maxPush+1)); err != nil {
			return p, failed(fmt.Errorf("push: standard input: %w", err))
		}
		if len(p.Data) > maxPush {
			return p, fmt.Errorf("push: standard input has more than %d bytes", maxPush)
		}
	}
	if _, err := p.Msg(bus.AllGateways); err != nil {
		return p, fmt.Errorf("push: %w", err)
	}
	return p, nil
}
