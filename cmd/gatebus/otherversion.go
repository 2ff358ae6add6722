//go:build gatebus_otherversion

package main

import (
	"os"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/internal/testbed/otherversion"
)

// init has the command speak as another version, for tests; see there.
func init() {
	e, err := otherversion.Get(os.Getenv(otherversion.Env))
	if err != nil {
		panic(err)
	}
	bus.Emulate(e)
}
