package gateway

import (
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/gatebus/gatebus/bus"
)

// Limits bound what clients may take, all of them together or each. 0 is no limit, and
// the default of all.
type Limits struct {
	// Clients is how many there may be, connected or connecting. More are refused
	// with 503.
	Clients int `koanf:"clients"`
	// ClientsPerAddress is how many there may be of one address, of IPv6 of one
	// /64. More are refused with 429. Those over unix sockets do not count.
	ClientsPerAddress int `koanf:"clients_per_address"`
	// ConnectsPerSecond is how many may come in a second, after a pause as many at
	// once. More are refused with 503.
	ConnectsPerSecond int `koanf:"connects_per_second"`
	// FramesPerSecond and BytesPerSecond are what each client may send, after a
	// pause twice as much at once; one that sends more is closed with 4004. WebSocket
	// control frames, and fragments, count as frames; bytes are those on the wire,
	// without TLS. A frame that is larger than two seconds' bytes closes too.
	FramesPerSecond int `koanf:"frames_per_second"`
	BytesPerSecond  int `koanf:"bytes_per_second"`
	// Unauthenticated is how long a client may be without a uid before it is closed
	// with 4005, within a second. From 1s.
	Unauthenticated time.Duration `koanf:"unauthenticated"`
	// BufferedBytes bounds what waits in the memory of the gateway: in the clients'
	// queues, to be read by them, and of frames that have come in part. It is
	// counted in steps of 4 KiB a client: what is less counts as nothing. When it is
	// reached, no client is read that has something waiting for a worker, and those
	// for which most waits are closed with 4000 until it is no more. From 1 MiB.
	BufferedBytes int64 `koanf:"buffered_bytes"`
}

// minBuffered is the least that can be asked for.
const minBuffered = 1 << 20

// check names what is wrong.
func (l *Limits) check(bad func(key, format string, args ...any)) {
	for _, n := range []struct {
		key   string
		value int
	}{
		{"clients", l.Clients},
		{"clients_per_address", l.ClientsPerAddress},
		{"connects_per_second", l.ConnectsPerSecond},
		{"frames_per_second", l.FramesPerSecond},
		{"bytes_per_second", l.BytesPerSecond},
	} {
		if n.value < 0 {
			bad("limits."+n.key, "%d is less than nothing; from 1, or 0 for no limit", n.value)
		}
	}
	if d := l.Unauthenticated; d != 0 && d < time.Second {
		bad("limits.unauthenticated", "%v is too short; from 1s, or 0s for any time", d)
	}
	if n := l.BufferedBytes; n != 0 && n < minBuffered {
		bad("limits.buffered_bytes", "%d is too small; from %d, or 0 for no limit", n, minBuffered)
	}
}

// crowd counts the clients that there are, or that are about to be.
type crowd struct {
	mu     sync.Mutex
	total  int
	byAddr map[netip.Prefix]int
	rate   bucket // of connects
}

// bucket is a token bucket. Its zero value is full.
type bucket struct {
	used float64       // tokens that are to come back
	at   time.Duration // when that was, since the gateway's start
}

// take takes n tokens, of which rate come back a second and burst are there at most;
// false: there are not so many, and none is taken.
func (b *bucket) take(now time.Duration, n, rate, burst float64) bool {
	used := max(0, b.used-(now-b.at).Seconds()*rate)
	b.at = now
	if b.used = used; used+n > burst {
		return false
	}
	b.used += n
	return true
}

// crowdOf is what an address counts as.
func crowdOf(a netip.Addr) netip.Prefix {
	bits := a.BitLen()
	if a.Is6() {
		bits = 64
	}
	p, _ := a.WithZone("").Prefix(bits) // of one that is not valid, none
	return p
}

// countIn counts a client in, if there is room; countOut has to follow. Else it tells how to
// refuse it.
func (g *Gateway) countIn(from source) openResult {
	l, refused, w := &g.config().Limits, &g.count.refusals, &g.crowd
	at := crowdOf(from.addr)
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case l.Clients > 0 && w.total >= l.Clients:
		refused[refusedFull].Add(1)
		return openResult{status: http.StatusServiceUnavailable, reason: "the gateway is full"}
	case l.ClientsPerAddress > 0 && at.IsValid() && w.byAddr[at] >= l.ClientsPerAddress:
		refused[refusedAddress].Add(1)
		return openResult{status: http.StatusTooManyRequests, reason: "too many connections of this address"}
	case l.ConnectsPerSecond > 0 && !w.rate.take(time.Since(g.start), 1, float64(l.ConnectsPerSecond), float64(l.ConnectsPerSecond)):
		refused[refusedTooFast].Add(1)
		return openResult{status: http.StatusServiceUnavailable, reason: "too many connect at the same time"}
	}
	w.total++
	if at.IsValid() {
		if w.byAddr == nil {
			w.byAddr = map[netip.Prefix]int{}
		}
		w.byAddr[at]++
	}
	return openResult{}
}

// countOut counts a client out that was counted in.
func (g *Gateway) countOut(addr netip.Addr) {
	w := &g.crowd
	at := crowdOf(addr)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.total--
	if n := w.byAddr[at]; n > 1 {
		w.byAddr[at] = n - 1
	} else {
		delete(w.byAddr, at)
	}
}

// burst is how many seconds' worth a client may send at once.
const burst = 2

// pace is how fast a client has sent lately; it is owned by who reads it.
type pace struct{ frames, bytes bucket }

// limited tells whether it matters how fast clients send.
func (l *Limits) limited() bool { return l.FramesPerSecond|l.BytesPerSecond != 0 }

// exceeds notes that a frame of so many bytes has come, and tells whether that is more
// than may come.
func (g *Gateway) exceeds(p **pace, size int) bool {
	if *p == nil {
		*p = &pace{}
	}
	l, now := &g.config().Limits, time.Since(g.start)
	frames, bytes := float64(l.FramesPerSecond), float64(l.BytesPerSecond)
	if (frames == 0 || (*p).frames.take(now, 1, frames, burst*frames)) &&
		(bytes == 0 || (*p).bytes.take(now, float64(size), bytes, burst*bytes)) {
		return false
	}
	return true
}

// tooFast is how one is closed that sends too much.
var tooFast = closing{bus.CloseRateLimit, "too many frames or bytes a second"}

// watchInterval is how often the clients are looked at for what their time is up.
const watchInterval = time.Second
