package register

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gatebus/gatebus/bus"
)

// tapsInterval is how often it is looked for taps, and told of them.
const tapsInterval = 500 * time.Millisecond

// GatewayConn is what the connections of gateways to the registers are called, with
// the name of the gateway behind it: what these are subscribed to is no tap.
const GatewayConn = "gatebus gateway "

// WatchTaps tells the gateways who is subscribed at this register to subjects of
// theirs, until ctx ends. server is the register's own.
func WatchTaps(ctx context.Context, name string, conn bus.Conn, server bus.Server) error {
	tick := time.NewTicker(tapsInterval)
	defer tick.Stop()
	told := false
	for {
		subjects, err := taps(server)
		if err != nil {
			return fmt.Errorf("register: look for taps: %w", err)
		}
		if len(subjects) > 0 || told {
			told = conn.Publish(bus.Taps{Register: name, Subjects: subjects}.Msg()) != nil || len(subjects) > 0
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// taps are the subjects of gateways that somebody is subscribed to.
func taps(server bus.Server) (subjects []string, err error) {
	subs, err := server.Subscriptions("")
	if err != nil {
		return nil, err
	}
	for _, s := range subs {
		if bus.TapsGateways(s.Subject) && !strings.HasPrefix(server.ClientName(s.Conn), GatewayConn) {
			subjects = append(subjects, s.Subject)
		}
	}
	slices.Sort(subjects)
	return slices.Compact(subjects), nil
}
