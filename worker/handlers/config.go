package handlers

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/gatebus/gatebus/worker"
	"github.com/gatebus/gatebus/worker/webhook"
)

// The types of built-in handlers.
const (
	TypeEcho    = "echo"
	TypeChat    = "chat"
	TypeWebhook = "webhook"
)

// Config says which built-in handler a worker runs, and what that is told.
type Config struct {
	// Type is one of [Types].
	Type string `koanf:"type"`

	// Config is what the webhook handler is told. The others are told nothing.
	webhook.Config `koanf:",squash"`
}

// builtin is one type of handler.
type builtin struct {
	name string
	// check says what is wrong for it; nil takes whatever there is.
	check func(*Config) error
	// make makes one for a worker of that configuration.
	make func(Config, worker.Config) (worker.Handler, error)
}

// builtins are all of them; what is not here is not built in.
var builtins = []builtin{
	{TypeEcho, checkUnused, always(Echo)},
	{TypeChat, checkUnused, always(Chat)},
	{TypeWebhook, func(c *Config) error { return c.Config.Validate() }, makeWebhook},
}

// DefaultConfig is an echo. It is the one place where the defaults stand.
func DefaultConfig() Config { return Config{Type: TypeEcho, Config: webhook.DefaultConfig()} }

// Types lists the types of built-in handlers.
func Types() []string {
	var names []string
	for _, b := range builtins {
		names = append(names, b.name)
	}
	return names
}

// Validate names everything that is wrong, one error a key. It quotes no secret.
func (c *Config) Validate() error {
	b, err := c.builtin()
	if err != nil {
		return err
	}
	return b.check(c)
}

// New makes the handler for a worker of that configuration. It starts nothing.
func New(c Config, w worker.Config) (worker.Handler, error) {
	b, err := c.builtin()
	if err != nil {
		return nil, fmt.Errorf("handlers: %w", err)
	}
	return b.make(c, w)
}

func (c *Config) builtin() (builtin, error) {
	for _, b := range builtins {
		if b.name == c.Type {
			return b, nil
		}
	}
	names := Types()
	last := len(names) - 1
	return builtin{}, fmt.Errorf("type: %.64q is not a built-in handler; write %s or %s", c.Type, strings.Join(names[:last], ", "), names[last])
}

// checkUnused refuses the one key that nobody sets who does not mean a webhook:
// without it, a forgotten type would be an echo that looks well.
func checkUnused(c *Config) error {
	if c.URL != "" {
		return fmt.Errorf("url: it is for type: webhook, and the type is %s; set type: webhook, or remove the url", c.Type)
	}
	return nil
}

func always(h worker.Handler) func(Config, worker.Config) (worker.Handler, error) {
	return func(Config, worker.Config) (worker.Handler, error) { return h, nil }
}

func makeWebhook(c Config, w worker.Config) (worker.Handler, error) {
	cfg := c.Config
	cfg.SigningKeys = slices.Clone(cfg.SigningKeys)
	cfg.Concurrency, cfg.Group, cfg.Log = w.Concurrency, w.Group, w.Log
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	return webhook.New(cfg)
}
