package portfuzz

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

const (
	// maxSaid is how many bytes one attempt says at most.
	maxSaid = 256 << 10
	// maxAttempt is how long one takes at most.
	maxAttempt = 3 * time.Second
	// maxBegin is how long it waits until it may say something.
	maxBegin = time.Second
	// maxRead is how many bytes of the answers it reads at most.
	maxRead = 1 << 20
	// sameTime is how many attempts an actor makes at the same time.
	sameTime = 3
)

// actor makes attempts at one port, of one kind.
type actor struct {
	name string
	dial func(context.Context) (net.Conn, error)
	// begin gets as far as there is something to say: through a handshake, or a login. Nil:
	// nothing is needed. That it fails is no fault: the port is under fire.
	begin func(*talk) error
	// say is what is said then.
	say func(dice, *talk) []byte
	// answer, unless it is nil, is what is said to what was heard.
	answer func(*talk, []byte) []byte

	number atomic.Uint64 // of the next attempt
	deaf   atomic.Uint64 // attempts for which nobody was there
}

// talk is one attempt. It belongs to one goroutine.
type talk struct {
	dice dice
	conn net.Conn
	// heard is what was read and not looked at.
	heard []byte
	// nats is what was learned by a login.
	nats natsLogin
}

// attempt makes the n-th attempt of the seed.
func (a *actor) attempt(ctx context.Context, seed, n uint64) {
	ctx, cancel := context.WithTimeout(ctx, maxAttempt)
	defer cancel()
	d := newDice(seed, a.name, n)
	conn, err := a.dial(ctx)
	if err != nil {
		if ctx.Err() == nil {
			a.deaf.Add(1)
		}
		return
	}
	defer conn.Close()
	// What ends the attempt early ends its waiting.
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	t := &talk{dice: d, conn: conn}
	if a.begin != nil {
		_ = conn.SetDeadline(time.Now().Add(maxBegin)) // fails on a closed connection only
		if a.begin(t) != nil {
			return
		}
	}
	deadline, _ := ctx.Deadline()
	_ = conn.SetDeadline(deadline) // likewise
	if t.send(a.say(d, t)) != nil {
		return // closed, as it may be
	}
	a.end(ctx, t)
}

// send says b, in one piece or several.
func (t *talk) send(b []byte) error {
	for len(b) > 0 {
		n := len(b)
		if t.dice.once(3) {
			n = 1 + t.dice.IntN(min(n, 1+t.dice.length(n)))
		}
		if _, err := t.conn.Write(b[:n]); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// end ends the attempt in one of the ways in which peers do.
func (a *actor) end(ctx context.Context, t *talk) {
	d, way := t.dice, t.dice.IntN(6)
	if a.answer != nil {
		way = of(d, 3, 4, 4, 4)
	}
	switch way {
	case 0: // at once
	case 1: // in the middle of everything
		if tcp, ok := t.conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0) // the kernel's business
		}
	case 2: // says nothing more and reads on
		if half, ok := t.conn.(interface{ CloseWrite() error }); ok {
			_ = half.CloseWrite() // it is closed
		}
		a.listen(t, time.Second)
	case 3: // stays and reads nothing
		wait(ctx, time.Duration(d.IntN(1500))*time.Millisecond)
	default: // reads for a while
		a.listen(t, time.Duration(50+d.IntN(1000))*time.Millisecond)
	}
}

// wait waits for d; false if ctx has ended before.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// listen reads for a while, and answers.
func (a *actor) listen(t *talk, d time.Duration) {
	_ = t.conn.SetReadDeadline(time.Now().Add(d)) // fails on a closed connection only
	b := make([]byte, 8<<10)
	for total := 0; total < maxRead; {
		n, err := t.conn.Read(b)
		if a.answer != nil && n > 0 {
			if more := a.answer(t, b[:n]); len(more) > 0 && t.send(more) != nil {
				return
			}
		}
		if total += n; err != nil {
			return
		}
	}
}

// until reads up to and with mark, and returns what stands before.
func (t *talk) until(mark string) (string, error) {
	var got []byte
	b := make([]byte, 1)
	for len(got) < 64<<10 {
		if _, err := io.ReadFull(t.conn, b); err != nil {
			return "", err
		}
		if got = append(got, b[0]); strings.HasSuffix(string(got[max(0, len(got)-len(mark)):]), mark) {
			return string(got[:len(got)-len(mark)]), nil
		}
	}
	return "", errors.New("portfuzz: too much was said")
}

// company is all actors, and what they have said last.
type company struct {
	seed   uint64
	actors []*actor
	limit  *rate.Limiter
	made   atomic.Int64

	mu   sync.Mutex
	last []string // the newest attempts, as they began
	at   int
}

// lastAttempts is how many are remembered, to be told when something breaks.
const lastAttempts = 60

// play has the actors make attempts until ctx ends, and returns when all have ended.
func (c *company) play(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for _, a := range c.actors {
		for range sameTime {
			wg.Go(func() {
				for c.limit.Wait(ctx) == nil {
					n := a.number.Add(1) - 1
					c.note(fmt.Sprintf("%s#%d", a.name, n))
					a.attempt(ctx, c.seed, n)
					c.made.Add(1)
				}
			})
		}
	}
}

func (c *company) note(what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.last) < lastAttempts {
		c.last = append(c.last, what)
		return
	}
	c.last[c.at%lastAttempts] = what
	c.at++
}

// newest are the attempts that began last, in order.
func (c *company) newest() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := c.at % max(len(c.last), 1)
	return append(append([]string(nil), c.last[at:]...), c.last[:at]...)
}
