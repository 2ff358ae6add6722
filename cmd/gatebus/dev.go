package main

import (
	"fmt"
	"io"
	"text/template"

	"github.com/spf13/cobra"

	"github.com/gatebus/gatebus/configs"
	"github.com/gatebus/gatebus/internal/host"
)

// devText is what dev says when it runs.
var devText = template.Must(template.New("dev").Parse(`
gatebus runs: a register, a gateway and a chat worker, on this machine only.

  clients   {{.ClientsURL}}        WebSocket, any path
  bus       nats://{{.Bus}}      workers connect here
  register  nats://{{.Register}}
  admin     {{if .Admin}}http://{{.Admin}}{{else}}off{{end}}

Try it:

  1. Chat with yourself. {{if .Admin}}Open this page in two windows:
       http://{{.Admin}}/chat{{else}}The page for it needs the admin listener, which is off:
       connect to {{.ClientsURL}}/?name=ann with a WebSocket client.{{end}}

  2. Watch what the worker sends to clients, with the nats command:
       nats sub -s nats://{{.Bus}} 'gw.*.push.>'
     and who is there:
       nats micro ls -s nats://{{.Register}}

  3. See who is connected, and say something to everybody, from the shell:
       gatebus clients --registers nats://{{.Register}}
       gatebus push all '{"type":"say","name":"shell","text":"hello"}' --registers nats://{{.Register}}
     or from a program, over NATS{{if .Admin}} or HTTP{{end}}:
       nats pub -s nats://{{.Register}} gw.all.push.all '{"type":"say","name":"nats","text":"hello"}'{{if .Admin}}
       curl -H 'Content-Type: application/json' http://{{.Admin}}/api/v1/push \
         -d '{"to":{"all":true},"text":"{\"type\":\"say\",\"name\":\"curl\",\"text\":\"hello\"}"}'{{end}}

  4. Be a worker. This one shares the frames with the chat worker, and echoes its part:
       nats reply -s nats://{{.Bus}} --queue default 'gw.*.in.default.*' --echo

Ctrl-C stops it.
`))

func newDev() *cobra.Command {
	var flags sourceFlags
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Run everything on this machine, to try it: register, gateway and a chat worker",
		Long: `Run a register, a gateway and a chat worker in one process, on loopback and
with nothing to configure, and say what to try. To see or change what it runs:

  gatebus config print --dev`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := flags.load(configs.Dev())
			if err != nil {
				return err
			}
			reload := func() (*configs.Config, error) { return flags.load(configs.Dev()) }
			return failed(runHost(cmd.Context(), cfg, reload, func(at host.Addresses) { printDev(cmd.OutOrStdout(), at) }))
		},
	}
	flags.add(cmd, false)
	return cmd
}

func printDev(w io.Writer, at host.Addresses) {
	if err := devText.Execute(w, at); err != nil {
		fmt.Fprintf(w, "clients connect to %s\n", at.ClientsURL())
	}
}
