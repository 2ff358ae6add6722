package embedded_test

import (
	"strings"
	"testing"
	"time"

	"github.com/gatebus/gatebus/embedded"
	"github.com/gatebus/gatebus/internal/keys"
)

func TestConfigErrors(t *testing.T) {
	t.Parallel()
	ok := func() embedded.Config {
		return embedded.Config{Name: "r1", Listen: loopback, Cluster: member(loopback, "127.0.0.1:6222", "nats-route://[::1]:6223")}
	}
	if _, err := embedded.New(ok()); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		want   string // in the error
		change func(*embedded.Config)
	}{
		{"Name: empty", func(c *embedded.Config) { c.Name = "" }},
		{"Name: ", func(c *embedded.Config) { c.Name = "my bus" }},
		{"Name: ", func(c *embedded.Config) { c.Name = "bus\n" }},
		{"Listen: ", func(c *embedded.Config) { c.Listen = "" }},
		{"Listen: ", func(c *embedded.Config) { c.Listen = "127.0.0.1" }},
		{"Listen: \":4222\": host missing", func(c *embedded.Config) { c.Listen = ":4222" }},
		{"Listen: ", func(c *embedded.Config) { c.Listen = "127.0.0.1:65536" }},
		{"Listen: ", func(c *embedded.Config) { c.Listen = "127.0.0.1:-1" }},
		{"Listen: ", func(c *embedded.Config) { c.Listen = "127.0.0.1:nats" }},
		{"Advertise: ", func(c *embedded.Config) { c.Advertise = "example.org" }},
		{"Advertise: ", func(c *embedded.Config) { c.Advertise = "0.0.0.0:4222" }},
		{"Accept: ", func(c *embedded.Config) { c.Accept = []*keys.Keys{derive(t, "a secret of others")} }},
		{"MaxPayload: ", func(c *embedded.Config) { c.MaxPayload = -1 }},
		{"MaxPayload: ", func(c *embedded.Config) { c.MaxPayload = 8<<20 + 1 }},
		{"Cluster.Name: ", func(c *embedded.Config) { c.Cluster.Name = "" }},
		{"Cluster.Listen: ", func(c *embedded.Config) { c.Cluster.Listen = ":6222" }},
		{"Cluster.Advertise: ", func(c *embedded.Config) { c.Cluster.Advertise = "[::]:6222" }},
		{"Cluster.Routes[1]: ", func(c *embedded.Config) { c.Cluster.Routes[1] = "127.0.0.1" }},
		{"Cluster.Routes[0]: ", func(c *embedded.Config) { c.Cluster.Routes[0] = "127.0.0.1:0" }},
		{"Cluster.Routes[0]: ", func(c *embedded.Config) { c.Cluster.Routes[0] = "http://127.0.0.1:1" }},
		{"Cluster.Routes[0]: ", func(c *embedded.Config) { c.Cluster.Routes[0] = "127.0.0.1:1/x" }},
		{"Cluster.Routes[0]: ", func(c *embedded.Config) { c.Cluster.Routes[0] = "nats-route://u:hunter2@127.0.0.1:1" }},
		{"Cluster.Routes[0]: ", func(c *embedded.Config) { c.Cluster.Routes[0] = "nats-route://u:hunter2@%zz:1" }},
	} {
		cfg := ok()
		c.change(&cfg)
		_, err := embedded.New(cfg)
		if err == nil || !strings.HasPrefix(err.Error(), "embedded: "+c.want) {
			t.Errorf("error %v, want %q", err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error shows a password: %v", err)
		}
	}
}

// FuzzConfig: whatever is in a configuration, New answers and what it lets
// pass can be made into options of NATS.
func FuzzConfig(f *testing.F) {
	f.Add("r1", loopback, "", "test", "127.0.0.1:6222")
	f.Add("r 1", ":0", "x", "", "nats://u:p@h:1/")
	f.Add("r1", "[::1]:0", "h:0", "c", "[::1%25eth0]:1")
	f.Fuzz(func(t *testing.T, name, listen, advertise, cluster, route string) {
		s, err := embedded.New(embedded.Config{
			Name: name, Listen: listen, Advertise: advertise,
			Cluster: &embedded.Cluster{Name: cluster, Listen: listen, Routes: []string{route}},
		})
		if err != nil {
			return
		}
		o, err := s.Options()
		if err != nil {
			t.Fatal(err)
		}
		if o.Host == "" || o.Cluster.Host == "" || o.Port == 0 || o.Cluster.Port == 0 {
			t.Errorf("NATS would take its defaults: %q %d, %q %d", o.Host, o.Port, o.Cluster.Host, o.Cluster.Port)
		}
	})
}

// The numbers of the package documentation.
func TestLimits(t *testing.T) {
	t.Parallel()
	s, err := embedded.New(bus())
	if err != nil {
		t.Fatal(err)
	}
	o, err := s.Options()
	if err != nil {
		t.Fatal(err)
	}
	if !o.NoSigs || !o.NoFastProducerStall || o.JetStream || o.HTTPPort != 0 || !o.Cluster.NoAdvertise {
		t.Errorf("options %+v", o)
	}
	if o.MaxPending != 8<<20 || o.WriteDeadline != 2*time.Second || o.MaxPayload != embedded.DefaultMaxPayload {
		t.Errorf("pending %d, write deadline %v, payload %d", o.MaxPending, o.WriteDeadline, o.MaxPayload)
	}
	if o.PingInterval != time.Second || o.MaxPingsOut != 2 {
		t.Errorf("ping every %v, %d unanswered", o.PingInterval, o.MaxPingsOut)
	}
	cfg := bus()
	cfg.Cluster = &embedded.Cluster{Name: "c", Listen: loopback}
	if s, err = embedded.New(cfg); err != nil {
		t.Fatal(err)
	}
	if o, err = s.Options(); err != nil {
		t.Fatal(err)
	}
	if o.PingInterval != 5*time.Second || o.MaxPingsOut != 2 {
		t.Errorf("a register pings every %v, %d unanswered", o.PingInterval, o.MaxPingsOut)
	}
}
