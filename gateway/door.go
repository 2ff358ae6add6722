package gateway

import (
	"fmt"
	"sync/atomic"
)

// rules are what the configuration says about who may come in, taken apart.
type rules struct {
	proxies proxies
	origins origins
	tokens  *tokens // nil: none are looked for
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
	if r.origins, at, err = parseOrigins(c.Origins); err != nil {
		errs = append(errs, fmt.Errorf("origins[%d]: %w", at, err))
	}
	r.tokens = newTokens(&c.JWT)
	return r, errs
}

// rules are those as of now.
func (g *Gateway) rules() *rules { return g.door.Load() }

// DoorStats are figures of the rules for all clients. Who was kept out by them is in
// Stats.RefusedFor, who was closed by them, by code, in Stats.Closed.
type DoorStats struct {
	KeysFailed   int64 `json:"keys_failed"`   // times that jwt.keys.url could not be fetched
	ClosedMemory int64 `json:"closed_memory"` // those of the 4000 that were for limits.buffered_bytes
	// Buffered is a gauge: the bytes that wait, as limits.buffered_bytes counts them;
	// 0 without that.
	Buffered int64 `json:"buffered"`
}

type doorCounters struct{ keysFailed, closedMemory atomic.Int64 }

func (c *doorCounters) stats(waiting int64) DoorStats {
	return DoorStats{KeysFailed: c.keysFailed.Load(), ClosedMemory: c.closedMemory.Load(), Buffered: waiting}
}
