package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestFramesAsTheyAreOnTheWire(t *testing.T) {
	for body, wire := range map[string]string{
		"":                           "\x00\x00\x00\x04",
		"hi":                         "\x00\x00\x00\x06hi",
		"\x00\xff":                   "\x00\x00\x00\x06\x00\xff",
		strings.Repeat("x", maxBody): "\x00\x01\x00\x04" + strings.Repeat("x", maxBody),
	} {
		got, err := appendFrame([]byte("before"), []byte(body))
		if err != nil || string(got) != "before"+wire {
			t.Errorf("frame of %.20q: %.30q, %v", body, got, err)
		}
		back, err := readFrame(iotest.OneByteReader(strings.NewReader(wire)))
		if err != nil || string(back) != body {
			t.Errorf("from the wire %.20q: %.30q, %v", wire, back, err)
		}
	}
}

func TestFramesThatAreNone(t *testing.T) {
	for wire, want := range map[string]error{
		"":                     io.EOF,
		"\x00\x00":             io.ErrUnexpectedEOF,
		"\x00\x00\x00\x06h":    io.ErrUnexpectedEOF,
		"\x00\x00\x00\x06":     io.ErrUnexpectedEOF,
		"\x00\x00\x00\x03":     errFrame,
		"\x00\x00\x00\x00":     errFrame,
		"\x00\x01\x00\x05xxxx": errFrame,
		"\xff\xff\xff\xff":     errFrame,
		"GET / HTTP/1.1\r\n":   errFrame,
	} {
		if body, err := readFrame(strings.NewReader(wire)); !errors.Is(err, want) {
			t.Errorf("%q: %q, %v; want %v", wire, body, err, want)
		}
	}
	if _, err := appendFrame(nil, make([]byte, maxBody+1)); err == nil {
		t.Error("a body that is too long is written")
	}
}

func FuzzReadFrame(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x06hi\x00\x00\x00\x04"))
	f.Add([]byte("\x00\x00\x00\x03"))
	f.Fuzz(func(t *testing.T, wire []byte) {
		var again []byte
		r := bytes.NewReader(wire)
		for {
			body, err := readFrame(r)
			if err != nil {
				break
			}
			if again, err = appendFrame(again, body); err != nil {
				t.Fatalf("what was read cannot be written: %v", err)
			}
		}
		if !bytes.HasPrefix(wire, again) {
			t.Errorf("%q was read as %q", wire, again)
		}
	})
}

// gateway is what the device takes for one.
type gateway struct {
	t *testing.T
	l net.Listener
}

func newGateway(t *testing.T) *gateway {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return &gateway{t, l}
}

func (g *gateway) accept() net.Conn {
	g.t.Helper()
	if err := g.l.(*net.TCPListener).SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		g.t.Fatal(err)
	}
	c, err := g.l.Accept()
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		g.t.Fatal(err)
	}
	return c
}

func (g *gateway) reading(c net.Conn) reading {
	g.t.Helper()
	body, err := readFrame(c)
	if err != nil {
		g.t.Fatal(err)
	}
	var r reading
	if err := json.Unmarshal(body, &r); err != nil {
		g.t.Fatalf("%q: %v", body, err)
	}
	return r
}

func (g *gateway) sends(c net.Conn, bodies ...string) {
	g.t.Helper()
	var wire []byte
	for _, body := range bodies {
		var err error
		if wire, err = appendFrame(wire, []byte(body)); err != nil {
			g.t.Fatal(err)
		}
	}
	for chunk := range slices.Chunk(wire, 3) { // frames come in any pieces
		if _, err := c.Write(chunk); err != nil {
			g.t.Fatal(err)
		}
	}
}

func startDevice(t *testing.T, g *gateway, every time.Duration) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	d := newDevice(g.l.Addr().String(), "fan-7", every, slog.New(slog.DiscardHandler))
	go func() { defer close(done); d.run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
}

func TestDeviceMeasuresAndObeys(t *testing.T) {
	g := newGateway(t)
	startDevice(t, g, time.Hour)
	c := g.accept()
	if r := g.reading(c); r.Device != "fan-7" || r.N != 1 || r.Fan || r.Temperature < 20 || r.Temperature > 30 {
		t.Errorf("first reading: %+v", r)
	}

	// One that it understands, after some that it does not.
	g.sends(c, "", "no JSON", `[]`, `{"every_ms": 1}`, `{"every_ms": -5, "fan": true}`, `{"fan": true, "every_ms": 50}`)
	before := g.reading(c)
	if before.N != 2 || !before.Fan {
		t.Errorf("after the command: %+v", before)
	}
	for range 3 {
		r := g.reading(c)
		if r.N != before.N+1 || r.Temperature >= before.Temperature {
			t.Errorf("with the fan on: %+v after %+v", r, before)
		}
		before = r
	}
}

func TestCommandsThatCannotBe(t *testing.T) {
	d := newDevice("", "fan-7", time.Second, slog.New(slog.DiscardHandler))
	on := true
	for _, every := range []int64{-1, 1, 49, 3_600_001, 1 << 62, 18446744073810} {
		if err := d.obey(command{Fan: &on, EveryMS: every}); err == nil || d.fan || d.interval() != time.Second {
			t.Errorf("every %d ms: %v, and then every %v, fan %v", every, err, d.interval(), d.fan)
		}
	}
	if err := d.obey(command{Fan: &on}); err != nil || !d.fan || d.interval() != time.Second {
		t.Errorf("the fan alone: %v, and then every %v, fan %v", err, d.interval(), d.fan)
	}
}

func TestDeviceComesBack(t *testing.T) {
	g := newGateway(t)
	startDevice(t, g, time.Hour)
	c := g.accept()
	g.reading(c)
	if _, err := c.Write([]byte("\x00\x00\x00\x00")); err != nil { // from here on nothing can be understood
		t.Fatal(err)
	}
	c = g.accept()
	if r := g.reading(c); r.N != 2 {
		t.Errorf("after it came back: %+v", r)
	}
	c.Close()
	if r := g.reading(g.accept()); r.N != 3 {
		t.Errorf("after it came back again: %+v", r)
	}
}
