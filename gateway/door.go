package gateway

import (
	"fmt"
	"sync/atomic"
)

// rules are what the configuration says about who may come in, taken apart.
type rules struct {
	proxies proxies
}

// rulesOf takes a configuration apart; the errors name keys.
func rulesOf(c *Config) (*rules, []error) {
	r := &rules{}
	var errs []error
	var at int
	var err error
	if r.proxies, at, err = parseProxies(c.TrustedProxies); err != nil {
		errs = append(errs, fmt.Errorf("trusted_proxies[%d]: %w", at, err))
	}
	return r, errs
}

// rules are those as of now.
func (g *Gateway) rules() *rules { return g.door.Load() }

// DoorStats count who was not let in, or was closed, by what the configuration says
// about clients in general.
type DoorStats struct {
	BadProxy int64 `json:"bad_proxy"` // connections without a PROXY header that counts
}

type doorCounters struct {
	badProxy atomic.Int64
}

func (c *doorCounters) stats() DoorStats {
	return DoorStats{
		BadProxy: c.badProxy.Load(),
	}
}
