package portfuzz

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"net"
	"strings"

	"github.com/gatebus/gatebus/internal/wsframe"
)

// handshake is one of a WebSocket, or what is nearly one.
func handshake(d dice, path string) []byte {
	var b strings.Builder
	target := path + of(d, "", "", "?x=1", "?token="+token(d), "?"+d.word(), "/"+d.word())
	fmt.Fprintf(&b, "%s %s %s\r\n", d.maybe(of(d, "GET", "GET", "GET", "POST", "HEAD", "CONNECT", "PRI")), d.maybe(target), d.maybe(of(d, "HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "HTTP/9.9")))
	key := make([]byte, of(d, 16, 16, 16, 16, 0, 15, 17, 300))
	for i := range key {
		key[i] = byte(d.Uint32())
	}
	headers := []string{
		"Host: " + d.maybe("fuzz.example"),
		"Upgrade: " + d.maybe("websocket"),
		"Connection: " + of(d, "Upgrade", "keep-alive, Upgrade", d.maybe("Upgrade")),
		"Sec-WebSocket-Version: " + of(d, "13", "13", "13", "8", d.digits()),
		"Sec-WebSocket-Key: " + d.maybe(base64.StdEncoding.EncodeToString(key)),
	}
	for range d.IntN(4) {
		headers = append(headers, of(d,
			"Sec-WebSocket-Protocol: "+d.maybe("chat, superchat, bearer."+token(d)),
			"Sec-WebSocket-Extensions: "+d.maybe("permessage-deflate; client_max_window_bits=8, x-webkit-deflate-frame"),
			"Origin: "+d.maybe("https://fuzz.example"),
			"X-Forwarded-For: "+d.maybe("192.0.2.7, ::1, 10.0.0.1:99"),
			"Forwarded: "+d.maybe(`for="[2001:db8::1]:4711"`),
			"Authorization: Bearer "+token(d),
			"Cookie: "+d.maybe("a=b; token="+token(d)),
			"Content-Length: "+d.digits(),
			"Transfer-Encoding: "+d.maybe("chunked"),
			"Expect: "+d.maybe("100-continue"),
			d.word()+": "+d.word(),
			"X-Large: "+strings.Repeat("x", d.length(20<<10)),
		))
	}
	if d.once(10) {
		d.Shuffle(len(headers), func(i, j int) { headers[i], headers[j] = headers[j], headers[i] })
		headers = headers[:d.IntN(len(headers)+1)]
	}
	for _, h := range headers {
		b.WriteString(h + of(d, "\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\n", "\r\n "))
	}
	b.WriteString(of(d, "\r\n", "\r\n", "\r\n", "\r\n", "", "\n", "\r\n\r\n"))
	return append([]byte(b.String()), of(d, nil, nil, frames(d))...)
}

// goodHandshake is one that is right.
func goodHandshake(path string) []byte {
	return fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: fuzz.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n", path)
}

// token is a JSON Web Token that nobody has signed, or not even that.
func token(d dice) string {
	enc := base64.RawURLEncoding.EncodeToString
	head := of(d, `{"alg":"HS256"}`, `{"alg":"none"}`, `{"alg":"RS256","kid":"x"}`, `{"alg":"ES256","crit":["b64"],"b64":false}`, d.text(`{"alg":"HS256","typ":"JWT"}`))
	claims := of(d, `{"sub":"fuzz1"}`, `{"sub":"fuzz1","exp":`+d.digits()+`}`, `{"sub":["a"]}`, d.text(`{"sub":"fuzz1","aud":["a"],"nbf":0}`), strings.Repeat("[", d.length(4096)))
	return d.maybe(enc([]byte(head)) + "." + enc([]byte(claims)) + "." + enc(d.bytes(64)))
}

// frames are some of a WebSocket, good and bad.
func frames(d dice) []byte {
	var b []byte
	for range 1 + d.IntN(8) {
		b = append(b, frame(d)...)
		if len(b) > maxSaid {
			break
		}
	}
	if d.once(4) {
		b = d.mutate(b)
	}
	return b
}

func frame(d dice) []byte {
	op := of(d, wsframe.Text, wsframe.Text, wsframe.Binary, wsframe.Continuation, wsframe.Ping, wsframe.Pong, wsframe.Close, wsframe.Opcode(d.IntN(16)))
	payload := d.bytes(of(d, 10, 125, 126, 1000, 70_000))
	switch {
	case op == wsframe.Close && d.once(2):
		payload = append(binary.BigEndian.AppendUint16(nil, of(d, uint16(1000), 1001, 1005, 1006, 1015, 2999, 4000, 4999, 5000, uint16(d.Uint32()))), payload...)
	case d.once(2):
		payload = bytes.Repeat([]byte("fuzz "), len(payload)/5)
	}
	if !d.once(6) { // a good one
		key := wsframe.Key{byte(d.Uint32()), byte(d.Uint32()), byte(d.Uint32()), byte(d.Uint32())}
		f := wsframe.AppendMasked(nil, op, key, payload)
		if d.once(4) { // of a message of several
			f[0] &^= 0x80
		}
		return f
	}
	first := byte(op) | byte(d.IntN(16))<<4 // also reserved bits: compressed, say
	mask := of[byte](d, 0x80, 0x80, 0)
	f := []byte{first}
	n := d.number()
	switch d.IntN(3) { // lengths that are not so, and lengths of more bytes than they need
	case 0:
		f = append(f, mask|byte(n&0x7f))
	case 1:
		f = binary.BigEndian.AppendUint16(append(f, mask|126), uint16(n))
	case 2:
		f = binary.BigEndian.AppendUint64(append(f, mask|127), n)
	}
	return append(append(f, d.bytes(4)...), payload...)
}

// proxyHeader is one of the PROXY protocol, or nearly.
func proxyHeader(d dice) []byte {
	if d.once(2) {
		line := "PROXY " + of(d, "TCP4 192.0.2.1 192.0.2.2 "+d.digits()+" 443", "TCP6 2001:db8::1 ::1 "+d.digits()+" 443", "UNKNOWN", "UNKNOWN "+strings.Repeat("f", d.length(200)), "TCP4 256.1.1.1 ::1 1 1", d.word())
		return []byte(d.maybe(line) + of(d, "\r\n", "\r\n", "\r\n", "\n", ""))
	}
	b := []byte("\r\n\r\n\x00\r\nQUIT\n")
	b = append(b, of[byte](d, 0x21, 0x21, 0x20, 0x11, byte(d.Uint32())), of[byte](d, 0x11, 0x21, 0x31, 0x12, 0x00, byte(d.Uint32())))
	body := d.bytes(of(d, 12, 36, 216, 600))
	if d.once(2) {
		body = append(make([]byte, of(d, 12, 36, 216)), tlvs(d)...)
	}
	n := uint16(len(body))
	if d.once(4) {
		n = uint16(d.number())
	}
	return d.mutate(append(binary.BigEndian.AppendUint16(b, n), body...))
}

// tlvs are fields behind the addresses of a PROXY header of version 2.
func tlvs(d dice) (b []byte) {
	for range d.IntN(5) {
		value := d.bytes(100)
		n := uint16(len(value))
		if d.once(3) {
			n = uint16(d.number())
		}
		b = binary.BigEndian.AppendUint16(append(b, of[byte](d, 1, 2, 3, 4, 5, 0x20, 0x21, 0x30, byte(d.Uint32()))), n)
		b = append(b, value...)
	}
	return b
}

// goodProxyHeader is one that is right.
const goodProxyHeader = "PROXY TCP4 192.0.2.1 192.0.2.2 4711 443\r\n"

// records are some of TLS, or nearly.
func records(d dice) (b []byte) {
	for range 1 + d.IntN(4) {
		body := d.bytes(600)
		if d.once(2) {
			body = clientHello(d)
		}
		n := uint16(len(body))
		if d.once(5) {
			n = uint16(d.number())
		}
		b = append(b, of[byte](d, 0x16, 0x16, 0x14, 0x15, 0x17, 0x80, byte(d.Uint32())), of[byte](d, 3, 3, 2, byte(d.Uint32())), of[byte](d, 1, 3, 4, byte(d.Uint32())))
		b = append(binary.BigEndian.AppendUint16(b, n), body...)
	}
	return d.mutate(b)
}

// clientHello is the message that begins TLS, more or less.
func clientHello(d dice) []byte {
	body := append([]byte{3, 3}, make([]byte, 32)...)
	body = append(body, 0)                                                             // session
	body = append(body, 0, 6, 0x13, 1, 0xc0, 0x2b, 0xc0, 0x2f)                         // suites
	body = append(body, 1, 0)                                                          // compression
	ext := []byte{0, 0x2b, 0, 3, 2, 3, 4, 0, 10, 0, 4, 0, 2, 0, 0x1d}                  // versions, curves
	ext = append(ext, 0, 13, 0, 6, 0, 4, 4, 3, 8, 4)                                   // signatures
	ext = append(ext, d.mutate([]byte("\x00\x00\x00\x09\x00\x07\x00\x00\x04fuzz"))...) // its name
	for range d.IntN(4) {
		value := d.bytes(200)
		ext = binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(ext, uint16(d.IntN(60))), uint16(len(value)))
		ext = append(ext, value...)
	}
	body = append(binary.BigEndian.AppendUint16(body, uint16(len(ext))), ext...)
	n := uint32(len(body))
	if d.once(5) {
		n = uint32(d.number())
	}
	return append([]byte{of[byte](d, 1, 1, 1, 2, 11, byte(d.Uint32())), byte(n >> 16), byte(n >> 8), byte(n)}, body...)
}

// lines are messages of the protocol text.
func lines(d dice) (b []byte) {
	for range 1 + d.IntN(20) {
		b = append(append(b, d.bytes(of(d, 10, 300, 70_000))...), of(d, "\n", "\n", "\r\n", "\n\n", "\x00", "")...)
	}
	return b[:min(len(b), maxSaid)]
}

// lengths are messages of the protocol frame.
func lengths(d dice) (b []byte) {
	for range 1 + d.IntN(20) {
		payload := d.bytes(of(d, 10, 300, 70_000))
		n := uint32(len(payload) + 4)
		if d.once(8) {
			n = uint32(d.number())
		}
		b = append(binary.BigEndian.AppendUint32(b, n), payload...)
	}
	return b[:min(len(b), maxSaid)]
}

// clientActors are those at a listener for clients.
func (s *stage) clientActors(at door) (all []*actor) {
	add := func(kind string, dial dialer, begin func(*talk) error, say func(dice, *talk) []byte) {
		all = append(all, &actor{name: at.name + "/" + kind, dial: dial, begin: begin, say: say})
	}
	bare := at.bare()
	add("bytes", bare, nil, func(d dice, _ *talk) []byte {
		return of(d, d.bytes(4096), d.mutate(handshake(d, "/")), records(d), lengths(d), lines(d), proxyHeader(d))
	})
	if at.proxied {
		add("proxy", bare, nil, func(d dice, _ *talk) []byte {
			return append(proxyHeader(d), of(d, nil, handshake(d, "/"), goodHandshake("/"), d.bytes(100))...)
		})
	}
	if at.tls {
		add("tls", bare, nil, func(d dice, _ *talk) []byte { return records(d) })
	}
	switch at.protocol {
	case "websocket":
		add("handshake", at.dial, nil, func(d dice, _ *talk) []byte { return handshake(d, "/") })
		for _, path := range at.paths {
			add("frames"+path, at.dial, upgraded(path), func(d dice, _ *talk) []byte { return frames(d) })
		}
	case "text":
		add("lines", at.dial, nil, func(d dice, _ *talk) []byte { return lines(d) })
	case "frame":
		add("lengths", at.dial, nil, func(d dice, _ *talk) []byte { return lengths(d) })
	case "raw":
		add("anything", at.dial, nil, func(d dice, _ *talk) []byte { return d.bytes(maxSaid) })
	}
	return all
}

// upgraded goes through the handshake of a WebSocket.
func upgraded(path string) func(*talk) error {
	return func(t *talk) error {
		if _, err := t.conn.Write(goodHandshake(path)); err != nil {
			return err
		}
		head, err := t.until("\r\n\r\n")
		if err == nil && !strings.HasPrefix(head, "HTTP/1.1 101") {
			err = fmt.Errorf("portfuzz: %.40q: %w", head, net.ErrClosed)
		}
		return err
	}
}
