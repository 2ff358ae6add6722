package gateway

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/gatebus/gatebus/bus"
)

// plainWires are those that wire.cut is for.
var plainWires = []Protocol{ProtocolText, ProtocolFrame, ProtocolRaw}

// framed is a message as GatewayWorker's clients send it, written down here once
// more and in another way.
func framed(s string) string {
	n := len(s) + 4
	return string([]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}) + s
}

// feed gives a connection bytes in these pieces, and the end if eof is set. It
// returns the messages, as "kind data", and the code that it is closed with.
func feed(t *testing.T, p Protocol, maxFrame int64, eof bool, pieces ...string) (messages []string, code bus.CloseCode) {
	t.Helper()
	cfg := DefaultConfig()
	cfg.QueueFrames, cfg.QueueBytes, cfg.MaxFrame = 1<<20, 1<<24, maxFrame
	cfg.Listeners = []Listener{{Listen: "127.0.0.1:0", Protocol: p}}
	gw, err := New(cfg, 1, discard{}, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	c := gw.newClient(gw.listeners[1], cfg.Group)
	conn := &plainConn{client: c, conn: benchStream{}}
	c.conn, c.accepted = conn, true
	for _, piece := range pieces {
		buf := []byte(piece)
		if !conn.Received(buf) {
			t.Fatal("stalled")
		}
		for i := range buf { // it is somebody else's again
			buf[i] = '#'
		}
	}
	if len(pieces) > 0 && conn.over && len(conn.rest) > 0 {
		t.Errorf("%d bytes are kept of a peer that is not listened to", len(conn.rest))
	}
	if eof {
		conn.Ended(io.EOF)
	}
	if conn.timer != nil {
		conn.timer.Stop()
	}
	for e := c.lane.first; e != nil; e = e.next {
		if e.kind != bus.Close {
			messages = append(messages, e.kind.String()+" "+string(e.data))
		}
	}
	switch {
	case c.finishing != nil:
		code = c.finishing.code
	case c.out.last != nil:
		code = c.out.last.code
	}
	return messages, code
}

func TestMessages(t *testing.T) {
	x := strings.Repeat("x", 10) // the most that is allowed
	for _, c := range []struct {
		name     string
		protocol Protocol
		in       string
		want     []string
		code     bus.CloseCode // after the end of what comes
	}{
		{"lines", "text", "a\nbc\n", []string{"text a", "text bc"}, 1000},
		{"CR LF", "text", "a\r\nb\r\r\n\r\n", []string{"text a", "text b\r", "text "}, 1000},
		{"CR in it", "text", "a\rb\n", []string{"text a\rb"}, 1000},
		{"empty", "text", "\n\n", []string{"text ", "text "}, 1000},
		{"not UTF-8", "text", "\xff\n\u00e9\n", []string{"binary \xff", "text \u00e9"}, 1000},
		{"the largest", "text", x + "\n" + x + "\r\n", []string{"text " + x, "text " + x}, 1000},
		{"too large", "text", "a\n" + x + "y\nb\n", []string{"text a"}, 1009},
		{"too large with CR", "text", x + "y\r\n", nil, 1009},
		{"too large without an end", "text", x + "y", nil, 1009},
		{"perhaps not too large", "text", x + "\r", nil, 1006},
		{"cut off", "text", "a\nb", []string{"text a"}, 1006},
		{"nothing", "text", "", nil, 1000},

		{"frames", "frame", framed("a") + framed("bc\n"), []string{"binary a", "binary bc\n"}, 1000},
		{"empty", "frame", framed("") + framed("a"), []string{"binary ", "binary a"}, 1000},
		{"the largest", "frame", framed(x), []string{"binary " + x}, 1000},
		{"too large", "frame", framed("a") + framed(x+"y") + framed("b"), []string{"binary a"}, 1009},
		{"too large, as it begins", "frame", "\xff\xff\xff\xff", nil, 1009},
		{"length 0", "frame", framed("a") + "\x00\x00\x00\x00" + framed("b"), []string{"binary a"}, 1002},
		{"length 3", "frame", "\x00\x00\x00\x03", nil, 1002},
		{"cut off", "frame", framed("a") + framed("bc")[:5], []string{"binary a"}, 1006},
		{"cut off in the length", "frame", "\x00\x00\x00", nil, 1006},

		{"raw", "raw", "a\x00\xff", []string{"binary a\x00\xff"}, 1000},
		{"pieces of max_frame", "raw", x + x + "y", []string{"binary " + x, "binary " + x, "binary y"}, 1000},
	} {
		t.Run(string(c.protocol)+"/"+c.name, func(t *testing.T) {
			check := func(how string, pieces ...string) {
				t.Helper()
				got, code := feed(t, c.protocol, 10, true, pieces...)
				if c.protocol == ProtocolRaw && len(pieces) > 1 { // as it comes
					joined := strings.ReplaceAll(strings.Join(got, ""), "binary ", "")
					equal(t, how, joined, c.in)
				} else if !slices.Equal(got, c.want) {
					t.Fatalf("%s: %q, want %q", how, got, c.want)
				}
				equal(t, how+": closed", code, c.code)
			}
			check("at once", c.in)
			for i := range len(c.in) {
				check(fmt.Sprint("in two, at ", i), c.in[:i], c.in[i:])
			}
			check("byte by byte", strings.Split(c.in, "")...)
		})
	}
}

// What is still to come is found from where the search ended last: a line that comes
// byte by byte is looked at once.
func TestLineIsNotSearchedTwice(t *testing.T) {
	p := []byte("a\nbbbb")
	if _, size, err := wireText.cut(p, 2, 10); size != 0 || err != nil {
		t.Errorf("searched what was searched: %d, %v", size, err)
	}
}

func TestEncodings(t *testing.T) {
	for w, want := range map[wire]string{
		wireText: ">ab\n", wireFrame: ">" + framed("ab"), wireRaw: ">ab", wireWebSocket: ">\x81\x02ab",
	} {
		if got := w.append([]byte(">"), bus.Text, []byte("ab")); string(got) != want {
			t.Errorf("%d: %q, want %q", w, got, want)
		}
		if got := w.prepare(bus.Text, []byte("ab")); string(got) != want[1:] {
			t.Errorf("%d prepared: %q, want %q", w, got, want[1:])
		}
		if got := w.prepare(bus.Text, nil); got == nil {
			t.Errorf("%d: nothing is prepared as nil", w)
		}
	}
}

// FuzzCut: however the bytes are cut, the messages are the same, what they are
// encoded to is what they were, and nothing is larger than allowed.
func FuzzCut(f *testing.F) {
	for _, s := range []string{"a\nb\r\n\n", framed("a") + framed(""), "\x00\x00\x00\x03", "\xff\xff\xff\xff", strings.Repeat("x", 70), "\r", "a\rb\n"} {
		f.Add([]byte(s), uint8(1))
		f.Add([]byte(s), uint8(3))
	}
	const limit = 64
	f.Fuzz(func(t *testing.T, in []byte, piece uint8) {
		in = in[:min(len(in), 10*limit)] // more is only slower
		for _, p := range plainWires {
			var pieces []string
			for rest := in; len(rest) > 0; {
				n := min(max(int(piece), 1), len(rest))
				pieces, rest = append(pieces, string(rest[:n])), rest[n:]
			}
			whole, code := feed(t, p, limit, true, string(in))
			cut, codeCut := feed(t, p, limit, true, pieces...)
			if p == ProtocolRaw {
				join := func(s []string) string { return strings.ReplaceAll(strings.Join(s, "\x00"), "\x00binary ", "") }
				if join(whole) != join(cut) && !bytes.Contains(in, []byte("\x00binary ")) {
					t.Fatalf("raw: %q and %q", whole, cut)
				}
			} else if !slices.Equal(whole, cut) || code != codeCut {
				t.Fatalf("%s: at once %q %d, in pieces of %d %q %d", p, whole, code, piece, cut, codeCut)
			}
			var again []byte
			for _, m := range whole {
				_, data, _ := strings.Cut(m, " ")
				if len(data) > limit {
					t.Fatalf("%s: a message of %d bytes", p, len(data))
				}
				again = wireOf(p).append(again, bus.Binary, []byte(data))
			}
			if code == bus.CloseNormal && !bytes.Contains(in, []byte("\r\n")) && !bytes.Equal(again, in) {
				t.Fatalf("%s: %q was %q", p, again, in)
			}
		}
	})
}

// FuzzFrameHeader: the first four bytes decide, whatever follows.
func FuzzFrameHeader(f *testing.F) {
	f.Add(uint32(0), []byte("a"))
	f.Add(uint32(4), []byte(""))
	f.Add(uint32(5), []byte("ab"))
	f.Add(uint32(1<<31), []byte("ab"))
	f.Fuzz(func(t *testing.T, length uint32, rest []byte) {
		const limit = 64
		p := append(binary.BigEndian.AppendUint32(nil, length), rest...)
		body, size, err := wireFrame.cut(p, 0, limit)
		switch {
		case length < 4:
			if !errors.Is(err, errFrameLength) {
				t.Fatal(err)
			}
		case length > limit+4:
			if !errors.Is(err, errTooBig) {
				t.Fatal(err)
			}
		case err != nil:
			t.Fatal(err)
		case uint32(len(p)) < length:
			if size != 0 {
				t.Fatal(size)
			}
		case size != int(length) || !bytes.Equal(body, p[4:length]):
			t.Fatalf("%d %q", size, body)
		}
	})
}
