package gateway

import (
	"time"

	"github.com/gatebus/gatebus/bus"
)

// frame is a frame for one client, or for many.
type frame struct {
	kind bus.Kind
	data []byte
	// prepared is the encoded frame, shared by all clients that it goes to;
	// nil where it goes to one only.
	prepared []byte
}

// outbox holds the frames that wait for one client to read them. It is guarded
// by its client's mutex.
type outbox struct {
	frames  []frame
	bytes   int
	ping    bool     // a ping is due
	pong    *string  // the newest ping of the peer that is to be answered
	last    *closing // the close frame that follows the frames; then no more
	writing bool     // a goroutine is at it
	// closeSent is set when the close frame is out, readerDone when the
	// reader has given up although the peer may still send. The second of the
	// two sees the connection to its end.
	closeSent, readerDone bool
}

// pushLocked puts a frame into the client's outbox; it tells whether it did. A
// client that has too many waiting is closed. It never blocks.
func (c *client) pushLocked(f frame) bool {
	o := &c.out
	if c.ending {
		return false
	}
	if len(o.frames) >= c.gw.cfg.SendFrames || len(o.frames) > 0 && o.bytes+len(f.data) > c.gw.cfg.SendBytes {
		c.slowLocked()
		return false
	}
	o.frames = append(o.frames, f)
	o.bytes += len(f.data)
	c.gw.count.framesOut.Add(1)
	c.writeLocked()
	return true
}

// slowLocked closes a client that does not read. What waits for it is
// dropped; a write that is under way has close_timeout to get through.
func (c *client) slowLocked() {
	c.gw.count.closedSlow.Add(1)
	c.out.frames, c.out.bytes = nil, 0
	c.closeNowLocked(closing{bus.CloseSlowClient, "too slow"})
}

// ping asks the peer for a sign of life.
func (c *client) ping() {
	c.mu.Lock()
	if !c.ending {
		c.out.ping = true
		c.writeLocked()
	}
	c.mu.Unlock()
}

// pong answers a ping of the peer, the newest only (RFC 6455 5.5.3).
func (c *client) pong(data string) {
	c.mu.Lock()
	if !c.ending {
		c.out.pong = &data
		c.writeLocked()
	}
	c.mu.Unlock()
}

// blocked tells whether the peer is not being read because its lane is full;
// its silence then means nothing.
func (c *client) blocked() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.room != nil
}

// writeLocked sees to it that what is in the outbox is written, as soon as
// there is a connection to write to.
func (c *client) writeLocked() {
	if c.out.writing || c.ws == nil {
		return
	}
	c.out.writing = true
	c.gw.writers.Go(c.write)
}

// write empties the outbox into the connection and ends. Frames that come
// meanwhile are taken along.
func (c *client) write() {
	var spare []frame
	for {
		c.mu.Lock()
		o := &c.out
		if len(o.frames) == 0 && !o.ping && o.pong == nil && o.last == nil {
			o.writing = false
			c.mu.Unlock()
			return
		}
		batch, ping, pong, last := o.frames, o.ping, o.pong, o.last
		timeout := c.gw.cfg.WriteTimeout
		if c.ending {
			timeout = c.gw.cfg.CloseTimeout
		}
		o.frames, o.bytes, o.ping, o.pong, o.last = spare[:0], 0, false, nil, nil
		ws := c.ws
		c.mu.Unlock()

		err := ws.write(batch, ping, pong, last, timeout)
		if last != nil || err != nil {
			c.written(ws, last, err)
			return
		}
		clear(batch)
		spare = nil
		if cap(batch) <= 64 {
			spare = batch
		}
	}
}

// written ends the writing for good: the close frame is out, or a write
// failed. The reader, which owns the connection, then comes to its end.
func (c *client) written(ws *wsConn, last *closing, err error) {
	if err == nil {
		c.mu.Lock()
		c.out.closeSent = true
		alone := c.out.readerDone
		c.mu.Unlock()
		if alone {
			ws.linger(c.gw.cfg.CloseTimeout)
		} else {
			ws.expect(c.gw.cfg.CloseTimeout)
		}
		return
	}
	if last == nil && ws.timedOut(err) {
		c.mu.Lock()
		if !c.ending {
			c.gw.count.closedSlow.Add(1)
			c.endLocked(closing{bus.CloseSlowClient, "a write took too long"})
		}
		c.unlockAndTidy()
	}
	ws.abort()
}

// silent closes a client that does not answer pings.
func (c *client) silent() {
	c.mu.Lock()
	if !c.ending {
		c.gw.count.closedSilent.Add(1)
		c.closeNowLocked(closing{bus.CloseSilent, "no sign of life for " + (c.gw.cfg.PingInterval + c.gw.cfg.PongTimeout).Round(time.Second).String()})
	}
	c.unlockAndTidy()
}
