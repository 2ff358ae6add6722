package host

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

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

// reloadable tells whether Reload can change a key, on the way from one configuration
// to the other.
func (h *Host) reloadable(key string, from, to *configs.Config) bool {
	switch key {
	case "log.level": // by the caller
		return true
	case "secret", "secret_file", "accept_secret", "accept_secret_file":
		// With none, servers let everybody in.
		return (from.Secret == "") == (to.Secret == "")
	case "tls.cert", "tls.key", "tls.ca":
		return (from.TLS.Cert == "") == (to.TLS.Cert == "") && (from.TLS.CA == "") == (to.TLS.CA == "")
	case "api.tokens", "api.token_file":
		// Without any, whoever reaches the listener is served, and that stays where it is.
		return from.API != nil && to.API != nil && (len(to.API.AllTokens()) > 0 || !h.cfg.AdminIsReachable())
	}
	return slices.ContainsFunc(gateway.Reloadable, func(k string) bool { return key == "gateway."+k })
}

// Reload has the host heed another configuration, as far as that needs no restart. An
// error means that something is wrong with it: with the configuration, then nothing
// has changed, or with a certificate or a NATS server that was to heed it, then that
// has not. Connections of its own log in with another secret as soon as the other side
// takes that. It is called by one goroutine at a time.
func (h *Host) Reload(cfg *configs.Config) (done Reloaded, err error) {
	defer func() { h.reloaded.set(err) }()
	if cfg.Gateway != nil && h.cfg.Gateway != nil && cfg.Gateway.MaxFrame > max(embedded.DefaultMaxPayload-busHeadroom, h.cfg.Gateway.MaxFrame) {
		return done, fmt.Errorf("gateway.max_frame: %d is more than the bus takes as it was started; up to %d, or restart",
			cfg.Gateway.MaxFrame, max(embedded.DefaultMaxPayload-busHeadroom, h.cfg.Gateway.MaxFrame))
	}
	// What needs a restart stays, and the rest of the configuration is heeded all the same.
	to, heeded := change{h: h}, *cfg
	if h.reloadable("secret", h.cfg, cfg) {
		next, err := newSecrets(cfg)
		if err != nil {
			return done, err
		}
		to.secrets = !next.same(h.secrets.Load())
		h.secrets.Store(next)
	} else {
		heeded.Secret, heeded.AcceptSecret = h.heeded.Secret, h.heeded.AcceptSecret
	}
	if !h.reloadable("api.tokens", h.cfg, cfg) {
		heeded.API = h.heeded.API
	}
	var errs []error
	if h.certs != nil && h.reloadable("tls.cert", h.cfg, cfg) {
		if err := h.certs.Use(filesOf(cfg)); err != nil {
			errs = append(errs, fmt.Errorf("tls: %w", err))
		}
	}
	for _, p := range h.parts {
		errs = append(errs, p.reload(&heeded, to))
	}
	for _, key := range h.latest.Changed(cfg) {
		if h.reloadable(key, h.latest, cfg) {
			done.Changed = append(done.Changed, key)
		}
	}
	if h.otherTokens(cfg) && !slices.Contains(done.Changed, "api.token_file") {
		done.Changed = append(done.Changed, "api.token_file") // what is in it
	}
	for _, key := range h.cfg.Changed(cfg) {
		if !h.reloadable(key, h.cfg, cfg) {
			done.Restart = append(done.Restart, key)
		}
	}
	h.latest, h.heeded = cfg, &heeded
	return done, errors.Join(errs...)
}

// NotReloaded says that no configuration could be loaded that Reload would have been
// given: what is shown of reloads tells that.
func (h *Host) NotReloaded(err error) { h.reloaded.set(err) }

// otherTokens tells whether the file of tokens has others than before.
func (h *Host) otherTokens(cfg *configs.Config) bool {
	return h.reloadable("api.token_file", h.latest, cfg) && !slices.Equal(cfg.API.FromFile, h.latest.API.FromFile)
}

// reloadState is how the last reload went. It may be used by any goroutine.
type reloadState struct {
	mu sync.Mutex
	ok bool
	at time.Time // of the last that did
}

func (r *reloadState) set(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ok = err == nil; r.ok {
		r.at = time.Now()
	}
}

func (r *reloadState) get() (ok bool, at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ok, r.at
}
