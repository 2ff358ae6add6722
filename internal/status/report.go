package status

import (
	"maps"
	"slices"
	"time"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/internal/latency"
	"github.com/gatebus/gatebus/register"
)

// Report is what is shown of a cluster. What is not known is nil: the figures of a
// member that does not answer, and rates where there is no earlier look at the same life
// of it.
type Report struct {
	At        time.Time  `json:"at"`
	Register  string     `json:"register"` // that has told who is there
	Total     Total      `json:"total"`
	Registers []Register `json:"registers"`
	Gateways  []Gateway  `json:"gateways"`
	Workers   []Worker   `json:"workers"`
	Links     []Link     `json:"links"`
}

// Total is what the members that answer have together.
type Total struct {
	Silent      int      `json:"silent"` // members that do not answer
	Connections int64    `json:"connections"`
	FramesIn    *float64 `json:"frames_in_per_second"`
	FramesOut   *float64 `json:"frames_out_per_second"`
	Latency     *Latency `json:"ack_latency"` // of all gateways
}

// Common is what every member has.
type Common struct {
	Name    string `json:"name"`
	Epoch   string `json:"epoch"`
	Address string `json:"address"`
	Version string `json:"version"`
	// Protocol is the version of the protocol that it speaks. Incompatible says that it is
	// of another major than that of the register which was asked.
	Protocol     string `json:"protocol"`
	Incompatible bool   `json:"incompatible,omitempty"`
	// Error says why there are no figures; "" if there are.
	Error  string   `json:"error,omitempty"`
	Uptime *float64 `json:"uptime_seconds"`
	CPU    *float64 `json:"cpu_cores"` // in use, on average between the looks
	Memory *int64   `json:"memory_bytes"`
}

// Register is a register.
type Register struct {
	Common
	Members     *int   `json:"members"`
	Connections *int64 `json:"nats_connections"`
	Routes      *int64 `json:"nats_routes"`
	Slow        *int64 `json:"nats_slow_consumers"`
	Pending     *int   `json:"notices_pending"`
	Leads       *bool  `json:"leads"`
}

// Gateway is a gateway.
type Gateway struct {
	Common
	Group       string         `json:"group"`
	Clients     string         `json:"clients_address"`
	Workers     map[string]int `json:"workers"` // on its bus, by group; others than those of the Go SDK too
	Connections *int64         `json:"connections"`
	FramesIn    *float64       `json:"frames_in_per_second"`
	FramesOut   *float64       `json:"frames_out_per_second"`
	BytesIn     *float64       `json:"bytes_in_per_second"`
	BytesOut    *float64       `json:"bytes_out_per_second"`
	Latency     *Latency       `json:"ack_latency"`
	InFlight    *int64         `json:"in_flight"`
	Queued      *int64         `json:"queued"`      // events that wait: for their turn, or for a first worker
	Lag         *float64       `json:"lag_seconds"` // of the event that has waited longest for a word of its worker
	Redelivered *int64         `json:"redelivered"` // since the start
	Busy        *int64         `json:"busy"`        // since the start
	Dropped     *int64         `json:"dropped"`     // since the start: unanswered, or no worker within hold
}

// Worker is a worker of the Go SDK; others are not members.
type Worker struct {
	Common
	Group   string   `json:"group"`
	Up      *int     `json:"links_up"`
	Events  *float64 `json:"events_per_second"`
	Latency *Latency `json:"handler_latency"`
	Working *int64   `json:"working"`
	Busy    *int64   `json:"busy"`   // since the start
	Failed  *int64   `json:"failed"` // since the start
}

// Link is a worker's connection to a gateway.
type Link struct {
	Worker  string `json:"worker"`
	Gateway string `json:"gateway"`
	Address string `json:"address"`
	// State is up, down, missing (the worker does not know of the gateway), or refused (it
	// speaks a protocol of another major).
	State  string `json:"state"`
	Events int64  `json:"events"` // of the gateway that are with the worker
	// Rate is how many of its events the worker has handled a second.
	Rate *float64 `json:"events_per_second"`
}

// The states of a link.
const (
	LinkUp      = "up"
	LinkDown    = "down"
	LinkMissing = "missing"
	LinkRefused = "refused"
)

