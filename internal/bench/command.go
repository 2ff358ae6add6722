package bench

import (
	"strconv"
	"strings"
)

// Command is how to measure the same from a shell: what differs from the
// defaults.
func (o *Options) Command() string {
	d := DefaultOptions(o.Kind)
	words := []string{"gatebus bench", string(o.Kind)}
	text := func(name, value, preset string) {
		if value != preset {
			words = append(words, "--"+name, quote(value))
		}
	}
	number := func(name string, value, preset int) { text(name, strconv.Itoa(value), strconv.Itoa(preset)) }
	for _, u := range o.URLs {
		text("url", u, "")
	}
	for _, p := range o.PIDs {
		number("pid", p, 0)
	}
	for _, s := range o.Set {
		text("set", s, "")
	}
	number("gateways", o.Gateways, d.Gateways)
	number("holding", o.Holding, d.Holding)
	if o.Kind == Echo {
		number("workers", o.Workers, d.Workers)
	}
	clients := "clients"
	if o.Kind == Fanout {
		clients = "members"
	}
	number(clients, o.Clients, d.Clients)
	if o.Kind != Connect && o.Kind != Idle {
		number("size", o.Size, d.Size)
	}
	switch o.Kind {
	case Echo:
		number("window", o.Window, d.Window)
		text("rate", strconv.FormatFloat(o.Rate, 'f', -1, 64), "0")
	case Fanout:
		text("scope", o.Scope, d.Scope)
		number("in-flight", o.InFlight, d.InFlight)
		text("bus", o.Bus, "")
		text("gateway", o.Gateway, d.Gateway)
		text("register", o.Register, "")
		text("group", o.Group, d.Group)
	case Idle:
		text("settle", o.Settle.String(), d.Settle.String())
	}
	text("for", o.For.String(), d.For.String())
	if o.Kind != Idle {
		text("warmup", o.Warmup.String(), d.Warmup.String())
	}
	number("rounds", o.Rounds, d.Rounds)
	if o.SDK {
		words = append(words, "--sdk")
	}
	if o.Baseline {
		words = append(words, "--baseline")
	}
	if o.Relayed {
		words = append(words, "--relayed")
	}
	return strings.Join(words, " ")
}

// quote makes one word of a shell of a value.
func quote(s string) string {
	if s != "" && !strings.ContainsAny(s, " \t\n'\"\\$`&|;<>()*?[]{}~#!") {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
