package gateway

import (
	"time"

	"github.com/gatebus/gatebus/bus"
)

// frame is a frame for one client, or for many.
type frame struct {
	kind bus.Kind
	data []byte
	// prepared is the encoded frame, shared by all clients of a protocol that
	// it goes to; nil where it goes to one only.
	prepared []byte
}

// outbox holds what waits for one client to read it. It is guarded by its client's
// mutex.
type outbox struct {
	frames []frame // from head on
	head   int
	bytes  int      // payload of those
	ping   bool     // a ping is due
	pong   *string  // the newest ping of the peer that is to be answered
	last   *closing // the close frame that follows the frames; then no more
}

// idleFrames is how many places for frames an outbox keeps while it is empty.
const idleFrames = 4

func (o *outbox) len() int { return len(o.frames) - o.head }

func (o *outbox) push(f frame) {
	if o.head > 0 && len(o.frames) == cap(o.frames) && o.head >= len(o.frames)/2 {
		n := copy(o.frames, o.frames[o.head:])
		clear(o.frames[n:])
		o.frames, o.head = o.frames[:n], 0
	}
	o.frames = append(o.frames, f)
	o.bytes += len(f.data)
}

// front is the oldest frame, nil if there is none.
func (o *outbox) front() *frame {
	if o.head == len(o.frames) {
		return nil
	}
	return &o.frames[o.head]
}

// only is the oldest frame if there is nothing else to be sent.
func (o *outbox) only() *frame {
	if o.len() != 1 || o.last != nil {
		return nil
	}
	return o.front()
}

// pop takes the oldest frame off.
func (o *outbox) pop() {
	f := &o.frames[o.head]
	o.bytes -= len(f.data)
	*f = frame{}
	if o.head++; o.head < len(o.frames) {
		return
	}
	if o.head, o.frames = 0, o.frames[:0]; cap(o.frames) > idleFrames {
		o.frames = nil
	}
}

// drop takes all frames off.
func (o *outbox) drop() { o.frames, o.head, o.bytes = nil, 0, 0 }

// pushLocked puts a frame into the client's outbox; it tells whether it did, for the
// caller to count. A client that has too many waiting is closed. It never blocks.
func (c *client) pushLocked(f frame) bool {
	o := &c.out
	if c.ending {
		return false
	}
	if n := o.len(); n >= c.gw.config().SendFrames || n > 0 && o.bytes+len(f.data) > c.gw.config().SendBytes {
		c.slowLocked()
		return false
	}
	o.push(f)
	c.gw.tap.frame(c, &f)
	c.weighLocked()
	c.flushLocked()
	return true
}

// slowLocked closes a client that does not read. What waits for it is
// dropped; a write that is under way has close_timeout to get through.
func (c *client) slowLocked() {
	c.gw.count.closedSlow.Add(1)
	c.out.drop()
	c.closeNowLocked(closing{bus.CloseSlowClient, "too slow"})
}

// tooSlow notes that a write has taken too long.
func (c *client) tooSlow() {
	c.mu.Lock()
	if !c.ending {
		c.gw.count.closedSlow.Add(1)
		c.endLocked(closing{bus.CloseSlowClient, "a write took too long"})
	}
	c.unlockAndTidy()
}

// ping asks the peer for a sign of life.
func (c *client) ping() {
	c.mu.Lock()
	if !c.ending {
		c.out.ping = true
		c.flushLocked()
	}
	c.mu.Unlock()
}

// pong answers a ping of the peer, the newest only (RFC 6455 5.5.3).
func (c *client) pong(data string) {
	c.mu.Lock()
	if !c.ending {
		c.out.pong = &data
		c.flushLocked()
	}
	c.mu.Unlock()
}

// blocked tells whether the peer is not being read because its lane is full;
// its silence then means nothing.
func (c *client) blocked() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stalled
}

// flushLocked sees to it that what is in the outbox is written, as soon as there
// is a connection to write to.
func (c *client) flushLocked() {
	if c.conn != nil {
		c.conn.flushLocked()
	}
}

// silent closes a client that has said nothing for so long.
func (c *client) silent(after time.Duration) {
	c.mu.Lock()
	if !c.ending {
		c.gw.count.closedSilent.Add(1)
		c.closeNowLocked(closing{bus.CloseSilent, "no sign of life for " + after.Round(time.Second).String()})
	}
	c.unlockAndTidy()
}
