package bus

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
)

// pieces is a connection on which bytes arrive in pieces of a size.
type pieces struct {
	net.Conn
	in   []byte
	size int
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.in) == 0 {
		return 0, io.EOF
	}
	n := copy(b[:min(len(b), p.size)], p.in)
	p.in = p.in[n:]
	return n, nil
}

func (p *pieces) Write(b []byte) (int, error) { return len(b), nil }

const (
	said = "INFO {\"a\":\"b\"}\r\nPING\r\n+OK\r\nMSG a.b 1 re\rply 8\r\n\r\r\n\rMSG\r\r\n" +
		"HMSG a\r.b 12 _INBOX.\rx 12 15\r\nNATS/1.0\r\n\r\na\rb\r\nMSG c 1 0\r\n\r\nPONG\r\n-ERR 'x'\r\nmsg d 1 1\r\n\r\r\n"
	heard = "INFO {\"a\":\"b\"}\r\nPING\r\n+OK\r\nMSG a.b 1 re_ply 8\r\n\r\r\n\rMSG\r\r\n" +
		"HMSG a_.b 12 _INBOX._x 12 15\r\nNATS/1.0\r\n\r\na\rb\r\nMSG c 1 0\r\n\r\nPONG\r\n-ERR 'x'\r\nmsg d 1 1\r\n\r\r\n"
)

// A carriage return within a line is replaced and nothing else is, wherever what arrives
// is cut: but for one that is the last byte of a piece, which nats.go leaves out.
func TestStray(t *testing.T) {
	for size := 1; size <= len(said)+1; size++ {
		got, err := io.ReadAll(&strayConn{Conn: &pieces{in: []byte(said), size: size}})
		if err != nil {
			t.Fatal(err)
		}
		for i := range got {
			if got[i] != heard[i] && (got[i] != said[i] || (i+1)%size != 0 && (i+1)%512 != 0) {
				t.Fatalf("pieces of %d bytes: at %d\n got %q\nwant %q", size, i, got, heard)
			}
		}
		if size > len(said) && string(got) != heard {
			t.Errorf("got %q\nwant %q", got, heard)
		}
	}
}

// On a connection that turns to TLS nothing is changed.
func TestStrayTLS(t *testing.T) {
	record := strings.Repeat("\x17\x03\x03\rMSG \r\n\r", 20)
	p := &pieces{in: []byte("INFO {}\r\n" + record), size: 9}
	c := &strayConn{Conn: p}
	b := make([]byte, 9)
	if _, err := io.ReadFull(c, b); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write([]byte{tlsHandshake, 3, 1}); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(c)
	if err != nil || string(got) != record {
		t.Errorf("%q, %v", got, err)
	}
}

// Payloads and lines without a stray carriage return arrive as they are, in whatever
// pieces, and no size confuses it.
func FuzzStray(f *testing.F) {
	f.Add([]byte("a\r\nMSG"), "subject", 3)
	f.Add([]byte("\r\r\n"), "x", 1)
	f.Fuzz(func(t *testing.T, payload []byte, subject string, size int) {
		subject = strings.Map(func(r rune) rune {
			if r <= ' ' {
				return '.'
			}
			return r
		}, subject)
		if size < 1 || size > 1<<20 {
			return
		}
		var b bytes.Buffer
		for range 3 {
			fmt.Fprintf(&b, "MSG %s 1 %d\r\n%s\r\nHMSG %s 1 r 12 %d\r\nNATS/1.0\r\n\r\n%s\r\nPING\r\n", subject, len(payload), payload, subject, 12+len(payload), payload)
		}
		want := b.String()
		got, err := io.ReadAll(&strayConn{Conn: &pieces{in: []byte(want), size: size}})
		if err != nil || string(got) != want {
			t.Errorf("%q becomes %q, %v", want, got, err)
		}
	})
}

func BenchmarkStray(b *testing.B) {
	message := []byte("MSG gw.g1.out.g1-abcdefgh-12.345 12 128\r\n" + strings.Repeat("x", 128) + "\r\n")
	c := &strayConn{}
	b.SetBytes(int64(len(message)))
	for b.Loop() {
		c.clean(message)
	}
}
