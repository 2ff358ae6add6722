package gateway

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/gatebus/gatebus/bus"
)

const (
	// tapLife is for how long it is believed what a register has said about taps.
	tapLife = 2 * time.Second
	// tapQueue is how many messages wait to be mirrored.
	tapQueue = 1024
)

// TapConfig says what may be seen of a gateway by who subscribes at a register.
type TapConfig struct {
	// Enabled lets it be seen at all.
	Enabled bool `koanf:"enabled"`
	// Payloads shows what is in frames; without it, only how large they are.
	Payloads bool `koanf:"payloads"`
	// Rate is how many messages a second are mirrored at most; what is skipped is
	// counted and told. From 1.
	Rate int `koanf:"rate"`
}

// tap mirrors what goes over the bus to the registers, as far as somebody is
// subscribed to it there. While nobody is, it costs a look at a pointer.
type tap struct {
	// set at construction
	gw    *Gateway
	queue chan *bus.Msg

	limit   atomic.Pointer[rate.Limiter]
	wanted  atomic.Pointer[tapped] // nil: nobody looks
	skipped atomic.Int64           // and not yet told

	mu        sync.Mutex
	conn      bus.Conn // to the registers; nil: there is none
	registers map[string]tapsOf
}

// tapsOf is what a register has said, and how long that is believed.
type tapsOf struct {
	subjects []string
	until    time.Time
}

// tapped is what somebody is subscribed to.
type tapped struct {
	all      []string // the subscriptions, in order
	clients  map[bus.ClientID]struct{}
	subjects []string
}

func newTap(gw *Gateway) *tap {
	t := &tap{gw: gw, queue: make(chan *bus.Msg, tapQueue), registers: map[string]tapsOf{}}
	t.reload()
	return t
}

// reload heeds what the gateway is told.
func (t *tap) reload() {
	cfg := t.gw.config().Tap
	t.limit.Store(rate.NewLimiter(rate.Limit(cfg.Rate), max(cfg.Rate/10, 1)))
	if !cfg.Enabled {
		t.mu.Lock()
		clear(t.registers)
		t.updateLocked(time.Now())
		t.mu.Unlock()
	}
}

// heard takes what a register says about taps.
func (t *tap) heard(m *bus.Msg) error {
	said, err := bus.ParseTaps(m.Data)
	if err != nil || !t.gw.config().Tap.Enabled {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(said.Subjects) == 0 {
		delete(t.registers, said.Register)
	} else {
		t.registers[said.Register] = tapsOf{said.Subjects, time.Now().Add(tapLife)}
	}
	t.updateLocked(time.Now())
	return nil
}

// updateLocked forgets what is too old, and puts the rest together.
func (t *tap) updateLocked(now time.Time) {
	var all []string
	for name, r := range t.registers {
		if now.After(r.until) {
			delete(t.registers, name)
			continue
		}
		all = append(all, r.subjects...)
	}
	if len(all) == 0 {
		if t.wanted.Swap(nil) != nil {
			t.gw.log.Info("nobody taps this gateway any more")
		}
		return
	}
	slices.Sort(all)
	w := &tapped{all: slices.Compact(all)}
	w.clients, w.subjects = bus.SplitTaps(t.gw.name, w.all)
	if before := t.wanted.Swap(w); before == nil || !slices.Equal(before.all, w.all) {
		t.gw.log.Info("this gateway is tapped", "subjects", w.all)
	}
}

func (t *tap) attach(conn bus.Conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.conn = conn
}

// publish is false if a message could not be published.
func (t *tap) publish(m *bus.Msg) bool {
	t.mu.Lock()
	conn := t.conn
	t.mu.Unlock()
	return conn != nil && conn.Publish(m) == nil
}

// run publishes what is mirrored, until ctx ends.
func (t *tap) run(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case m := <-t.queue:
			if t.publish(m) {
				t.gw.count.tapped.Add(1)
			} else {
				t.skip()
			}
		case now := <-tick.C:
			t.mu.Lock()
			t.updateLocked(now)
			t.mu.Unlock()
			if n := t.skipped.Swap(0); n > 0 && !t.publish(bus.Skipped{Gateway: t.gw.name, Skipped: n}.Msg()) {
				t.skipped.Add(n) // said later
			}
		}
	}
}

// wants tells whether somebody is subscribed to a subject.
func (w *tapped) wants(subject string) bool {
	return slices.ContainsFunc(w.subjects, func(s string) bool { return bus.Covers(s, subject) })
}

// put has a message mirrored, unless that is too much. It never blocks.
func (t *tap) put(subject string, header bus.Header, data []byte) {
	if !t.limit.Load().Allow() {
		t.skip()
		return
	}
	m := &bus.Msg{Subject: subject, Header: bus.Header{}, Data: data}
	maps.Copy(m.Header, header)
	if !t.gw.config().Tap.Payloads && len(data) > 0 {
		m.Header[bus.HeaderSize], m.Data = []string{strconv.Itoa(len(data))}, nil
	}
	select {
	case t.queue <- m:
	default:
		t.skip()
	}
}

// skip counts a message that is not mirrored, for who taps and for the figures.
func (t *tap) skip() {
	t.skipped.Add(1)
	t.gw.count.tapSkipped.Add(1)
}

// eventLocked mirrors an event that is given out; its client is locked.
func (t *tap) eventLocked(c *client, e *event) {
	w := t.wanted.Load()
	if w == nil {
		return
	}
	_, alone := w.clients[c.id]
	subject := c.gw.subjects[c.group][e.kind]
	if wanted := w.wants(subject); !wanted && !alone {
		return
	} else if !wanted {
		subject = ""
	}
	header := bus.Header{bus.HeaderClient: {string(c.id)}, bus.HeaderSeq: {strconv.FormatUint(e.seq, 10)}}
	if c.given != nil {
		maps.Copy(header, c.given.header)
	}
	if e.delivery > 1 {
		header[bus.HeaderDelivery] = []string{strconv.Itoa(e.delivery)}
	}
	if subject != "" {
		t.put(subject, header, e.data)
	}
	if alone {
		t.put(bus.ClientTapSubject(t.gw.name, c.id, true, e.kind), header, e.data)
	}
}

// answer mirrors the final reply to an event.
func (t *tap) answer(c *client, e *event, r *bus.Reply) {
	w := t.wanted.Load()
	if w == nil {
		return
	}
	if subject := bus.ReplySubject(t.gw.name, c.id, e.seq); w.wants(subject) {
		m := r.Msg(e.kind, subject)
		t.put(subject, m.Header, m.Data)
	}
}

// frame mirrors a frame that a client is sent.
func (t *tap) frame(c *client, f *frame) {
	w := t.wanted.Load()
	if w == nil {
		return
	}
	if _, alone := w.clients[c.id]; alone {
		t.put(bus.ClientTapSubject(t.gw.name, c.id, false, f.kind), nil, f.data)
	}
}

// message mirrors a push or command that came over the bus.
func (t *tap) message(m *bus.Msg) {
	if w := t.wanted.Load(); w != nil && w.wants(m.Subject) {
		t.put(m.Subject, m.Header, m.Data)
	}
}
