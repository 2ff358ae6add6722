package gateway

import (
	"cmp"
	"context"
	"slices"
	"sync/atomic"
	"time"

	"github.com/gatebus/gatebus/bus"
)

const (
	// weighStep is from how much on a change of what waits is told to the sum, in
	// bytes: so a frame that goes through costs no write to memory that all share.
	weighStep = 4 << 10
	// relief is how long too much has to last before clients are closed, or more of them:
	// those that take it as fast as it comes, as after a stand-still of the workers, are
	// not at fault.
	relief = 100 * time.Millisecond
)

// buffered is what waits in the memory of a gateway, as far as that is limited.
type buffered struct {
	limited atomic.Bool // whether there is a limit
	total   atomic.Int64
	over    chan struct{} // buffered: there is too much
}

// add counts a difference.
func (b *buffered) add(n int, limit int64) {
	if total := b.total.Add(int64(n)); limit > 0 && total > limit {
		select {
		case b.over <- struct{}{}:
		default:
		}
	}
}

// worth tells whether a change is to be told.
func worth(was, now int) bool {
	d := now - was
	return d >= weighStep || d <= -weighStep || now == 0 && was != 0
}

// weighLocked tells what waits in the lane and in the outbox. It is small enough to be
// inlined: without a limit a frame costs no call.
func (c *client) weighLocked() {
	if c.gw.buffered.limited.Load() || c.weight != 0 {
		c.reweighLocked()
	}
}

func (c *client) reweighLocked() {
	limit := c.gw.config().Limits.BufferedBytes
	if c.gone {
		return
	}
	if now := c.lane.bytes + c.out.bytes; worth(c.weight, now) {
		c.gw.buffered.add(now-c.weight, limit)
		c.weight = now
	}
}

// weighPart tells how much has come that is not taken yet. It is called by who reads
// the connection.
func (c *client) weighPart(now int) {
	if c.gw.buffered.limited.Load() || c.part.Load() != 0 {
		c.reweighPart(now)
	}
}

func (c *client) reweighPart(now int) {
	limit, was := c.gw.config().Limits.BufferedBytes, int(c.part.Load())
	if worth(was, now) {
		c.part.Store(int64(now))
		c.gw.buffered.add(now-was, limit)
	}
}

// crampedLocked tells whether a client is not to be read, though its own queue has
// room: there is too much of all of them, and it will be read when its lane is empty.
func (c *client) crampedLocked(limit int64) bool {
	return c.gw.buffered.limited.Load() && limit > 0 && c.gw.buffered.total.Load() > limit && !c.lane.empty()
}

// watch closes the clients whose time is up, and those that too much waits for.
func (g *Gateway) watch(ctx context.Context) {
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			g.closeLate(time.Now())
		case <-g.buffered.over:
			if !sleepUntil(ctx, time.Now().Add(relief)) {
				return
			}
			g.relieve()
		}
	}
}

// relieve closes the clients that most waits for, while that is more than half of what
// may wait. The other half is left to what waits for workers, which is bounded by not
// reading the clients.
func (g *Gateway) relieve() {
	limit := g.config().Limits.BufferedBytes
	if limit == 0 || g.buffered.total.Load() <= limit {
		return
	}
	type load struct {
		client *client
		bytes  int64
	}
	var loads []load
	sum := int64(0)
	for _, c := range g.index.all() {
		n := c.part.Load()
		c.mu.Lock()
		n += int64(c.out.bytes)
		skip := c.ending || n < weighStep
		c.mu.Unlock()
		if !skip {
			loads = append(loads, load{c, n})
			sum += n
		}
	}
	slices.SortFunc(loads, func(a, b load) int { return cmp.Compare(b.bytes, a.bytes) })
	for _, l := range loads {
		if sum <= limit/2 {
			break
		}
		sum -= l.bytes
		if l.client.closeFor(closing{bus.CloseSlowClient, "too much waits in the gateway, and most for this one"}) {
			g.count.closedSlow.Add(1)
			g.count.door.closedMemory.Add(1)
		}
	}
	g.warn.Do(func() { g.log.Warn("limits.buffered_bytes is reached", "bytes", g.buffered.total.Load()) })
}

// closeFor closes a client by a rule for all, without what waits for it; false: it was
// at its end already.
func (c *client) closeFor(end closing) (closed bool) {
	c.mu.Lock()
	if closed = !c.ending; closed {
		c.out.drop()
		c.closeNowLocked(end)
	}
	c.unlockAndTidy()
	return closed
}

// closeLate closes the clients whose tokens have expired, and those that had no uid for
// too long.
func (g *Gateway) closeLate(now time.Time) {
	if g.expiring.Load() {
		for _, c := range g.index.expired(now) {
			c.closeFor(closing{bus.CloseTokenExpired, "the token has expired"})
		}
	}
	limit := g.config().Limits.Unauthenticated
	if limit == 0 {
		return
	}
	for _, c := range g.index.nameless(now.Add(-limit)) {
		c.closeFor(closing{bus.CloseUnauthenticated, "no uid within " + limit.String()})
	}
}

// expired are the clients that were let in and whose tokens are no good any more.
func (x *index) expired(now time.Time) (cs []*client) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	for _, c := range x.clients {
		if c.expires != 0 && c.expires <= now.UnixNano() && c.presence.online() {
			cs = append(cs, c)
		}
	}
	return cs
}

// nameless are the clients that were let in and have had no uid since then.
func (x *index) nameless(then time.Time) (cs []*client) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	for _, c := range x.clients {
		since := c.connected
		if c.claim > 0 {
			since = time.UnixMicro(c.claim)
		}
		if c.uid == "" && c.presence.online() && !since.After(then) {
			cs = append(cs, c)
		}
	}
	return cs
}