// Latency is what two quantiles are.
type Latency struct {
	P50 float64 `json:"p50_seconds"`
	P99 float64 `json:"p99_seconds"`
	// Recent says that they are of the time between the looks. If nothing was observed
	// in that, which is one event of 16, they are of all since the start.
	Recent bool `json:"recent"`
}

// Compare makes a report of a look, with rates since the one before; the zero Look if
// there is none.
func Compare(before, now Look) Report {
	r := Report{
		At: now.At, Register: now.Register,
		Registers: []Register{}, Gateways: []Gateway{}, Workers: []Worker{}, Links: []Link{},
	}
	type key struct {
		role register.Role
		name string
	}
	former := map[key]Member{}
	for _, m := range before.Members {
		former[key{m.Role, m.Name}] = m
	}
	ours := now.protocol()
	var all [2]latency.Snapshot // of all gateways: recent, and since the start
	for _, m := range now.Members {
		p := pair{now: m.Figures, seconds: now.At.Sub(before.At).Seconds(), protocol: ours}
		if f := former[key{m.Role, m.Name}]; f.Epoch == m.Epoch {
			p.before = f.Figures
		}
		if m.Figures == nil {
			r.Total.Silent++
		}
		switch m.Role {
		case register.RoleRegister:
			r.Registers = append(r.Registers, p.register(m))
		case register.RoleGateway:
			g := p.gateway(m)
			r.Gateways = append(r.Gateways, g)
			r.Total.FramesIn, r.Total.FramesOut = add(r.Total.FramesIn, g.FramesIn), add(r.Total.FramesOut, g.FramesOut)
			if f := m.Figures; f != nil {
				r.Total.Connections += f.Clients
				all[0], all[1] = all[0].Add(p.recent(ackLatency)), all[1].Add(f.AckLatency)
			}
		case register.RoleWorker:
			r.Workers = append(r.Workers, p.worker(m))
		}
	}
	r.Total.Latency = latencyOf(all[0], all[1])
	for _, m := range now.Members {
		if m.Role == register.RoleWorker && m.Figures != nil {
			p := pair{now: m.Figures, seconds: now.At.Sub(before.At).Seconds()}
			if f := former[key{m.Role, m.Name}]; f.Epoch == m.Epoch {
				p.before = f.Figures
			}
			r.Links = append(r.Links, p.links(m, r.Gateways)...)
		}
	}
	return r
}

// pair are the figures of one life of a member at two looks.
type pair struct {
	now, before *figures // nil: not known
	seconds     float64  // between
	protocol    bus.Protocol
}

// protocol is what the register speaks that was asked; what this program does, if it is
// not on its own list.
func (l *Look) protocol() bus.Protocol {
	for _, m := range l.Members {
		if m.Role == register.RoleRegister && m.Name == l.Register {
			return m.Protocol
		}
	}
	return bus.CurrentProtocol()
}

// rate is by how much a counter has grown a second.
func (p pair) rate(counter func(*figures) float64) *float64 {
	if p.now == nil || p.before == nil || p.seconds <= 0 {
		return nil
	}
	return new(max(counter(p.now)-counter(p.before), 0) / p.seconds)
}

func ackLatency(f *figures) latency.Snapshot     { return f.AckLatency }
func handlerLatency(f *figures) latency.Snapshot { return f.HandlerLatency }

// recent is what a histogram has observed between the looks.
func (p pair) recent(of func(*figures) latency.Snapshot) latency.Snapshot {
	if p.before == nil {
		return latency.Snapshot{}
	}
	return of(p.now).Since(of(p.before))
}

// latencyOf are the quantiles of what is recent, or else of all.
func latencyOf(recent, all latency.Snapshot) *Latency {
	l := &Latency{Recent: recent.Count() > 0}
	if !l.Recent {
		recent = all
	}
	p50, ok := recent.Quantile(0.5)
	if !ok {
		return nil
	}
	p99, _ := recent.Quantile(0.99)
	l.P50, l.P99 = p50.Seconds(), p99.Seconds()
	return l
}

