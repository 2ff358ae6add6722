package configs_test

import (
	"fmt"

	"github.com/gatebus/gatebus/configs"
)

func ExampleLoad() {
	c, err := configs.Load(configs.Source{
		Name:    "host.yaml",
		Data:    []byte("gateway:\n  hold: 10s\n  drain: 10s\n"),
		Environ: []string{"GATEBUS_GATEWAY__HOLD=20s"},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(c.Roles(), c.Gateway.Hold, c.Gateway.Drain, c.BusAdvertise())
	// Output: [gateway] 20s 10s 127.0.0.1:8300
}

func ExampleLoad_error() {
	_, err := configs.Load(configs.Source{
		Name: "host.yaml",
		Data: []byte("gateway:\n  ack_wiat: 2s\n  hold: 10\n"),
		Set:  []string{"worker.name=a.b"},
	})
	fmt.Println(err)
	// Output:
	// host.yaml:2: gateway.ack_wiat: unknown key; did you mean ack_wait?
	// host.yaml:3: gateway.hold: "10" has no unit; write 10s or 10ms
	// --set worker.name: bad name "a.b": only A-Z a-z 0-9 _ and - are allowed
}
