package worker

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/trace"

	"github.com/gatebus/gatebus/bus"
)

// Config is what a worker can be told. The zero Config is a worker of the
// default group that finds its gateways through a register on this machine;
// [DefaultConfig] names every default.
type Config struct {
	// Name names the worker in lists and logs; empty makes up a unique one.
	// Otherwise 1 to 64 of A-Z a-z 0-9 _ -.
	Name string `koanf:"name"`
	// Group is the worker group; a gateway gives each event to one worker of
	// the group that it serves. Empty means "default".
	Group string `koanf:"group"`
	// Concurrency is how many events are handled at the same time; at the
	// limit, events wait 5 ms for room and are handed back then, for another
	// worker. 0 means 256: handlers mostly wait, and a client never has more
	// than one event in work.
	Concurrency int `koanf:"concurrency"`
	// Drain is how long a worker that is told to stop may take to finish what
	// it holds. From 100ms; 0 means 30s.
	Drain time.Duration `koanf:"drain"`

	// Registers are the NATS URLs of the registers, of which any one
	// suffices. Empty means nats://127.0.0.1:4222.
	Registers []string `koanf:"-"`
	// Secret is the secret that all roles of a cluster share; empty where
	// none is set. White space around it does not count. It is never sent.
	Secret string `koanf:"-"`
	// NATS are the credentials for a NATS cluster of your own that gateways have for
	// their bus; and for the registers, if they are on it: they are taken to be
	// unless there is a Secret.
	NATS bus.Credentials `koanf:"-"`
	// TLS, if it is not nil, is spoken on every link, to registers and gateways;
	// one that does not speak it is refused. What is believed (RootCAs) and what
	// is shown (Certificates) is up to it; a ServerName is best left empty, for
	// the name that is dialed to be checked.
	TLS *tls.Config `koanf:"-"`
	// TracerProvider makes a span around the handling of each event that its gateway
	// traces, a child of the gateway's; the context of the handler has it. Events that
	// are not traced have none. nil means the global one of OpenTelemetry, which does
	// nothing unless the application has set it.
	TracerProvider trace.TracerProvider `koanf:"-"`
	// Log gets what the worker has to say; nil means slog.Default().
	Log *slog.Logger `koanf:"-"`
}

// minDrain is the shortest time to drain: less is a number without its unit.
const minDrain = 100 * time.Millisecond

// DefaultConfig is the one place where the defaults stand.
func DefaultConfig() Config {
	return Config{
		Group:       "default",
		Concurrency: 256,
		Drain:       30 * time.Second,
		Registers:   []string{"nats://127.0.0.1:4222"},
	}
}

// withDefaults fills in what is not set.
func (c Config) withDefaults() Config {
	d := DefaultConfig()
	if c.Group == "" {
		c.Group = d.Group
	}
	if c.Concurrency == 0 {
		c.Concurrency = d.Concurrency
	}
	if c.Drain == 0 {
		c.Drain = d.Drain
	}
	if len(c.Registers) == 0 {
		c.Registers = d.Registers
	}
	c.Secret = strings.TrimSpace(c.Secret)
	if c.TracerProvider == nil {
		c.TracerProvider = otel.GetTracerProvider()
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	return c
}

// Validate names everything that is wrong, one error a key.
func (c *Config) Validate() error {
	var errs []error
	if c.Name != "" {
		if err := bus.CheckName(c.Name); err != nil {
			errs = append(errs, fmt.Errorf("name: %w", err))
		}
	}
	if c.Group != "" {
		if err := bus.CheckName(c.Group); err != nil {
			errs = append(errs, fmt.Errorf("group: %w", err))
		}
	}
	if c.Concurrency < 0 {
		errs = append(errs, fmt.Errorf("concurrency: %d is negative; 0 means the default", c.Concurrency))
	}
	if c.Drain != 0 && c.Drain < minDrain {
		errs = append(errs, fmt.Errorf("drain: %v is too short; from %v, or 0 for the default", c.Drain, minDrain))
	}
	return errors.Join(errs...)
}
