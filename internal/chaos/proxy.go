package chaos

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/Shopify/toxiproxy/v2/stream"
	"github.com/Shopify/toxiproxy/v2/toxics"
	"github.com/rs/zerolog"
)

// proxy is a TCP proxy in this process that can be made slow, or dead.
type proxy struct {
	p *toxiproxy.Proxy
	v *valve
}

// startProxy starts one.
func startProxy(name, listen, upstream string) (*proxy, error) {
	registerValve()
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	p := &proxy{p: toxiproxy.NewProxy(server, name, listen, upstream), v: newValve()}
	if err := p.p.Start(); err != nil {
		return nil, fmt.Errorf("chaos: proxy %s: %w", name, err)
	}
	valves.Store(p.addr(), p.v)
	for _, direction := range []string{"upstream", "downstream"} {
		data, err := json.Marshal(map[string]any{
			"name": direction, "type": valveType, "stream": direction, "attributes": map[string]string{"of": p.addr()},
		})
		if err == nil {
			_, err = p.p.Toxics.AddToxicJson(strings.NewReader(string(data)))
		}
		if err != nil {
			p.stop()
			return nil, fmt.Errorf("chaos: proxy %s: %w", name, err)
		}
	}
	return p, nil
}

func (p *proxy) addr() string { return p.p.Listen }

// stop ends the proxy and its connections.
func (p *proxy) stop() {
	p.v.set(func(v *valve) { close(v.stopped) })
	p.p.Stop()
	valves.Delete(p.addr())
}

// delay has everything take so much longer, each way.
func (p *proxy) delay(d time.Duration) { p.v.set(func(v *valve) { v.delay = d }) }

// throttle lets so many bytes a second through, of each connection and each way;
// 0 is all.
func (p *proxy) throttle(rate int) { p.v.set(func(v *valve) { v.rate = rate }) }

// die lets nothing through any more, without a word to either side. The
// connections that are there do not recover.
func (p *proxy) die() {
	p.v.set(func(v *valve) {
		v.isDead = true
		close(v.dying)
		v.dying = make(chan struct{})
		v.revived = make(chan struct{})
	})
}

// revive lets new connections through, and ends the dead ones.
func (p *proxy) revive() {
	p.v.set(func(v *valve) {
		v.isDead = false
		close(v.revived)
	})
}

// isDead may be called of no proxy.
func (p *proxy) isDead() bool { return p != nil && p.v.get().isDead }

// dying is closed when the proxy dies the next time; of no proxy, it never is.
func (p *proxy) dying() <-chan struct{} {
	if p == nil {
		return nil
	}
	return p.v.get().dying
}

// valve is what a proxy does to its connections, now. Toxiproxy would have a toxic
// put into each connection and taken out again; it waits, with all locked, for
// connections that do not move (v2.12), which here is what the faults are about. So
// there is one toxic, from the beginning, which looks at the valve.
type valve struct {
	stopped chan struct{} // closed when the proxy stops

	mu sync.Mutex
	valveState
}

type valveState struct {
	delay   time.Duration
	rate    int
	isDead  bool
	dying   chan struct{} // closed when it dies the next time
	revived chan struct{} // closed when it is revived the next time
}

func newValve() *valve {
	return &valve{stopped: make(chan struct{}), valveState: valveState{dying: make(chan struct{}), revived: make(chan struct{})}}
}

func (v *valve) set(fn func(*valve)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	fn(v)
}

func (v *valve) get() valveState {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.valveState
}

const (
	valveType = "gatebus-chaos-valve"
	// stuck is how long a connection may take nothing before it is given up:
	// longer than any fault.
	stuck = 2 * time.Minute
)

// valves are those of the proxies that run, by address.
var valves sync.Map

// registerValve makes the toxic known, and silences the log of all toxics, which
// has no other switch.
var registerValve = sync.OnceFunc(func() {
	toxics.Register(valveType, new(valveToxic))
	zerolog.SetGlobalLevel(zerolog.Disabled)
})

// valveToxic is the toxic of a proxy that looks at its valve.
type valveToxic struct {
	Of string `json:"of"` // the proxy's address
}

// GetBufferSize is how many chunks can be on their way while they are delayed.
func (t *valveToxic) GetBufferSize() int { return 1024 }

// Pipe is one direction of a connection.
func (t *valveToxic) Pipe(stub *toxics.ToxicStub) {
	found, ok := valves.Load(t.Of)
	if !ok {
		end(stub)
		return
	}
	v := found.(*valve) // nothing else is in there
	now := v.get()
	if now.isDead {
		t.hang(stub, v)
		return
	}
	dying := now.dying
	timer := time.NewTimer(0)
	defer timer.Stop()
	<-timer.C
	for {
		var c *stream.StreamChunk
		select {
		case <-stub.Interrupt: // a toxic is added: this one runs again
			return
		case <-dying:
			t.hang(stub, v)
			return
		case <-v.stopped:
			end(stub)
			return
		case c = <-stub.Input:
		}
		if c == nil {
			stub.Close()
			return
		}
		s := v.get()
		wait := s.delay - time.Since(c.Timestamp)
		if s.rate > 0 {
			wait = max(wait, 0) + time.Duration(len(c.Data))*time.Second/time.Duration(s.rate)
		}
		if wait > 0 {
			timer.Reset(wait)
			select {
			case <-timer.C:
			case <-v.stopped:
			}
		}
		timer.Reset(stuck)
		select {
		case stub.Output <- c:
		case <-timer.C:
			end(stub)
			return
		case <-v.stopped:
			end(stub)
			return
		}
	}
}

// hang lets nothing through until the proxy is revived or both sides have left.
func (t *valveToxic) hang(stub *toxics.ToxicStub, v *valve) {
	revived := v.get().revived
	for {
		select {
		case c := <-stub.Input: // dropped
			if c == nil {
				stub.Close()
				return
			}
		case <-revived:
			end(stub)
			return
		case <-v.stopped:
			end(stub)
			return
		}
	}
}

// end ends a connection and takes what still comes, until the other direction has
// ended it too.
func end(stub *toxics.ToxicStub) {
	stub.Close()
	for c := range stub.Input {
		if c == nil {
			return
		}
	}
}
