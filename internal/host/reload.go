package host

import (
	"errors"
	"fmt"
	"slices"

	"github.com/gatebus/gatebus/configs"
	"github.com/gatebus/gatebus/embedded"
	"github.com/gatebus/gatebus/gateway"
)

// Reloaded says what has become of another configuration.
type Reloaded struct {
	// Changed are the keys that differ from before and are heeded now.
	Changed []string
	// Restart are the keys that differ from what the host runs with and need a
	// restart.
	Restart []string
}

// reloadable are the keys that Reload can change.
var reloadable = func() []string {
	keys := []string{"log.level"} // by the caller
	for _, k := range gateway.Reloadable {
		keys = append(keys, "gateway."+k)
	}
	return keys
}()

// Reload has the host heed another configuration, as far as that needs no restart. An
// error means that something is wrong with it: with the configuration, then nothing
// has changed, or with a certificate that was to be read anew, then that has not. It
// is called by one goroutine at a time.
func (h *Host) Reload(cfg *configs.Config) (done Reloaded, err error) {
	if cfg.Gateway != nil && h.cfg.Gateway != nil && cfg.Gateway.MaxFrame > max(embedded.DefaultMaxPayload-busHeadroom, h.cfg.Gateway.MaxFrame) {
		return done, fmt.Errorf("gateway.max_frame: %d is more than the bus takes as it was started; up to %d, or restart",
			cfg.Gateway.MaxFrame, max(embedded.DefaultMaxPayload-busHeadroom, h.cfg.Gateway.MaxFrame))
	}
	var errs []error
	for _, p := range h.parts {
		if g, ok := p.(*gatewayPart); ok && cfg.Gateway != nil {
			errs = append(errs, g.gateway.Reload(cfg.Gateway.Config))
		}
	}
	for _, key := range h.latest.Changed(cfg) {
		if slices.Contains(reloadable, key) {
			done.Changed = append(done.Changed, key)
		}
	}
	for _, key := range h.cfg.Changed(cfg) {
		if !slices.Contains(reloadable, key) {
			done.Restart = append(done.Restart, key)
		}
	}
	h.latest = cfg
	return done, errors.Join(errs...)
}
