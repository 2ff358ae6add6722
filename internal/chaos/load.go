package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"github.com/gatebus/gatebus/internal/chaos/ledger"
)

// slowFrom is how long an event is at least with the gateway and its workers,
// beside the time that its work takes, to be looked at when recoveries are
// measured.
const slowFrom = 100 * time.Millisecond

// slow is an answer that took long.
type slow struct {
	gateway string
	turn    time.Duration // when it was sent, or its turn came if that was later
	done    time.Duration // when it was answered
	work    time.Duration // that its handler took
}

// load is all clients.
type load struct {
	// set at construction
	history  *history
	gateways []door
	every    time.Duration // between two frames of a client, about
	patience time.Duration // for each answer
	buffers  websocket.BufferPool
	clients  []*client
	stopping chan struct{}

	sent, answered, refused, connects atomic.Int64
	readers                           sync.WaitGroup // of all connections

	mu      sync.Mutex
	closes  map[int]int
	excused map[string]int    // frames, by reason
	results map[string]result // of each connection that is over
	slow    []slow
	times   histogram
	turns   map[string]time.Duration // when the last answer of a connection came
	cut     []*connection
}

// result is what a connection came to.
type result struct {
	answered int // frames
	ended    time.Duration
}

// door is where clients get into a gateway.
type door struct {
	name           string
	addr           string
	proxy, fragile *proxy
}

// burst is how many frames some clients send at once: so that the queues of a
// gateway come into it, which small windows only fill when no worker is there.
const burst = 100

func newLoad(h *history, seed uint64, clients int, every, patience time.Duration, doors []door) *load {
	l := &load{
		history: h, gateways: doors, every: every, patience: patience,
		buffers: &sync.Pool{}, stopping: make(chan struct{}),
		closes: map[int]int{}, excused: map[string]int{}, results: map[string]result{}, turns: map[string]time.Duration{},
	}
	for i := range clients {
		c := &client{
			load: l, name: fmt.Sprintf("c%d", i), at: i,
			rng:    rand.New(rand.NewPCG(seed, uint64(i)+1)),
			window: 1 + i%4, burst: 1, brief: i%5 == 0, kind: websocket.TextMessage,
		}
		if i%3 == 0 {
			c.kind = websocket.BinaryMessage
		}
		if i%125 == 1 { // more than a gateway gives out at once, and than it lets wait
			c.window, c.burst = 2*burst, burst
		}
		switch i % 10 {
		case 3, 7:
			c.manner = proxied
		case 9:
			c.manner = fragile
		}
		l.clients = append(l.clients, c)
	}
	return l
}

// run runs the clients until all have left, after stop, or ctx ends.
func (l *load) run(ctx context.Context) {
	var wg sync.WaitGroup
	for _, c := range l.clients {
		wg.Go(func() { c.run(ctx) })
	}
	watch, stop := context.WithCancel(ctx)
	var watcher sync.WaitGroup
	watcher.Go(func() { l.watch(watch) })
	wg.Wait()
	stop()
	watcher.Wait()
	l.buryCut()
	l.readers.Wait()
}

// stop has the clients send no more, wait for what they are owed, and leave.
func (l *load) stop() { close(l.stopping) }

func (l *load) isStopping() bool {
	select {
	case <-l.stopping:
		return true
	default:
		return false
	}
}

// watch looks for frames that are not answered.
func (l *load) watch(ctx context.Context) {
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := ledger.Clock()
		for _, c := range l.clients {
			c.mu.Lock()
			conn := c.now
			c.mu.Unlock()
			if conn == nil {
				continue
			}
			number, age, is := conn.overdue(now, l.patience)
			if !is {
				continue
			}
			if !l.history.wasKilled(conn.route.gateway, conn.dialed, now) {
				l.history.violated(ledger.Lost, conn.name, "frame %d has no answer after %v (on %s)", number, age.Round(time.Millisecond), conn.route.gateway)
			}
			_ = conn.ws.Close() // its reader ends
		}
	}
}

// route is the way to the n-th gateway.
func (l *load) route(n int, m manner) route {
	d := l.gateways[n%len(l.gateways)]
	r := route{gateway: d.name, addr: d.addr}
	switch {
	case m == proxied:
		r.through = d.proxy
	case m == fragile && !d.fragile.isDead():
		r.through = d.fragile
	}
	if r.through != nil {
		r.addr = r.through.addr()
	}
	return r
}

// excuses tells whether the gateway may refuse clients, or leave them without an
// answer, that came in that time.
func (l *load) excuses(gateway string, from, to time.Duration) bool {
	const restart = 10 * time.Second // until the new one serves
	return l.history.wasKilled(gateway, from-restart, to) || l.history.wasStopped(gateway, from-restart, to)
}

// pause waits a moment, or less if the load stops.
func (l *load) pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-l.stopping:
	case <-ctx.Done():
	}
}

// pauseOn waits a moment between two frames; false if there are to be no more.
func (l *load) pauseOn(ctx context.Context, conn *connection, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-conn.ended:
		return true
	case <-conn.cut:
		return true
	case <-ctx.Done():
		return true
	case <-l.stopping:
		return false
	}
}

func (l *load) connected(*connection) { l.connects.Add(1) }

func (l *load) countRefused() { l.refused.Add(1) }

func (l *load) countClose(code int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closes[code]++
}

// excuse counts the frames of a connection that are unanswered for a reason.
func (l *load) excuse(conn *connection, why string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.excuseLocked(conn, why)
}

func (l *load) excuseLocked(conn *connection, why string) {
	conn.mu.Lock()
	defer conn.mu.Unlock()
	l.excused[why] += len(conn.pending)
}

// answer counts an answer.
func (l *load) answer(conn *connection, number int, sent, now time.Duration) {
	l.answered.Add(1)
	work := ledger.WorkFor(conn.name, number)
	l.mu.Lock()
	defer l.mu.Unlock()
	turn := max(sent, l.turns[conn.name])
	l.turns[conn.name] = now
	took := now - turn - work
	l.times.add(took)
	if took >= slowFrom {
		l.slow = append(l.slow, slow{conn.route.gateway, turn, now, work})
	}
}

// over takes in a connection that has ended.
func (l *load) over(conn *connection) {
	conn.mu.Lock()
	answered := conn.judge.answered
	conn.mu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.results[conn.name] = result{answered, ledger.Clock()}
	delete(l.turns, conn.name)
}

// abandon leaves a connection that nothing comes through any more: its socket
// stays open, so that the gateway has to notice by itself.
func (l *load) abandon(conn *connection) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.excuseLocked(conn, "the connection was cut")
	l.cut = append(l.cut, conn)
	l.buryLocked(func(conn *connection) bool {
		select {
		case <-conn.ended:
			return true
		default:
			return false
		}
	})
}

// buryCut closes the connections that were abandoned.
func (l *load) buryCut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.buryLocked(func(*connection) bool { return true })
}

// buryLocked closes those of the abandoned connections that which tells.
func (l *load) buryLocked(which func(*connection) bool) {
	l.cut = slices.DeleteFunc(l.cut, func(conn *connection) bool {
		if !which(conn) {
			return false
		}
		_ = conn.ws.Close() // nobody is there
		return true
	})
}
