package gateway

import (
	"errors"
	"fmt"
)

// Reloadable are the keys of Config that [Gateway.Reload] can change. A certificate
// is read anew though its key does not change.
var Reloadable = []string{
	"max_deliver", "hold", "drain", "max_frame", "queue_frames", "queue_bytes", "send_frames", "send_bytes",
	"handshake_timeout", "write_timeout", "ping_interval", "pong_timeout", "close_timeout",
	"trusted_proxies", "origins", "limits.clients", "limits.clients_per_address", "limits.connects_per_second",
	"limits.frames_per_second", "limits.bytes_per_second", "limits.unauthenticated", "limits.buffered_bytes",
	"jwt.source", "jwt.required", "jwt.keys.file", "jwt.keys.url", "jwt.keys.refresh", "jwt.keys.hmac_file",
	"jwt.algorithms", "jwt.issuer", "jwt.audience", "jwt.uid_claim",
	"tap.enabled", "tap.payloads", "tap.rate",
}

// config is what the gateway is told, as of now.
func (g *Gateway) config() *Config { return g.live.Load() }

// Reload has the gateway heed another configuration, as far as the keys are
// [Reloadable], and read its certificates and the
// keys of its tokens anew. It concerns clients that are connected
// too, from what they do next on. The time for the HTTP request of a handshake stays
// what it was. On an error that says what is wrong with the configuration, nothing
// has changed; one about a certificate or a file of keys leaves that as it was, and all else is heeded.
// It may be called at any time, by one goroutine at a time.
func (g *Gateway) Reload(cfg Config) error {
	if err := cfg.Validate(); err != nil {
		return fmt.Errorf("gateway: %w", err)
	}
	next := *g.config()
	next.MaxDeliver, next.Hold, next.Drain = cfg.MaxDeliver, cfg.Hold, cfg.Drain
	next.MaxFrame, next.QueueFrames, next.QueueBytes = cfg.MaxFrame, cfg.QueueFrames, cfg.QueueBytes
	next.SendFrames, next.SendBytes = cfg.SendFrames, cfg.SendBytes
	next.HandshakeTimeout, next.WriteTimeout, next.CloseTimeout = cfg.HandshakeTimeout, cfg.WriteTimeout, cfg.CloseTimeout
	next.PingInterval, next.PongTimeout = cfg.PingInterval, cfg.PongTimeout
	next.Tap = cfg.Tap
	next.TrustedProxies, next.Origins, next.Limits = cfg.TrustedProxies, cfg.Origins, cfg.Limits
	next.JWT = cfg.JWT
	errs := []error{g.changeRules(&next)}
	g.live.Store(&next)
	g.buffered.limited.Store(next.Limits.BufferedBytes > 0)
	g.tap.reload()
	select {
	case g.reloaded <- struct{}{}:
	default:
	}
	for _, l := range g.listeners {
		if l.certificate != nil {
			if err := l.certificate.load(); err != nil {
				errs = append(errs, fmt.Errorf("gateway: listener %s: %w", l.cfg.Name, err))
			}
		}
	}
	return errors.Join(errs...)
}

// changeRules has the rules of a configuration heeded. Keys that cannot be read stay
// those that they were: an error of a file must not lock everybody out.
func (g *Gateway) changeRules(cfg *Config) error {
	r, _ := rulesOf(cfg) // Validate has looked
	var err error
	if r.tokens != nil {
		before := g.rules().tokens
		if before != nil && before.cfg.Keys.URL == r.tokens.cfg.Keys.URL {
			r.tokens.fetched.Store(before.fetched.Load())
		}
		if err = r.tokens.load(); err != nil {
			err = fmt.Errorf("gateway: %w", err)
			if before != nil {
				r.tokens.files.Store(before.files.Load())
			}
		}
	}
	g.door.Store(r)
	select {
	case g.rekeyed <- struct{}{}:
	default:
	}
	return err
}
