package configs

import (
	"slices"
	"strings"
	"testing"
)

// Where the bus and the registers are, and who logs in there.
func TestYourNATS(t *testing.T) {
	const login = "nats: {user: u, password: hunter2}\n"
	for _, tt := range []struct {
		name, text  string
		registers   string
		same, yours bool
	}{
		{"bus of its own", "gateway:\n", "nats://127.0.0.1:4222", false, false},
		{"all there", login + "gateway: {bus: {url: [h:1, h:2]}}\n", "nats://h:1 nats://h:2", true, true},
		{"other names of it", login + "registers: [i:1]\ngateway: {bus: {url: [h:1]}}\n", "nats://i:1", true, true},
		{"registers of gatebus", "secret: 0123456789abcdef\nregisters: [i:1]\n" + login + "gateway: {bus: {url: [h:1]}}\n", "nats://i:1", false, false},
		{"nobody logs in", "registers: [i:1, H:2]\ngateway: {bus: {url: [h:2, h:1]}}\n", "nats://i:1 nats://H:2", true, false},
		{"nobody logs in, elsewhere", "registers: [i:1]\ngateway: {bus: {url: [h:1]}}\n", "nats://i:1", false, false},
		{"a register", login + "register: {url: [h:1]}\nworker:\n", "nats://h:1", false, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := mustLoad(t, Source{Name: "host.yaml", Data: []byte(tt.text)})
			if got := strings.Join(c.Registers, " "); got != tt.registers {
				t.Errorf("registers are %s, want %s", got, tt.registers)
			}
			if c.BusHasRegisters() != tt.same || c.RegistersAreYours() != tt.yours {
				t.Errorf("bus has registers: %v, want %v; registers are yours: %v, want %v", c.BusHasRegisters(), tt.same, c.RegistersAreYours(), tt.yours)
			}
			for _, l := range c.listeners() {
				if strings.Contains(l.key, ".bus.") && !c.BusIsOwn() || strings.HasPrefix(l.key, "register.") {
					t.Errorf("it listens at %s", l.key)
				}
			}
			var b strings.Builder
			if err := c.Print(&b); err != nil || strings.Contains(b.String(), "hunter2") {
				t.Errorf("printed is (%v):\n%s", err, b.String())
			}
			if slices.Contains(c.Roles(), RoleWorker) && c.WorkerConfig().NATS.Password != "hunter2" {
				t.Error("the worker is not told the password")
			}
		})
	}
}