func (p pair) common(m Member) Common {
	c := Common{Name: m.Name, Epoch: m.Epoch.String(), Address: m.Address, Version: m.Version, Protocol: m.Protocol.String()}
	c.Incompatible = p.protocol.Check("", "", m.Protocol) != nil
	if m.Err != nil {
		c.Error = m.Err.Error()
	}
	if p.now == nil || p.now.Process == nil {
		return c
	}
	u := p.now.Process
	c.Uptime, c.Memory = &u.Uptime, &u.Memory
	c.CPU = p.rate(func(f *figures) float64 {
		if f.Process == nil {
			return u.CPU
		}
		return f.Process.CPU
	})
	return c
}

func (p pair) register(m Member) Register {
	r := Register{Common: p.common(m)}
	f := p.now
	if f == nil {
		return r
	}
	r.Members, r.Pending, r.Leads = new(len(f.Members)), &f.Notices.Pending, &f.Notices.Leads
	if f.NATS != nil {
		r.Connections, r.Routes, r.Slow = &f.NATS.Connections, &f.NATS.Routes, &f.NATS.SlowConsumers
	}
	return r
}

func (p pair) gateway(m Member) Gateway {
	g := Gateway{Common: p.common(m), Group: m.Group, Clients: m.Clients}
	f := p.now
	if f == nil {
		return g
	}
	g.Workers, g.Connections, g.InFlight = f.Workers, &f.Clients, &f.InFlight
	g.FramesIn = p.rate(func(f *figures) float64 { return float64(f.FramesIn) })
	g.FramesOut = p.rate(func(f *figures) float64 { return float64(f.FramesOut) })
	g.BytesIn = p.rate(func(f *figures) float64 { return float64(f.BytesIn) })
	g.BytesOut = p.rate(func(f *figures) float64 { return float64(f.BytesOut) })
	g.Latency = latencyOf(p.recent(ackLatency), f.AckLatency)
	g.Queued, g.Lag = new(f.Queues.LaneEvents+f.Waiting), &f.Queues.Oldest
	g.Redelivered, g.Busy, g.Dropped = &f.Redelivered, &f.Busy, new(f.DroppedPoison+f.DroppedHold)
	return g
}

func (p pair) worker(m Member) Worker {
	w := Worker{Common: p.common(m), Group: m.Group}
	f := p.now
	if f == nil {
		return w
	}
	up := 0
	for _, l := range f.Gateways {
		if l.Up {
			up++
		}
	}
	w.Up, w.Working, w.Busy, w.Failed = &up, &f.Working, &f.Busy, &f.Failed
	w.Events = p.rate(func(f *figures) float64 { return float64(f.Handled) })
	w.Latency = latencyOf(p.recent(handlerLatency), f.HandlerLatency)
	return w
}

// links are those of a worker: to the gateways that it knows, and to those that it
// should know.
func (p pair) links(w Member, gateways []Gateway) []Link {
	all := map[string]Link{}
	for _, g := range gateways {
		state := LinkMissing
		if w.Protocol.Check("", "", bus.Protocol(g.Protocol)) != nil {
			state = LinkRefused
		}
		all[g.Name] = Link{Worker: w.Name, Gateway: g.Name, Address: g.Address, State: state}
	}
	newest := map[string]link{}
	for _, l := range w.Figures.Gateways {
		if before, ok := newest[l.Gateway]; ok && before.Epoch > l.Epoch {
			continue
		}
		newest[l.Gateway] = l
		state := LinkDown
		if l.Up {
			state = LinkUp
		}
		all[l.Gateway] = Link{w.Name, l.Gateway, l.Address, state, l.Working, p.linkRate(l)}
	}
	var list []Link
	for _, name := range slices.Sorted(maps.Keys(all)) {
		list = append(list, all[name])
	}
	return list
}

// linkRate is how many events of a gateway were handled a second.
func (p pair) linkRate(l link) *float64 {
	if l.Handled == nil || p.before == nil || p.seconds <= 0 {
		return nil
	}
	for _, b := range p.before.Gateways {
		if b.Gateway == l.Gateway && b.Epoch == l.Epoch && b.Handled != nil {
			return new(max(float64(*l.Handled-*b.Handled), 0) / p.seconds)
		}
	}
	return nil
}

// add adds what is known.
func add(a, b *float64) *float64 {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	return new(*a + *b)
}
