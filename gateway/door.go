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

// DoorStats count who was not let in, or was closed, by what the configuration says
// about clients in general.
type DoorStats struct {
	BadProxy         int64 `json:"bad_proxy"`           // connections without a PROXY header that counts
	BadOrigin        int64 `json:"bad_origin"`          // refused: the page is not among origins
	TooMany          int64 `json:"too_many"`            // refused: limits.clients
	TooManyOfAddress int64 `json:"too_many_of_address"` // refused: limits.clients_per_address
	TooFast          int64 `json:"too_fast"`            // refused: limits.connects_per_second

	BadToken   int64 `json:"bad_token"`   // refused: 401
	KeysFailed int64 `json:"keys_failed"` // times that jwt.keys.url could not be fetched

	ClosedRate            int64 `json:"closed_rate"`            // 4004
	ClosedUnauthenticated int64 `json:"closed_unauthenticated"` // 4005
	ClosedExpired         int64 `json:"closed_expired"`         // 4006
	ClosedMemory          int64 `json:"closed_memory"`          // 4000, for limits.buffered_bytes

	// Buffered is a gauge: the bytes that wait, as limits.buffered_bytes counts them;
	// 0 without that.
	Buffered int64 `json:"buffered"`
}

type doorCounters struct {
	badProxy, badOrigin, tooMany, tooManyOfAddress, tooFast atomic.Int64
	badToken, keysFailed, closedExpired                     atomic.Int64
	closedRate, closedUnauthenticated, closedMemory         atomic.Int64
}

func (c *doorCounters) stats(waiting int64) DoorStats {
	return DoorStats{
		BadProxy:              c.badProxy.Load(),
		BadOrigin:             c.badOrigin.Load(),
		TooMany:               c.tooMany.Load(),
		TooManyOfAddress:      c.tooManyOfAddress.Load(),
		TooFast:               c.tooFast.Load(),
		BadToken:              c.badToken.Load(),
		KeysFailed:            c.keysFailed.Load(),
		ClosedExpired:         c.closedExpired.Load(),
		ClosedRate:            c.closedRate.Load(),
		ClosedUnauthenticated: c.closedUnauthenticated.Load(),
		ClosedMemory:          c.closedMemory.Load(),
		Buffered:              waiting,
	}
}
