package gateway

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatebus/gatebus/bus"
)

// model is a gateway, clients that number their frames, and workers that come,
// freeze, hand back, lose their connection, leave and die at random.
type model struct {
	t   *testing.T
	f   *fixture
	rng *rand.Rand

	dense int // how many workers of four take batches

	mu      sync.Mutex
	workers []*modelWorker
	made    int
	clients []*modelClient
	trace   []string
}

type modelClient struct {
	*peer
	sent, got int
	left      bool // on its own
}

// TestModel checks, whatever happens: each frame is answered once and in order,
// all of them in the end; no event goes to a second worker while the one that
// has it was there all the time; the counters fit, and nothing is left over.
func TestModel(t *testing.T) {
	seed := rand.Uint64()
	for i := range uint64(modelRuns) {
		for _, variant := range []struct {
			routing Routing
			dense   int // of four workers, take batches
		}{{RouteQueue, 0}, {RouteQueue, 4}, {RouteQueue, 3}, {RouteSticky, 0}, {RouteSticky, 4}} {
			routing := variant.routing
			t.Run(fmt.Sprintf("%s/%d/%d", routing, variant.dense, seed+i), func(t *testing.T) {
				inBubble(t, func(c *Config) {
					c.Routing, c.MaxDeliver, c.Hold = routing, 1<<30, 24*time.Hour
					c.PingInterval, c.PongTimeout = time.Hour, time.Hour
				}, func(t *testing.T, f *fixture) {
					m := &model{t: t, f: f, rng: rand.New(rand.NewPCG(seed+i, 0)), dense: variant.dense}
					defer m.end()
					m.run()
				})
			})
		}
	}
}

const (
	modelRuns  = 15
	modelSteps = 150
)

func (m *model) run() {
	m.join()
	for range 4 {
		m.dial()
	}
	for range modelSteps {
		m.step()
		synctest.Wait()
		m.check()
	}
	m.finish()
}

// note keeps what happened, for a failure's sake.
func (m *model) note(format string, args ...any) {
	m.trace = append(m.trace, time.Now().Format("05.000 ")+fmt.Sprintf(format, args...))
}

func (m *model) end() {
	if m.t.Failed() {
		m.t.Logf("the last steps:\n%s", strings.Join(m.trace[max(0, len(m.trace)-80):], "\n"))
	}
	for _, w := range m.workers {
		w.conn.Close()
	}
}

func (m *model) dial() {
	go func() {
		p, _, err := m.f.tryDial("/", nil)
		if err != nil { // the test has failed
			return
		}
		go p.read()
		m.mu.Lock()
		m.clients = append(m.clients, &modelClient{peer: p})
		m.mu.Unlock()
	}()
}

func (m *model) join() {
	m.made++
	w := &modelWorker{m: m, instance: "w" + strconv.Itoa(m.made), dense: m.made%4 < m.dense}
	m.workers = append(m.workers, w)
	w.connect()
}

// step has one thing happen.
func (m *model) step() {
	m.mu.Lock()
	var w *modelWorker
	if len(m.workers) > 0 {
		w = m.workers[m.rng.IntN(len(m.workers))]
	}
	roll := m.rng.IntN(100)
	if roll < 30 || roll >= 97 {
		m.mu.Unlock() // these wait, or write to a client
		m.stepOutside(roll)
		return
	}
	defer m.mu.Unlock()
	switch {
	case w == nil || roll < 34 && len(m.workers) < 4:
		m.join()
		m.note("w%d joins", m.made)
	case w.frozen && roll < 60:
		m.note("%s thaws", w.instance)
		w.thaw()
	case w.frozen:
	case w.cut && roll < 60:
		w.conn.Close()
		w.connect()
		m.note("%s reconnects as %s", w.instance, w.address())
	case roll < 75:
		if len(w.held) > 0 && !w.cut {
			w.answer(m.rng.IntN(len(w.held)))
		}
	case roll < 80:
		for _, e := range w.held {
			w.reply(&e.Event, &bus.Reply{Status: bus.Working})
		}
	case roll < 84:
		w.full = !w.full
	case roll < 88:
		m.note("%s freezes", w.instance)
		w.frozen = true
		for _, e := range w.held {
			e.safe = false
		}
	case roll < 93:
		m.note("%s is cut off", w.instance)
		w.cutOff()
		_ = m.f.bus.Disconnect(w.conn.ID())
	default:
		m.note("%s dies", w.instance)
		m.remove(w)
		go w.conn.Close() // its callback may want the lock
	}
}

func (m *model) remove(w *modelWorker) {
	w.dead, w.held = true, nil
	m.workers = slices.DeleteFunc(m.workers, func(o *modelWorker) bool { return o == w })
}

