package handlers

import (
	"reflect"
	"testing"

	"github.com/gatebus/gatebus/worker"
	"github.com/gatebus/gatebus/worker/webhook"
)

func TestTypes(t *testing.T) {
	for _, name := range Types() {
		cfg := DefaultConfig()
		if cfg.Type = name; name == TypeWebhook {
			cfg.URL = "http://127.0.0.1/"
		}
		if err := cfg.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		h, err := New(cfg, worker.DefaultConfig())
		if err != nil || h == nil {
			t.Errorf("%s: %v, %v", name, h, err)
		}
		if _, ok := h.(*webhook.Handler); ok != (name == TypeWebhook) {
			t.Errorf("%s makes a %T", name, h)
		}
	}
	if !reflect.DeepEqual(Types(), []string{"echo", "chat", "webhook"}) {
		t.Errorf("the types are %q", Types())
	}
}

func TestRefused(t *testing.T) {
	for want, change := range map[string]func(*Config){
		`type: "" is not a built-in handler; write echo, chat or webhook`:                          func(c *Config) { c.Type = "" },
		`type: "php" is not a built-in handler; write echo, chat or webhook`:                       func(c *Config) { c.Type = "php" },
		"url: it is for type: webhook, and the type is chat; set type: webhook, or remove the url": func(c *Config) { c.Type, c.URL = TypeChat, "http://h/" },
		"url: it is empty; write where events are posted, such as http://127.0.0.1:8000/gatebus":   func(c *Config) { c.Type = TypeWebhook },
		"headers: Webhook-Id is set by gatebus itself; remove it": func(c *Config) {
			c.Type, c.URL, c.Headers = TypeWebhook, "http://h/", map[string]webhook.Secret{"Webhook-Id": "1"}
		},
		"headers: x has the byte 0x0A, which no header can have": func(c *Config) {
			c.Type, c.URL, c.Headers = TypeWebhook, "http://h/", map[string]webhook.Secret{"x": "a\nb"}
		},
	} {
		cfg := DefaultConfig()
		change(&cfg)
		if err := cfg.Validate(); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
		if cfg.Type == TypeWebhook || cfg.Type == "php" || cfg.Type == "" {
			if h, err := New(cfg, worker.DefaultConfig()); err == nil {
				t.Errorf("%s: made %T", want, h)
			}
		}
	}
}
