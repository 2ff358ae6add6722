package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	dialPatience  = 5 * time.Second
	writePatience = 5 * time.Second
	// A lost connection is tried again after a pause that doubles, with some
	// chance in it: a thousand devices must not come back in one instant.
	firstPause   = 500 * time.Millisecond
	longestPause = 30 * time.Second
	// fastest is the shortest time between two readings that a command can ask for.
	fastest = 50 * time.Millisecond
)

// reading is what the device sends: telemetry.
type reading struct {
	Device string `json:"device"`
	// N counts the readings from 1, so that a station can tell that it has had
	// one before: a frame whose worker dies is handled once more.
	N           int64   `json:"n"`
	Temperature float64 `json:"temperature"` // °C
	Fan         bool    `json:"fan"`
}

// command is what the device receives. What it does not name stays as it is.
type command struct {
	Fan     *bool `json:"fan,omitempty"`
	EveryMS int64 `json:"every_ms,omitempty"` // between two readings
}

// device is a fan with a thermometer.
type device struct {
	// set at construction
	gateway string // host:port
	name    string
	log     *slog.Logger
	wake    chan struct{} // buffered: every has changed

	mu          sync.Mutex
	every       time.Duration
	n           int64
	temperature float64
	fan         bool
}

func newDevice(gateway, name string, every time.Duration, log *slog.Logger) *device {
	return &device{
		gateway: gateway, name: name, every: max(every, fastest), temperature: 24,
		log: log.With("device", name), wake: make(chan struct{}, 1),
	}
}

// run keeps the device connected until ctx ends.
func (d *device) run(ctx context.Context) {
	pause := firstPause
	for ctx.Err() == nil {
		start := time.Now()
		err := d.connect(ctx)
		if ctx.Err() != nil {
			return
		}
		if time.Since(start) > longestPause {
			pause = firstPause // that was a good connection
		}
		wait := pause/2 + rand.N(pause)
		pause = min(2*pause, longestPause)
		d.log.Warn("no connection to the gateway; trying again", "gateway", d.gateway, "err", err, "in", wait.Round(time.Millisecond))
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// connect serves one connection, until it is lost or ctx ends.
func (d *device) connect(ctx context.Context) error {
	dialer := net.Dialer{Timeout: dialPatience, KeepAlive: 15 * time.Second}
	conn, err := dialer.DialContext(ctx, "tcp", d.gateway)
	if err != nil {
		return err
	}
	d.log.Info("connected", "gateway", d.gateway)
	tasks, ctx := errgroup.WithContext(ctx)
	tasks.Go(func() error { return d.sendReadings(ctx, conn) })
	tasks.Go(func() error { return d.receiveCommands(conn) })
	tasks.Go(func() error { <-ctx.Done(); return conn.Close() }) // has both of them end
	return tasks.Wait()
}

// sendReadings sends one reading at once, and then one after the other.
func (d *device) sendReadings(ctx context.Context, conn net.Conn) error {
	var frame []byte
	for {
		body, err := json.Marshal(d.measure())
		if err != nil {
			return err
		}
		if frame, err = appendFrame(frame[:0], body); err != nil {
			return err
		}
		if err := conn.SetWriteDeadline(time.Now().Add(writePatience)); err != nil {
			return err
		}
		if _, err := conn.Write(frame); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-d.wake:
		case <-time.After(d.interval()):
		}
	}
}

// receiveCommands obeys. A command that makes no sense is noted and left alone:
// the connection is as good as before.
func (d *device) receiveCommands(conn net.Conn) error {
	r := bufio.NewReader(conn)
	for {
		body, err := readFrame(r)
		if err != nil {
			return fmt.Errorf("the gateway has closed the connection: %w", err)
		}
		var c command
		if err := json.Unmarshal(body, &c); err == nil {
			err = d.obey(c)
			if err == nil {
				continue
			}
			d.log.Warn("a command is not obeyed", "err", err)
		} else if len(body) > 0 {
			d.log.Warn("a frame is no command", "frame", string(body[:min(len(body), 200)]), "err", err)
		}
	}
}

func (d *device) obey(c command) error {
	if c.EveryMS != 0 && (c.EveryMS < fastest.Milliseconds() || c.EveryMS > time.Hour.Milliseconds()) {
		return errors.New("every_ms must be from 50 to 3600000")
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if c.Fan != nil && *c.Fan != d.fan {
		d.fan = *c.Fan
		d.log.Info("the fan is switched", "on", d.fan)
	}
	if c.EveryMS != 0 {
		d.every = time.Duration(c.EveryMS) * time.Millisecond
		select {
		case d.wake <- struct{}{}:
		default: // it knows
		}
	}
	return nil
}

// measure is the next reading: it gets warmer, unless the fan runs.
func (d *device) measure() reading {
	d.mu.Lock()
	defer d.mu.Unlock()
	drift := 0.9
	if d.fan {
		drift = -1.3
	}
	d.temperature += drift + rand.Float64()*0.4 - 0.2
	d.n++
	return reading{Device: d.name, N: d.n, Temperature: float64(int(d.temperature*10)) / 10, Fan: d.fan}
}

func (d *device) interval() time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.every
}