// stepOutside is a step that other goroutines take part in.
func (m *model) stepOutside(roll int) {
	switch {
	case roll < 8: // from less than a round trip to more than ack_wait
		d := time.Duration(1) << (m.rng.IntN(12)) * time.Millisecond
		m.mu.Lock()
		m.note("%v pass", d)
		m.mu.Unlock()
		m.keepAlive(d)
	case roll < 30:
		if len(m.clients) == 0 {
			return
		}
		c := m.clients[m.rng.IntN(len(m.clients))]
		for range 1 + m.rng.IntN(5) {
			if c.sent-c.got < 60 && !c.left {
				c.sent++
				c.send(strconv.Itoa(c.sent))
			}
		}
	default:
		if len(m.workers) == 0 {
			return
		}
		w := m.workers[m.rng.IntN(len(m.workers))]
		m.mu.Lock()
		leaves := !w.cut && !w.frozen && !w.leaving
		if leaves {
			m.note("%s leaves the group", w.instance)
			w.leaving = true
		}
		m.mu.Unlock()
		if leaves {
			// An error says that it was cut off.
			_ = w.sub.Drain(context.Background(), bus.EventSubjects("g1", "default"), bus.DirectSubjects("g1", w.instance), bus.BatchSubjects("g1", w.instance))
		}
	}
}

// keepAlive lets time pass, in which workers say what they work on.
func (m *model) keepAlive(d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); {
		time.Sleep(min(500*time.Millisecond, time.Until(end)))
		m.mu.Lock()
		for _, w := range m.workers {
			for _, e := range w.held {
				if !w.frozen && !w.cut {
					w.reply(&e.Event, &bus.Reply{Status: bus.Working})
				}
			}
		}
		m.mu.Unlock()
		synctest.Wait()
	}
}

// check looks at what must hold at any time.
func (m *model) check() {
	m.t.Helper()
	for _, c := range m.clients {
		for s := range strings.FieldsSeq(c.peer.got()) {
			if c.got++; s != strconv.Itoa(c.got) {
				m.t.Fatalf("a client gets the answer %s, want %d", s, c.got)
			}
		}
		if !c.left && !c.open() {
			m.t.Fatal("a client is closed")
		}
	}
	for _, c := range m.f.gw.index.all() {
		c.mu.Lock()
		waits, bytes, last := 0, 0, (*event)(nil)
		for e := c.lane.first; e != nil; last, e = e, e.next {
			if e.state == waiting {
				waits, bytes = waits+1, bytes+len(e.data)
			}
			if e != c.lane.first && (e.state == held || e.state == paused || e.state == out && !e.bond) {
				m.t.Errorf("%s.%d is not the first, and in state %d at %q", c.id, e.seq, e.state, e.at)
			}
		}
		if waits != c.lane.waiting || bytes != c.lane.bytes || last != c.lane.last {
			m.t.Errorf("the lane of %s counts %d events and %d bytes, has %d and %d", c.id, c.lane.waiting, c.lane.bytes, waits, bytes)
		}
		c.mu.Unlock()
	}
	if m.t.Failed() {
		m.t.FailNow()
	}
}

// finish has everything come to its end: workers that are well answer all.
func (m *model) finish() {
	m.t.Helper()
	m.mu.Lock()
	m.note("the end begins")
	m.mu.Unlock()
	m.settle(func() bool {
		return len(m.clients) == 4 && !slices.ContainsFunc(m.clients, func(c *modelClient) bool { return c.got < c.sent })
	})
	for _, c := range m.clients {
		c.left = true
		_ = c.conn.Close()
	}
	m.settle(func() bool { return m.f.gw.index.len() == 0 })
	d := m.f.gw.dispatch
	d.mu.Lock()
	defer d.mu.Unlock()
	equal(m.t, "left over", d.acks.Len()+d.overdue.Len(), 0)
	for _, g := range d.held {
		equal(m.t, "held for ever", g.events.Len(), 0)
	}
}

func (m *model) settle(done func() bool) {
	m.t.Helper()
	for range 200 {
		m.mu.Lock()
		gone := slices.DeleteFunc(slices.Clone(m.workers), func(w *modelWorker) bool { return !w.cut && !w.leaving && !w.frozen })
		for _, w := range gone {
			m.remove(w)
		}
		if len(m.workers) == 0 {
			m.join()
		}
		for _, w := range m.workers {
			w.full = false
			for len(w.held) > 0 && !w.cut {
				w.answer(0)
			}
		}
		m.mu.Unlock()
		for _, w := range gone {
			w.conn.Close()
		}
		m.keepAlive(50 * time.Millisecond)
		m.check()
		if done() {
			return
		}
	}
	m.t.Fatal("it does not come to its end")
}
